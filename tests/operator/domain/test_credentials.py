"""Secrets that are derived: the same each time, different for each purpose, unseen."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, strategies as st

from gitpulse_operator.domain.credentials import (
    Generation,
    brought_verification,
    check_brought,
    choose_verification,
    derive,
    generations,
)
from gitpulse_operator.errors import HookSecretInvalid

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
    whole = [Generation(10, b"j" * 32), Generation(2, b"mine", brought=True), Generation(1, b"a" * 32)]
    data = {key: value for generation in reversed(whole) for key, value in generation.entry.items()}
    assert data == {"generation-1": b"a" * 32, "brought-2": b"mine", "generation-10": b"j" * 32}
    strange = {"generation-0": b"x" * 32, "generation-3": b"too short", "token": b"t" * 32, "generation-4x": b"x" * 32}
    strange |= {"brought-5": b"", "brought-6": b"whsec_short", "brought-7": b"two words"}
    assert generations({**data, **strange}) == whole
    assert "mine" not in repr(whole)


def test_what_is_brought_is_used_as_it_is():
    token = Generation(2, check_brought(b" my-own-token\n"), brought=True).secret("project/42")
    assert (token.token, token.signing_key) == ("my-own-token", b"")
    assert token.attributes("Token") == {"token": "my-own-token", "signing_token": ""}
    theirs = derive(1, ROOT, "project/1").signing_token
    signing = Generation(3, check_brought(theirs.encode()), brought=True).secret("project/42")
    assert (signing.token, signing.signing_token) == ("", theirs)


@pytest.mark.parametrize("value", [b"", b" \n", b"two words", b"whsec_AAAA", "tökén".encode(), b"x" * 256])
def test_what_cannot_be_a_secret_is_refused_and_not_repeated(value):
    with pytest.raises(HookSecretInvalid) as caught:
        check_brought(value)
    assert not value.strip() or value.decode() not in str(caught.value)


def test_what_is_brought_decides_how_deliveries_are_verified():
    signing = derive(1, ROOT, "project/1").signing_token.encode()
    assert brought_verification(signing, "Auto") == brought_verification(signing, "SigningToken") == "SigningToken"
    assert brought_verification(b"plain", "Auto") == brought_verification(b"plain", "Token") == "Token"
    with pytest.raises(HookSecretInvalid):
        brought_verification(b"plain", "SigningToken")
    with pytest.raises(HookSecretInvalid):
        brought_verification(signing, "Token")


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
