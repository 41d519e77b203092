"""Whose request it is: the client's address, and whether it may deliver. Pure.

A proxy in front hides the address; `X-Forwarded-For` tells it, and anybody can write that header. So it is believed
from the right, entry by entry, as far as each was written by a proxy that we were told to trust.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gitpulse_service.contract import SettingsError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]+)?|([0-9.]+):[0-9]+")


def networks(variable: str, text: str) -> tuple[Network, ...]:
    """Addresses and CIDRs, separated by commas or blanks. Raises SettingsError, naming the variable."""
    try:
        return tuple(ip_network(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}; give addresses or CIDRs such as 10.0.0.0/8, 2001:db8::/32") from None


@functools.lru_cache(4096)  # reading one takes longer than all else here
def address_of(text: str) -> Address | None:
    """Reads `v4`, `v4:port`, `v6`, `[v6]` and `[v6]:port`; None for anything else.

    An IPv4 address that is written as IPv6 is one of IPv4; a zone (`fe80::1%eth0`) is left out.
    """
    text = text.strip(" \t")
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2] or ""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def limited_as(address: Address | None) -> str:
    """What requests are counted by: an IPv4 address, or the /64 of an IPv6 one, which is all one subscriber's."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address or "unknown")


def within(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether it is one of these; an address that is not known never is."""
    return address is not None and any(address in network for network in networks)


def client_address(
    peer: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[Network]
) -> Address | None:
    """The client's address; `peer` is the other end of the connection, header names are in lower case.

    None where the connection has no address. That is not only a Unix socket, but also a TCP client which has reset its
    connection and whose request can be read all the same: so it is nobody's proxy.
    """
    address = address_of(peer[0]) if peer else None
    if not within(address, trusted):
        return address
    forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for")
    for entry in reversed(forwarded.decode("latin-1").split(",")):
        before = address_of(entry)
        if before is None:  # not what a proxy writes; the last one that is believed stands for its client
            return address
        address = before
        if not within(address, trusted):
            return address
    return address
