"""The secrets of hooks: derived from the 32 random bytes of a generation, or brought by their user.

Both of a hook's credentials come from the same bytes by HMAC-SHA256, under labels of their own and the hook's parent:
a token that travels in clear tells nothing about the signing key, and the many hooks of a group need one Secret. What a
user brings is one credential, a token or a signing token, and is used as it is.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gitpulse_operator.errors import HookSecretInvalid

ROOT_BYTES = 32
SECRET_KEY = re.compile(r"(generation|brought)-([1-9][0-9]{0,17})")
"""Keys of a Kubernetes Secret that hold a generation: its random bytes, or a copy of what the user brought."""
SIGNING_PREFIX = "whsec_"
BROUGHT_TOKEN = re.compile(r"[!-~]{1,255}")

Verification = Literal["SigningToken", "Token"]
"""How deliveries are verified: by GitLab's signature (19.0 and newer), or by a plain token."""

SIGNS_WHEN_SWITCHED_ON = (19, 0)
"""The version from which GitLab signs, unless its feature flag `webhook_signing_token` is off."""
ALWAYS_SIGNS = (19, 1)
"""The version in which that flag is gone."""


@dataclass(frozen=True, slots=True)
class HookSecret:
    """One generation of one hook's credentials. Its repr shows none of them."""

    generation: int
    token: str = field(repr=False)
    """64 hex digits, or what was brought; empty where a signing token was."""
    signing_key: bytes = field(repr=False)
    """32 bytes, the key of the HMAC; empty where a token was brought."""

    @property
    def signing_token(self) -> str:
        """The signing key as GitLab takes it."""
        return f"{SIGNING_PREFIX}{base64.b64encode(self.signing_key).decode()}"

    def attributes(self, verification: Verification) -> dict[str, str]:
        """What is sent to GitLab, so that the hook has this credential and no other."""
        if verification == "SigningToken":
            return {"signing_token": self.signing_token, "token": ""}
        return {"token": self.token, "signing_token": ""}


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation as a Kubernetes Secret holds it. Its repr shows no secret."""

    number: int
    material: bytes = field(repr=False)
    brought: bool = False

    @property
    def entry(self) -> dict[str, bytes]:
        """Its part of the Secret's data."""
        return {f"{'brought' if self.brought else 'generation'}-{self.number}": self.material}

    def secret(self, parent: str) -> HookSecret:
        """The credentials of the hook at `parent`, which is `project/42` or `group/7`."""
        if not self.brought:
            return derive(self.number, self.material, parent)
        text = self.material.decode()
        if text.startswith(SIGNING_PREFIX):
            return HookSecret(self.number, "", base64.b64decode(text.removeprefix(SIGNING_PREFIX)))
        return HookSecret(self.number, text, b"")


def derive(generation: int, root: bytes, parent: str) -> HookSecret:
    """The credentials of the hook at `parent`, which is `project/42` or `group/7`."""
    return HookSecret(
        generation,
        hmac.digest(root, f"token\0{parent}".encode(), "sha256").hex(),
        hmac.digest(root, f"signing\0{parent}".encode(), "sha256"),
    )


def generations(data: Mapping[str, bytes]) -> list[Generation]:
    """The generations in a Secret, newest first. What is not one of ours, or was damaged, is left out."""
    found: dict[int, Generation] = {}
    for key, material in data.items():
        if match := SECRET_KEY.fullmatch(key):
            generation = Generation(int(match[2]), material, brought=match[1] == "brought")
            if _is_whole(generation):
                found[generation.number] = generation
    return [found[number] for number in sorted(found, reverse=True)]


def check_brought(value: bytes) -> bytes:
    """What a user brought, without the blanks and line ends around it. Raises HookSecretInvalid."""
    text = value.decode(errors="replace").strip()
    if text.startswith(SIGNING_PREFIX):
        try:
            key = base64.b64decode(text.removeprefix(SIGNING_PREFIX), validate=True)
        except ValueError:
            key = b""
        if len(key) != ROOT_BYTES:
            raise HookSecretInvalid(f'a secret that starts with "{SIGNING_PREFIX}" must go on with 32 bytes in base64')
    elif not BROUGHT_TOKEN.fullmatch(text):
        raise HookSecretInvalid("a secret token must be 1 to 255 visible ASCII characters without blanks")
    return text.encode()


def brought_verification(value: bytes, wanted: str) -> Verification:
    """How deliveries are verified by what was brought. Raises HookSecretInvalid if `secret.type` wants it otherwise."""
    kind: Verification = "SigningToken" if value.startswith(SIGNING_PREFIX.encode()) else "Token"
    if wanted not in ("Auto", kind):
        is_ = "a signing token" if kind == "SigningToken" else "a plain token"
        raise HookSecretInvalid(f'what `secret.secretRef` names is {is_}, and `secret.type` is "{wanted}"')
    return kind


def _is_whole(generation: Generation) -> bool:
    if not generation.brought:
        return len(generation.material) == ROOT_BYTES
    try:
        return check_brought(generation.material) == generation.material
    except HookSecretInvalid:
        return False


def choose_verification(wanted: str, *, version: tuple[int, int], before: Verification | None) -> Verification:
    """How a hook is to be verified, by the spec, what GitLab can do, and how it has been verified so far.

    `Auto` never goes back from signatures to tokens. GitLab 19.0 may have signing switched off: a hook that was found
    without it there stays with its token until 19.1, where the switch is gone.
    """
    if wanted == "Token":
        return "Token"
    if wanted == "SigningToken" or before == "SigningToken" or version >= ALWAYS_SIGNS:
        return "SigningToken"
    return "SigningToken" if version >= SIGNS_WHEN_SWITCHED_ON and before is None else "Token"
