"""Who may deliver. The vector was computed apart from this code; `standardwebhooks` is the published reference."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st
from standardwebhooks.webhooks import Webhook

from gitpulse_service.contract import Credential, Route, SettingsError
from gitpulse_service.receiver.verification import Refusal, manual_route, verify, verify_gitlab_signature

KEY, OLD_KEY = bytes(range(32)), bytes(reversed(range(32)))
SIGNING_TOKEN = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
BODY = b'{"object_kind":"push","project_id":1}'
NOW = 1744578123
SIGNATURE = "v1,wDwPOnNlkrr0fHWhaLLYFK85dBqf2aFKR1Bxd01ej0s="
SIGNED = {
    b"webhook-id": b"f5e5f430-f57b-4e6e-9fac-d9128cd7232f",
    b"webhook-timestamp": str(NOW).encode(),
    b"webhook-signature": SIGNATURE.encode(),
}
BOTH = Route("hook", "team/web", "", (Credential(2, "new", KEY), Credential(1, "old", OLD_KEY)))
TOKENS = Route("hook", "team/web", "", (Credential(2, "new"), Credential(1, "old")))
STRICT = Route("hook", "team/web", "", BOTH.credentials, require_signature=True)


def check(route, headers, body=BODY, now=NOW):
    return verify(route, headers, body, now=now)


def signed(key=KEY, *, body=BODY, timestamp=NOW, name="msg"):
    """Headers as the reference library makes them."""
    webhook = Webhook(base64.b64encode(key or b"x").decode())
    webhook._whsecret = key  # the library itself refuses an empty key
    moment = datetime.fromtimestamp(timestamp, UTC)
    return {
        b"webhook-id": name.encode(),
        b"webhook-timestamp": str(timestamp).encode(),
        b"webhook-signature": webhook.sign(name, moment, body.decode()).encode(),
    }


def token(value):
    return {b"x-gitlab-token": value}


def test_the_known_answer_is_accepted():
    assert check(BOTH, SIGNED) == 2
    assert check(manual_route(SIGNING_TOKEN), SIGNED) == 0


@given(st.text(max_size=200), st.integers(0, 2_000_000_000), st.uuids())
def test_what_the_reference_library_signs_is_accepted(text, timestamp, name):
    headers = signed(body=text.encode(), timestamp=timestamp, name=str(name))
    assert check(BOTH, headers, text.encode(), now=timestamp) == 2


@pytest.mark.parametrize(
    ("route", "headers", "verdict"),
    [
        pytest.param(BOTH, token(b"new"), 2, id="current token"),
        pytest.param(BOTH, token(b"old"), 1, id="previous token"),
        pytest.param(BOTH, signed(OLD_KEY), 1, id="previous key"),
        pytest.param(BOTH, token(b"never"), Refusal.WRONG_TOKEN, id="wrong token"),
        pytest.param(BOTH, token(b""), Refusal.WRONG_TOKEN, id="empty token"),
        pytest.param(BOTH, token("nøw".encode()), Refusal.WRONG_TOKEN, id="token beyond ASCII"),
        pytest.param(BOTH, token(b"\xff\xfe"), Refusal.WRONG_TOKEN, id="token of no encoding"),
        pytest.param(BOTH, {}, Refusal.NO_SECRET, id="no secret"),
        pytest.param(None, token(b"new"), Refusal.UNKNOWN_HOOK, id="unknown hook"),
        pytest.param(None, SIGNED, Refusal.UNKNOWN_HOOK, id="unknown hook, signed"),
        pytest.param(BOTH, signed(b"x" * 32), Refusal.WRONG_SIGNATURE, id="another key"),
        pytest.param(
            BOTH, signed(b"x" * 32) | token(b"new"), Refusal.WRONG_SIGNATURE, id="the signature decides alone"
        ),
        pytest.param(BOTH, SIGNED | token(b"never"), 2, id="the token is not asked"),
        pytest.param(TOKENS, signed(b"x" * 32) | token(b"new"), 2, id="no key to check the signature with"),
        pytest.param(TOKENS, SIGNED, Refusal.NO_SECRET, id="a signature alone, and no key"),
        pytest.param(STRICT, token(b"new"), Refusal.UNSIGNED, id="signature required"),
        pytest.param(STRICT, SIGNED, 2, id="signature required and there"),
        pytest.param(
            Route("hook", "", "", TOKENS.credentials, require_signature=True),
            SIGNED | token(b"new"),
            Refusal.UNSIGNED,
            id="signature required, no key",
        ),
        pytest.param(Route("hook", "", "", ()), token(b"new"), Refusal.WRONG_TOKEN, id="route without credentials"),
        pytest.param(Route("hook", "", "", (Credential(1),)), token(b""), Refusal.WRONG_TOKEN, id="empty credential"),
        pytest.param(
            Route("hook", "", "", (Credential(1, "nø\r\nw "),)), token("nøw".encode()), 1, id="as GitLab sends it"
        ),
        pytest.param(BOTH, SIGNED | {b"webhook-id": b"another"}, Refusal.WRONG_SIGNATURE, id="another id"),
        pytest.param(BOTH, SIGNED | {b"webhook-timestamp": b"1744578124"}, Refusal.WRONG_SIGNATURE, id="another time"),
        pytest.param(BOTH, SIGNED | {b"webhook-signature": b""}, Refusal.WRONG_SIGNATURE, id="empty signature"),
        pytest.param(BOTH, SIGNED | {b"webhook-signature": b"\xff v1,\xe9"}, Refusal.WRONG_SIGNATURE, id="bytes"),
        pytest.param(
            BOTH, SIGNED | {b"webhook-signature": SIGNATURE[3:].encode()}, Refusal.WRONG_SIGNATURE, id="no version"
        ),
        pytest.param(
            BOTH, SIGNED | {b"webhook-signature": b"v2,x v1,y " + SIGNATURE.encode()}, 2, id="one of several signatures"
        ),
        pytest.param(
            Route("hook", "", "", (Credential(2, "new", KEY), Credential(1, "old"))),
            signed(b""),
            Refusal.WRONG_SIGNATURE,
            id="no key is not an empty key",
        ),
        pytest.param(BOTH, signed(timestamp=NOW - 300), 2, id="five minutes old"),
        pytest.param(BOTH, signed(timestamp=NOW - 301), Refusal.STALE, id="older"),
        pytest.param(BOTH, signed(timestamp=NOW + 301), Refusal.STALE, id="from the future"),
        pytest.param(BOTH, signed(timestamp=NOW - 301) | token(b"new"), Refusal.STALE, id="stale, with a token"),
    ],
)
def test_the_table(route, headers, verdict):
    assert check(route, headers) == verdict


@pytest.mark.parametrize("timestamp", [b"", b"now", b"1e9", b"-1", b"1_744_578_123", "١٢٣".encode(), b"9" * 5000])
def test_a_time_that_is_none_is_stale_however_well_it_is_signed(timestamp):
    digest = hmac.digest(KEY, b"id." + timestamp + b"." + BODY, "sha256")
    headers = {
        b"webhook-id": b"id",
        b"webhook-timestamp": timestamp,
        b"webhook-signature": b"v1," + base64.b64encode(digest),
    }
    assert check(BOTH, headers) == Refusal.STALE


@given(st.dictionaries(st.sampled_from([*SIGNED, b"x-gitlab-token", b"x-hub-signature-256"]), st.binary()), st.binary())
def test_no_bytes_raise_and_none_get_in(headers, body):
    for route in (BOTH, TOKENS, STRICT, None, manual_route("secret"), manual_route(SIGNING_TOKEN)):
        assert isinstance(check(route, headers, body), Refusal)


def relay(secret=b"s3cret", body=BODY, header=b"x-hub-signature-256"):
    return {header: b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode()}


@pytest.mark.parametrize(
    ("route", "headers", "verdict"),
    [
        (manual_route("s3cret"), relay(), 0),
        (manual_route("s3cret"), relay(header=b"x-gitlab-signature"), 0),
        (manual_route("s3cret"), relay(b"other"), Refusal.WRONG_SIGNATURE),
        (manual_route("s3cret"), relay() | token(b"wrong"), Refusal.WRONG_TOKEN),
        (manual_route(SIGNING_TOKEN), relay(KEY), Refusal.UNSIGNED),
        (Route("hook", "", "", (Credential(1, "s3cret"),)), relay(), Refusal.NO_SECRET),
        (Route("", "", "", (Credential(0),)), relay(b""), Refusal.WRONG_SIGNATURE),
    ],
)
def test_a_relay_may_sign_for_the_manual_hook_only(route, headers, verdict):
    assert check(route, headers) == verdict


def test_a_relays_signature():
    digest = hmac.new(b"s3cret", BODY, hashlib.sha256).hexdigest()
    assert verify_gitlab_signature(BODY, f"sha256={digest}", "s3cret")
    assert verify_gitlab_signature(BODY, f"SHA256={digest.upper()}", "s3cret")
    for wrong in (digest, f"sha1={digest}", "sha256=", "", "sha256=ü"):
        assert not verify_gitlab_signature(BODY, wrong, "s3cret")
    assert not verify_gitlab_signature(BODY, f"sha256={hmac.new(b'', BODY, hashlib.sha256).hexdigest()}", "")


@pytest.mark.parametrize("secret", ["", "\n", "whsec_", "whsec_short", "whsec_" + "A" * 44, "whsec_" + "é" * 44])
def test_a_wrong_manual_secret_is_a_wrong_setting(secret):
    with pytest.raises(SettingsError, match="GITLAB_WEBHOOK_SECRET: ") as caught:
        manual_route(secret)
    assert "\n" not in str(caught.value)


def test_a_manual_secret_from_a_file_may_end_its_line():
    assert check(manual_route("s3cret\n"), token(b"s3cret")) == 0
