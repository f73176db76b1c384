"""HTTP/2 in bytes: frames and header blocks as a client may send them, right or wrong."""

from __future__ import annotations

import struct
from typing import NamedTuple

from h2.errors import ErrorCodes

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = range(6)
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, ALTSVC, UNKNOWN = 6, 7, 8, 9, 10, 0xEE
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6

Fields = list[tuple[str, str]]


class RawFrame(NamedTuple):
    """A frame as it was received."""

    type: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def ends_stream(self) -> bool:
        return self.type in {DATA, HEADERS} and bool(self.flags & END_STREAM)

    @property
    def error_code(self) -> ErrorCodes:
        """The code of a RST_STREAM or a GOAWAY."""
        start = 4 if self.type == GOAWAY else 0
        return ErrorCodes(int.from_bytes(self.payload[start : start + 4], "big"))


# Frames.


def frame(kind: int, stream_id: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream_id)
    ) + payload


def data(stream_id: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame(DATA, stream_id, payload, END_STREAM if end else 0)


def headers(stream_id: int, block: bytes, *, end: bool = False, flags: int = 0) -> bytes:
    return frame(HEADERS, stream_id, block, END_HEADERS | flags | (END_STREAM if end else 0))


def continuation(stream_id: int, block: bytes, *, end: bool = True) -> bytes:
    return frame(CONTINUATION, stream_id, block, END_HEADERS if end else 0)


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def settings_ack() -> bytes:
    return frame(SETTINGS, flags=ACK)


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, stream_id, struct.pack(">I", increment))


def reset(stream_id: int, code: int = ErrorCodes.CANCEL) -> bytes:
    return frame(RST_STREAM, stream_id, struct.pack(">I", code))


def goaway(code: int = 0, *, stream_id: int = 0) -> bytes:
    return frame(GOAWAY, stream_id, struct.pack(">II", 0, code))


def ping(payload: bytes = b"12345678", *, stream_id: int = 0, flags: int = 0) -> bytes:
    return frame(PING, stream_id, payload, flags)


def priority(stream_id: int, depends_on: int = 0, weight: int = 15) -> bytes:
    return frame(PRIORITY, stream_id, struct.pack(">IB", depends_on, weight))


# Header blocks, RFC 7541.


def integer(value: int, prefix: int, pattern: int = 0) -> bytes:
    """An integer with a prefix of so many bits (5.1); the pattern fills the other bits."""
    limit = 2**prefix - 1
    if value < limit:
        return bytes([pattern | value])
    value -= limit
    encoded = [pattern | limit]
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def string(text: str | bytes) -> bytes:
    """A string literal (5.2), not Huffman-encoded."""
    text = text.encode() if isinstance(text, str) else text
    return integer(len(text), 7) + text


def huffman(encoded: str) -> bytes:
    """A string literal of these Huffman-encoded bytes, given in hex."""
    return integer(len(encoded) // 2, 7, 0x80) + bytes.fromhex(encoded)


def literal(name: str, value: str, pattern: int = 0x00) -> bytes:
    """A literal field with a new name (6.2); by default without indexing."""
    return bytes([pattern]) + string(name) + string(value)


def block(fields: Fields) -> bytes:
    return b"".join(literal(name, value) for name, value in fields)


def message(payload: bytes = b"x") -> bytes:
    """A message of gRPC."""
    return struct.pack(">BI", 0, len(payload)) + payload
