"""Only public addresses, however they are written down or arrived at."""

import asyncio
import contextlib
import ipaddress

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.web.addresses import RefusedAddress, checked_url, public_addresses, refusal

PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822", "2002:5db8:d822::1"]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.5",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    assert refusal(ipaddress.ip_address(address), 80) is None


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_others_are_refused(address: str) -> None:
    assert refusal(ipaddress.ip_address(address), 80) is not None
    assert refusal(ipaddress.ip_address(address), 80, frozenset({8080})) is not None


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_no_better_inside_an_ipv6_one(address: ipaddress.IPv4Address) -> None:
    alone = refusal(address, 80)
    number = int(address)
    wrapped = [(0xFFFF << 32) | number, (0x64FF9B << 96) | number, (0x2002 << 112) | (number << 80)]
    for value in wrapped:
        assert (refusal(ipaddress.IPv6Address(value), 80) is None) == (alone is None)
    if address.is_private or address.is_loopback or address.is_multicast or address.is_reserved:
        assert alone is not None


def test_loopback_opens_on_the_named_ports_alone() -> None:
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert refusal(ipaddress.ip_address(address), 8080, frozenset({8080})) is None
        assert refusal(ipaddress.ip_address(address), 80, frozenset({8080})) is not None


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("file:///etc/passwd", "scheme"),
        ("ftp://example.org/a.jpg", "scheme"),
        ("data:image/png;base64,AAAA", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("//example.org/a.jpg", "scheme"),
        ("example.org/a.jpg", "scheme"),
        ("http:///a.jpg", "host"),
        ("http://a..example/", "no host name"),
        ("http://./", "no host name"),
        (f"http://{'a' * 64}.example/", "no host name"),
        ("http://me:secret@example.org/", "password"),
        ("http://example.org/a\0.jpg", "not a URL"),
        ("http://example.org/a%00.jpg", "NUL"),
        ("http://example.org/a\r\nHost: other", "not a URL"),
        ("http://[not an address]/", "not a URL"),
        ("http://example.org:99999/", "port"),
        ("http://2130706433/", "127.0.0.1 in disguise"),
        ("http://017700000001/", "127.0.0.1 in disguise"),
        ("http://0x7f000001/", "127.0.0.1 in disguise"),
        ("http://0x7f.1/", "127.0.0.1 in disguise"),
        ("http://127.1/", "127.0.0.1 in disguise"),
        ("http://127.0.0.1./", "127.0.0.1 in disguise"),
        ("http://0177.0.0.1/", "not a URL|disguise"),
        ("http://example.org/" + "a" * 5000, "characters"),
    ],
)
def test_urls_that_are_refused_unresolved(url: str, complaint: str) -> None:
    with pytest.raises(RefusedAddress, match=complaint):
        checked_url(url)


@pytest.mark.parametrize(
    "host", ["example.org.", f"{'a' * 63}.example", "xn--bcher-kva.example", "a_b.example", "[::1]"]
)
def test_odd_hosts_pass(host: str) -> None:
    assert checked_url(f"http://{host}/a.jpg").host in (host, host.strip("[]"), "bücher.example")


def test_an_ordinary_url_passes_as_it_is() -> None:
    url = "https://upload.wikimedia.org/wikipedia/commons/a/ab/Fire%20lily.jpg?x=1"
    assert checked_url(url) == httpx2.URL(url)


@given(st.text(max_size=40))
def test_no_text_at_all_crashes_the_check(text: str) -> None:
    for url in (text, f"http://{text}/", f"https://example.org/{text}"):
        with contextlib.suppress(RefusedAddress):
            assert checked_url(url).scheme in ("http", "https")


def test_one_private_address_spoils_a_name() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.1"]

    with pytest.raises(RefusedAddress, match=r"'mixed.example' resolves to 10\.0\.0\.1"):
        asyncio.run(public_addresses("mixed.example", 80, resolve))


def test_a_literal_address_is_not_resolved() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise AssertionError

    assert asyncio.run(public_addresses("93.184.216.34", 80, resolve)) == ["93.184.216.34"]
    with pytest.raises(RefusedAddress):
        asyncio.run(public_addresses("169.254.169.254", 80, resolve))


def test_a_scoped_link_local_address_is_refused() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["fe80::1%eth0"]

    with pytest.raises(RefusedAddress):
        asyncio.run(public_addresses("router.example", 80, resolve))
