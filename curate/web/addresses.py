"""Which URLs may be fetched: http(s) to public addresses, and nothing that only looks like it."""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address

import httpx2

LONGEST_URL = 4096

Address = IPv4Address | IPv6Address

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) → the host's addresses as text, in the order to try them; raises OSError where it has none."""

_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")  # no resolver takes longer or empty labels
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Answered by the cloud host that a virtual machine runs on, though the first is public by its number and the
# second (IETF protocol assignments, RFC 6890) passes for global with older Pythons.
_CLOUD_HOSTS = (ipaddress.IPv4Network("168.63.129.16/32"), ipaddress.IPv4Network("192.0.0.0/24"))


class RefusedAddress(Exception):
    """A URL that must not be fetched; its text says which and why."""


def checked_url(url: str | httpx2.URL) -> httpx2.URL:
    """Parse a URL with the parser that will send it, and refuse what is not plain http(s) to a host.

    Raises RefusedAddress for other schemes, credentials, control characters (NUL among them), overlong
    URLs and IP addresses in a disguised spelling (decimal, octal, hexadecimal, shortened). Whether the
    host's addresses are public shows only when it is resolved: `public_addresses`.
    """
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise RefusedAddress(f"not a URL: {error}") from error
    text = str(parsed)
    if len(text) > LONGEST_URL:
        raise RefusedAddress(f"a URL of {len(text)} characters")
    if parsed.scheme not in ("http", "https"):
        raise RefusedAddress(f"the scheme '{parsed.scheme or 'none'}:' is not http or https")
    if not parsed.host:
        raise RefusedAddress("the URL names no host")
    if ":" not in parsed.host and not _HOST.fullmatch(parsed.raw_host.decode("ascii")):
        raise RefusedAddress(f"'{parsed.host}' is no host name")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise RefusedAddress(f"there is no port {parsed.port}")
    if parsed.userinfo:
        raise RefusedAddress("the URL carries a user name or password")
    if "%00" in text:
        raise RefusedAddress("the URL hides a NUL character")
    disguised = _disguised_address(parsed.host)
    if disguised is not None:
        raise RefusedAddress(f"the host '{parsed.host}' is the address {disguised} in disguise")
    return parsed


def refusal(address: Address, port: int, loopback_ports: frozenset[int] = frozenset()) -> str | None:
    """Why this address must not be connected to, or None where it is public.

    IPv4 addresses inside IPv6 ones (mapped, 6to4, Teredo, NAT64) count as what they carry.
    `loopback_ports` opens 127.0.0.0/8 and ::1 on those ports, for tests and the demo; nothing else.
    """
    carried = _carried(address)
    if carried.is_loopback:
        return None if port in loopback_ports else f"{address}, a loopback address"
    if carried.is_link_local:
        return f"{address}, a link-local address (where clouds keep their metadata)"
    if any(carried in network for network in _CLOUD_HOSTS):
        return f"{address}, which belongs to the machine's own cloud"
    public = carried.is_global and not carried.is_multicast
    if isinstance(carried, IPv6Address):
        public = public and carried in _GLOBAL_UNICAST
    return None if public else f"{address}, which is no public address"


async def public_addresses(
    host: str, port: int, resolve: Resolver, loopback_ports: frozenset[int] = frozenset()
) -> list[str]:
    """Resolve a host once and return its addresses, all of them checked.

    One address that is not public refuses the whole host: a name that mixes them is not to be trusted.
    Raises RefusedAddress, or OSError where the name does not resolve.
    """
    try:
        literal: list[str] = [str(ipaddress.ip_address(host))]
    except ValueError:
        literal = []
    found = literal or await resolve(host, port)
    if not found:
        raise OSError(f"the name '{host}' has no address")
    for text in found:
        # A scope ("fe80::1%eth0") exists on link-local addresses alone; the check refuses them either way.
        reason = refusal(ipaddress.ip_address(text.partition("%")[0]), port, loopback_ports)
        if reason is not None:
            raise RefusedAddress(f"the host {'is' if literal else repr(host) + ' resolves to'} {reason}")
    return found


async def system_resolver(host: str, port: int) -> list[str]:
    """The operating system's answer, IPv4 first: half-working IPv6 is the commoner fault."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    ordered = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
    return list(dict.fromkeys(str(entry[4][0]) for entry in ordered))


def _carried(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _disguised_address(host: str) -> str | None:
    """The dotted address that the C library reads from `2130706433`, `0177.0.0.1`, `0x7f.1`."""
    try:
        packed = socket.inet_aton(host.rstrip("."))
    except (OSError, ValueError):
        return None
    dotted = socket.inet_ntoa(packed)
    return None if dotted == host else dotted
