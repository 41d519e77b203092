"""The keys of our tables: hashes of what identifies a thing, the same whichever event comes first."""

from __future__ import annotations

import hashlib
import re
import unicodedata

NO_REPLY = re.compile(r"(\d+)-([^@]+)@users\.noreply\..+")
"""The address that GitLab commits with for whoever hides theirs: id and user name."""


def project(instance: str, gitlab_id: int) -> int:
    """A project's, told apart between instances."""
    return _key(instance, str(gitlab_id))


def account(instance: str, gitlab_id: int) -> int:
    """The identity of a GitLab account."""
    return _key("account", instance, str(gitlab_id))


def author(name: str | None, email: str | None) -> int:
    """The identity of a git author, on whichever GitLab; None: not known, or redacted."""
    return _key("author", name or "", email or "")


def fold(text: str) -> str:
    """The text as names and addresses are compared: case, width and extra blanks are no difference."""
    return unicodedata.normalize("NFKC", " ".join(text.split())).casefold()


def handles(name: str | None, email: str | None, username: str | None, gitlab_id: int | None) -> dict[str, str | None]:
    """By what an identity is looked up in the map of people, as columns of `identity`."""
    hidden = NO_REPLY.fullmatch(email or "")
    number = str(gitlab_id) if gitlab_id is not None else hidden and hidden[1]
    found = {"name": name, "email": email, "username": username or (hidden and hidden[2]), "account": number}
    return {f"{kind}_key": text if text is None else fold(text) for kind, text in found.items()}


def _key(*parts: str) -> int:
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1  # 63 bits, what a signed column holds
