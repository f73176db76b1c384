"""Interceptors of calls on the client; those of the server are in `test_server.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.greeting import Greeter, serve
from trio_dispatch.grpc import (
    Cardinality,
    Channel,
    ClientInterceptor,
    ClientStream,
    Deadline,
    GRPCError,
    Proceed,
    Server,
    Status,
    current_call,
    open_call,
)

Call = ClientStream[Any, Any]
HELLO = HelloRequest(name="Trio")


class Echo(Greeter):
    """Sends the metadata of a request back, and says how much time is left."""

    async def say_hello(self, message: HelloRequest) -> HelloReply:
        call = current_call()
        call.set_trailing_metadata(call.metadata)
        left = "" if call.deadline is None else f" {call.deadline.time_remaining():g}"
        reply = await super().say_hello(message)
        return HelloReply(message=reply.message + left)


@asynccontextmanager
async def intercepted(*interceptors: ClientInterceptor) -> AsyncIterator[Channel]:
    async with serve(Server([Echo()]), interceptors=interceptors) as channel:
        yield channel


class Log:
    """An interceptor that notes what it sees."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name = name
        self.lines = lines

    async def __call__(self, call: Call, proceed: Proceed) -> None:
        self.lines.append(f"{self.name} begins {call.method_name}")
        try:
            await proceed()
        except BaseException as exc:
            self.lines.append(f"{self.name} fails: {getattr(exc, 'message', type(exc).__name__)}")
            raise
        self.lines.append(f"{self.name} ends")


async def test_the_first_one_is_outermost() -> None:
    lines: list[str] = []
    async with intercepted(Log("a", lines), Log("b", lines)) as channel:
        assert (await GreeterStub(channel).say_hello(HELLO)).message == "Hello Trio"
    method = "/greeter.v1.Greeter/SayHello"
    assert lines == [f"a begins {method}", f"b begins {method}", "b ends", "a ends"]


async def test_every_kind_of_call() -> None:
    lines: list[str] = []
    async with intercepted(Log("a", lines)) as channel:
        stub = GreeterStub(channel)
        assert [r.message async for r in stub.say_hellos(HelloRequest(name="count:2"))] == [*"01"]
        assert (await stub.greet_all([HELLO])).message == "Hello Trio"
        async with open_call(stub.chat) as chat:
            await chat.send_message(HELLO, end=True)
            assert (await chat.recv_message()) == HelloReply(message="Hello Trio")
        async with open_call(stub.say_hello, HELLO) as call:
            assert (await call.recv_message()) == HelloReply(message="Hello Trio")
    assert lines[1::2] == ["a ends"] * 4


async def test_errors_of_the_call() -> None:
    lines: list[str] = []
    async with intercepted(Log("a", lines), Log("b", lines)) as channel:
        with pytest.raises(GRPCError, match="ABORTED"):
            await GreeterStub(channel).say_hello(HelloRequest(name="fail:ABORTED"))
    assert lines[2:] == ["b fails: you asked for ABORTED", "a fails: you asked for ABORTED"]


async def test_an_error_that_is_found_when_the_block_is_left() -> None:
    lines: list[str] = []
    async with intercepted(Log("a", lines)) as channel:
        stub = GreeterStub(channel)
        with pytest.raises(GRPCError, match="ABORTED"):
            async with open_call(stub.say_hello, HelloRequest(name="fail:ABORTED")):
                pass
    assert lines[1:] == ["a fails: you asked for ABORTED"]


async def test_an_exception_of_the_block() -> None:
    lines: list[str] = []
    error = KeyError("x")
    async with intercepted(Log("a", lines)) as channel:
        with pytest.raises(KeyError) as caught:
            async with open_call(GreeterStub(channel).chat):
                raise error
    assert caught.value is error
    assert lines[1:] == ["a fails: KeyError"]


async def test_cancellation(autojump_clock: MockClock) -> None:
    lines: list[str] = []
    async with intercepted(Log("a", lines)) as channel:
        with trio.move_on_after(1):
            await GreeterStub(channel).say_hello(HelloRequest(name="sleep:5"))
        assert trio.current_time() == pytest.approx(1)
        assert channel.statistics().streams_open == 0
    assert lines[1:] == ["a fails: Cancelled"]


async def test_metadata_may_be_changed_and_read() -> None:
    async def sign(call: Call, proceed: Proceed) -> None:
        call.metadata["key"] = "secret"
        call.metadata.add("bytes-bin", b"\xff")
        await proceed()
        assert call.trailing_metadata is not None
        seen.append(dict(call.trailing_metadata))

    seen: list[dict[str, Any]] = []
    given: dict[str, str | bytes] = {"key": "other", "user": "me"}
    async with intercepted(sign) as channel:
        async with open_call(GreeterStub(channel).say_hello, HELLO, metadata=given) as call:
            await call.recv_message()
        await GreeterStub(channel).say_hello(HELLO)
    assert given == {"key": "other", "user": "me"}
    assert seen[0] == {"key": "secret", "user": "me", "bytes-bin": b"\xff"}
    assert seen[1] == {"key": "secret", "bytes-bin": b"\xff"}


async def test_a_default_deadline(autojump_clock: MockClock) -> None:
    async def bound(call: Call, proceed: Proceed) -> None:
        if call.deadline is None:
            call.deadline = Deadline.from_timeout(5)
        await proceed()

    async with intercepted(bound) as channel:
        stub = GreeterStub(channel)
        assert (await stub.say_hello(HELLO)).message == "Hello Trio 5"
        assert (await stub.say_hello(HELLO, timeout=3)).message == "Hello Trio 3"
        with pytest.raises(GRPCError, match="DEADLINE_EXCEEDED"):
            await stub.say_hello(HelloRequest(name="sleep:50"))


async def test_a_cancel_scope_around_the_call(autojump_clock: MockClock) -> None:
    async def bound(call: Call, proceed: Proceed) -> None:
        with trio.fail_after(5):
            await proceed()

    async with intercepted(bound) as channel:
        assert (await GreeterStub(channel).say_hello(HELLO)).message == "Hello Trio 5"
        with pytest.raises(trio.TooSlowError):
            await GreeterStub(channel).say_hello(HelloRequest(name="sleep:50"))


async def test_it_may_wait_before_and_after(autojump_clock: MockClock) -> None:
    async def slow(call: Call, proceed: Proceed) -> None:
        await trio.sleep(1)
        await proceed()
        await trio.sleep(1)

    async with intercepted(slow, slow) as channel:
        await GreeterStub(channel).say_hello(HELLO)
        assert trio.current_time() == pytest.approx(4)
        for moment in (0.5, 2.5):
            with trio.move_on_after(moment):
                await GreeterStub(channel).say_hello(HELLO)
                raise AssertionError


async def test_it_may_refuse_a_call() -> None:
    async def refuse(call: Call, proceed: Proceed) -> None:
        raise GRPCError(Status.PERMISSION_DENIED, "not from here")

    async with intercepted(refuse) as channel:
        with pytest.raises(GRPCError, match="not from here"):
            await GreeterStub(channel).say_hello(HELLO)
        assert channel.statistics().calls_started == 0


async def test_it_may_raise_another_error_but_not_hide_one() -> None:
    async def translate(call: Call, proceed: Proceed) -> None:
        try:
            await proceed()
        except GRPCError as exc:
            if exc.status is Status.NOT_FOUND:
                raise LookupError(exc.message) from exc

    async with intercepted(translate) as channel:
        stub = GreeterStub(channel)
        with pytest.raises(LookupError, match="you asked for NOT_FOUND") as caught:
            await stub.say_hello(HelloRequest(name="fail:NOT_FOUND"))
        assert isinstance(caught.value.__cause__, GRPCError)
        with pytest.raises(GRPCError, match="ABORTED"):
            await stub.say_hello(HelloRequest(name="fail:ABORTED"))


async def test_it_has_to_proceed_once() -> None:
    async def never(call: Call, proceed: Proceed) -> None:
        pass

    async def twice(call: Call, proceed: Proceed) -> None:
        await proceed()
        await proceed()

    for interceptor, message in ((never, "without"), (twice, "twice")):
        async with intercepted(interceptor) as channel:
            with pytest.raises(RuntimeError, match=message):
                await GreeterStub(channel).say_hello(HELLO)


async def test_calls_at_the_same_time_do_not_meet() -> None:
    async def tag(call: Call, proceed: Proceed) -> None:
        call.metadata["number"] = str(len(seen))
        seen.append("")
        await trio.lowlevel.checkpoint()
        await proceed()
        assert call.trailing_metadata == call.metadata

    seen: list[str] = []
    async with intercepted(tag) as channel, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(GreeterStub(channel).say_hello, HELLO)
    assert len(seen) == 10


async def test_a_call_that_is_not_entered_leaves_nothing_behind() -> None:
    async with intercepted(Log("a", [])) as channel:
        method = ("/greeter.v1.Greeter/SayHello", Cardinality.UNARY_UNARY, HelloRequest, HelloReply)
        channel.request(*method)
