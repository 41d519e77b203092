"""`gitpulse verify`: a request that GitLab sent is judged as the receiver does, and what has gone wrong is named."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from gitpulse_cli.secrets import generate
from gitpulse_sim.deliver import sign, signing_key
from harness.processes import SCRIPTS

TOKEN = "c2VjcmV0LXRva2Vu"
BODY = json.dumps({"object_kind": "push", "user_name": "Zoë", "ref": "refs/heads/main"}, separators=(",", ":"),
                  ensure_ascii=False).encode()  # fmt: skip


def request(body=BODY, *, first="POST /api/v1/webhooks/gitlab HTTP/1.1", end="\r\n", **headers):
    usual = {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Instance": "https://gitlab.example.com"}
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    named = {**usual, "Content-Length": len(BODY), **more}
    lines = [first] * bool(first) + [f"{name}: {value}" for name, value in named.items() if value is not None]
    return end.join([*lines, "", ""]).encode() + body


def signed(secret, body=BODY, *, at=None, **how):
    moment = int(at or time.time())
    signature = sign(signing_key(secret), "id-1", moment, BODY)
    said = {"webhook_id": "id-1", "webhook_timestamp": moment, "webhook_signature": signature} | how
    return request(body, **said)


def verify(captured, secret, *arguments, code):
    done = subprocess.run(
        [SCRIPTS / "gitpulse", "verify", *(arguments or ["-"])],
        input=captured,
        check=False,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "GITLAB_WEBHOOK_SECRET": secret},
    )
    assert done.returncode == code, done
    assert b"Traceback" not in done.stderr
    assert secret.encode() not in done.stdout + done.stderr or not secret
    return (done.stdout + done.stderr).decode()


@pytest.fixture(scope="module")
def signing():
    return generate(signing=True)


def test_what_is_authentic(signing, tmp_path):
    said = verify(request(X_Gitlab_Token=TOKEN), TOKEN, code=0)
    assert said == f"authentic: Push Hook from https://gitlab.example.com, {len(BODY)} bytes\n"
    assert verify(signed(signing), signing, code=0).startswith("authentic")
    for how in ({"end": "\n"}, {"first": ""}, {"body": BODY + b"\n"}):  # as tools and editors save it
        assert verify(signed(signing, **how), signing, code=0).startswith("authentic")
    (tmp_path / "captured").write_bytes(signed(signing))
    (tmp_path / "secret").write_text(signing + "\n")
    assert verify(b"", "", tmp_path / "captured", "--secret-file", tmp_path / "secret", code=0)


def test_a_token_that_is_wrong():
    assert "there is no X-Gitlab-Token" in verify(request(), TOKEN, code=1)
    assert "another hook's" in verify(request(X_Gitlab_Token="other"), TOKEN, code=1)
    assert "upper and lower case" in verify(request(X_Gitlab_Token=TOKEN.upper()), TOKEN, code=1)
    assert "16 characters came, the secret has 20" in verify(request(X_Gitlab_Token=TOKEN), f"{TOKEN}tail", code=1)


def test_a_signature_that_is_wrong(signing):
    assert "and 4" in (said := verify(signed(signing, at=time.time() - 400), signing, code=1))
    assert "s old, where 300 are allowed" in said
    assert "s ahead" in verify(signed(signing, at=time.time() + 400), signing, code=1)
    assert "webhook-signature did not come" in verify(signed(signing, webhook_signature=None), signing, code=1)
    assert "webhook-id did not come" in verify(signed(signing, webhook_id=None), signing, code=1)
    other = generate(signing=True)
    assert "the secret is another one" in verify(signed(signing), other, code=1)
    assert "signing token in the field" in verify(request(X_Gitlab_Token=signing), TOKEN, code=1)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (json.dumps(json.loads(BODY)).encode(), "with its JSON written without blanks the signature is right"),
        (BODY.replace("ë".encode(), b"e"), "the secret is another one, or the body is not what GitLab sent"),
        (BODY[:-4], f"{len(BODY) - 4} bytes of the {len(BODY)} that were announced"),
    ],
)
def test_a_body_that_was_changed_on_the_way(signing, body, says):
    announced = len(body) if len(body) >= len(BODY) - 1 else len(BODY)
    assert says in verify(signed(signing, body, Content_Length=announced), signing, code=1)


def test_what_cannot_be_judged():
    assert "that is no HTTP request" in verify(b"{}", TOKEN, code=2)
    assert "which secret?" in verify(request(), "", code=2)
    assert "32 bytes in base64 must follow" in verify(request(), "whsec_short", code=2)


def test_generated_secrets_are_new_and_work():
    plain, signing = (subprocess.run([SCRIPTS / "gitpulse", "secret", "generate", *how], check=True, text=True,
                                     capture_output=True).stdout.strip() for how in ((), ("--signing",)))  # fmt: skip
    assert len(bytes.fromhex(plain)) == 32
    assert verify(request(X_Gitlab_Token=plain), plain, code=0)
    assert verify(signed(signing), signing, code=0)
    assert generate(signing=False) != generate(signing=False)
