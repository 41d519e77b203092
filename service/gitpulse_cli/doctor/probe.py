"""One GET, told apart by how far it comes: name, connection, TLS, answer. No proxy, no redirect, no cookie."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from gitpulse_cli.doctor import causes
from gitpulse_cli.doctor.finding import Cause

TIMEOUT = 5.0
"""Seconds for each step. GitLab itself waits ten for the whole delivery."""
LARGEST = 64 * 1024

_BY_VERIFY_CODE = {9: causes.TLS_EXPIRED, 10: causes.TLS_EXPIRED, 62: causes.TLS_OTHER_NAME, 64: causes.TLS_OTHER_NAME}
"""OpenSSL's X509_V_ERR_…: not yet valid, expired, another host name or address. https://docs.openssl.org/master/man3/"""


class Unreached(Exception):
    """There was no answer."""

    def __init__(self, cause: Cause, words: str) -> None:
        super().__init__(words)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int
    body: bytes
    ahead: float | None
    """Seconds by which the other side's clock is ahead of this machine's, give or take one; None: it does not say."""

    @property
    def told(self) -> dict[str, Any]:
        """The body, if it is a JSON object."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


async def get(url: str, *, ca: str | None = None, verify: bool = True) -> Reply:
    """Raises Unreached."""
    return await asyncio.to_thread(_get, url, ca, verify)


def _get(url: str, ca: str | None, verify: bool) -> Reply:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        connection = _connection(parts.scheme, host, parts.port, ca, verify)
        try:
            connection.request("GET", parts.path or "/", headers={"User-Agent": "gitpulse-doctor"})
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(LARGEST), _ahead(answer.getheader("Date")))
        finally:
            connection.close()
    except socket.gaierror as error:
        raise Unreached(causes.NAME_UNKNOWN, f"{host}: {error.strerror}") from None
    except ssl.SSLCertVerificationError as error:
        cause = _BY_VERIFY_CODE.get(error.verify_code, causes.TLS_UNTRUSTED)
        raise Unreached(cause, f"{host}: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise Unreached(causes.TLS_BROKEN, f"{host}: {error.reason or error}") from None
    except (OSError, http.client.HTTPException) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreached(causes.NOTHING_LISTENS, f"{parts.netloc.rpartition('@')[2]}: {said}") from None


def _connection(scheme: str, host: str, port: int | None, ca: str | None, verify: bool) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    context = ssl.create_default_context()
    if ca:
        context.load_verify_locations(cadata=ca)
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)


def _ahead(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time() if date else None
    except ValueError:
        return None
