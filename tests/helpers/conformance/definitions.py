"""RFC 9113, sections 6 and 7: each type of frame, flow control and error codes."""

from __future__ import annotations

from h2.errors import ErrorCodes as Code

from tests.helpers.conformance import wire
from tests.helpers.conformance.exchange import (
    Exchange,
    Judge,
    accepted,
    answered,
    either,
    section,
    seen,
    settled,
    stream_error,
)
from tests.helpers.conformance.requests import (
    BODY,
    FIELDS,
    opening,
    repeated,
    request,
    unanswered,
    without_body,
)
from tests.helpers.conformance.streams import HALF, REST, pong
from tests.helpers.conformance.verdicts import (
    FLOW_CONTROL,
    FRAME_SIZE,
    MALFORMED,
    PROTOCOL,
    STREAM_CLOSED,
)

LARGEST_WINDOW = 2**31 - 1


def received(exchange: Exchange, stream_id: int = 1) -> int:
    """The bytes of DATA that came on a stream."""
    return sum(len(f.payload) for f in exchange.of(stream_id) if f.type == wire.DATA)


def receives(size: int) -> Judge:
    """So many bytes of DATA come, and no more."""
    return seen(lambda exchange: received(exchange) == size)


def acks(count: int) -> Judge:
    """SETTINGS are acknowledged `count` times."""
    return seen(
        lambda exchange: (
            count == sum((f.type, f.flags) == (wire.SETTINGS, wire.ACK) for f in exchange.frames)
        )
    )


def padded(payload: bytes, length: int, padding: bytes) -> bytes:
    return bytes([length]) + payload + padding


def no_tables(exchange: Exchange) -> bool:
    """Whether a response was made without the dynamic table, as it has to announce first."""
    response = exchange.first(wire.HEADERS, 1)
    return response is not None and response.payload[0] == 0x20


BLOCK = wire.block(FIELDS)
END = wire.data(1, BODY, end=True)

CONTENT = [
    *section(
        "6.1",
        (
            "several DATA frames",
            [
                opening(),
                wire.data(1, BODY[:1]),
                wire.data(1, BODY[1:4]),
                wire.data(1, BODY[4:], end=True),
            ],
            answered(),
        ),
        (
            "empty DATA that ends the stream",
            [opening(), wire.data(1, BODY), wire.data(1, end=True)],
            answered(),
        ),
        (
            "DATA with padding",
            [
                opening(),
                wire.frame(wire.DATA, 1, padded(BODY, 9, bytes(9)), wire.PADDED | wire.END_STREAM),
            ],
            answered(),
        ),
        ("DATA on stream 0", wire.data(0, b"test"), PROTOCOL),
        (
            "DATA with more padding than payload",
            [opening(), wire.frame(wire.DATA, 1, padded(b"test", 6, b""), wire.PADDED)],
            PROTOCOL,
        ),
        (
            "DATA with exactly as much padding as payload",
            [opening(), wire.frame(wire.DATA, 1, padded(b"test", 5, b""), wire.PADDED)],
            PROTOCOL,
        ),
        (
            "empty DATA with the flag of padding",
            [opening(), wire.frame(wire.DATA, 1, b"", wire.PADDED)],
            either(FRAME_SIZE, PROTOCOL),
        ),
        (
            "DATA on a stream that the client has ended",
            [unanswered(), wire.data(1, BODY)],
            STREAM_CLOSED,
        ),
    ),
    *section(
        "6.2",
        ("HEADERS", request(), answered()),
        (
            "HEADERS with padding",
            [wire.headers(1, padded(BLOCK, 3, bytes(3)), flags=wire.PADDED), END],
            answered(),
        ),
        (
            "HEADERS with padding and a priority",
            [
                wire.headers(
                    1,
                    padded(b"\0\0\0\0\x0f" + BLOCK, 3, bytes(3)),
                    flags=wire.PADDED | wire.WITH_PRIORITY,
                ),
                END,
            ],
            answered(),
        ),
        ("HEADERS on stream 0", wire.headers(0, BLOCK), PROTOCOL),
        (
            "HEADERS with more padding than payload",
            wire.headers(1, padded(BLOCK, 255, b""), flags=wire.PADDED),
            PROTOCOL,
        ),
        (
            "HEADERS too short for their priority",
            wire.headers(1, b"\0\0", flags=wire.WITH_PRIORITY),
            either(FRAME_SIZE, PROTOCOL),
        ),
        ("a block that is not ended, then PRIORITY", HALF + wire.priority(1), PROTOCOL),
        ("a block that is not ended, then HEADERS", HALF + without_body(3), PROTOCOL),
    ),
    *section(
        "6.3",
        ("PRIORITY", [opening(), wire.priority(1, 3, 255), END], answered()),
        ("PRIORITY on stream 0", wire.priority(0), PROTOCOL),
        (
            "PRIORITY of 4 bytes",
            [opening(), wire.frame(wire.PRIORITY, 1, bytes(4))],
            stream_error(Code.FRAME_SIZE_ERROR),
        ),
        (
            "PRIORITY of 6 bytes",
            [opening(), wire.frame(wire.PRIORITY, 1, bytes(6))],
            stream_error(Code.FRAME_SIZE_ERROR),
        ),
    ),
    *section(
        "6.4",
        ("RST_STREAM", [opening(), wire.reset(1), request(3)], answered(3)),
        ("RST_STREAM on stream 0", wire.reset(0), PROTOCOL),
        ("RST_STREAM of an idle stream", wire.reset(1), PROTOCOL),
        (
            "RST_STREAM of 3 bytes",
            [opening(), wire.frame(wire.RST_STREAM, 1, bytes(3))],
            FRAME_SIZE,
        ),
        (
            "RST_STREAM of 5 bytes",
            [opening(), wire.frame(wire.RST_STREAM, 1, bytes(5))],
            FRAME_SIZE,
        ),
    ),
]

SETTINGS = [
    *section(
        "6.5",
        ("SETTINGS without a parameter", wire.settings(), acks(2)),
        ("an acknowledgement with payload", wire.frame(wire.SETTINGS, 0, bytes(6), 1), FRAME_SIZE),
        ("SETTINGS on a stream", wire.frame(wire.SETTINGS, 1), PROTOCOL),
        ("SETTINGS of 3 bytes", wire.frame(wire.SETTINGS, 0, bytes(3)), FRAME_SIZE),
        ("SETTINGS of 7 bytes", wire.frame(wire.SETTINGS, 0, bytes(7)), FRAME_SIZE),
    ),
    *section(
        "6.5.2",
        (
            "HEADER_TABLE_SIZE of 0",
            [wire.settings((wire.HEADER_TABLE_SIZE, 0)), request()],
            seen(no_tables),
        ),
        (
            "HEADER_TABLE_SIZE of 4 GiB",
            [wire.settings((wire.HEADER_TABLE_SIZE, 2**32 - 1)), request()],
            answered(),
        ),
        ("ENABLE_PUSH of 1", [wire.settings((wire.ENABLE_PUSH, 1)), request()], answered()),
        ("ENABLE_PUSH of 2", wire.settings((wire.ENABLE_PUSH, 2)), PROTOCOL),
        (
            "MAX_CONCURRENT_STREAMS of 0",
            [wire.settings((wire.MAX_CONCURRENT_STREAMS, 0)), request()],
            answered(),
        ),
        (
            "INITIAL_WINDOW_SIZE of 2^31",
            wire.settings((wire.INITIAL_WINDOW_SIZE, 2**31)),
            FLOW_CONTROL,
        ),
        ("MAX_FRAME_SIZE of 16,383", wire.settings((wire.MAX_FRAME_SIZE, 16_383)), PROTOCOL),
        ("MAX_FRAME_SIZE of 2^24", wire.settings((wire.MAX_FRAME_SIZE, 2**24)), PROTOCOL),
        (
            "MAX_FRAME_SIZE of 2^24 - 1",
            [wire.settings((wire.MAX_FRAME_SIZE, 2**24 - 1)), request()],
            answered(),
        ),
        ("an unknown parameter", [wire.settings((0xF00, 1)), request()], answered()),
    ),
    *section(
        "6.5.3",
        (
            "the last of several values counts",
            [
                wire.settings((wire.INITIAL_WINDOW_SIZE, 100), (wire.INITIAL_WINDOW_SIZE, 1)),
                request(),
            ],
            receives(1),
        ),
        ("each SETTINGS frame is acknowledged", wire.settings((wire.ENABLE_PUSH, 0)) * 2, acks(3)),
        ("an acknowledgement too many", [wire.settings_ack(), request()], answered()),
    ),
]

CONTROL = [
    *section(
        "6.6",
        (
            "PUSH_PROMISE from a client",
            [opening(), wire.frame(wire.PUSH_PROMISE, 1, b"\0\0\0\2" + BLOCK, wire.END_HEADERS)],
            PROTOCOL,
        ),
    ),
    *section(
        "6.7",
        ("a PING is answered with its payload", wire.ping(), seen(pong)),
        (
            "an acknowledgement is not answered",
            [wire.ping(flags=wire.ACK), settled],
            seen(lambda exchange: not pong(exchange)),
        ),
        ("a PING on a stream", wire.ping(stream_id=1), PROTOCOL),
        ("a PING of 7 bytes", wire.ping(b"1234567"), FRAME_SIZE),
        ("a PING of 9 bytes", wire.ping(b"123456789"), FRAME_SIZE),
    ),
    *section(
        "6.8",
        ("GOAWAY on a stream", wire.goaway(stream_id=1), PROTOCOL),
        ("GOAWAY too short for its fields", wire.frame(wire.GOAWAY, 0, bytes(7)), FRAME_SIZE),
        ("a call is answered after GOAWAY", request() + wire.goaway(), answered()),
    ),
    *section(
        "6.9",
        ("WINDOW_UPDATE of 0 on the connection", wire.window_update(0, 0), PROTOCOL),
        (
            "WINDOW_UPDATE of 0 on a stream",
            [opening(), wire.window_update(1, 0)],
            MALFORMED,
        ),
        ("WINDOW_UPDATE of 3 bytes", wire.frame(wire.WINDOW_UPDATE, 0, bytes(3)), FRAME_SIZE),
        ("WINDOW_UPDATE of 5 bytes", wire.frame(wire.WINDOW_UPDATE, 0, bytes(5)), FRAME_SIZE),
        (
            "the reserved bit of WINDOW_UPDATE",
            [wire.window_update(0, 1 << 31 | 1), request()],
            answered(),
        ),
    ),
    *section(
        "6.9.1",
        (
            "DATA within a window of 1",
            [wire.settings((wire.INITIAL_WINDOW_SIZE, 1)), request()],
            receives(1),
        ),
        (
            "the window of a stream is extended",
            [wire.settings((wire.INITIAL_WINDOW_SIZE, 1)), request(), wire.window_update(1, 100)],
            answered(),
        ),
        (
            "DATA up to the window of the connection",
            [
                wire.settings((wire.INITIAL_WINDOW_SIZE, LARGEST_WINDOW)),
                repeated(1, bytes(995), 100),
            ],
            receives(65_535),
        ),
        (
            "a connection window beyond 2^31 - 1",
            wire.window_update(0, LARGEST_WINDOW) * 2,
            FLOW_CONTROL,
        ),
        (
            "a stream window beyond 2^31 - 1",
            [opening(), wire.window_update(1, LARGEST_WINDOW) * 2],
            stream_error(Code.FLOW_CONTROL_ERROR),
        ),
    ),
    *section(
        "6.9.2",
        (
            "INITIAL_WINDOW_SIZE changed for an open stream",
            [
                wire.settings((wire.INITIAL_WINDOW_SIZE, 0)) + request(),
                settled,
                wire.settings((wire.INITIAL_WINDOW_SIZE, 1)),
            ],
            receives(1),
        ),
        (
            "a window that has become negative",
            [
                wire.settings((wire.INITIAL_WINDOW_SIZE, 3)) + request(),
                lambda exchange: exchange.until(lambda: received(exchange) == 3),
                wire.settings((wire.INITIAL_WINDOW_SIZE, 2)) + wire.window_update(1, 2),
            ],
            receives(4),
        ),
        (
            "an open stream's window beyond 2^31 - 1",
            [
                unanswered() + wire.window_update(1, LARGEST_WINDOW - 65_535),
                wire.settings((wire.INITIAL_WINDOW_SIZE, 65_536)),
            ],
            FLOW_CONTROL,
        ),
    ),
    *section(
        "6.10",
        (
            "a CONTINUATION",
            [HALF + REST, END],
            answered(),
        ),
        (
            "several CONTINUATION frames, one of them empty",
            [
                wire.frame(wire.HEADERS, 1, BLOCK[:1])
                + wire.continuation(1, BLOCK[1:30], end=False)
                + wire.continuation(1, b"", end=False)
                + wire.continuation(1, BLOCK[30:]),
                END,
            ],
            answered(),
        ),
        (
            "trailers in a CONTINUATION",
            [
                opening() + wire.data(1, BODY),
                wire.frame(wire.HEADERS, 1, b"", wire.END_STREAM)
                + wire.continuation(1, wire.literal("a", "b")),
            ],
            answered(),
        ),
        (
            "CONTINUATION, then another frame",
            HALF + wire.continuation(1, b"", end=False) + wire.data(1, BODY),
            PROTOCOL,
        ),
        ("CONTINUATION on stream 0", HALF + wire.continuation(0, b""), PROTOCOL),
        ("CONTINUATION of another stream", HALF + wire.continuation(3, b""), PROTOCOL),
        ("CONTINUATION after END_HEADERS", [opening(), wire.continuation(1, b"")], PROTOCOL),
        (
            "CONTINUATION after the end of the block",
            [HALF + REST, wire.continuation(1, b"")],
            PROTOCOL,
        ),
        (
            "CONTINUATION after DATA",
            [opening(), wire.data(1, BODY), wire.continuation(1, b"")],
            PROTOCOL,
        ),
    ),
]

CODES = section(
    "7",
    ("GOAWAY with an unknown code", [request() + wire.goaway(0xFFFF)], answered()),
    ("RST_STREAM with an unknown code", [opening(), wire.reset(1, 0xFFFF)], accepted),
)

CHECKS = [*CONTENT, *SETTINGS, *CONTROL, *CODES]
