"""The requests of the checks: both servers serve the methods of `interop.Bytes`."""

from __future__ import annotations

from tests.helpers.conformance import wire
from tests.helpers.conformance.wire import Fields

PSEUDO: Fields = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/interop.Bytes/Echo"),
    (":authority", "localhost"),
]
REGULAR: Fields = [("te", "trailers"), ("content-type", "application/grpc")]
FIELDS = PSEUDO + REGULAR
BODY = wire.message()


def changed(name: str, value: str) -> Fields:
    """The fields of a request with this one changed."""
    return [(key, value if key == name else old) for key, old in FIELDS]


def without(name: str) -> Fields:
    """The fields of a request without this one."""
    return [field for field in FIELDS if field[0] != name]


def request(stream_id: int = 1, fields: Fields = FIELDS, *more: tuple[str, str]) -> bytes:
    """A whole request, which is answered at once."""
    return opening(stream_id, fields, *more) + wire.data(stream_id, BODY, end=True)


def opening(stream_id: int = 1, fields: Fields = FIELDS, *more: tuple[str, str]) -> bytes:
    """The headers of a request; its message is yet to come."""
    return wire.headers(stream_id, wire.block([*fields, *more]))


def without_body(stream_id: int = 1, fields: Fields = FIELDS, *more: tuple[str, str]) -> bytes:
    """Headers that end the stream."""
    return wire.headers(stream_id, wire.block([*fields, *more]), end=True)


def unanswered(stream_id: int = 1) -> bytes:
    """A whole request whose handler sleeps: the stream is half-closed (remote)."""
    return request(stream_id, FIELDS, ("sleep", "60"))


def streaming(stream_id: int = 1) -> bytes:
    """The headers of a call that stays open in both directions."""
    return opening(stream_id, changed(":path", "/interop.Bytes/Chat"))


def repeated(stream_id: int, payload: bytes, count: int = 1) -> bytes:
    """A request that is answered `count` times with its message."""
    fields = [*changed(":path", "/interop.Bytes/Repeat"), ("count", str(count))]
    return opening(stream_id, fields) + wire.data(stream_id, wire.message(payload), end=True)
