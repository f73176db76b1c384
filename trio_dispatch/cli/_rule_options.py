"""The options that say how a dispatch recurs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial, update_wrapper
from typing import Any

import click

from ..model.recurrence.rfc5545 import parse_rrule
from ..model.recurrence.rule import Frequency
from ._params import MOMENT, Parsed
from ._rules import MONTHS, NONE, WEEKDAYS, RuleOptions, parse_numbers

__all__ = ["rule_options"]

_FREQUENCIES = {frequency.name.lower(): frequency for frequency in Frequency if frequency}


def _frequency(text: str) -> Frequency:
    if text.lower() not in _FREQUENCIES:
        raise ValueError(f"{text!r} is none of {', '.join(_FREQUENCIES)}")
    return _FREQUENCIES[text.lower()]


def _frequencies(incomplete: str) -> list[str]:
    return [name for name in _FREQUENCIES if name.startswith(incomplete)]


def _between(low: int, high: int, text: str) -> int:
    if text.isascii() and text.isdigit() and low <= int(text) <= high:
        return int(text)
    raise ValueError(f"{text!r} is no number from {low} to {high}")


def _count(text: str) -> Any:
    return NONE if text.lower() == "none" else _between(1, 4096, text)


class _Until(click.ParamType):  # type: ignore[type-arg]
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.lower() == "none":
            return NONE
        return MOMENT.convert(value, param, ctx)


def _numbers(
    low: int, high: int, names: Mapping[str, int] = {}, *, negative: bool = False
) -> Parsed[Any]:
    return Parsed(
        "numbers", partial(parse_numbers, low=low, high=high, names=names, negative=negative)
    )


_OPTIONS = (
    click.option(
        "--frequency",
        metavar="UNIT",
        type=Parsed("unit", _frequency, _frequencies),
        help=f"Recur: {', '.join(_FREQUENCIES)}.",
    ),
    click.option(
        "--interval",
        metavar="N",
        type=Parsed("number", partial(_between, 1, 10_000)),
        help="Every so many units.",
    ),
    click.option(
        "--by-weekday",
        metavar="DAYS",
        type=_numbers(1, 7, WEEKDAYS),
        help="Say mon,wed or mon-fri.",
    ),
    click.option(
        "--by-hour", metavar="HOURS", type=_numbers(0, 23), help="Of the day in UTC, say 8,12-14."
    ),
    click.option(
        "--by-minute", metavar="MINUTES", type=_numbers(0, 59), help="Of the hour, say 0,30."
    ),
    click.option(
        "--by-month-day",
        metavar="DAYS",
        type=_numbers(1, 31, negative=True),
        help="Of the month, from its end as well: 1,15,-1.",
    ),
    click.option(
        "--by-month", metavar="MONTHS", type=_numbers(1, 12, MONTHS), help="Say jun-aug or 6,7,8."
    ),
    click.option(
        "--count", metavar="N", type=Parsed("number", _count), help="So many times, then no more."
    ),
    click.option("--until", metavar="TIME", type=_Until(), help="Not after this moment."),
    click.option(
        "--rrule",
        metavar="RULE",
        type=Parsed("rule", parse_rrule),
        help='All of it in the form of RFC 5545: "FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=8".',
    ),
)


def rule_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a recurrence; it gets them as `RuleOptions`, named `rule`."""

    def command(*args: Any, **options: Any) -> Any:
        given = {each.name: options.pop(each.name) for each in fields(RuleOptions)}
        return function(*args, rule=RuleOptions(**given), **options)

    decorated: Callable[..., Any] = update_wrapper(command, function)
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
