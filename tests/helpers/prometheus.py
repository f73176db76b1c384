"""What Prometheus does with scraped metrics: a part of its language, enough for the alert rules.

Where `promtool` is installed, `check_with_promtool` compares the outcome with the real thing.
"""

from __future__ import annotations

import json
import operator
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import yaml
from prometheus_client.parser import text_string_to_metric_families

Labels: TypeAlias = frozenset[tuple[str, str]]
Vector: TypeAlias = dict[Labels, float]
Value: TypeAlias = float | Vector


@dataclass(frozen=True, slots=True)
class Scrape:
    """The samples of one scrape, by name and labels."""

    time: float
    samples: Mapping[str, Vector]


def scrape_of(time: float, text: str) -> Scrape:
    """Return the samples of a page in the text format."""
    samples: dict[str, Vector] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return Scrape(time, samples)


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule."""

    name: str
    expression: str
    hold: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def read_rules(path: Path) -> list[Rule]:
    """Return the alert rules of a file."""
    return [
        Rule(
            rule["alert"],
            rule["expr"],
            seconds_of(rule.get("for", "0s")),
            rule["labels"],
            rule["annotations"],
        )
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def names_in(expression: str) -> set[str]:
    """Return the names of the metrics in an expression."""
    plain = re.sub(r'"[^"]*"|\b(by|without)\s*\([^)]*\)|\{[^}]*\}', " ", expression)
    return set(re.findall(r"\b(?:dispatch|process)\w*\b|\bup\b", plain))


def seconds_of(text: str) -> float:
    """Return the seconds of a duration such as ``5m``."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    return timedelta(**{units[text[-1]]: int(text[:-1])}).total_seconds()


def firing(scrapes: Sequence[Scrape], rule: Rule) -> list[Labels]:
    """Return the labels with which a rule fires at the last scrape."""
    since: dict[Labels, float] = {}
    for number, scrape in enumerate(scrapes, 1):
        value = _Evaluation(scrapes[:number]).run(rule.expression)
        assert isinstance(value, dict)
        since = {labels: since.get(labels, scrape.time) for labels in value}
    return [labels for labels, begin in since.items() if scrapes[-1].time - begin >= rule.hold]


_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)(?![smhd\w])|(?P<duration>\d+[smhd])|(?P<word>\w+)"
    r'|(?P<text>"[^"]*")|(?P<mark>==|!=|=~|<=|>=|[-+*/<>=(){},\[\]]))'
)
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass
class _Evaluation:
    """Evaluates an expression at the last of some scrapes, by recursive descent."""

    scrapes: Sequence[Scrape]
    _tokens: list[str] = field(default_factory=list)

    def run(self, expression: str) -> Value:
        self._tokens = [match[0].strip() for match in _TOKEN.finditer(expression.strip())]
        value = self._conjunction()
        assert not self._tokens, self._tokens
        return value

    @property
    def _next(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _take(self, *expected: str) -> str:
        assert not expected or self._next in expected, (self._next, expected)
        return self._tokens.pop(0)

    def _conjunction(self) -> Value:
        value = self._comparison()
        while self._next == "and":
            self._take()
            other = self._comparison()
            assert isinstance(value, dict)
            assert isinstance(other, dict)
            value = {labels: each for labels, each in value.items() if labels in other}
        return value

    def _comparison(self) -> Value:
        left = self._chain("+-", lambda: self._chain("*/", self._operand))
        if self._next not in _COMPARISONS:
            return left
        compare = _COMPARISONS[self._take()]
        right = self._chain("+-", lambda: self._chain("*/", self._operand))
        assert isinstance(left, dict)
        assert isinstance(right, float)
        return {labels: each for labels, each in left.items() if compare(each, right)}

    def _chain(self, marks: str, operand: Callable[[], Value]) -> Value:
        value = operand()
        while self._next and self._next in marks:
            value = _combine(_ARITHMETIC[self._take()], value, operand())
        return value

    def _operand(self) -> Value:
        token = self._take()
        if token == "(":
            value = self._conjunction()
            self._take(")")
            return value
        if token[0].isdigit():
            return float(token)
        if token == "time":
            self._take("(")
            self._take(")")
            return self.scrapes[-1].time
        if token in {"increase", "rate"}:
            self._take("(")
            name, matches = self._selector(self._take())
            self._take("[")
            window = seconds_of(self._take())
            self._take("]")
            self._take(")")
            found = self._increase(name, matches, window)
            per = window if token == "rate" else 1.0
            return {labels: each / per for labels, each in found.items()}
        name, matches = self._selector(token)
        last = self.scrapes[-1].samples.get(name, {})
        return {labels: each for labels, each in last.items() if matches(labels)}

    def _selector(self, name: str) -> tuple[str, Callable[[Labels], bool]]:
        wanted: list[tuple[str, str, str]] = []
        if self._next == "{":
            self._take()
            while self._next != "}":
                label, mark, text = self._take(), self._take("=", "=~"), self._take()
                wanted.append((label, mark, text.strip('"')))
                if self._next == ",":
                    self._take()
            self._take("}")

        def matches(labels: Labels) -> bool:
            has = dict(labels)
            return all(
                has.get(label, "") == text
                if mark == "="
                else re.fullmatch(text, has.get(label, ""))
                for label, mark, text in wanted
            )

        return name, matches

    def _increase(self, name: str, matches: Callable[[Labels], bool], window: float) -> Vector:
        end = self.scrapes[-1].time
        series: dict[Labels, list[tuple[float, float]]] = {}
        for scrape in self.scrapes:
            if scrape.time >= end - window:
                for labels, value in scrape.samples.get(name, {}).items():
                    if matches(labels):
                        series.setdefault(labels, []).append((scrape.time, value))
        return {
            labels: _extrapolated(points, end - window, end)
            for labels, points in series.items()
            if len(points) > 1
        }


def _combine(function: Callable[[float, float], float], left: Value, right: Value) -> Value:
    match left, right:
        case float(), float():
            return function(left, right)
        case dict(), float():
            return {labels: function(each, right) for labels, each in left.items()}
        case float(), dict():
            return {labels: function(left, each) for labels, each in right.items()}
        case dict(), dict():
            both = left.keys() & right.keys()
            return {labels: function(left[labels], right[labels]) for labels in both}
    raise TypeError(f"{left!r} and {right!r}")


def _extrapolated(points: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """Return the increase of a counter as Prometheus's `extrapolatedRate` does."""
    (first_time, first), (last_time, last) = points[0], points[-1]
    total = last - first
    for (_, before), (_, after) in pairwise(points):
        total += before if after < before else 0
    sampled = last_time - first_time
    average = sampled / (len(points) - 1)
    to_begin, to_end = first_time - begin, end - last_time
    if total > 0:
        to_begin = min(to_begin, sampled * first / total)
    covered = sampled
    for rest in (to_begin, to_end):
        covered += rest if rest < 1.1 * average else average / 2
    return total * covered / sampled


# The real thing.


def promtool() -> str | None:
    """Return the path of promtool, None if it is not installed."""
    return shutil.which("promtool")


def check_with_promtool(scrapes: Sequence[Scrape], rules: Path, folder: Path) -> None:
    """Have promtool evaluate the rules on the same samples, and compare what fires.

    The scrapes must be equally far apart.  promtool's clock begins at 0.
    """
    program = promtool()
    assert program is not None
    begin, interval = scrapes[0].time, scrapes[1].time - scrapes[0].time
    last = scrapes[-1].time - begin
    test = {
        "rule_files": [str(rules)],
        "evaluation_interval": f"{interval:.0f}s",
        "tests": [
            {
                "interval": f"{interval:.0f}s",
                "input_series": [*_series(scrapes, begin)],
                "alert_rule_test": [
                    {
                        "eval_time": f"{last:.0f}s",
                        "alertname": rule.name,
                        "exp_alerts": [
                            {
                                "exp_labels": {**dict(labels), **rule.labels},
                                "exp_annotations": dict(rule.annotations),
                            }
                            for labels in firing(scrapes, rule)
                        ],
                    }
                    for rule in read_rules(rules)
                ],
            }
        ],
    }
    path = folder / "rules_test.json"
    path.write_text(json.dumps(test))
    done = subprocess.run(
        [program, "test", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _series(scrapes: Sequence[Scrape], begin: float) -> Iterator[dict[str, str]]:
    keys = dict.fromkeys(
        (name, labels)
        for scrape in scrapes
        for name, vector in scrape.samples.items()
        if name.startswith("dispatch")
        for labels in vector
    )
    for name, labels in keys:
        shift = begin if name.endswith("_timestamp_seconds") else 0
        values = (scrape.samples.get(name, {}).get(labels) for scrape in scrapes)
        text = " ".join("_" if each is None else repr(each - shift) for each in values)
        inside = ",".join(f"{label}={json.dumps(value)}" for label, value in sorted(labels))
        yield {"series": f"{name}{{{inside}}}", "values": text}


def all_names(scrapes: Iterable[Scrape]) -> set[str]:
    """Return the names of all samples."""
    return {name for scrape in scrapes for name in scrape.samples}
