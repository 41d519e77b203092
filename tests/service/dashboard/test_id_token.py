"""Which ID tokens are believed: those that our GitLab signed, now, for us and for this sign-in."""

from __future__ import annotations

import base64
import hmac
import json
import time

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from gitpulse_service.dashboard.config import SignIn
from gitpulse_service.dashboard.gitlab import verified
from harness.visitors import URL

SIGN_IN = SignIn("https://gitlab.example.com", "us", "secret", URL, frozenset())
KEY, OTHER = RSAKey.generate_key(parameters={"kid": "a"}), RSAKey.generate_key(parameters={"kid": "a"})
KEYS = {"keys": [KEY.as_dict(private=False)]}
PEM = KEY.as_pem(private=False)


def token(key=KEY, alg="RS256", **changed):
    now = int(time.time())
    claims = {"iss": SIGN_IN.issuer, "aud": "us", "sub": "7", "iat": now, "exp": now + 120, "nonce": "n", **changed}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": "a"}, claims, key, algorithms=[alg])


def by_hash():
    """By the public key, as if it were a secret: everybody has it."""
    text = with_header({"alg": "HS256", "kid": "a"})
    return f"{text}.{encoded(hmac.digest(PEM, text.encode(), 'sha256'))}"


def with_header(header):
    return f"{encoded(json.dumps(header).encode())}.{token().split('.')[1]}"


def encoded(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_a_right_one_is_believed():
    assert verified(token(), KEYS, SIGN_IN, "n")["sub"] == "7"
    assert verified(token(aud=["us"]), KEYS, SIGN_IN, "n")["sub"] == "7"


NOW = int(time.time())
FORGED = {
    "another issuer": lambda: token(iss="https://gitlab.com"),
    "no issuer": lambda: token(iss=None),
    "another audience": lambda: token(aud="them"),
    "another audience, authorized to us": lambda: token(aud="them", azp="us"),
    "no audience": lambda: token(aud=None),
    "ours among others, authorized to another": lambda: token(aud=["us", "them"], azp="them"),
    "another sign-in": lambda: token(nonce="m"),
    "no nonce": lambda: token(nonce=None),
    "over": lambda: token(iat=NOW - 600, exp=NOW - 300),
    "no end": lambda: token(exp=None),
    "of tomorrow": lambda: token(iat=NOW + 86400, exp=NOW + 90000),
    "nobody": lambda: token(sub=None),
    "another key": lambda: token(OTHER),
    "a hash of the public key": by_hash,
    "the header of none": lambda: with_header({"alg": "none"}) + ".",
    "no signature": lambda: f"{token().rpartition('.')[0]}.",
    "another RSA": lambda: token(alg="PS256"),
    "no token": lambda: "a.b.c",
    "empty": lambda: "",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_one_is_not(name):
    forged = FORGED[name]()
    with pytest.raises((JoseError, ValueError)):
        verified(forged, KEYS, SIGN_IN, "n")


def test_an_access_token_of_another_grant_is_not():
    with pytest.raises(JoseError):
        verified(token(at_hash="AAAA"), KEYS, SIGN_IN, "n", "access")
