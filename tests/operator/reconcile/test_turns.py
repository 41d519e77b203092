"""Turns: one after another."""

from __future__ import annotations

from gitpulse_operator.names import PROJECT
from gitpulse_operator.reconcile.resource import Ref
from gitpulse_operator.reconcile.turns import MISSED, Turns

A, B, C = (Ref(PROJECT, "n", name) for name in "abc")


def test_each_has_a_turn_of_their_own():
    turns = Turns()
    assert turns.wait(A, 2.0, now=100.0) == 0
    assert turns.wait(B, 2.0, now=100.0) == 2
    assert turns.wait(C, 2.0, now=100.0) == 4
    assert turns.wait(B, 2.0, now=101.0) == 1, "who asks again keeps it"
    assert turns.wait(C, 2.0, now=104.5) == 0
    assert turns.wait(B, 2.0, now=105.0) == 0, "late is not lost"
    assert turns.wait(A, 2.0, now=105.0) == 1


def test_who_never_comes_is_forgotten():
    turns = Turns()
    for who in (A, B, C):
        turns.wait(who, 1.0, now=0.0)
    assert turns.wait(A, 1.0, now=MISSED + 10) == 0
    assert turns._given == {}
