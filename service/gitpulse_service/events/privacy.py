"""What a raw body never keeps: values that may be secrets, and, where nobody wants them kept, e-mail addresses."""

from __future__ import annotations

import hashlib
import re

import msgspec

from gitpulse_service.events.decode import without_nul

_EMPTY = {"variables": msgspec.Raw(b"[]"), "push_options": msgspec.Raw(b"{}")}
_HOLDERS = ("object_attributes", "builds")
"""Where they are, beside the body itself."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_EMAIL = re.compile(r"""[^\s<>"'(),:;@]+@[^\s<>"'(),:;@]+""")


def without_secrets(body: bytes) -> bytes:
    """A body without the values of a pipeline's variables and of push options.

    Its other values stay unread, as they were sent. `{}` for a body whose names are no plain text: not GitLab's.
    """
    try:
        content = _emptied(without_nul(body))
        for name in content.keys() & _HOLDERS:
            listed = bytes(content[name])[:1] == b"["
            within = [_emptied(one) for one in _list(content[name])] if listed else _emptied(content[name])
            content[name] = msgspec.Raw(msgspec.json.encode(within))
    except (UnicodeDecodeError, msgspec.ValidationError):
        return b"{}"
    return msgspec.json.encode(content)


def without_emails(body: bytes) -> bytes:
    """A body with a pseudonym for each e-mail address, wherever it stands."""
    return _STRING.sub(lambda found: _hidden(found[0]), body) if b"@" in body or b"\\u0040" in body else body


def pseudonym(email: str) -> str:
    """What stands for an e-mail address where addresses are not kept: the same for the same one, in any case.

    A hash without a key: who guesses the address can check the guess, as with the name beside it. A text without `@`
    is no address and stays, so that this may be done twice.
    """
    if "@" not in email:
        return email
    return "~" + hashlib.blake2b(email.strip().lower().encode(), digest_size=16).hexdigest()


def hidden(text: str) -> str:
    """A text with a pseudonym for each e-mail address in it."""
    return _EMAIL.sub(lambda email: pseudonym(email[0]), text)


def _hidden(string: bytes) -> bytes:
    if b"@" not in string and b"\\u0040" not in string:
        return string
    try:
        text = msgspec.json.decode(string, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b'""'
    return msgspec.json.encode(hidden(text))


def _emptied(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    content = _shallow(raw)
    return content | {name: _EMPTY[name] for name in content.keys() & _EMPTY.keys()}


_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
