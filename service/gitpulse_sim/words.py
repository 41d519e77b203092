"""Words for made-up work: titles, sentences, file names."""

from __future__ import annotations

import re
from random import Random

_VERBS = ("Add", "Fix", "Remove", "Rename", "Speed up", "Document", "Simplify", "Test", "Translate", "Cache")
_THINGS = ("login page", "search", "invoice export", "rate limit", "image upload", "health check", "price list",
           "password reset", "audit log", "start page", "newsletter", "date picker")  # fmt: skip
_REASONS = ("as customers asked", "before the next release", "because it was slow", "so that it can be tested",
            "after yesterday's outage", "as the design says")  # fmt: skip
_FOLDERS = ("src", "tests", "docs", "assets")


def title(random: Random) -> str:
    return f"{random.choice(_VERBS)} the {random.choice(_THINGS)}"


def sentence(random: Random) -> str:
    return f"{title(random)} {random.choice(_REASONS)}. See item {random.randint(1, 9999)}."


def slug(text: str) -> str:
    return re.sub(r"[^a-z]+", "-", text.lower())


def paths(random: Random) -> list[str]:
    """One to three paths, often ones that other commits touch too."""
    return [
        f"{random.choice(_FOLDERS)}/{slug(random.choice(_THINGS))}-{random.randint(1, 5)}.txt"
        for _ in range(random.randint(1, 3))
    ]
