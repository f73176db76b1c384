"""Calls that are repeated when they fail, by a policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamEnded
from trio.testing import MockClock

from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.greeting import Greeter, serve
from tests.helpers.http2_peer import OK, RESPONSE, hello, played_server
from trio_dispatch.grpc import (
    Channel,
    ClientStream,
    GRPCError,
    Proceed,
    RetryPolicy,
    Server,
    Status,
    current_call,
    open_call,
    open_channel,
)
from trio_dispatch.grpc._retry import Attempts, Retries

METHOD = "greeter.v1.Greeter/SayHello"
POLICY = RetryPolicy(methods=[METHOD])


class Flaky(Greeter):
    """Fails as often as told, and notes when it was called."""

    def __init__(self, *failures: Status) -> None:
        super().__init__()
        self.failures = [*failures]
        self.times: list[float] = []

    async def say_hello(self, message: HelloRequest) -> HelloReply:
        self.times.append(trio.current_time())
        if self.failures:
            raise GRPCError(self.failures.pop(0), "flaky")
        return HelloReply(message="done")

    async def greet_all(self, messages: AsyncIterator[HelloRequest]) -> HelloReply:
        self.times.append(trio.current_time())
        raise GRPCError(Status.UNAVAILABLE, "flaky")


def hello_to(channel: Channel, **options: Any) -> Any:
    return GreeterStub(channel).say_hello(HelloRequest(name="x"), **options)


async def test_a_call_is_repeated_until_it_succeeds(autojump_clock: MockClock) -> None:
    greeter = Flaky(Status.UNAVAILABLE, Status.UNAVAILABLE, Status.UNAVAILABLE)
    async with serve(Server([greeter]), retry=POLICY) as channel:
        assert (await hello_to(channel)).message == "done"
        statistics = channel.statistics()
    between = [later - earlier for earlier, later in pairwise(greeter.times)]
    assert between == [pytest.approx(p, rel=0.21) for p in (0.1, 0.2, 0.4)]
    assert (statistics.calls_started, statistics.calls_succeeded) == (1, 1)
    assert statistics.calls_repeated == 3


async def test_after_the_last_attempt_the_error_is_raised(autojump_clock: MockClock) -> None:
    greeter = Flaky(*[Status.UNAVAILABLE] * 9)
    async with serve(Server([greeter]), retry=POLICY) as channel:
        with pytest.raises(GRPCError, match="flaky"):
            await hello_to(channel)
    assert len(greeter.times) == 4


@pytest.mark.parametrize(
    "policy",
    [
        None,
        RetryPolicy(methods=[]),
        RetryPolicy(methods=["greeter.v1.Greeter/SayHellos", "greeter.v1"]),
        RetryPolicy(methods=[METHOD], statuses={Status.ABORTED}),
    ],
)
async def test_other_calls_are_not_repeated(policy: RetryPolicy | None) -> None:
    greeter = Flaky(Status.UNAVAILABLE)
    async with serve(Server([greeter]), retry=policy) as channel:
        with pytest.raises(GRPCError, match="flaky"):
            await hello_to(channel)
    assert len(greeter.times) == 1


async def test_a_service_means_its_unary_methods(autojump_clock: MockClock) -> None:
    greeter = Flaky(Status.UNAVAILABLE)
    policy = RetryPolicy(methods=["greeter.v1.Greeter"])
    async with serve(Server([greeter]), retry=policy) as channel:
        assert (await hello_to(channel)).message == "done"
        with pytest.raises(GRPCError, match="flaky"):
            await GreeterStub(channel).greet_all([HelloRequest()])
    assert len(greeter.times) == 3


async def test_the_server_learns_of_earlier_attempts(autojump_clock: MockClock) -> None:
    seen = []
    async with played_server(retry=POLICY) as (channel, server), trio.open_nursery() as nursery:
        nursery.start_soon(hello_to, channel)
        peer = await server.connections.receive()
        for answer in ([("grpc-status", "14")], [("grpc-status", "14")], None):
            headers: Any = dict((await peer.expect(RequestReceived)).headers)
            seen.append(headers.get("grpc-previous-rpc-attempts"))
            ended = await peer.expect(StreamEnded)
            assert ended.stream_id is not None
            if answer is None:
                await peer.respond(ended.stream_id, hello("x"))
            else:
                peer.h2.send_headers(ended.stream_id, [*RESPONSE, *answer], end_stream=True)
                await peer.flush()
    assert seen == [None, "1", "2"]


@pytest.mark.parametrize(
    ("pushback", "expected"), [("3000", 3.0), ("0", 0.0), ("-1", None), ("soon", None), ("", None)]
)
async def test_the_server_may_ask_for_a_pause(
    pushback: str, expected: float | None, autojump_clock: MockClock
) -> None:
    async with played_server(retry=POLICY) as (channel, server), trio.open_nursery() as nursery:
        errors: list[GRPCError] = []

        @nursery.start_soon
        async def call() -> None:
            try:
                await hello_to(channel)
            except GRPCError as error:
                errors.append(error)

        peer = await server.connections.receive()
        stream_id = await peer.request()
        began = trio.current_time()
        trailers = [("grpc-status", "14"), ("grpc-retry-pushback-ms", pushback)]
        peer.h2.send_headers(stream_id, [*RESPONSE, *trailers], end_stream=True)
        await peer.flush()
        if expected is not None:
            stream_id = await peer.request()
            assert trio.current_time() - began == pytest.approx(expected)
            await peer.respond(stream_id, hello("x"))
    assert len(errors) == (expected is None)


async def test_a_reply_that_has_begun_is_final(autojump_clock: MockClock) -> None:
    """Its headers have come, and perhaps the application has seen them."""

    class Begins(Flaky):
        async def say_hello(self, message: HelloRequest) -> HelloReply:
            await current_call().send_initial_metadata()
            return await super().say_hello(message)

    greeter = Begins(Status.UNAVAILABLE)
    async with serve(Server([greeter]), retry=POLICY) as channel:
        with pytest.raises(GRPCError, match="flaky"):
            await hello_to(channel)
    assert len(greeter.times) == 1


@pytest.mark.parametrize("response", ["reset", "http", "close"])
async def test_other_failures_count_by_their_status(
    response: str, autojump_clock: MockClock
) -> None:
    policy = RetryPolicy(methods=[METHOD], statuses={Status.UNAVAILABLE, Status.CANCELLED})
    async with played_server(retry=policy) as (channel, server), trio.open_nursery() as nursery:
        nursery.start_soon(hello_to, channel)
        peer = await server.connections.receive()
        stream_id = await peer.request()
        match response:
            case "reset":
                peer.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
                await peer.flush()
            case "http":
                peer.h2.send_headers(stream_id, [(":status", "503")], end_stream=True)
                await peer.flush()
            case "close":
                await peer.stream.aclose()
                peer = await server.connections.receive()
        await peer.respond(await peer.request(), hello("x"))
    assert channel.statistics().calls_repeated == 1


async def test_a_connection_that_cannot_be_made(autojump_clock: MockClock) -> None:
    attempts = 0

    async def connect() -> trio.abc.Stream:
        nonlocal attempts
        attempts += 1
        raise OSError("refused")

    async with open_channel(connect, retry=POLICY) as channel:
        with pytest.raises(GRPCError, match="refused"):
            await hello_to(channel)
    assert attempts == 4


async def test_a_deadline_that_would_pass_before(autojump_clock: MockClock) -> None:
    greeter = Flaky(*[Status.UNAVAILABLE] * 9)
    policy = RetryPolicy(methods=[METHOD], initial_backoff=10, max_backoff=10)
    async with serve(Server([greeter]), retry=policy) as channel:
        with pytest.raises(GRPCError, match="flaky"):
            await hello_to(channel, timeout=5)
        with trio.fail_after(5), pytest.raises(GRPCError, match="flaky"):
            await hello_to(channel)
    assert trio.current_time() < 1


async def test_cancelled_while_it_waits_and_received_again(autojump_clock: MockClock) -> None:
    greeter = Flaky(Status.UNAVAILABLE)
    async with (
        serve(Server([greeter]), retry=POLICY) as channel,
        open_call(GreeterStub(channel).say_hello, HelloRequest(name="x")) as call,
    ):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def cancel() -> None:
                    await trio.sleep(0.05)
                    scope.cancel()

                await call.recv_message()
        assert scope.cancelled_caught
        assert len(greeter.times) == 1
        assert await call.recv_message() == HelloReply(message="done")
        assert call.trailing_metadata == {}


async def test_a_cancelled_call_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    greeter = Flaky(*[Status.UNAVAILABLE] * 9)
    async with serve(Server([greeter]), retry=POLICY) as channel:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hello_to, channel)
                await trio.sleep(0.05)
                scope.cancel()
        assert channel.statistics().streams_open == 0
    assert len(greeter.times) == 1


async def test_interceptors_see_one_call(autojump_clock: MockClock) -> None:
    seen = []

    async def note(call: ClientStream[Any, Any], proceed: Proceed) -> None:
        await proceed()
        seen.append(call.trailing_metadata)

    greeter = Flaky(Status.UNAVAILABLE)
    async with serve(Server([greeter]), retry=POLICY, interceptors=[note]) as channel:
        await hello_to(channel)
    assert seen == [{}]


async def test_a_refused_stream_is_repeated_without_a_policy() -> None:
    async with played_server() as (channel, server), trio.open_nursery() as nursery:
        nursery.start_soon(hello_to, channel)
        peer = await server.connections.receive()
        peer.h2.reset_stream(await peer.request(), ErrorCodes.REFUSED_STREAM)
        await peer.respond(await peer.request(), hello("x"), OK)
    assert channel.statistics().calls_repeated == 0


# The policy.


def pauses(attempts: Attempts, *failures: tuple[Status, str | None]) -> list[float | None]:
    found = []
    for status, pushback in failures:
        trailers = [] if pushback is None else [("grpc-retry-pushback-ms", pushback)]
        found.append(attempts.pause(status, trailers))
        attempts.repeated += 1
    return found


def test_pauses() -> None:
    policy = RetryPolicy(
        methods=["a.B"], max_attempts=5, initial_backoff=1, backoff_multiplier=3, max_backoff=5
    )
    attempts = Retries(policy).attempts("/a.B/C")
    assert attempts is not None
    found = pauses(attempts, *[(Status.UNAVAILABLE, None)] * 5)
    assert found == [*(pytest.approx(p, rel=0.2) for p in (1, 3, 5, 5)), None]


def test_a_pause_of_the_server_starts_the_backoff_again() -> None:
    attempts = Retries(RetryPolicy(methods=["a.B/C"])).attempts("/a.B/C")
    assert attempts is not None
    failures = [(Status.UNAVAILABLE, None), (Status.UNAVAILABLE, "70"), (Status.UNAVAILABLE, None)]
    assert pauses(attempts, *failures) == [
        pytest.approx(0.1, rel=0.2),
        0.07,
        pytest.approx(0.1, rel=0.2),
    ]


def test_tokens() -> None:
    retries = Retries(RetryPolicy(methods=["a.B"], max_tokens=4, token_ratio=0.5))

    def fail(status: Status = Status.UNAVAILABLE, pushback: str | None = None) -> bool:
        attempts = retries.attempts("/a.B/C")
        assert attempts is not None
        return pauses(attempts, (status, pushback)) != [None]

    assert fail()
    assert not fail()  # half of them are left
    assert not fail(Status.NOT_FOUND)
    assert retries.tokens == 2
    assert not fail(Status.NOT_FOUND, "-1")
    assert retries.tokens == 1
    attempts = retries.attempts("/a.B/C")
    assert attempts is not None
    for _ in range(5):
        attempts.succeeded()
    assert retries.tokens == 3.5
    assert not fail(pushback="x")
    assert retries.tokens == 2.5
    for _ in range(9):
        attempts.succeeded()
    assert retries.tokens == 4
    assert fail()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_attempts": 1}, "max_attempts is 1, expected 2 to 5"),
        ({"max_attempts": 6}, "max_attempts is 6"),
        ({"initial_backoff": 0}, "initial_backoff is 0"),
        ({"max_backoff": float("inf")}, "max_backoff is inf"),
        ({"backoff_multiplier": -1}, "backoff_multiplier is -1"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"token_ratio": float("nan")}, "token_ratio is nan"),
        ({"methods": "a.B/C"}, "the string 'a.B/C'"),
        ({"statuses": [Status.OK]}, "contains OK"),
    ],
)
def test_invalid_policies(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RetryPolicy(**{"methods": ["a.B/C"], **wrong})
