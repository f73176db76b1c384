"""The cases of gRPC's interoperability tests, as a client carries them out.

They are those of ``doc/interop-test-descriptions.md`` of gRPC that need no cloud and no proxy.  A
client is ours or C-core's; both have the methods of `Client`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from tests.helpers.interop.suite.messages import (
    BoolValue,
    EchoStatus,
    Empty,
    ResponseParameters,
    SimpleRequest,
    StreamingInputCallRequest,
    StreamingOutputCallRequest,
    payload,
)
from tests.helpers.interop.suite.servicer import INITIAL, TRAILING

OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, UNIMPLEMENTED = 0, 1, 2, 3, 4, 12
LARGE_REQUEST, LARGE_REPLY = 271_828, 314_159
SIZES = [(27_182, 31_415), (8, 9), (1_828, 2_653), (45_904, 58_979)]
METADATA: list[tuple[str, str | bytes]] = [
    (INITIAL, "test_initial_metadata_value"),
    (TRAILING, b"\xab\xab\xab"),
]


@dataclass
class Outcome:
    """How a call has ended."""

    code: int
    details: str = ""
    initial: Sequence[tuple[str, Any]] = ()
    trailing: Sequence[tuple[str, Any]] = ()


class Call(Protocol):
    """A call; None is received after its last message, and when it has failed."""

    outcome: Outcome
    """After the block in which it was open."""
    compressed: list[bool] | None
    """Of each received message, None if the client cannot know."""

    async def send(self, message: Any, *, compress: bool = False) -> None: ...
    async def end(self) -> None: ...
    async def receive(self) -> Any: ...
    async def cancel(self) -> None: ...


class Client(Protocol):
    """A client of the test service."""

    sees_compression_of_requests: bool
    """Whether the server knows which requests are compressed."""

    def open(
        self,
        method: str,
        *,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        timeout: float | None = None,
        compressed: bool = False,
    ) -> AbstractAsyncContextManager[Call]: ...

    async def gather(self, function: Callable[[], Awaitable[None]], count: int) -> None:
        """Run a function a given number of times at once."""


class NotApplicableError(Exception):
    """The peer cannot take part in the case."""


@dataclass
class Result:
    """A call that was made from beginning to end."""

    replies: list[Any]
    outcome: Outcome
    compressed: list[bool] | None = field(default=None)

    def check(self, *sizes: int) -> None:
        """Check that it succeeded, with replies of these sizes."""
        assert self.outcome.code == OK, self.outcome
        assert [len(reply.payload.body) for reply in self.replies] == list(sizes)


async def make(client: Client, method: str, *requests: Any, **options: Any) -> Result:
    """Make a call."""
    replies = []
    async with client.open(method, **options) as call:
        for request in requests:
            await call.send(request, compress=options.get("compressed", False))
        await call.end()
        while (reply := await call.receive()) is not None:
            replies.append(reply)
    return Result(replies, call.outcome, call.compressed)


def large(**fields: Any) -> Any:
    return SimpleRequest(
        response_size=LARGE_REPLY,
        payload=payload(LARGE_REQUEST),
        **{name: BoolValue(value=value) for name, value in fields.items()},
    )


async def empty_unary(client: Client) -> None:
    result = await make(client, "EmptyCall", Empty())
    assert (result.outcome.code, result.replies) == (OK, [Empty()])


async def large_unary(client: Client) -> None:
    (await make(client, "UnaryCall", large())).check(LARGE_REPLY)


async def client_compressed_unary(client: Client) -> None:
    if not client.sees_compression_of_requests:
        raise NotApplicableError
    probe = await make(client, "UnaryCall", large(expect_compressed=True))
    assert probe.outcome.code == INVALID_ARGUMENT
    request = large(expect_compressed=True)
    (await make(client, "UnaryCall", request, compressed=True)).check(LARGE_REPLY)
    (await make(client, "UnaryCall", large(expect_compressed=False))).check(LARGE_REPLY)


async def server_compressed_unary(client: Client) -> None:
    for value in (True, False):
        result = await make(client, "UnaryCall", large(response_compressed=value))
        result.check(LARGE_REPLY)
        assert result.compressed in (None, [value]), (value, result.compressed)


async def client_streaming(client: Client) -> None:
    requests = [StreamingInputCallRequest(payload=payload(size)) for size, _ in SIZES]
    result = await make(client, "StreamingInputCall", *requests)
    assert result.outcome.code == OK
    assert [reply.aggregated_payload_size for reply in result.replies] == [74_922]


async def client_compressed_streaming(client: Client) -> None:
    if not client.sees_compression_of_requests:
        raise NotApplicableError
    first, second = [
        StreamingInputCallRequest(
            payload=payload(size), expect_compressed=BoolValue(value=compressed)
        )
        for size, compressed in ((27_182, True), (45_904, False))
    ]
    probe = await make(client, "StreamingInputCall", first)
    assert probe.outcome.code == INVALID_ARGUMENT
    async with client.open("StreamingInputCall", compressed=True) as call:
        await call.send(first, compress=True)
        await call.send(second, compress=False)
        await call.end()
        reply = await call.receive()
    assert (call.outcome.code, reply.aggregated_payload_size) == (OK, 73_086)


async def server_streaming(client: Client) -> None:
    sizes = [size for _, size in SIZES]
    request = StreamingOutputCallRequest(
        response_parameters=[ResponseParameters(size=size) for size in sizes]
    )
    (await make(client, "StreamingOutputCall", request)).check(*sizes)


async def server_compressed_streaming(client: Client) -> None:
    request = StreamingOutputCallRequest(
        response_parameters=[
            ResponseParameters(size=size, compressed=BoolValue(value=compressed))
            for size, compressed in ((31_415, True), (92_653, False))
        ]
    )
    result = await make(client, "StreamingOutputCall", request)
    result.check(31_415, 92_653)
    assert result.compressed in (None, [True, False])


def duplex(request_size: int, reply_size: int) -> Any:
    return StreamingOutputCallRequest(
        response_parameters=[ResponseParameters(size=reply_size)], payload=payload(request_size)
    )


async def ping_pong(client: Client) -> None:
    async with client.open("FullDuplexCall") as call:
        for request_size, reply_size in SIZES:
            await call.send(duplex(request_size, reply_size))
            reply = await call.receive()
            assert len(reply.payload.body) == reply_size
        await call.end()
        assert await call.receive() is None
    assert call.outcome.code == OK


async def empty_stream(client: Client) -> None:
    (await make(client, "FullDuplexCall")).check()


async def custom_metadata(client: Client) -> None:
    for method, request in (
        ("UnaryCall", large()),
        ("FullDuplexCall", duplex(LARGE_REQUEST, LARGE_REPLY)),
    ):
        result = await make(client, method, request, metadata=METADATA)
        result.check(LARGE_REPLY)
        assert METADATA[0] in result.outcome.initial
        assert METADATA[1] in result.outcome.trailing


async def status_code_and_message(client: Client) -> None:
    await _status(client, "test status message", ["UnaryCall", "FullDuplexCall"])


async def special_status_message(client: Client) -> None:
    await _status(client, "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n")


async def _status(client: Client, message: str, methods: Sequence[str] = ("UnaryCall",)) -> None:
    status = EchoStatus(code=UNKNOWN, message=message)
    for method in methods:
        kind = SimpleRequest if method == "UnaryCall" else StreamingOutputCallRequest
        outcome = (await make(client, method, kind(response_status=status))).outcome
        assert (outcome.code, outcome.details) == (UNKNOWN, message)


async def unimplemented_method(client: Client) -> None:
    assert (await make(client, "UnimplementedCall", Empty())).outcome.code == UNIMPLEMENTED


async def unimplemented_service(client: Client) -> None:
    result = await make(client, "UnimplementedServiceCall", Empty())
    assert result.outcome.code == UNIMPLEMENTED


async def cancel_after_begin(client: Client) -> None:
    async with client.open("StreamingInputCall") as call:
        await call.cancel()
        await call.receive()
    assert call.outcome.code == CANCELLED


async def cancel_after_first_response(client: Client) -> None:
    async with client.open("FullDuplexCall") as call:
        await call.send(duplex(27_182, 31_415))
        assert len((await call.receive()).payload.body) == 31_415
        await call.cancel()
        await call.receive()
    assert call.outcome.code == CANCELLED


async def timeout_on_sleeping_server(client: Client) -> None:
    async with client.open("FullDuplexCall", timeout=0.001) as call:
        await call.send(StreamingOutputCallRequest(payload=payload(27_182)))
        await call.receive()
    assert call.outcome.code == DEADLINE_EXCEEDED


async def concurrent_large_unary(client: Client) -> None:
    await client.gather(lambda: large_unary(client), 50)


Case: TypeAlias = Callable[[Client], Awaitable[None]]
CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        empty_unary,
        large_unary,
        client_compressed_unary,
        server_compressed_unary,
        client_streaming,
        client_compressed_streaming,
        server_streaming,
        server_compressed_streaming,
        ping_pong,
        empty_stream,
        custom_metadata,
        status_code_and_message,
        special_status_message,
        unimplemented_method,
        unimplemented_service,
        cancel_after_begin,
        cancel_after_first_response,
        timeout_on_sleeping_server,
        concurrent_large_unary,
    )
}


async def result_of(name: str, client: Client) -> str:
    """Carry out a case; ``passed``, or why not."""
    try:
        await CASES[name](client)
    except NotApplicableError:
        return "not applicable"
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"[:200]
    return "passed"
