"""An envelope as bytes: msgpack, compressed where that pays."""

from __future__ import annotations

import msgspec
from isal import isal_zlib

from gitpulse_service.events.envelope import Envelope

COMPRESSED_ABOVE = 4 * 1024
"""Bytes. Level 1 takes a JSON body to about a fifth; below this the gain is not worth the time."""

_ZLIB = b"\x78"
"""How every zlib stream begins, and no msgpack array does: entries need no other mark."""
_NOT_ZLIB: type[Exception] = isal_zlib.error  # type: ignore[assignment] # its stub has an instance there


class Corrupt(ValueError):
    """Bytes that `encode` did not make."""


def encode(envelope: Envelope) -> bytes:
    """The bytes kept in the log: zlib's format, for anybody's zlib, made and read in less of its time."""
    plain = _encode(envelope)
    return plain if len(plain) <= COMPRESSED_ABOVE else isal_zlib.compress(plain, 1)


def decode(entry: bytes) -> Envelope:
    """The envelope that `encode` was given. Raises Corrupt."""
    try:
        return _decode(isal_zlib.decompress(entry) if entry[:1] == _ZLIB else entry)
    except (_NOT_ZLIB, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Corrupt(f"not an entry of the event log: {error}") from error


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode
