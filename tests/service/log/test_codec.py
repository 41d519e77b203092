"""Entries of the log: small, and safe to read whatever they hold."""

import os
import zlib

import pytest
from hypothesis import given, strategies as st

from gitpulse_service.log.codec import COMPRESSED_ABOVE, Corrupt, decode, encode
from harness.envelopes import envelope


@given(st.binary(max_size=3 * COMPRESSED_ABOVE), st.text(max_size=20))
def test_an_entry_opens_to_what_was_stored(body, name):
    stored = envelope(name, body=body)
    assert decode(encode(stored)) == stored


def test_large_bodies_are_compressed_and_small_ones_are_left_alone():
    assert b"aaaaaaaaaaaaaaaaaaaa" in encode(envelope(body=b"a" * 1000))
    assert len(encode(envelope(body=b"a" * 100_000))) < 1000


@given(st.binary(max_size=200))
def test_anything_else_is_corrupt(entry):
    with pytest.raises(Corrupt):
        decode(entry)


@pytest.mark.parametrize("entry", [b"", zlib.compress(b"not msgpack"), encode(envelope(body=os.urandom(9000)))[:-9]])
def test_a_damaged_entry_is_corrupt(entry):
    with pytest.raises(Corrupt):
        decode(entry)
