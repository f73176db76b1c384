"""The live page over memory streams: a service, the page, and browsers, all in one Trio run."""

# ruff: noqa: ASYNC109 - the interface of httpcore

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpcore
import httpx
import trio
import trio.testing

from trio_dispatch.client.client import DispatchClient
from trio_dispatch.grpc import Channel, open_channel
from trio_dispatch.service import DispatchService, Key, Keys, Right, open_service
from trio_dispatch.web.page import Page, open_page
from trio_dispatch.web.sessions import KeyInfo
from trio_dispatch.web.site import Backend

KEYS = Keys(
    [
        Key("operator-key", name="operator"),
        Key("viewer-key", name="viewer", rights=frozenset({Right.READ})),
        Key("elsewhere-key", name="elsewhere", microgrids=frozenset({7})),
        Key("signed-key", secret="signing-secret", name="signed"),
    ]
)


class Event:
    """A server-sent event."""

    def __init__(self, text: str) -> None:
        fields = dict(line.split(": ", 1) for line in text.split("\n"))
        self.name = fields["event"]
        self.id = fields.get("id")
        self.data: dict[str, Any] = json.loads(fields["data"])

    def __repr__(self) -> str:
        return f"<{self.name} {self.data}>"


class Events:
    """An open stream of events, read in the background."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.seen: list[Event] = []
        self.pings = 0
        self.ended = False
        self._send, self._receive = trio.open_memory_channel[Event](1000)

    async def read(self) -> None:
        text = ""
        async for chunk in self.response.aiter_text():
            text += chunk
            *blocks, text = text.split("\n\n")
            for block in blocks:
                if block == ": ping":
                    self.pings += 1
                elif block.startswith("retry"):
                    pass
                else:
                    event = Event(block)
                    self.seen.append(event)
                    await self._send.send(event)
        self.ended = True
        self._send.close()

    async def next(self, name: str | None = None, *, within: float = 1.0) -> Event:
        """Wait for the next event, or for the next one with a name."""
        with trio.fail_after(within):
            while True:
                event = await self._receive.receive()
                if name is None or event.name == name:
                    return event


class Browser:
    """A browser that has a page open."""

    def __init__(self, connect: Any, host: str = "127.0.0.1:8080") -> None:
        self.http = httpx.AsyncClient(
            transport=_MemoryTransport(connect), base_url=f"http://{host}", timeout=None
        )

    async def __aenter__(self) -> Self:
        await self.http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with trio.CancelScope(shield=True):
            await self.http.__aexit__(kind, error, traceback)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.http.get(path, params=params)

    async def ask(self, path: str, **params: Any) -> Any:
        """Return the JSON of a response that must be successful."""
        response = await self.get(path, **params)
        assert response.status_code == 200, response.text
        return response.json()

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        microgrid: int | None = 1,
        **params: Any,
    ) -> httpx.Response:
        """Send a request that changes something, as the page does."""
        if microgrid is not None:
            params["microgrid"] = microgrid
        return await self.http.request(
            method,
            path,
            params=params,
            json=body,
            headers={"X-CSRF": "1", "Sec-Fetch-Site": "same-origin"},
        )

    async def log_in(self, key: str = "operator-key", secret: str | None = None) -> httpx.Response:
        body = {"key": key} if secret is None else {"key": key, "secret": secret}
        return await self.send("POST", "/api/login", body, microgrid=None)

    @asynccontextmanager
    async def events(self, last_id: str | None = None, microgrid: int = 1) -> AsyncIterator[Events]:
        """Open the stream of events; everything after its beginning is seen."""
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        async with (
            self.http.stream(
                "GET", "/api/events", params={"microgrid": microgrid}, headers=headers
            ) as response,
            trio.open_nursery() as nursery,
        ):
            assert response.status_code == 200
            found = Events(response)
            nursery.start_soon(found.read)
            yield found
            nursery.cancel_scope.cancel()


@dataclass
class Site:
    """A service and its page."""

    service: DispatchService
    page: Page
    client: DispatchClient
    nursery: trio.Nursery
    stack: AsyncExitStack
    line: Line

    async def connect(self) -> trio.abc.Stream:
        """Open a connection to the page."""
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.page.server.serve_stream, theirs)
        return ours

    async def browser(self, key: str | None = "operator-key") -> Browser:
        """Open a browser, and log in unless the key is None."""
        browser = await self.stack.enter_async_context(Browser(self.connect))
        if key is not None:
            assert (await browser.log_in(key)).status_code == 200
        return browser


@dataclass
class Line:
    """The page's line to the service, which can be cut."""

    service: DispatchService
    nursery: trio.Nursery
    works: bool = True
    streams: list[trio.abc.Stream] = field(default_factory=list)

    async def connect(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if not self.works:
            raise ConnectionRefusedError("the line is cut")
        ours, theirs = trio.testing.memory_stream_pair()
        self.streams.append(theirs)
        self.nursery.start_soon(self.service.server.serve_stream, theirs)
        return ours

    async def cut(self) -> None:
        self.works = False
        for stream in self.streams:
            await trio.aclose_forcefully(stream)
        self.streams.clear()


@asynccontextmanager
async def paged(
    *, keys: Keys | None = KEYS, hosts: Iterable[str] = (), own: bool = True, **backend: Any
) -> AsyncIterator[Site]:
    """Run a service and its page.

    Args:
      own: Whether the page knows the keys, as in the process of the service.
    """

    def find_key(text: str) -> KeyInfo | None:
        key = None if service.keys is None else service.keys.find(text)
        if key is None:
            return None
        return KeyInfo(key.name, frozenset(right.value for right in key.rights), key.microgrids)

    async with open_service(keys=keys) as service, trio.open_nursery() as nursery:
        line = Line(service, nursery)
        channel: Channel
        async with (
            open_channel(line.connect) as channel,
            open_channel(Line(service, nursery).connect) as other,
            open_page(
                Backend(
                    channel=channel,
                    keys_required=keys is not None,
                    find_key=find_key if own else None,
                    **backend,
                ),
                hosts=[*hosts],
            ) as page,
            AsyncExitStack() as stack,
        ):
            client = DispatchClient(other, key="operator-key")
            yield Site(service, page, client, nursery, stack, line)
        nursery.cancel_scope.cancel()


# httpx over memory streams.


class _MemoryStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise httpcore.ReadError from exc

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise httpcore.WriteError from exc

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return None


class _MemoryBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, connect: Any) -> None:
        self._connect = connect

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        return _MemoryStream(await self._connect())


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


class _MemoryTransport(httpx.AsyncBaseTransport):
    def __init__(self, connect: Any) -> None:
        # The server closes idle connections, which httpcore sees with real sockets only.
        self._pool = httpcore.AsyncConnectionPool(
            network_backend=_MemoryBackend(connect), max_keepalive_connections=0
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        response = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
            )
        )
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response.stream)
        )

    async def aclose(self) -> None:
        await self._pool.aclose()
