"""What the calls of the service's APIs have in common: replies as bytes, errors, streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import betterproto2
import trio
from grpclib.const import Handler

from ..api import runs_wire
from ..api.codec import WIRE
from ..api.decoding import build_time
from ..api.wire import Timestamp
from ..grpc import Cardinality, FramedMessages, MessageCodec, ServerStream, frame_messages
from .grpc_errors import mapped_to_grpc, to_grpc_error
from .store.watchers import Changes, Published, Watcher, Watchers

__all__ = [
    "CODEC",
    "DISCONNECT_GRACE",
    "Encoded",
    "reply",
    "send_changes",
    "unary",
]

DISCONNECT_GRACE: Final = 10.0
"""For this number of seconds a disconnected watcher can still receive its status."""

_Q = TypeVar("_Q")
_C = TypeVar("_C", bound=Published)


class Encoded(bytes):
    """A reply that is encoded already: a store keeps messages as the bytes that are sent."""


CODEC = MessageCodec(
    builders={Timestamp: build_time},
    # A report that cannot be decoded must not make the whole request undecodable.
    decoders={runs_wire.RunReport: bytes, runs_wire.DispatcherStatus: bytes},
    encoders={
        Timestamp: lambda moment: WIRE.encode(moment, Timestamp),
        Encoded: lambda reply: reply,
    },
)
"""The messages of the APIs, and replies that are `Encoded`."""


def unary(handle: Callable[[_Q], Awaitable[Encoded]], request_type: type[_Q]) -> Handler:
    """Return the handler of a call with one request and one reply."""

    async def serve(call: ServerStream[_Q, Encoded]) -> None:
        request = await call.recv_message()
        assert request is not None
        with mapped_to_grpc():
            replies = [await handle(request)]
        # Not kept while the client reads.
        await call.send_message(replies.pop())

    return Handler(serve, Cardinality.UNARY_UNARY, request_type, Encoded)


async def send_changes(
    call: ServerStream[Any, Encoded],
    microgrid_id: int,
    watchers: Watchers[_C],
    encode: Callable[[_C], Encoded],
) -> None:
    """Send the changes of a microgrid until the service ends or the watcher is disconnected.

    A disconnected watcher may be waiting for its client to read, which would keep the call for
    ever; so after `DISCONNECT_GRACE` seconds the call is ended without it.
    """

    def start_grace_period() -> None:
        scope.deadline = trio.current_time() + DISCONNECT_GRACE

    with mapped_to_grpc():
        await watchers.follow(microgrid_id)
    with (
        trio.CancelScope() as scope,
        mapped_to_grpc(),
        watchers.watch(microgrid_id, on_disconnect=start_grace_period) as watcher,
    ):
        # The client may rely on every change that happens after it has seen the headers.
        await call.send_initial_metadata()
        if call.compression == "identity":
            watcher.offer = lambda changes: call.send_framed_nowait(_framed(changes, encode))
            async for changes in watcher:
                await call.send_framed(_framed(changes, encode))
        else:
            async for changes in watcher:
                await call.send_messages([*map(encode, changes)])
    if scope.cancelled_caught:
        await _end_stuck_call(call, watcher)


def _framed(changes: Changes[_C], encode: Callable[[_C], Encoded]) -> FramedMessages:
    """Return the events of changes; watchers that take the same changes share the bytes."""
    if changes.framed is None:
        changes.framed = frame_messages([*map(encode, changes)])
    return changes.framed


async def _end_stuck_call(call: ServerStream[Any, Encoded], watcher: Watcher[_C]) -> None:
    assert watcher.failure is not None
    error = to_grpc_error(watcher.failure)
    with trio.move_on_after(DISCONNECT_GRACE):
        await call.send_trailing_metadata(status=error.status, status_message=error.message)
        return
    # There is no room for the status either.
    await call.cancel()


# Replies.  The bytes of what the store keeps are put into the bytes of the reply as they are.


def reply(response: betterproto2.Message, *fields: bytes) -> Encoded:
    """Encode a reply that has further fields, which are encoded already."""
    return Encoded(b"".join((*fields, WIRE.encode(response, type(response)))))
