"""The kinds of values that options take."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Generic, TypeVar

import click
from click.shell_completion import CompletionItem

from .. import clock
from ._durations import parse_duration
from ._targets import complete_target, parse_ids, parse_target
from ._times import parse_moment
from ._zones import find_zone

__all__ = [
    "CHOICE_OF_ZONE",
    "DURATION",
    "IDS",
    "MICROGRID",
    "MOMENT",
    "PAYLOAD",
    "SECONDS",
    "START",
    "TARGET",
    "Parsed",
    "read_payload",
]

_T = TypeVar("_T")


class Parsed(click.ParamType, Generic[_T]):  # type: ignore[type-arg]
    """What a function makes of a text; its `ValueError` says what would be right."""

    def __init__(
        self,
        name: str,
        parse: Callable[[str], _T],
        complete: Callable[[str], list[str]] | None = None,
    ) -> None:
        self.name = name
        self._parse = parse
        self._complete = complete

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int | float):  # from the configuration file
            value = str(value)
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = self._complete(incomplete) if self._complete else []
        return [CompletionItem(text) for text in found]


class _Moment(click.ParamType):  # type: ignore[type-arg]
    """A time as people write it, in the zone of ``--timezone``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        zone: tzinfo | None = None if ctx is None else ctx.params.get("timezone")
        try:
            return self.parse(value, clock.now(), zone or find_zone("local"))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)

    def parse(self, text: str, now: datetime, zone: tzinfo) -> datetime | str:
        return parse_moment(text, now=now, zone=zone)


class _Start(_Moment):
    """A time, or ``"NOW"``, which the service has to fill in."""

    def parse(self, text: str, now: datetime, zone: tzinfo) -> datetime | str:
        if text.strip().lower() == "now":
            return "NOW"
        return super().parse(text, now, zone)


class Duration:
    """A duration that was given, since None says that none was."""

    def __init__(self, text: str) -> None:
        self.value = parse_duration(text)


def read_payload(text: str) -> Mapping[str, Any]:
    """The payload that a text is: JSON, or ``@FILE``, or ``@-`` for stdin.

    Raises:
      ValueError: it is no object of JSON, or the file cannot be read.
    """
    source = "it"
    if text.startswith("@"):
        source = "stdin" if text == "@-" else text[1:]
        try:
            text = sys.stdin.read() if text == "@-" else _read(Path(text[1:]))
        except OSError as exc:
            raise ValueError(f"{source} cannot be read: {exc.strerror or exc}") from None
        except UnicodeDecodeError as exc:
            raise ValueError(f"{source} is no text in UTF-8: {exc}") from None
    try:
        payload = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as exc:
        shown = f"{text!r}" if source == "it" else source
        raise ValueError(f"{shown} is no JSON: {exc}; say '{{\"power_kw\": 5}}' or @FILE") from None
    except RecursionError:
        raise ValueError(f"{source} is nested too deeply: the API takes 5 levels") from None
    if not isinstance(payload, dict):
        raise ValueError(f"a payload is an object, as in '{{\"power_kw\": 5}}', not {text.strip()}")
    return payload


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON, and no set-point: leave it out, or say null")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _microgrid(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 1 << 64:
        return int(text)
    raise ValueError(f"{text!r} is no id of a microgrid: say a number, such as 1")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"{text!r} is no number of seconds above 0, say 30 or 2.5")
    return seconds


def _zones(incomplete: str) -> list[str]:
    from zoneinfo import available_timezones  # noqa: PLC0415

    names = ("local", *sorted(available_timezones()))
    return [name for name in names if name.lower().startswith(incomplete.lower())]


CHOICE_OF_ZONE = Parsed("zone", find_zone, _zones)
DURATION = Parsed("duration", Duration)
IDS = Parsed("ids", parse_ids)
MICROGRID = Parsed("id", _microgrid)
MOMENT = _Moment()
PAYLOAD = Parsed("json", read_payload)
SECONDS = Parsed("seconds", _seconds)
START = _Start()
TARGET = Parsed("target", parse_target, complete_target)
