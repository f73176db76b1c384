"""Which address of a name a connection is made to."""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any

import trio

from trio_dispatch.grpc._dialer import Candidate, Dialer

ADDRESSES = [(f"192.0.2.{number}", 443) for number in range(1, 4)]


class Resolver(trio.abc.HostnameResolver):
    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
            for address in ADDRESSES
        ]

    async def getnameinfo(self, *_: Any) -> Any:
        raise NotImplementedError


def make_dialer() -> Dialer:
    trio.socket.set_custom_hostname_resolver(Resolver())
    return Dialer(None, "some.name", 443, None, "some.name", "some.name")


async def first(dialer: Dialer) -> Candidate:
    return (await dialer.candidates())[0]


async def test_connections_of_a_channel_are_spread_evenly() -> None:
    dialer = make_dialer()
    made = []
    for _ in range(30):
        candidate = await first(dialer)
        dialer.opened(candidate)
        made.append(candidate)
    assert Counter(each.address for each in made) == dict.fromkeys(ADDRESSES, 10)
    for candidate in made:
        if candidate.address == ADDRESSES[1]:
            dialer.closed(candidate)
    for _ in range(10):
        candidate = await first(dialer)
        assert candidate.address == ADDRESSES[1]
        dialer.opened(candidate)


async def test_channels_begin_at_any_address() -> None:
    firsts = Counter([(await first(make_dialer())).address for _ in range(300)])
    assert all(firsts[address] > 50 for address in ADDRESSES)


async def test_address_that_failed_comes_last_until_it_works() -> None:
    dialer = make_dialer()
    failed = await first(dialer)
    dialer.failed(failed)
    for _ in range(10):
        candidates = await dialer.candidates()
        assert candidates[-1].address == failed.address
        dialer.opened(candidates[0])
    dialer.opened(failed)
    assert (await first(dialer)).address == failed.address
