"""What commands are given to work with, files and URLs: used, or refused in a line that says why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from gitpulse_cli.errors import WrongInput


def bytes_of(file: Path) -> bytes:
    """What stands in a file. Raises WrongInput."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise WrongInput(f"{file}: {error.strerror}") from None


def text_of(file: Path) -> str:
    """The same without the blanks around it. Raises WrongInput."""
    try:
        return bytes_of(file).decode().strip()
    except UnicodeDecodeError:
        raise WrongInput(f"{file} is no text") from None


def url_of(text: str) -> str:
    """The callback of an argument. Raises WrongInput."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets or a port that cannot be
        usable = False
    if not usable:
        raise WrongInput(f"{text} is no URL: it is http:// or https://, a host, and what follows")
    return text


def url_or_none(text: str) -> str:
    """The callback of an option, empty where it was not given. Raises WrongInput."""
    return text and url_of(text)


def in_utc(moment: datetime | None) -> datetime | None:
    """The callback of a time in which no zone need be said."""
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)
