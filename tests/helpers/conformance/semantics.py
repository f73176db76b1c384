"""RFC 9113, section 8: requests and their fields."""

from __future__ import annotations

from tests.helpers.conformance import wire
from tests.helpers.conformance.exchange import (
    Exchange,
    Step,
    answered,
    either,
    section,
    seen,
)
from tests.helpers.conformance.requests import (
    BODY,
    FIELDS,
    PSEUDO,
    REGULAR,
    changed,
    opening,
    request,
    without,
    without_body,
)
from tests.helpers.conformance.verdicts import MALFORMED, PROTOCOL


def status(exchange: Exchange) -> bool:
    return any(name == ":status" for name, _ in exchange.fields(1))


def trailers(*fields: tuple[str, str], end: bool = True) -> list[Step]:
    """A request with trailers."""
    return [opening(), wire.data(1, BODY), wire.headers(1, wire.block([*fields]), end=end)]


def with_field(name: str, value: str) -> bytes:
    return request(1, FIELDS, (name, value))


MESSAGES = [
    *section(
        "8.1",
        ("a POST request", request(), answered()),
        ("a GET request", without_body(1, changed(":method", "GET")), seen(status)),
        ("a HEAD request", without_body(1, changed(":method", "HEAD")), seen(status)),
        ("a request with trailers", trailers(("a", "b")), answered()),
        ("a request without content", without_body(), seen(status)),
        ("trailers that do not end the stream", trailers(("a", "b"), end=False), MALFORMED),
        (
            "DATA after trailers",
            [*trailers(("a", "b"), end=False), wire.data(1, end=True)],
            MALFORMED,
        ),
        ("two requests at once", request(1) + request(3), answered(3)),
        (
            "the message of one request between those of another",
            opening(1) + wire.data(1, BODY[:3]) + request(3) + wire.data(1, BODY[3:], end=True),
            answered(),
        ),
    ),
    *section(
        "8.1.1",
        ("content-length: equal to the content", with_field("content-length", "6"), answered()),
        ("content-length: too small", with_field("content-length", "1"), MALFORMED),
        ("content-length: too large", with_field("content-length", "7"), MALFORMED),
        (
            "content-length: too small for several DATA frames",
            opening(1, FIELDS, ("content-length", "5"))
            + wire.data(1, BODY[:3])
            + wire.data(1, BODY[3:], end=True),
            MALFORMED,
        ),
        (
            "content-length: HEADERS end the stream",
            without_body(1, FIELDS, ("content-length", "6")),
            MALFORMED,
        ),
        (
            "content-length: trailers end the stream too early",
            opening(1, FIELDS, ("content-length", "7"))
            + wire.data(1, BODY)
            + wire.headers(1, wire.literal("a", "b"), end=True),
            MALFORMED,
        ),
        ("content-length: not a number", with_field("content-length", "six"), MALFORMED),
        ("content-length: with a sign", with_field("content-length", "+6"), MALFORMED),
        (
            "content-length: two different ones",
            request(1, FIELDS, ("content-length", "6"), ("content-length", "7")),
            MALFORMED,
        ),
    ),
]

FIELD_RULES = [
    *section(
        "8.2.1",
        ("an uppercase letter in a name", with_field("X-test", "1"), MALFORMED),
        ("an empty name", with_field("", "1"), MALFORMED),
        ("a space in a name", with_field("a b", "1"), MALFORMED),
        ("a control character in a name", with_field("a\x01", "1"), MALFORMED),
        ("a byte above 0x7f in a name", with_field("ä", "1"), MALFORMED),
        ("a colon in a name", with_field("a:b", "1"), MALFORMED),
        ("NUL in a value", with_field("a", "b\0c"), MALFORMED),
        ("a line feed in a value", with_field("a", "b\nc: d"), MALFORMED),
        ("a carriage return in a value", with_field("a", "b\rc"), MALFORMED),
        ("a space before a value", with_field("a", " b"), MALFORMED),
        ("a tab behind a value", with_field("a", "b\t"), MALFORMED),
        ("an uppercase letter in trailers", trailers(("A", "b")), MALFORMED),
    ),
    *section(
        "8.2.2",
        ("connection", with_field("connection", "keep-alive"), MALFORMED),
        ("proxy-connection", with_field("proxy-connection", "keep-alive"), MALFORMED),
        ("keep-alive", with_field("keep-alive", "timeout=5"), MALFORMED),
        ("transfer-encoding", with_field("transfer-encoding", "chunked"), MALFORMED),
        ("upgrade", with_field("upgrade", "h2c"), MALFORMED),
        ("te with another value than trailers", request(1, changed("te", "gzip")), MALFORMED),
        ("connection in trailers", trailers(("connection", "close")), MALFORMED),
    ),
    *section(
        "8.2.3",
        (
            "cookie in several fields",
            request(1, FIELDS, ("cookie", "a=b"), ("cookie", "c=d")),
            answered(),
        ),
    ),
    *section(
        "8.3",
        (
            "an unknown pseudo-header field",
            request(1, [*PSEUDO, (":test", "1"), *REGULAR]),
            MALFORMED,
        ),
        ("that of a response", request(1, [*PSEUDO, (":status", "200"), *REGULAR]), MALFORMED),
        ("one in trailers", trailers((":method", "POST")), MALFORMED),
        (
            "one behind a regular field",
            request(1, [*PSEUDO[:3], *REGULAR, PSEUDO[3]]),
            MALFORMED,
        ),
    ),
    *section(
        "8.3.1",
        ("an empty :path", request(1, changed(":path", "")), MALFORMED),
        ("no :method", request(1, without(":method")), MALFORMED),
        ("no :scheme", request(1, without(":scheme")), MALFORMED),
        ("no :path", request(1, without(":path")), MALFORMED),
        ("two :method", request(1, [PSEUDO[0], *FIELDS]), MALFORMED),
        ("two :scheme", request(1, [PSEUDO[1], *FIELDS]), MALFORMED),
        ("two :path", request(1, [PSEUDO[2], *FIELDS]), MALFORMED),
        ("two :authority", request(1, [PSEUDO[3], *FIELDS]), MALFORMED),
        ("host equal to :authority", with_field("host", "localhost"), answered()),
        ("host other than :authority", with_field("host", "elsewhere"), MALFORMED),
        (
            "host in place of :authority",
            request(1, without(":authority"), ("host", "localhost")),
            answered(),
        ),
        ("user information in :authority", request(1, changed(":authority", "a@b")), MALFORMED),
    ),
]

PUSH_AND_CONNECT = [
    *section(
        "8.4",
        (
            "PUSH_PROMISE from a client",
            [opening(), wire.frame(wire.PUSH_PROMISE, 1, b"\0\0\0\2\x82", wire.END_HEADERS)],
            PROTOCOL,
        ),
    ),
    *section(
        "8.5",
        (
            "CONNECT with :scheme and :path",
            without_body(1, changed(":method", "CONNECT")),
            MALFORMED,
        ),
        (
            "CONNECT without :authority",
            without_body(1, [(":method", "CONNECT"), *REGULAR]),
            MALFORMED,
        ),
        (
            "CONNECT to a server that is no proxy",
            without_body(1, [(":method", "CONNECT"), (":authority", "a:1")]),
            either(seen(status), MALFORMED),
        ),
    ),
]

CHECKS = [*MESSAGES, *FIELD_RULES, *PUSH_AND_CONNECT]
