"""The secrets of hooks, derived from the 32 random bytes of a generation.

Both of a hook's credentials come from the same bytes by HMAC-SHA256, under labels of their own and the hook's parent:
a token that travels in clear tells nothing about the signing key, and the many hooks of a group need one Secret.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ROOT_BYTES = 32
SECRET_KEY = re.compile(r"generation-([1-9][0-9]{0,17})")
"""Keys of a Kubernetes Secret that hold a generation's random bytes."""

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
    """64 hex digits."""
    signing_key: bytes = field(repr=False)
    """32 bytes, the key of the HMAC."""

    @property
    def signing_token(self) -> str:
        """The signing key as GitLab takes it."""
        return f"whsec_{base64.b64encode(self.signing_key).decode()}"

    def attributes(self, verification: Verification) -> dict[str, str]:
        """What is sent to GitLab, so that the hook has this credential and no other."""
        if verification == "SigningToken":
            return {"signing_token": self.signing_token, "token": ""}
        return {"token": self.token}


def derive(generation: int, root: bytes, parent: str) -> HookSecret:
    """The credentials of the hook at `parent`, which is `project/42` or `group/7`."""
    return HookSecret(
        generation,
        hmac.digest(root, f"token\0{parent}".encode(), "sha256").hex(),
        hmac.digest(root, f"signing\0{parent}".encode(), "sha256"),
    )


def generations(data: Mapping[str, bytes]) -> dict[int, bytes]:
    """The generations in a Secret, newest first. What is not one of ours, or was damaged, is left out."""
    found = {
        int(match[1]): root
        for key, root in data.items()
        if (match := SECRET_KEY.fullmatch(key)) and len(root) == ROOT_BYTES
    }
    return dict(sorted(found.items(), reverse=True))


def new_generation(generation: int, root: bytes) -> dict[str, bytes]:
    """The data of a Secret with this one generation."""
    return {f"generation-{generation}": root}


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
