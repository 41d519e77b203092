"""GitLab's timestamps, which come in six shapes, as one: an aware datetime in whole seconds.

Whole seconds because the same moment arrives as `2025-05-21 16:06:02 UTC` in a real delivery and as
`2025-05-21T16:06:02.869Z` in a test delivery; kept, the fraction would make the test look newer than what follows it.
"""

from __future__ import annotations

from datetime import UTC, datetime


class Timestamp(datetime):
    """An aware moment with the offset that GitLab wrote: the author's own for a commit, the instance's for the rest."""


def parse(value: object) -> Timestamp:
    """Reads any shape that GitLab uses. Raises ValueError.

    A text without offset is taken as UTC, digits alone are Unix seconds.
    """
    if isinstance(value, str) and not value.isdecimal():
        moment = Timestamp.fromisoformat(value.removesuffix(" UTC"))
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            moment = Timestamp.fromtimestamp(float(value), UTC)
        except (OverflowError, OSError):
            raise ValueError("Expected a timestamp within the calendar") from None
    else:
        raise ValueError(f"Expected a timestamp, got `{type(value).__name__}`")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if not 1 < moment.year < 9999:  # an offset may not push it over the edge either
        raise ValueError("Expected a timestamp within the calendar")
    return moment.replace(microsecond=0) if moment.microsecond else moment


def dec_hook(kind: type, value: object) -> object:
    """Lets msgspec decode fields of type `Timestamp | None`; its error names the field."""
    if kind is not Timestamp:
        raise NotImplementedError(kind.__name__)
    return parse(value)
