"""Placeholders in a hook: `{name}` in its URL, `{{a.b}}` in its custom body."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

KEY = re.compile(r"[A-Za-z]+[0-9]*(?:[._-][A-Za-z0-9]+)*")
"""The name of a URL variable or custom header."""

_VARIABLE = re.compile(r"\{([^{}]+)\}")
_DIG = re.compile(r"\{\{(.+?)\}\}")


class TemplateFailed(ValueError):
    """The rendered text is not JSON, or asks for a value inside an array."""


def placeholders(url: str) -> set[str]:
    return set(_VARIABLE.findall(url))


def interpolate(url: str, variables: Mapping[str, str]) -> str:
    """The URL that is called; a placeholder without a variable stays."""
    return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]), url)


def render(template: str, payload: object) -> bytes:
    """The body that a custom template makes of a payload. Raises TemplateFailed."""
    text = _DIG.sub(lambda found: _dig(payload, found[1]), template)
    try:
        return msgspec.json.encode(msgspec.json.decode(text))
    except msgspec.DecodeError as error:
        raise TemplateFailed(f"Error while parsing rendered custom webhook template: {error}") from error


def _dig(value: object, path: str) -> str:
    for key in path.split("."):
        if isinstance(value, list):
            raise TemplateFailed(
                "Error while parsing rendered custom webhook template: "
                "You may be trying to access an array value, which is not supported."
            )
        value = value.get(key) if isinstance(value, dict) else None
    encoded = msgspec.json.encode(value).decode()
    return encoded[1:-1] if isinstance(value, str) else encoded
