"""RFC 9113, sections 3 to 5: the preface, frames and the states of streams."""

from __future__ import annotations

from h2.errors import ErrorCodes as Code

from tests.helpers.conformance import wire
from tests.helpers.conformance.exchange import (
    Check,
    Exchange,
    Step,
    Verdict,
    accepted,
    answered,
    closed,
    connection_error,
    either,
    ended,
    section,
    seen,
    settled,
    stream_error,
)
from tests.helpers.conformance.requests import (
    BODY,
    FIELDS,
    opening,
    request,
    unanswered,
    without_body,
)
from tests.helpers.conformance.verdicts import (
    CLOSED,
    COMPRESSION,
    FRAME_SIZE,
    MALFORMED,
    MISPLACED,
    PROTOCOL,
    STREAM_CLOSED,
)


def pong(exchange: Exchange) -> bool:
    return any(
        frame.type == wire.PING and frame.flags == wire.ACK and frame.payload == b"12345678"
        for frame in exchange.frames
    )


def settings_came_first(exchange: Exchange) -> bool:
    first = exchange.frames[:1]
    return [(frame.type, frame.flags) for frame in first] == [(wire.SETTINGS, 0)]


async def names_stream_1(exchange: Exchange) -> Verdict:
    await exchange.until(lambda: False)
    goaway = exchange.first(wire.GOAWAY)
    good = goaway is not None and int.from_bytes(goaway.payload[:4], "big") == 1
    return Verdict.EXACT if good else Verdict.FAILED


HALF = wire.frame(wire.HEADERS, 1, wire.block(FIELDS[:3]))
"""A header block of which the end is missing."""
REST = wire.continuation(1, wire.block(FIELDS[3:]))
DEPENDS_ON_3 = b"\0\0\0\x03\x0f"
DEPENDS_ON_1 = b"\0\0\0\x01\x0f"

STARTING = [
    *section("3.4", ("the first frame of the server is SETTINGS", [], seen(settings_came_first))),
    Check("3.4", "an invalid preface", [b"GET / HTTP/1.1\r\n\r\n" * 2], closed, greets=False),
    Check(
        "3.4",
        "a preface whose last byte is invalid",
        [wire.PREFACE[:-1] + b"x" + wire.settings()],
        closed,
        greets=False,
    ),
    Check(
        "3.4",
        "no SETTINGS after the preface",
        [wire.PREFACE + wire.ping()],
        PROTOCOL,
        greets=False,
    ),
    Check(
        "3.4",
        "a request before the SETTINGS of the server",
        [wire.PREFACE + wire.settings() + request()],
        answered(),
        greets=False,
    ),
]

FRAMES = [
    *section(
        "4.1",
        ("a frame of unknown type", wire.frame(wire.UNKNOWN, 0, b"12345678"), accepted),
        ("undefined flags of a PING", wire.ping(flags=0xFE), seen(pong)),
        (
            "the reserved bit before the stream identifier of a PING",
            wire.frame(wire.PING, 1 << 31, b"12345678"),
            seen(pong),
        ),
        (
            "undefined flags and the reserved bit of HEADERS",
            [
                wire.frame(wire.HEADERS, 1 << 31 | 1, wire.block(FIELDS), 0xD2 | wire.END_HEADERS),
                wire.data(1, BODY, end=True),
            ],
            answered(),
        ),
    ),
    *section(
        "4.2",
        (
            "DATA of 16,384 bytes",
            [opening(), wire.data(1, wire.message(bytes(16_379)), end=True)],
            answered(),
        ),
        (
            "DATA longer than SETTINGS_MAX_FRAME_SIZE",
            [opening(), wire.data(1, bytes(2**24 - 1))],
            either(FRAME_SIZE, stream_error(Code.FRAME_SIZE_ERROR)),
        ),
        (
            "HEADERS longer than SETTINGS_MAX_FRAME_SIZE",
            wire.headers(1, bytes(2**24 - 1)),
            FRAME_SIZE,
        ),
        (
            "SETTINGS longer than SETTINGS_MAX_FRAME_SIZE",
            wire.frame(wire.SETTINGS, 0, bytes(2**24 - 4)),
            FRAME_SIZE,
        ),
    ),
    *section(
        "4.3",
        ("a block that cannot be decoded", wire.headers(1, b"\x40\x0ashort"), COMPRESSION),
        (
            "trailers that cannot be decoded",
            [opening(), wire.headers(1, b"\xff\xff\xff", end=True)],
            COMPRESSION,
        ),
        ("PRIORITY within a header block", HALF + wire.priority(1) + REST, PROTOCOL),
        ("HEADERS of another stream within a block", HALF + without_body(3) + REST, PROTOCOL),
        ("a PING within a header block", HALF + wire.ping() + REST, PROTOCOL),
        ("DATA within a header block", HALF + wire.data(1) + REST, PROTOCOL),
    ),
]

RESET: list[Step] = [opening(), wire.reset(1), settled]
ENDED: list[Step] = [request(), ended(1)]

STATES = section(
    "5.1",
    (
        "idle: DATA",
        wire.data(1, b"test", end=True),
        connection_error(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED),
    ),
    ("idle: RST_STREAM", wire.reset(1), PROTOCOL),
    ("idle: WINDOW_UPDATE", wire.window_update(1, 100), PROTOCOL),
    ("idle: CONTINUATION", wire.continuation(1, wire.block(FIELDS)), PROTOCOL),
    ("idle: PRIORITY", [wire.priority(1), request()], answered()),
    ("half-closed: DATA", [unanswered(), wire.data(1, BODY)], STREAM_CLOSED),
    ("half-closed: empty DATA", [unanswered(), wire.data(1, end=True)], STREAM_CLOSED),
    ("half-closed: HEADERS", [unanswered(), without_body()], STREAM_CLOSED),
    ("half-closed: CONTINUATION", [unanswered(), wire.continuation(1, b"")], MISPLACED),
    ("half-closed: PRIORITY", [unanswered(), wire.priority(1)], accepted),
    ("half-closed: WINDOW_UPDATE", [unanswered(), wire.window_update(1, 100)], accepted),
    ("half-closed: RST_STREAM", [unanswered(), wire.reset(1)], accepted),
    ("closed by RST_STREAM: DATA", [*RESET, wire.data(1, BODY)], CLOSED),
    ("closed by RST_STREAM: HEADERS", [*RESET, without_body()], CLOSED),
    ("closed by RST_STREAM: CONTINUATION", [*RESET, wire.continuation(1, b"")], MISPLACED),
    ("closed by RST_STREAM: PRIORITY", [*RESET, wire.priority(1)], accepted),
    ("closed by RST_STREAM: RST_STREAM", [*RESET, wire.reset(1)], either(accepted, CLOSED)),
    ("closed by END_STREAM: DATA", [*ENDED, wire.data(1, BODY)], CLOSED),
    ("closed by END_STREAM: HEADERS", [*ENDED, without_body()], CLOSED),
    ("closed by END_STREAM: CONTINUATION", [*ENDED, wire.continuation(1, b"")], MISPLACED),
    ("closed by END_STREAM: PRIORITY", [*ENDED, wire.priority(1)], accepted),
    ("closed by END_STREAM: WINDOW_UPDATE", [*ENDED, wire.window_update(1, 100)], accepted),
    ("closed by END_STREAM: RST_STREAM", [*ENDED, wire.reset(1)], accepted),
)

IDENTIFIERS = [
    *section(
        "5.1.1",
        ("an even stream identifier", request(2), PROTOCOL),
        ("an identifier lower than before", [request(5), ended(5), request(3)], PROTOCOL),
        ("identifiers that are left out", request(7), answered(7)),
        ("the highest identifier", request(2**31 - 1), answered(2**31 - 1)),
    ),
    *section(
        "5.1.2",
        (
            "one stream more than SETTINGS_MAX_CONCURRENT_STREAMS",
            b"".join(map(unanswered, range(1, 203, 2))),
            stream_error(Code.REFUSED_STREAM, Code.PROTOCOL_ERROR, stream_id=201),
        ),
        (
            "a stream in place of one that was reset",
            [b"".join(map(unanswered, range(1, 201, 2))), wire.reset(1), settled, request(201)],
            answered(201),
        ),
    ),
    *section(
        "5.3.2",
        (
            "HEADERS with a priority",
            [
                wire.headers(1, DEPENDS_ON_3 + wire.block(FIELDS), flags=wire.WITH_PRIORITY),
                wire.data(1, BODY, end=True),
            ],
            answered(),
        ),
        (
            "PRIORITY with the lowest and the highest weight, and exclusive",
            [
                wire.priority(1, 3, 0) + wire.priority(3, 5, 255) + wire.priority(5, 1 << 31 | 7),
                request(),
            ],
            answered(),
        ),
        (
            "PRIORITY of an idle stream before a lower one is opened",
            [wire.priority(5), request(3)],
            answered(3),
        ),
        (
            "HEADERS that depend on their own stream",
            wire.headers(1, DEPENDS_ON_1 + wire.block(FIELDS), flags=wire.WITH_PRIORITY),
            either(MALFORMED, accepted),
        ),
        (
            "PRIORITY that depends on its own stream",
            [opening(), wire.priority(1, 1)],
            either(MALFORMED, accepted),
        ),
    ),
]

ERRORS = [
    *section(
        "5.4.1",
        ("the connection is closed after an error", [wire.ping(b"1234567")], closed),
        (
            "the GOAWAY names the last stream that was handled",
            [request(), ended(1), wire.ping(b"1234567")],
            names_stream_1,
        ),
    ),
    *section(
        "5.4.2",
        (
            "another stream after the error of one",
            [without_body(1, FIELDS, ("X-Upper", "1")), request(3)],
            answered(3),
        ),
        ("a RST_STREAM is not answered by another", [opening(), wire.reset(1)], accepted),
    ),
    *section(
        "5.5",
        (
            "a frame of unknown type on a stream",
            [opening(), wire.frame(wire.UNKNOWN, 1, b"x"), wire.data(1, BODY, end=True)],
            answered(),
        ),
        (
            "a frame of unknown type within a header block",
            HALF + wire.frame(wire.UNKNOWN, 1, b"x") + REST,
            PROTOCOL,
        ),
        ("an ALTSVC frame", wire.frame(wire.ALTSVC, 0, b"\0\x01xh3"), accepted),
        ("an ALTSVC frame with invalid content", wire.frame(wire.ALTSVC, 0, b"\xff"), accepted),
    ),
]

CHECKS = [*STARTING, *FRAMES, *STATES, *IDENTIFIERS, *ERRORS]
