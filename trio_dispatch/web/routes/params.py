"""The parameters and bodies of requests."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

import trio
from starlette.requests import ClientDisconnect, Request

from ...model.target import Target
from ...model.validation import MAX_ID
from ...text.safe import load_json
from ...text.targets import parse_target
from ..errors import PageError

__all__ = ["Params", "address_of", "invalid", "read_body", "zone_of"]

MAX_BODY: Final = 256 * 1024
_BODY_TIMEOUT: Final = 30.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MILLIS: Final = 253_402_300_799_000
_MAX_VALUES: Final = 100


def invalid(field: str, message: str) -> PageError:
    """Return the error for an invalid parameter or field."""
    return PageError(
        400, "invalid", f"{field}: {message}" if field else message, fields={field: message}
    )


def address_of(request: Request) -> str:
    """Return the address from which a request comes."""
    return "a local stream" if request.client is None else request.client.host


async def read_body(request: Request) -> Mapping[str, Any]:
    """Return the JSON object in the body of a request.

    Raises:
      PageError: it is something else, too large, or takes too long.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise PageError(415, "invalid", "the body must be application/json")
    body = bytearray()
    try:
        with trio.fail_after(_BODY_TIMEOUT):
            async with aclosing(request.stream()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise PageError(
                            413, "too_large", f"the body has more than {MAX_BODY} bytes"
                        )
    except (trio.TooSlowError, ClientDisconnect):
        raise PageError(408, "invalid", "the body did not come in time") from None
    try:
        value = load_json(body.decode())
    except ValueError as exc:
        raise invalid("", str(exc)) from None
    if not isinstance(value, dict):
        raise invalid("", "the body must be an object")
    return value


def zone_of(name: object) -> tzinfo:
    """Return the zone of a name.

    Raises:
      PageError: the zone is unknown.
    """
    if name is None or name == "UTC":
        return UTC
    try:
        return ZoneInfo(str(name))
    except (LookupError, ValueError, OSError):
        raise invalid("zone", f"{name!r} is not a time zone") from None


class Params:
    """The query parameters of a request; each method raises a `PageError` if one is invalid."""

    def __init__(self, request: Request) -> None:
        self._params = request.query_params

    def text(self, name: str) -> str | None:
        """Return a text; None if it is not given or empty."""
        return self._params.get(name) or None

    def texts(self, name: str) -> list[str]:
        """Return the values of a parameter that may be repeated."""
        values = self._params.getlist(name)
        if len(values) > _MAX_VALUES:
            raise invalid(name, f"is given more than {_MAX_VALUES} times")
        return values

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return an integer within limits."""
        text = self._params.get(name)
        if text is None and default is not None:
            return default
        return _integer(name, text, low, high)

    def integers(self, name: str, low: int = 0, high: int = MAX_ID) -> list[int]:
        """Return the integers of a parameter that may be repeated."""
        return [_integer(name, text, low, high) for text in self.texts(name)]

    def flag(self, name: str) -> bool | None:
        """Return a boolean; None if it is not given."""
        text = self._params.get(name)
        if text is None or text == "":
            return None
        if text in {"true", "1"}:
            return True
        if text in {"false", "0"}:
            return False
        raise invalid(name, f"{text!r} is not true or false")

    def moment(self, name: str) -> datetime | None:
        """Return a moment that is given in milliseconds since 1970; None if it is not given."""
        if self._params.get(name) is None:
            return None
        millis = self.integer(name, -_MAX_MILLIS // 10, _MAX_MILLIS)
        return _EPOCH + timedelta(milliseconds=millis)

    def choice(self, name: str, *choices: str) -> str:
        """Return one of some texts, the first by default."""
        text = self._params.get(name, choices[0])
        if text not in choices:
            raise invalid(name, f"{text!r} is not one of {', '.join(choices)}")
        return text

    def target(self, name: str) -> Target | None:
        """Return a target; None if it is not given."""
        text = self.text(name)
        try:
            return None if text is None else parse_target(text)
        except ValueError as exc:
            raise invalid(name, str(exc)) from None

    @property
    def microgrid_id(self) -> int:
        """The microgrid."""
        return self.integer("microgrid", 0, MAX_ID)

    @property
    def zone(self) -> tzinfo:
        """The zone of texts."""
        return zone_of(self.text("zone"))


def _integer(name: str, text: str | None, low: int, high: int) -> int:
    if text is None:
        raise invalid(name, "required")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise invalid(name, f"{text!r} is not an integer")
    if not low <= int(text) <= high:
        raise invalid(name, f"{text} is not from {low} to {high}")
    return int(text)
