"""Which addresses may be connected to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter

import pytest

from pipelines.fetching import addresses
from pipelines.fetching.addresses import CheckedResolver, check_host, is_public, literal_address
from pipelines.fetching.outcome import DNS_ERROR, PRIVATE_ADDRESS, Refused

# fmt: off
FORBIDDEN = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1",
    "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001:db8::1", "2001:0:7f00:1::",
    "2002:7f00:1::", "2002:a00:1::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
]
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111",
    "::ffff:8.8.8.8", "64:ff9b::808:808",
]
# fmt: on


@pytest.mark.parametrize("address", FORBIDDEN)
def test_addresses_that_are_not_of_the_internet(address: str) -> None:
    """Loopback, private, link-local, metadata, shared, documentation, multicast, reserved, or embedding one."""
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet(address: str) -> None:
    """Ordinary addresses pass, mapped and translated ones by what they embed, the borders of private ranges too."""
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.1", "127.0.0.1"), ("2130706433", "127.0.0.1"), ("0x7f000001", "127.0.0.1"), ("0177.0.0.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"), ("127.0.0.1.", "127.0.0.1"), ("0", "0.0.0.0"), ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1"), ("10.1", "10.0.0.1"), ("8.8.8.8", "8.8.8.8"),
    ],
)  # fmt: skip
def test_every_spelling_of_a_number_is_an_address(host: str, address: str) -> None:
    """A host that a C library or a browser reads as a number is judged as that number."""
    assert literal_address(host) == ipaddress.ip_address(address)


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.nip.io", "localhost", "dead.beef", "0xg", "a.b.0x", ""])
def test_names_are_not_addresses(host: str) -> None:
    """A name is left to the resolver, whose answer is judged."""
    assert literal_address(host) is None


def resolve(answers: list[str], *, allow_private: bool = False) -> list[str]:
    async def lookup(host: str) -> list[str]:
        if not answers:
            raise OSError("no such name")
        return answers

    resolver = CheckedResolver(lookup, allow_private=allow_private)
    return [found["host"] for found in asyncio.run(resolver.resolve("name.example", 80))]


def test_what_the_resolver_says_is_judged() -> None:
    """Only private addresses: refused; both kinds: the public ones are connected to; none: dns_error."""
    with pytest.raises(Refused) as caught:
        resolve(["10.0.0.7", "::1"])
    assert caught.value.reason == PRIVATE_ADDRESS
    assert resolve(["10.0.0.7", "93.184.216.34"]) == ["93.184.216.34"]
    assert resolve(["10.0.0.7"], allow_private=True) == ["10.0.0.7"]
    with pytest.raises(Refused) as caught:
        resolve([])
    assert caught.value.reason == DNS_ERROR


def test_numbers_in_urls_are_judged_without_a_resolver() -> None:
    """A literal private host is refused as it stands, a public one and a name pass."""
    with pytest.raises(Refused):
        check_host("0x7f.1")
    check_host("8.8.8.8")
    check_host("example.org")


def test_answers_are_kept_for_a_while() -> None:
    """A name is looked up once for all that want it, again when the answer has expired, sooner when there was none."""
    now, asked = [0.0], Counter[str]()

    async def lookup(host: str) -> list[str]:
        asked[host] += 1
        await asyncio.sleep(0)
        if host == "gone.example":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        if host == "later.example":
            raise socket.gaierror(socket.EAI_AGAIN, "the name server does not answer")
        return ["10.0.0.1"] if host == "inside.example" else ["8.8.8.8"]

    async def run() -> None:
        resolver = CheckedResolver(lookup, now=lambda: now[0])
        names = ["here.example", "gone.example", "later.example", "inside.example"]
        for now[0], expected in (
            (0.0, (1, 1, 1, 1)),
            (50.0, (1, 1, 2, 1)),
            (70.0, (1, 2, 3, 2)),
            (310.0, (2, 3, 4, 3)),
        ):
            found = await asyncio.gather(*(resolver.resolve(name) for name in names * 3), return_exceptions=True)
            assert tuple(asked[name] for name in names) == expected
            assert [getattr(one, "reason", "") for one in found] == ["", DNS_ERROR, DNS_ERROR, PRIVATE_ADDRESS] * 3
        await resolver.close()

    asyncio.run(run())


def test_names_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the name asked for longest ago is forgotten."""
    monkeypatch.setattr(addresses, "_MAX_KNOWN", 3)
    asked: list[str] = []

    async def lookup(host: str) -> list[str]:
        asked.append(host)
        return ["8.8.8.8"]

    async def run() -> None:
        resolver = CheckedResolver(lookup)
        for name in "abcdda":
            await resolver.resolve(name)

    asyncio.run(run())
    assert asked == ["a", "b", "c", "d", "a"]


def test_one_that_gives_up_waiting_leaves_the_others_their_answer() -> None:
    """A lookup goes on when the first to want it is cancelled, and ends with the resolver."""

    async def run() -> tuple[list[str], int]:
        begun, answered, num_asked = asyncio.Event(), asyncio.Event(), 0

        async def lookup(host: str) -> list[str]:
            nonlocal num_asked
            num_asked += 1
            begun.set()
            await answered.wait()
            return ["8.8.8.8"]

        resolver = CheckedResolver(lookup)
        first = asyncio.create_task(resolver.resolve("name.example"))
        await begun.wait()
        second = asyncio.create_task(resolver.resolve("name.example"))
        first.cancel()
        answered.set()
        found = [one["host"] for one in await second]
        answered.clear()
        asyncio.get_running_loop().call_soon(asyncio.create_task(resolver.resolve("other.example")).cancel)
        await asyncio.sleep(0)
        await resolver.close()
        return found, num_asked

    assert asyncio.run(asyncio.wait_for(run(), 5)) == (["8.8.8.8"], 1)
