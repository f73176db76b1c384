"""The rules of RFC 9113 for the header fields of requests and responses; sans-IO."""

from __future__ import annotations

import re
from typing import Final

from ._metadata import Headers

# 8.2.1.  A name that begins with a colon is that of a pseudo-header field.
_NAME: Final = re.compile(r":?[!-9;-@\[-~]+")
_VALUE: Final = re.compile(r"[^\0\r\n]*")
# Those of every call need not be looked at.
_USUAL_NAMES: Final = frozenset(
    {
        *(":method", ":scheme", ":path", ":authority", ":status"),
        *("te", "content-type", "user-agent", "grpc-accept-encoding", "grpc-encoding"),
        *("grpc-timeout", "grpc-status", "grpc-message"),
    }
)

_REQUEST: Final = frozenset({":method", ":scheme", ":path", ":authority"})
_REQUIRED: Final = frozenset({":method", ":scheme", ":path"})
_REQUIRED_OF_CONNECT: Final = frozenset({":method", ":authority"})
_RESPONSE: Final = frozenset({":status"})
_SPACE: Final = frozenset({" ", "\t"})
# 8.2.2.
_OF_A_CONNECTION: Final = frozenset(
    {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"}
)


class MalformedError(Exception):
    """The header fields break RFC 9113, which is an error of the stream (8.1.1)."""


def check_request(headers: Headers) -> None:
    """Check the header fields of a request.

    Raises:
      MalformedError: they break a rule; the message names it.
    """
    pseudo = _check_fields(headers, _REQUEST)
    # (Servers that end a grpc-message with a space are common.)
    for name, value in headers:
        if value[:1] in _SPACE or value[-1:] in _SPACE:
            raise MalformedError(f"the value of the field {name!r} begins or ends with a space")
    if pseudo.get(":method") == "CONNECT":
        if pseudo.keys() != _REQUIRED_OF_CONNECT:
            raise MalformedError("a CONNECT request has :authority and nothing else")
    elif missing := _REQUIRED - pseudo.keys():
        raise MalformedError(f"the request has no {min(missing)}")
    elif not pseudo[":path"]:
        raise MalformedError("the :path is empty")
    host = [value for name, value in headers if name == "host"]
    authority = pseudo.get(":authority")
    if authority is not None and "@" in authority:
        raise MalformedError("the :authority contains user information")
    if len(host) > 1 or (host and authority is not None and host[0] != authority):
        raise MalformedError("the request names several hosts")


def check_response(headers: Headers) -> None:
    """Check the header fields of a response.

    Raises:
      MalformedError: they break a rule; the message names it.
    """
    if ":status" not in _check_fields(headers, _RESPONSE):
        raise MalformedError("the response has no :status")


def check_trailers(headers: Headers) -> None:
    """Check the trailer fields of a request or a response.

    Raises:
      MalformedError: they break a rule; the message names it.
    """
    _check_fields(headers, frozenset())


def _check_fields(headers: Headers, allowed: frozenset[str]) -> dict[str, str]:
    """The pseudo-header fields, after all fields were checked one by one."""
    pseudo: dict[str, str] = {}
    regular = False
    for name, value in headers:
        if name not in _USUAL_NAMES and _NAME.fullmatch(name) is None:
            raise MalformedError(f"the field name {name[:100]!r} is invalid")
        if not value.isprintable() and _VALUE.fullmatch(value) is None:
            raise MalformedError(f"the value of the field {name[:100]!r} is invalid")
        if name[0] != ":":
            regular = True
            if name in _OF_A_CONNECTION or (name == "te" and value != "trailers"):
                raise MalformedError(f"the field {name!r} is not allowed in HTTP/2")
        elif name not in allowed:
            raise MalformedError(f"the pseudo-header field {name[:100]!r} is not allowed here")
        elif name in pseudo or regular:
            raise MalformedError(f"the pseudo-header field {name!r} is repeated or misplaced")
        else:
            pseudo[name] = value
    return pseudo
