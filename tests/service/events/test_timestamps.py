"""Every timestamp shape that GitLab sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gitpulse_service.events.timestamps import parse


@pytest.mark.parametrize(
    ("text", "utc", "offset_hours"),
    [
        ("2025-08-05 21:48:25 UTC", datetime(2025, 8, 5, 21, 48, 25, tzinfo=UTC), 0),
        ("2026-01-31 19:03:54 +0100", datetime(2026, 1, 31, 18, 3, 54, tzinfo=UTC), 1),
        ("2026-01-31 19:03:54 -0530", datetime(2026, 2, 1, 0, 33, 54, tzinfo=UTC), -5.5),
        ("2025-05-21T16:06:02.869Z", datetime(2025, 5, 21, 16, 6, 2, tzinfo=UTC), 0),
        ("2025-05-21T16:06:02Z", datetime(2025, 5, 21, 16, 6, 2, tzinfo=UTC), 0),
        ("2026-01-31T18:45:47+01:00", datetime(2026, 1, 31, 17, 45, 47, tzinfo=UTC), 1),
        ("2024-01-26", datetime(2024, 1, 26, tzinfo=UTC), 0),
        ("2026-01-31T18:45:47", datetime(2026, 1, 31, 18, 45, 47, tzinfo=UTC), 0),
        (1744578123, datetime(2025, 4, 13, 21, 2, 3, tzinfo=UTC), 0),
        (1744578123.9, datetime(2025, 4, 13, 21, 2, 3, tzinfo=UTC), 0),
        ("1744578123", datetime(2025, 4, 13, 21, 2, 3, tzinfo=UTC), 0),
    ],
)
def test_each_shape_is_the_same_kind_of_moment(text, utc, offset_hours):
    moment = parse(text)
    assert moment == utc
    assert moment.utcoffset() == timedelta(hours=offset_hours)


@pytest.mark.parametrize(
    "value",
    [
        *("", "soon", "2026-13-01", "2026-01-31 19:03:54 CEST", None, True, [], {}),
        *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", 10**30, float("nan"), float("inf"), "9" * 5000, "²"),
    ],
)
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match=r"."):
        parse(value)
