"""How far a repair has come, by the numbers of GitLab's log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gitpulse_operator.domain.delivery import Log, Logged
from gitpulse_operator.domain.repair import Repair

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def rows(*ids: int, status: int | None = 502, at: bool = True) -> tuple[Logged, ...]:
    """Newest first; sent a minute after the other."""
    return tuple(Logged(n, status, at=NOON + timedelta(minutes=n) if at else None) for n in sorted(ids, reverse=True))


def test_oldest_first_and_each_once():
    repair = Repair().next(Log((*rows(9, 7), *rows(6, status=200), *rows(3))))
    assert [row.id for row in repair.rest(Log(rows(3, 7, 9, 12)))] == [3, 7, 9], "what fails later is for the next one"
    for row in rows(3, 7, 9)[::-1]:
        assert repair.running
        repair = repair.past(row, resent=row.id != 7)
    assert not repair.running
    assert (repair.resent, repair.lost) == (2, 1)
    assert repair.next(Log(rows(3, 7, 9))) is None
    assert [row.id for row in repair.next(Log(rows(9, 12))).rest(Log(rows(9, 12)))] == [12]
    assert repair.next(Log(rows(12))).resent == 0


def test_a_status_keeps_all_of_it():
    for at in (True, False):
        repair = Repair(2).next(Log(rows(3, 7, at=at))).past(rows(3)[0], resent=True)
        assert Repair.from_status(repair.to_status()) == repair
        assert ("from" in repair.to_status()) is at
    assert Repair.from_status({}) == Repair()
    assert Repair.from_status({"through": "?", "from": 7}) == Repair()


def test_what_it_says():
    repair = Repair().next(Log(rows(3, 7))).past(rows(3)[0], resent=True)
    assert repair.to_status()["phase"] == "Running"
    assert repair.closed().to_status()["phase"] == "Done"
    window = "between 2026-11-23T12:03:00Z and 2026-11-23T12:07:00Z"
    assert str(repair) == f"Of the deliveries that failed {window}, GitLab has sent 1 again."
    assert str(repair.past(rows(7)[0], resent=False)).endswith("GitLab has sent 1 again, 1 could not be.")
    assert str(Repair(resent=3)) == "Of the deliveries that failed, GitLab has sent 3 again."
