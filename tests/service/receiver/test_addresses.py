"""Whose request it is: no stranger's word counts, whatever it looks like."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given, strategies as st

from gitpulse_service.contract import SettingsError
from gitpulse_service.receiver.addresses import address_of, client_address, limited_as, networks, within

TRUSTED = networks("X", "10.0.0.0/8 2001:db8:a::/48,192.0.2.1")
PROXY = ("10.0.0.1", 1234)


def client(peer, *forwarded, trusted=TRUSTED):
    headers = [(b"x-forwarded-for", f if isinstance(f, bytes) else f.encode()) for f in forwarded]
    found = client_address(peer, [(b"host", b"x"), *headers], trusted)
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("198.51.100.7", [], "198.51.100.7"),
        ("2a00::7", [], "2a00::7"),
        ("198.51.100.7", ["10.0.0.9"], "198.51.100.7"),  # a stranger's header
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["2a00::7"], "2a00::7"),
        ("10.0.0.1", ["[2a00::7]"], "2a00::7"),
        ("10.0.0.1", ["[2a00::7]:443"], "2a00::7"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("2001:db8:a::1", ["198.51.100.7"], "198.51.100.7"),
        ("2001:db8:b::1", ["198.51.100.7"], "2001:db8:b::1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),  # the rightmost
        ("10.0.0.1", ["198.51.100.7, 192.0.2.1"], "198.51.100.7"),  # two proxies
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7 ,192.0.2.1"], "198.51.100.7"),  # several headers, in order
        ("10.0.0.1", ["198.51.100.7", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.7", "192.0.2.1"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # a client among the proxies
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7,"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, junk, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", [b"\xff\xfe"], "10.0.0.1"),
        ("fe80::1%eth0", [], "fe80::1"),
    ],
)
def test_the_client(peer, forwarded, expected):
    assert client((peer, 1), *forwarded) == expected


def test_a_peer_without_an_address_is_no_proxy():
    assert client(None, "198.51.100.7", trusted=networks("X", "0.0.0.0/0 ::/0")) is None


ADDRESS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
STRANGER = ADDRESS.filter(lambda a: not within(address_of(str(a)), TRUSTED))
PROXIES = st.sampled_from(["10.0.0.2", "10.255.0.1", "192.0.2.1", "2001:db8:a::2", "::ffff:10.0.0.3"]).map(ip_address)
HEADERS = st.lists(st.binary(max_size=40) | ADDRESS.map(lambda a: str(a).encode()) | PROXIES.map(lambda a: b"%a" % a))


@st.composite
def written(draw, address):
    """An address as some proxy writes it."""
    text = str(address)
    if isinstance(address, IPv4Address):
        text = draw(st.sampled_from([text, f"::ffff:{text}", f"{text}:80", f"[::ffff:{text}]:1"]))
    else:
        text = draw(st.sampled_from([text, f"[{text}]", f"[{text}]:65535", address.exploded.upper()]))
    return draw(st.sampled_from(["", " ", "\t "])) + text + draw(st.sampled_from(["", " "]))


@given(st.data(), STRANGER, st.lists(PROXIES, min_size=1, max_size=4), HEADERS)
def test_whatever_a_stranger_sends_its_address_is_its_own(data, stranger, proxies, forged):
    headers = list(forged)
    *hops, peer = [stranger, *proxies]
    for hop in hops:  # each proxy adds whom it got the request from
        entry = data.draw(written(hop)).encode()
        if headers and data.draw(st.booleans()):
            headers[-1] += b"," + entry
        else:
            headers.append(entry)
    assert client((str(peer), 1), *headers) == str(address_of(str(stranger)))


@given(STRANGER, HEADERS)
def test_without_a_proxy_no_header_counts(stranger, forged):
    assert client((str(stranger), 1), *forged) == str(address_of(str(stranger)))


@given(st.text() | st.text("0123456789abcdef.:[]% "))
@example("[::1]:")
@example("1.2.3.4:²")
def test_any_text_is_an_address_or_none(text):
    found = address_of(text)
    assert found is None or isinstance(found, IPv4Address | IPv6Address)


@pytest.mark.parametrize(
    "text",
    ["", "x", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4:", "1.2.3.4:x", "[", "[]", "[::1", "[::1]x",
     "[::1]:x", "::1]:80", "1.2.3.4/8", ":::", "localhost", '"1.2.3.4"'],
)  # fmt: skip
def test_what_is_no_address(text):
    assert address_of(text) is None


def test_limits_go_by_the_address_or_the_64():
    assert limited_as(address_of("::ffff:198.51.100.7")) == "198.51.100.7"
    assert limited_as(address_of("2a00:1:2:3:4::5")) == limited_as(address_of("2a00:1:2:3::6")) == "2a00:1:2:3::/64"
    assert limited_as(address_of("2a00:1:2:4::6")) != limited_as(address_of("2a00:1:2:3::6"))
    assert limited_as(None) == "unknown"


def test_lists():
    assert [str(n) for n in networks("X", " 10.0.0.0/8,::1\n,, 192.0.2.1 ")] == [
        "10.0.0.0/8",
        "::1/128",
        "192.0.2.1/32",
    ]
    assert networks("X", " ") == ()
    everywhere = networks("X", "0.0.0.0/0 ::/0")
    assert within(address_of("::ffff:10.9.9.9"), TRUSTED)
    assert not within(address_of("2001:db8:b::1"), TRUSTED)
    assert not within(None, everywhere)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "gitlab.com", "10.0.0.0/33", "10.0.0.0/8; ::1"])
def test_a_list_that_is_wrong(text):
    with pytest.raises(SettingsError, match=r"^GITPULSE_X: [^\n]+; give addresses or CIDRs such as [^\n]+$"):
        networks("GITPULSE_X", text)
