"""Our gRPC server with a client on C-core."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from tests.helpers.interop.bytes_calls import Call, Calls
from tests.helpers.interop.peers import Peer, start_script, within
from tests.helpers.interop.programs.payloads import CCORE_ROOM, ROOM, SIZES
from tests.helpers.interop.raw import RawCodec
from trio_dispatch.grpc import GRPCError, Limits, Server, Status


class Raises:
    """Raises exceptions."""

    async def echo(self, call: Call) -> None:
        raise RuntimeError("a secret")

    async def repeat(self, call: Call) -> None:
        await call.send_message(b"\0")
        raise GRPCError(Status.ABORTED, "no more")

    __mapping__ = Calls.__mapping__
    join = chat = echo


@asynccontextmanager
async def connected(
    calls: Any, *, options: dict[str, int] | None = None, gzip: bool = False, **ours: Any
) -> AsyncIterator[tuple[Server, Peer]]:
    """Connect a client to a new server; the options are C-core's."""
    server = Server([calls], codec=RawCodec(), **ours)
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(partial(server.serve_tcp, 0, host="127.0.0.1"))
        async with start_script("bytes_client") as client:
            await client.ask("connect", port=address[1], options=options or {}, gzip=gzip)
            yield server, client
        server.stop(grace=0)


@within(30)
async def test_four_kinds_of_call() -> None:
    async with connected(Calls()) as (server, client):
        for name, arguments, count in (
            ("Echo", {"sizes": [5]}, 1),
            ("Repeat", {"sizes": [5], "metadata": [["count", "1000"]]}, 1000),
            ("Join", {"sizes": list(range(1000))}, 1),
            ("Chat", {"sizes": list(range(1000))}, 1000),
            ("Repeat", {"metadata": [["count", "0"]]}, 0),
            ("Join", {}, 1),
            ("Chat", {}, 0),
        ):
            answer = await client.ask("call", name=name, **arguments)
            assert (answer["status"], answer["count"]) == ("OK", count)
            assert answer["intact"]
        assert server.statistics().connections_served == 1
        assert server.statistics().calls_failed == 0


@within(45)
async def test_sizes() -> None:
    async with connected(Calls(), options=CCORE_ROOM, max_message_size=ROOM) as (_, client):
        for size in SIZES:
            assert (await client.ask("call", name="Echo", sizes=[size]))["intact"]
        assert (await client.ask("call", name="Chat", sizes=SIZES))["intact"]


@within(30)
async def test_messages_that_are_too_long() -> None:
    async with connected(Calls(), options=CCORE_ROOM) as (_, client):
        answer = await client.ask("call", name="Echo", sizes=[5 * 2**20])
        assert answer["status"] == "RESOURCE_EXHAUSTED"
        assert (await client.ask("call", name="Echo", sizes=[10]))["intact"]


@within(30)
@pytest.mark.parametrize("limit", [100, 10])
async def test_thousand_calls_at_once(limit: int) -> None:
    """C-core waits when we take fewer at a time."""
    limits = Limits(concurrent_streams=limit)
    async with connected(Calls(), limits=limits) as (server, client):
        assert await client.ask("many", count=1000) == 1000
        assert server.statistics().calls_succeeded == 1000
        assert server.statistics().calls_running == 0


@within(30)
async def test_metadata() -> None:
    sent = [
        ["echo-text", "some text, with: punctuation %"],
        ["echo-twice", "one"],
        ["echo-twice", "two"],
        ["echo-bytes-bin", bytes(range(256)).hex()],
        ["echo-none-bin", ""],
        ["echo-several-bin", "00"],
        ["echo-several-bin", "ffff"],
    ]
    async with connected(Calls()) as (_, client):
        answer = await client.ask("call", name="Echo", metadata=sent)
        assert sorted(answer["initial"]) == sorted(sent)
        assert sorted(answer["trailing"]) == sorted(sent)


@within(30)
async def test_statuses() -> None:
    async with connected(Calls()) as (_, client):
        for status in Status:
            metadata = [["status", str(status.value)], ["count", "3"], ["echo-a", "b"]]
            for name in ("Echo", "Repeat"):
                answer = await client.ask("call", name=name, metadata=metadata)
                assert answer["status"] == status.name
                assert answer["trailing"] == [["echo-a", "b"]]
                if status is not Status.OK:
                    assert answer["details"] == f"100 % wröng: {status.value}"


@within(30)
async def test_handlers_that_raise(caplog: pytest.LogCaptureFixture) -> None:
    async with connected(Raises()) as (_, client):
        answer = await client.ask("call", name="Echo")
        assert answer["status"] == "UNKNOWN"
        assert "secret" not in answer["details"]
        assert "a secret" in caplog.text
        answer = await client.ask("call", name="Repeat")
        assert (answer["status"], answer["count"]) == ("ABORTED", 1)
        assert answer["details"] == "no more"


@within(30)
async def test_unknown_method() -> None:
    server_of_nothing = type("Nothing", (), {"__mapping__": lambda _: {}})()
    async with connected(server_of_nothing) as (_, client):
        assert (await client.ask("call", name="Echo"))["status"] == "UNIMPLEMENTED"


@within(30)
@pytest.mark.parametrize("name", ["Echo", "Repeat"])
async def test_deadlines(name: str) -> None:
    """The client gets the status, and our handler is cancelled."""
    calls = Calls()
    async with connected(calls) as (_, client):
        answer = await client.ask("call", name=name, metadata=[["sleep", "60"]], seconds=0.3)
        assert answer["status"] == "DEADLINE_EXCEEDED"
        await calls.cancelled.wait()
        assert 0 < calls.timeout <= 0.31  # C-core rounds it up
        answer = await client.ask("call", name=name, seconds=20)
        assert answer["status"] == "OK"
        assert 15 < calls.timeout <= 21


@within(30)
async def test_client_leaves_in_mid_stream() -> None:
    """Our handler is cancelled, whether it sends or sleeps."""
    calls = Calls()
    async with connected(calls) as (server, client):
        metadata = [["count", "1000000"]]
        answer = await client.ask("call", name="Repeat", sizes=[1000], metadata=metadata, take=10)
        assert answer["status"] == "CANCELLED"
        await calls.cancelled.wait()

        calls.cancelled = trio.Event()
        await client.ask("begin", name="Echo", metadata=[["sleep", "60"]])
        await calls.sleeping.wait()
        await client.ask("cancel")
        await calls.cancelled.wait()
        assert (await client.ask("call", name="Echo"))["status"] == "OK"
        assert server.statistics().connections_served == 1


@within(30)
async def test_client_dies_in_mid_call() -> None:
    calls = Calls()
    async with connected(calls) as (_, client):
        await client.ask("begin", name="Echo", metadata=[["sleep", "60"]])
        await calls.sleeping.wait()
        await client.kill()
        await calls.cancelled.wait()


@within(30)
async def test_graceful_stop() -> None:
    """A running call finishes, and no other one begins."""
    calls = Calls()
    async with connected(calls) as (server, client):
        await client.ask("begin", name="Echo", sizes=[5], metadata=[["sleep", "0.3"]])
        await calls.sleeping.wait()
        server.stop(grace=20)
        assert (await client.ask("call", name="Echo"))["status"] == "UNAVAILABLE"
        assert (await client.ask("end"))["intact"]


@within(30)
async def test_stop_whose_grace_is_over() -> None:
    calls = Calls()
    async with connected(calls) as (server, client):
        await client.ask("begin", name="Echo", metadata=[["sleep", "60"]])
        await calls.sleeping.wait()
        server.stop(grace=0.1)
        assert (await client.ask("end"))["status"] == "UNAVAILABLE"
        await calls.cancelled.wait()


@within(30)
async def test_keepalive_notices_a_client_that_hangs() -> None:
    calls = Calls()
    async with connected(calls, keepalive_interval=0.2, keepalive_timeout=0.2) as (_, client):
        await client.ask("begin", name="Echo", metadata=[["sleep", "60"]])
        await calls.sleeping.wait()
        client.send_signal(signal.SIGSTOP)
        with trio.fail_after(2):
            await calls.cancelled.wait()


@within(30)
async def test_keepalive_leaves_a_quiet_call_alone() -> None:
    """Both sides send pings."""
    options = {
        "grpc.keepalive_time_ms": 100,
        "grpc.keepalive_timeout_ms": 1000,
        "grpc.http2.max_pings_without_data": 0,
    }
    async with connected(
        Calls(), options=options, keepalive_interval=0.05, keepalive_timeout=1
    ) as (server, client):
        answer = await client.ask("call", name="Echo", metadata=[["sleep", "1"]])
        assert answer["status"] == "OK"
        assert server.statistics().connections_served == 1


@within(30)
async def test_gzip() -> None:
    """Both sides compress their messages."""
    async with connected(Calls(), gzip=True, compression="gzip") as (server, client):
        for name in ("Echo", "Chat"):
            answer = await client.ask("call", name=name, sizes=[100_000])
            assert answer["intact"]
        assert server.statistics().bytes_received < 50_000
        assert server.statistics().bytes_sent < 50_000
