"""The pages over HTTP: requests of any kind, slow clients, and pages that fail."""

from __future__ import annotations

import contextlib
import logging
import math

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import (
    MockClock,
    memory_stream_pair,
    open_stream_to_socket_listener,
    wait_all_tasks_blocked,
)

from trio_dispatch.metrics.http import Answer, serve_connection, serve_pages

PAGE = b"x_total 5\n"


async def show() -> Answer:
    await trio.lowlevel.checkpoint()
    return Answer(PAGE, content_type="text/plain; version=1")


async def fail() -> Answer:
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError


async def hang() -> Answer:
    await trio.sleep(math.inf)
    raise AssertionError


PAGES = {"/metrics": show, "/fail": fail, "/hang": hang}


@pytest.fixture
async def listener(nursery: trio.Nursery) -> trio.SocketListener:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(serve_pages, PAGES, [listener])
    return listener


async def all_of(stream: trio.abc.Stream) -> bytes:
    return b"".join([bytes(some) async for some in stream])


async def answer(listener: trio.SocketListener, request: bytes) -> bytes:
    """All that comes back, until the connection is closed."""
    async with await open_stream_to_socket_listener(listener) as stream:
        await stream.send_all(request)
        return await all_of(stream)


async def test_get(listener: trio.SocketListener) -> None:
    head, _, body = (
        await answer(listener, b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    ).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; version=" in head
    assert b"Connection: close" in head
    assert body == PAGE


async def test_head(listener: trio.SocketListener) -> None:
    got = await answer(listener, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(PAGE)}\r\n".encode() in got
    assert got.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"404 Not Found"),
        (b"GET /metrics/x HTTP/1.0\r\n\r\n", b"404 Not Found"),
        (b"POST /metrics HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", b"501 Unsupported method"),
        (b"\x16\x03\x01 this is TLS\r\n\r\n", b"400 "),
        (b"GET /metrics HTTP/9.9\r\n\r\n", b"505 Invalid HTTP version"),
        (b"GET /metrics HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n", b"431 Too many headers"),
    ],
)
async def test_an_invalid_request_is_refused(
    listener: trio.SocketListener, request_: bytes, status: bytes
) -> None:
    assert (await answer(listener, request_)).startswith(b"HTTP/1.1 " + status)
    assert (await answer(listener, b"GET /metrics HTTP/1.0\r\n\r\n")).endswith(PAGE)


async def test_a_head_that_is_too_long_is_refused(listener: trio.SocketListener) -> None:
    # The rest is not read, which may reset the connection.
    with contextlib.suppress(trio.BrokenResourceError):
        assert not (await answer(listener, b"GET /" + b"x" * 20_000)).startswith(b"HTTP/1.1 200")
    assert (await answer(listener, b"GET /metrics HTTP/1.0\r\n\r\n")).endswith(PAGE)


pieces = st.one_of(
    st.sampled_from(
        [
            b"GET /metrics HTTP/1.1\r\n",
            b"HEAD / HTTP/1.0\r\n",
            b"Host: x\r\n",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Expect: 100-continue\r\n",
            b"Connection: close\r\n",
            b"Connection: upgrade\r\nUpgrade: h2c\r\n",
            b"\r\n",
            b"5\r\nabcde\r\n",
            b"0\r\n\r\n",
            b"CONNECT x:1 HTTP/1.1\r\n",
        ]
    ),
    st.binary(max_size=20),
)


@given(st.lists(pieces, max_size=12))
def test_random_requests_cause_no_error(said: list[bytes]) -> None:
    async def main() -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_connection, PAGES, theirs)
            for piece in said:
                await ours.send_all(piece)
                await wait_all_tasks_blocked()
            await ours.send_eof()
            await wait_all_tasks_blocked()
            await ours.aclose()

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_an_incomplete_request_is_not_waited_for(
    listener: trio.SocketListener, autojump_clock: MockClock
) -> None:
    for said in (b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"):
        began = trio.current_time()
        await answer(listener, said)
        assert 9 < trio.current_time() - began <= 10


async def test_the_number_of_connections_is_limited(
    listener: trio.SocketListener, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        held = [await open_stream_to_socket_listener(listener) for _ in range(20)]
        for stream in held:
            await stream.send_all(b"GET")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await answer(listener, b"") == b""
        await held[0].aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await answer(listener, b"GET /metrics HTTP/1.0\r\n\r\n")).endswith(PAGE)
        for stream in held:
            await stream.aclose()
        nursery.cancel_scope.cancel()


async def test_page_that_fails_is_an_error_and_is_logged(
    listener: trio.SocketListener, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await answer(listener, b"GET /fail HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 500")
    assert "ZeroDivisionError" in caplog.text
    assert caplog.records[0].levelno == logging.ERROR
    assert (await answer(listener, b"GET /x HTTP/1.0\r\n\r\n")).endswith(
        b"use /metrics, /fail, /hang\n"
    )


async def test_page_that_hangs_is_given_up(
    listener: trio.SocketListener, autojump_clock: MockClock
) -> None:
    assert await answer(listener, b"GET /hang HTTP/1.0\r\n\r\n") == b""
    assert trio.current_time() == 10
