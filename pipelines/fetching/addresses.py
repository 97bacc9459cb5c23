"""Which addresses may be connected to: the public internet's, and nothing of the machine or network we stand in.

A URL's host is judged as it is written when it is a number in any spelling, and by what the resolver says when it is a
name. The addresses that were judged are the ones connected to, so a second answer of a rebinding name is never used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from pipelines.fetching.outcome import DNS_ERROR, PRIVATE_ADDRESS, Refused

_KEEP_S = 300.0
_KEEP_FAILURE_S = 60.0
_LOCAL_TROUBLE = frozenset({socket.EAI_AGAIN, socket.EAI_MEMORY, socket.EAI_SYSTEM})  # says nothing of the name
_MAX_KNOWN = 10_000  # names, about 500 bytes each

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str], Awaitable[list[str]]]
"""A host name to the addresses that the DNS gives for it; raises OSError when it gives none."""

_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))  # RFC 6052, RFC 8215
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")  # RFC 4291, deprecated; some stacks still route it
_NOT_GLOBAL = (
    ipaddress.ip_network("100.64.0.0/10"),  # carrier-grade NAT, RFC 6598
    ipaddress.ip_network("192.0.0.0/24"),  # IETF protocol assignments; clouds keep metadata at 192.0.0.192
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relay anycast, RFC 7526
    ipaddress.ip_network("fec0::/10"),  # site-local, RFC 3879
)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to, if it is of a translating or tunnelling kind."""
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if address in _IPV4_COMPATIBLE or any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def is_public(address: Address) -> bool:
    """Return whether an address is of the public internet, the IPv4 address embedded in an IPv6 one judged too."""
    if isinstance(address, ipaddress.IPv6Address):
        embedded = _embedded(address)
        if embedded is not None:
            return is_public(embedded)
    if any(address.version == network.version and address in network for network in _NOT_GLOBAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def literal_address(host: str) -> Address | None:
    """Return the address that a URL's host spells as a number, or None when the host is a name.

    Browsers and C libraries read 127.1, 2130706433, 0x7f.0.0.1 and 0177.0.0.1 as 127.0.0.1, so they are judged so
    (WHATWG URL, "ends in a number").
    """
    bare = host.strip("[]").partition("%")[0].rstrip(".")
    last = bare.rpartition(".")[2].lower()
    if ":" not in bare and not last[:1].isdigit():
        return None  # most hosts: their last label is no number
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    if not (last.isdigit() or last.startswith("0x")):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(bare))
    except (OSError, UnicodeEncodeError):
        return None


def check_host(host: str) -> None:
    """Raise Refused(private_address) when a URL's host is a number that is not of the public internet."""
    address = literal_address(host)
    if address is not None and not is_public(address):
        raise Refused(PRIVATE_ADDRESS, host)


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


async def system_lookup(host: str) -> list[str]:
    """Return the addresses that the system's resolver gives."""
    return [found["host"] for found in await ThreadedResolver().resolve(host, family=socket.AF_UNSPEC)]


@dataclass(frozen=True)
class _Known:
    """What a name resolves to: addresses that may be connected to, or the reason and detail of a refusal."""

    expires: float
    addresses: tuple[str, ...] = ()
    refusal: tuple[str, str] | None = None


class CheckedResolver(AbstractResolver):
    """The client's only way from a name to addresses: public ones, or all when `allow_private`; refuses otherwise.

    Answers are kept for five minutes, "no such name" for one; that nobody could be asked is not kept. `now` is
    a clock, in seconds.
    """

    def __init__(
        self, lookup: Lookup = system_lookup, *, allow_private: bool = False, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._lookup = lookup
        self._allow_private = allow_private
        self._now = now
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[_Known]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses to connect to; raises Refused (dns_error, private_address)."""
        known = self._known.get(host)
        if known is None or known.expires <= self._now():
            task = self._asking.get(host)
            if task is None:
                task = self._asking[host] = asyncio.create_task(self._ask(host))
            known = await asyncio.shield(task)  # others wait for it too, whatever becomes of this one
        if known.refusal:
            reason, detail = known.refusal
            is_dead = reason == DNS_ERROR
            raise Refused(reason, detail, is_passing=is_dead, is_unreached=is_dead)
        return [_result(host, one, port) for one in known.addresses]

    async def _ask(self, host: str) -> _Known:
        try:
            known = self._judged(host, await self._lookup(host))
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be written in IDNA
            kept_s = 0.0 if isinstance(error, OSError) and error.errno in _LOCAL_TROUBLE else _KEEP_FAILURE_S
            known = _Known(self._now() + kept_s, refusal=(DNS_ERROR, f"{host} does not resolve"))
        finally:
            del self._asking[host]
        self._known.pop(host, None)
        self._known[host] = known  # last asked, last dropped
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]
        return known

    def _judged(self, host: str, found: list[str]) -> _Known:
        allowed = tuple(
            one for one in found if self._allow_private or is_public(ipaddress.ip_address(one.partition("%")[0]))
        )
        if allowed:
            return _Known(self._now() + _KEEP_S, allowed)
        refusal = (PRIVATE_ADDRESS, f"{host} is {min(found)}") if found else (DNS_ERROR, f"{host} does not resolve")
        return _Known(self._now() + _KEEP_FAILURE_S, refusal=refusal)

    async def close(self) -> None:
        """End the lookups that nobody waits for any more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class FixedResolver(AbstractResolver):
    """Every name is one address and port: the miniature web, or a proxy of one's own."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the one address."""
        return [_result(host, self._address, self._port)]

    async def close(self) -> None:
        """Nothing is held open."""
