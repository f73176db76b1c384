"""The types of option values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import click
from click.shell_completion import CompletionItem

from ... import clock
from ...model.recurrence.rfc5545 import parse_rrule
from ...model.validation import MAX_ID
from ...text.durations import parse_duration
from ...text.rules import FREQUENCIES, MONTHS, WEEKDAYS, parse_numbers
from ...text.safe import load_json
from ...text.targets import complete_target, parse_ids, parse_target
from ...text.times import parse_moment
from ...text.zones import find_zone
from .completing import complete_ids, complete_types
from .files import read_text
from .nearest import did_you_mean

_T = TypeVar("_T")

NONE = object()
"""The value of an option that was given as ``none``, to clear what it set before."""


class Parsed(click.ParamType, Generic[_T]):  # type: ignore[type-arg]
    """A value that a function parses; the message of its `ValueError` tells what is wrong."""

    def __init__(
        self,
        name: str,
        parse: Callable[[str], _T],
        complete: Callable[[str], list[str]] | None = None,
        *,
        ask: Callable[[click.Context, str], list[CompletionItem]] | None = None,
    ) -> None:
        self.name = name
        self._parse = parse
        self._complete = complete
        self._ask = ask

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
        if self._ask is not None:
            return self._ask(ctx, incomplete)
        found = self._complete(incomplete) if self._complete else []
        return [CompletionItem(text) for text in found]


class Choice(click.Choice[str]):
    """One of several words; the message about another one says which may have been meant."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return the message about an invalid word."""
        words = ", ".join(map(str, self.choices))
        return f"{value!r} is not one of {words}{did_you_mean(str(value), self.choices)}"


class _Moment(click.ParamType):  # type: ignore[type-arg]
    """A time, read in the zone of ``--timezone``.

    Args:
      words: Words with a meaning of their own, and their values.
    """

    name = "time"

    def __init__(self, words: Mapping[str, Any] = {}) -> None:
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if (word := value.strip().lower()) in self._words:
            return self._words[word]
        try:
            zone = (ctx.params.get("timezone") if ctx else None) or find_zone("local")
            return parse_moment(value, now=clock.now(), zone=zone)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


class Duration(NamedTuple):
    """The value of a duration option, None for ever; an option that was not given has none."""

    value: timedelta | None


def parse_payload(text: str) -> dict[str, Any]:
    """Return a payload: an object in JSON, in a file as ``@FILE``, or on stdin as ``@-``.

    Raises:
      ValueError: it is not a JSON object, or the file cannot be read.
    """
    name = text[1:] if text.startswith("@") else None
    if name is not None:
        text = read_text(name)
    source = repr(text) if name is None else "stdin" if name == "-" else name
    try:
        payload = load_json(text)
    except ValueError as exc:
        raise ValueError(f"{source}: {exc}; use '{{\"power_kw\": 5}}' or @FILE") from None
    if not isinstance(payload, dict):
        raise ValueError(f"{source} is not an object: use '{{\"power_kw\": 5}}' or @FILE")
    return payload


def _parse_database(text: str) -> Path | str:
    """Return a file, or the URL of a database in PostgreSQL."""
    scheme, separator, _ = text.partition("://")
    if not separator:
        return Path(text)
    if scheme not in {"postgresql", "postgres"}:
        raise ValueError(f"{scheme!r} is not a database: use a file, or postgresql://HOST/NAME")
    return text


def _parse_type(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!a} is not valid text in UTF-8") from None
    return text


def _parse_number(text: str, low: int, high: int, what: str = "a number") -> int:
    if text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high:
        return int(text)
    limits = f" from {low} to {high}" if high < 1 << 63 else f": ids begin at {low}"
    raise ValueError(f"{text!r} is not {what}{limits}")


def _parse_count(text: str) -> Any:
    return NONE if text.lower() == "none" else _parse_number(text, 1, 4096)


def _parse_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"{text!r} is not a positive number of seconds: use 30 or 2.5")
    return seconds


def _parse_age(text: str) -> timedelta:
    age = parse_duration(text)
    if not age:
        raise ValueError(f"{text!r} is not an age: use 90d or 12h")
    return age


def _parse_frequency(text: str) -> Any:
    if text.lower() not in FREQUENCIES:
        hint = did_you_mean(text, FREQUENCIES) or f": use {', '.join(FREQUENCIES)}"
        raise ValueError(f"unknown frequency {text!r}{hint}")
    return FREQUENCIES[text.lower()]


def _complete_frequency(incomplete: str) -> list[str]:
    return [name for name in FREQUENCIES if name.startswith(incomplete.lower())]


def _complete_zone(incomplete: str) -> list[str]:
    from zoneinfo import available_timezones  # noqa: PLC0415

    names = ("local", *sorted(available_timezones()))
    return [name for name in names if name.lower().startswith(incomplete.lower())]


def _numbers(
    name: str, low: int, high: int, names: Mapping[str, int] = {}, *, negative: bool = False
) -> Parsed[Any]:
    return Parsed(name, lambda text: parse_numbers(text, low, high, names, negative=negative))


AGE = Parsed("age", _parse_age)
COUNT = Parsed("n", _parse_count)
TEXT = click.STRING
DATABASE = Parsed("file or url", _parse_database)
FILE = click.Path(dir_okay=False, path_type=Path)
DURATION = Parsed("duration", lambda text: Duration(parse_duration(text)))
FREQUENCY = Parsed("unit", _parse_frequency, _complete_frequency)
HOURS = _numbers("hours", 0, 23)
IDS = Parsed("ids", parse_ids, ask=complete_ids)
INTERVAL = Parsed("n", partial(_parse_number, low=1, high=10_000))
MICROGRID = Parsed("id", partial(_parse_number, low=1, high=MAX_ID, what="a microgrid id"))
MINUTES = _numbers("minutes", 0, 59)
MOMENT = _Moment()
MONTH_DAYS = _numbers("days", 1, 31, negative=True)
MONTH_NAMES = _numbers("months", 1, 12, MONTHS)
NUMBER = Parsed("n", partial(_parse_number, low=1, high=10**9))
PAYLOAD = Parsed("json", parse_payload)
RULE = Parsed("rule", parse_rrule)
SECONDS = Parsed("seconds", _parse_seconds)
START = _Moment({"now": "NOW"})
TARGET = Parsed("target", parse_target, complete_target)
TYPE = Parsed("type", _parse_type, ask=complete_types)
UNTIL = _Moment({"none": NONE})
WEEKDAY_NAMES = _numbers("days", 1, 7, WEEKDAYS)
ZONE = Parsed("zone", find_zone, _complete_zone)


def single(ctx: click.Context, parameter: click.Parameter, ids: Sequence[int]) -> int:
    """The callback of an argument that is one id."""
    if len(ids) != 1:
        raise click.BadParameter("give one id", ctx, parameter)
    return ids[0]
