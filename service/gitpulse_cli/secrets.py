"""`gitpulse secret`, and where commands take a hook's secret from: never from their arguments, which others can see."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from gitpulse_cli.errors import WrongInput
from gitpulse_cli.inputs import text_of

VARIABLE = "GITLAB_WEBHOOK_SECRET"


def given(file: Path | None) -> str:
    """The secret in this file, or else in the environment. Raises WrongInput."""
    secret = text_of(file) if file else os.environ.get(VARIABLE, "").strip()
    if not secret:
        raise WrongInput(f"which secret? Set {VARIABLE}, or name a file with --secret-file")
    return secret


def generate(*, signing: bool) -> str:
    """A new one of 256 bits: a plain token, or a signing token as GitLab 19 has them."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}" if signing else secrets.token_hex(32)
