"""Receiver, Redis and worker are killed under load: what was answered 200 is counted once, the rest heard so.

The long run is `make soak SUITE=receiver N=50`.
"""

from __future__ import annotations

import contextlib

import pytest

from harness.casualties import PER_ROUND, Casualties, Figures
from harness.postgres import postgres_server


@pytest.mark.parametrize(("database", "rounds"), [("sqlite", 2), ("postgresql", 1)])
async def test_what_was_accepted_is_counted_once_whoever_is_killed(tmp_path, database, rounds):
    total = Figures()
    with contextlib.ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/store.db"
        if database == "postgresql":
            url, _ = stack.enter_context(postgres_server())
        async with Casualties.begun(tmp_path, url) as casualties:
            for number in range(rounds):
                total += await casualties.round(number)
    assert (total.lost, total.double, total.other) == (0, 0, 0)
    assert total.sent == rounds * PER_ROUND == total.accepted + total.refused + total.closed
    assert total.accepted <= total.counted <= total.sent
    assert total.kills >= rounds * 3  # one that comes back late in a round is not killed again
    assert total.struck > 0  # or this was no test
    assert total.refused + total.closed > 0
