"""Connections of the page: limits, TLS, clients that do not read, and shutdown."""

from __future__ import annotations

import inspect
import math
import socket
import ssl

import anycorn.tcp_server
import pytest
import trio
import trio.testing
import trustme
from anycorn.worker_context import WorkerContext

from tests.helpers.paging import paged
from trio_dispatch import TargetIds
from trio_dispatch.web.app import make_app
from trio_dispatch.web.server import GONE_TIMEOUT, IDLE_TIMEOUT, SEND_TIMEOUT, WebServer

REQUEST = b"GET /api/session HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_what_the_page_uses_of_anycorn() -> None:
    # A new version of Anycorn is allowed in pyproject.toml only after a look at these.
    server = inspect.signature(anycorn.tcp_server.TCPServer.__init__)
    assert [*server.parameters] == ["self", "app", "config", "context", "state", "stream"]
    assert inspect.iscoroutinefunction(anycorn.tcp_server.TCPServer.run)
    assert {*WorkerContext(None).__dict__} == {
        "max_requests",
        "requests",
        "terminate",
        "terminated",
    }


async def read_response(stream: trio.abc.Stream) -> bytes:
    data = b""
    while b"signed_in" not in data:
        part = await stream.receive_some()
        if not part:
            break
        data += bytes(part)
    return data


async def test_connections_are_limited(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with paged() as site:
        site.page.server._most = 3
        streams = [await site.connect() for _ in range(3)]
        await trio.sleep(1)
        refused = await site.connect()
        await trio.sleep(1)
        with pytest.raises(trio.BrokenResourceError):
            await refused.send_all(REQUEST)
        await site.connect()
        await trio.sleep(1)
        assert caplog.text.count("refused a connection") == 1
        await streams[0].aclose()
        await trio.sleep(GONE_TIMEOUT + 1)
        stream = await site.connect()
        await stream.send_all(REQUEST)
        assert b"200" in await read_response(stream)


class Passing(trio.abc.Stream):
    """A stream that passes everything on to another one."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class From(Passing):
    """A stream that comes from an address."""

    family = socket.AF_INET

    def __init__(self, stream: trio.abc.Stream, address: str) -> None:
        super().__init__(stream)
        self._address = address
        self.socket = self

    def getpeername(self) -> tuple[str, int]:
        return self._address, 50000

    getsockname = getpeername


async def test_one_address_cannot_take_all_connections(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with paged() as site:
        site.page.server._most_per_address = 2

        async def answers(address: str) -> bool:
            ours, theirs = trio.testing.memory_stream_pair()
            site.nursery.start_soon(site.page.server.serve_stream, From(theirs, address))
            try:
                await ours.send_all(REQUEST)
                return b"200" in await read_response(ours)
            except trio.BrokenResourceError:
                return False

        assert [await answers("192.0.2.7") for _ in range(4)] == [True, True, False, False]
        assert caplog.text.count("refused a connection to the page from 192.0.2.7: 2 are") == 1
        assert await answers("192.0.2.8")
        # One client has all addresses of a network.
        assert [await answers(f"2001:db8::{n}") for n in range(3)] == [True, True, False]
        # A proxy on this machine connects for everybody.
        for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
            assert [await answers(address) for _ in range(3)] == [True] * 3
        await trio.sleep(IDLE_TIMEOUT + GONE_TIMEOUT + 1)
        assert site.page.server.connections == 0
        assert await answers("192.0.2.7")
        assert len(site.page.server._by_address) == 1


@pytest.mark.parametrize("sent", [b"", b"GET / HT", REQUEST])
async def test_idle_connections_are_closed(
    autojump_clock: trio.testing.MockClock, sent: bytes
) -> None:
    async with paged() as site:
        stream = await site.connect()
        await stream.send_all(sent)
        with trio.fail_after(IDLE_TIMEOUT + 5):
            while await stream.receive_some():
                pass
        await trio.sleep(1)
        assert site.page.server.connections == 0


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"x" * 99_999,
    ],
)
async def test_garbage_ends_its_connection_only(
    autojump_clock: trio.testing.MockClock, garbage: bytes
) -> None:
    async with paged() as site:
        stream = await site.connect()
        await stream.send_all(garbage)
        with trio.fail_after(IDLE_TIMEOUT + 5):
            while await stream.receive_some():
                pass
        other = await site.connect()
        await other.send_all(REQUEST)
        assert b"200" in await read_response(other)


async def test_body_that_does_not_come(autojump_clock: trio.testing.MockClock) -> None:
    async with paged() as site:
        stream = await site.connect()
        head = b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nX-CSRF: 1\r\n"
        await stream.send_all(
            head + b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        with trio.fail_after(40):
            assert b"408" in await stream.receive_some()


class Slow(Passing):
    """A stream whose other end reads nothing."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self._closed = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._closed.wait()
        raise trio.ClosedResourceError

    async def aclose(self) -> None:
        self._closed.set()
        await self._stream.aclose()


async def test_client_that_does_not_read_is_disconnected(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with paged() as site:
        ours, theirs = trio.testing.memory_stream_pair()
        site.nursery.start_soon(site.page.server.serve_stream, Slow(theirs))
        await ours.send_all(REQUEST)
        await trio.sleep(SEND_TIMEOUT - 1)
        assert site.page.server.connections == 1
        await trio.sleep(GONE_TIMEOUT + 2)
        assert site.page.server.connections == 0


class Listener(trio.abc.Listener[trio.abc.Stream]):
    def __init__(self) -> None:
        self.put, self._receive = trio.open_memory_channel[trio.abc.Stream](math.inf)

    async def accept(self) -> trio.abc.Stream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        await self._receive.aclose()


@pytest.mark.parametrize("slow", [False, True])
async def test_stop_lets_requests_finish_but_waits_for_nobody(
    autojump_clock: trio.testing.MockClock, *, slow: bool
) -> None:
    started = trio.Event()
    ended: list[float] = []

    async def app(scope: object, receive: object, send: trio.abc.SendStream) -> None:
        started.set()
        await trio.sleep(3)
        start = {"type": "http.response.start", "status": 200, "headers": []}
        for message in (start, {"type": "http.response.body", "body": b"signed_in"}):
            await send(message)  # type: ignore[operator]
        ended.append(trio.current_time())

    server, listener = WebServer(app), Listener()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve_listeners, [listener])
        ours, theirs = trio.testing.memory_stream_pair()
        idle, other = trio.testing.memory_stream_pair()
        await listener.put.send(other)
        await listener.put.send(Slow(theirs) if slow else theirs)
        await ours.send_all(REQUEST)
        await started.wait()
        server.stop()
        stopped = trio.current_time()
        # Idle connections end at once.
        with trio.fail_after(1):
            assert not await idle.receive_some()
        if not slow:
            assert b"200" in await read_response(ours)
        await ours.aclose()
    assert trio.current_time() - stopped <= 5.5


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("plan.example").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def test_tls(
    autojump_clock: trio.testing.MockClock, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, client = contexts
    async with paged(hosts=["plan.example"]) as site:
        listener = Listener()
        async with trio.open_nursery() as nursery:
            await nursery.start(
                lambda task_status: site.page.server.serve_listeners(
                    [listener], ssl_context=server, task_status=task_status
                )
            )

            async def connect(*protocols: str) -> trio.SSLStream[trio.abc.Stream]:
                ours: trio.abc.Stream
                ours, theirs = trio.testing.memory_stream_pair()
                await listener.put.send(theirs)
                client.set_alpn_protocols([*protocols])
                stream: trio.SSLStream[trio.abc.Stream] = trio.SSLStream(
                    ours, client, server_hostname="plan.example"
                )
                await stream.do_handshake()
                return stream

            stream = await connect("http/1.1")
            body = b'{"key": "operator-key"}'
            await stream.send_all(
                b"POST /api/login HTTP/1.1\r\nHost: plan.example\r\nX-CSRF: 1\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )
            response = (await read_response(stream)).lower()
            assert b"set-cookie: __host-trio-dispatch=" in response
            assert b"; secure" in response
            assert b"strict-transport-security: max-age=31536000" in response
            # Over TLS the cookie without the prefix, which http could have set, does not count.
            assert (await connect("h2", "http/1.1")).selected_alpn_protocol() == "h2"
            # A client that never shakes hands does not stay.
            ours, theirs = trio.testing.memory_stream_pair()
            await listener.put.send(theirs)
            with trio.fail_after(11):
                assert not await ours.receive_some()
            nursery.cancel_scope.cancel()


async def test_head_is_answered_like_get_without_a_body(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with paged() as site:
        browser = await site.browser()
        app = make_app(site.page.site)
        paths = {route.path for route in app.routes if "GET" in (route.methods or ())}  # type: ignore[attr-defined]
        assert {"/", "/api/events", "/api/plan"} <= paths
        created = await site.client.create(
            1, type="X", start_time="NOW", duration=None, target=TargetIds(1)
        )
        params = {"microgrid": "1", "from": "0", "to": "1000"}
        for path in paths:
            url = path.replace("{id}", str(created.id)).replace("{name:path}", "index.html")
            with trio.fail_after(1):
                head = await browser.http.head(url, params=params)
            assert head.content == b""
            async with browser.http.stream("GET", url, params=params) as get:
                assert head.status_code == get.status_code == 200
                assert head.headers["content-type"] == get.headers["content-type"]
        await trio.sleep(GONE_TIMEOUT + 1)
        assert site.page.server.connections == 0
