"""Secrets that are derived: the same each time, different for each purpose, unseen."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, strategies as st

from gitpulse_operator.domain.credentials import choose_verification, derive, generations, new_generation

ROOT = bytes(range(32))


def test_known_answers():
    """Fixed for ever: another answer would lock every existing hook out."""
    secret = derive(3, ROOT, "project/42")
    assert secret.generation == 3
    assert secret.token == "5954fffbdffdfdaf2ee226df7dd291b968fee016e034604ff2629c32a1cb4c56"
    assert secret.signing_token == "whsec_mMJyCk9LJ+9FWd2KOjlCN+XeZigtbqrISspnFHuy9hA="


def test_gitlab_takes_the_signing_token():
    """`whsec_` and the base64 of exactly 32 bytes."""
    token = derive(1, ROOT, "group/7").signing_token
    assert token.startswith("whsec_")
    assert len(base64.b64decode(token.removeprefix("whsec_"), validate=True)) == 32
    assert len(token) == 50


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.integers(1), st.integers(1))
def test_no_two_hooks_share_a_secret(one, other, first, second):
    a, b = derive(1, one, f"project/{first}"), derive(1, other, f"project/{second}")
    assert (a.token == b.token) is (a.signing_key == b.signing_key) is ((one, first) == (other, second))
    assert a.token != a.signing_key.hex()


def test_a_secret_never_shows():
    secret = derive(1, ROOT, "project/42")
    assert secret.token not in repr(secret)
    assert repr(secret) == "HookSecret(generation=1)"


def test_generations_newest_first_and_nothing_else():
    data = {**new_generation(2, b"b" * 32), **new_generation(10, b"j" * 32), **new_generation(1, b"a" * 32)}
    strange = {"generation-0": b"x" * 32, "generation-3": b"too short", "token": b"t" * 32, "generation-4x": b"x" * 32}
    assert list(generations({**data, **strange}).items()) == [(10, b"j" * 32), (2, b"b" * 32), (1, b"a" * 32)]


@pytest.mark.parametrize(
    ("wanted", "version", "before", "is_"),
    [
        ("Auto", (18, 11), None, "Token"),
        ("Auto", (18, 11), "Token", "Token"),
        ("Auto", (19, 0), None, "SigningToken"),
        ("Auto", (19, 0), "Token", "Token"),  # its switch was found off; 19.1 has none
        ("Auto", (19, 1), "Token", "SigningToken"),
        ("Auto", (20, 0), None, "SigningToken"),
        ("Auto", (18, 11), "SigningToken", "SigningToken"),  # never downgraded by itself
        ("Token", (19, 1), None, "Token"),
        ("Token", (19, 1), "SigningToken", "Token"),
        ("SigningToken", (18, 0), None, "SigningToken"),
    ],
)
def test_how_a_hook_is_verified(wanted, version, before, is_):
    assert choose_verification(wanted, version=version, before=before) == is_
