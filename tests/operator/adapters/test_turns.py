"""Turns at what GitLab allows five times a minute."""

from __future__ import annotations

from hypothesis import given, strategies as st

from gitpulse_operator.adapters.turns import A_MINUTE, PERIOD, Turns


def test_five_at_once_then_in_the_order_of_asking():
    turns = Turns()
    assert [turns.take("p", number, 100.0) for number in range(5)] == [0.0] * 5
    waits = [turns.take("p", number, 100.0) for number in range(5, 12)]
    assert waits == [PERIOD] * 5 + [2 * PERIOD] * 2
    assert turns.take("q", 1, 100.0) == 0.0, "another project has turns of its own"
    assert turns.take("p", "late", 161.0) == PERIOD, "behind those who waited"
    assert [turns.take("p", number, 161.0) for number in (9, 7, 5, 6, 8)] == [0.0] * 5
    assert turns.take("p", 10, 161.0) == PERIOD


def test_a_turn_that_is_let_pass_is_gone():
    turns = Turns()
    for number in range(6):
        turns.take("p", number, 0.0)
    assert turns.take("p", 5, 3 * PERIOD) == 0.0


def test_what_gitlab_says_counts_more():
    turns = Turns()
    assert turns.take("p", 1, 0.0) == 0.0
    assert turns.exhaust("p", 0.0, None) == PERIOD
    assert turns.take("p", 1, 1.0) == PERIOD - 1
    assert turns.exhaust("p", 2.0, 90.0) == 90.0
    assert turns.take("p", 2, 2.0) == 90.0


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 50)), max_size=60))
def test_never_more_than_five_in_a_minute(asks):
    turns, now, taken = Turns(), 0.0, []
    for who, gap in asks:
        now += gap
        if not turns.take("p", who, now):
            taken.append(now)
    assert all(later - earlier >= PERIOD - 1 for earlier, later in zip(taken, taken[A_MINUTE:], strict=False))
