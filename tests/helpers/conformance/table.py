"""All checks, and the table of what servers make of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from tests.helpers.conformance import compression, definitions, semantics, streams
from tests.helpers.conformance.exchange import Check, Verdict

CHECKS: Sequence[Check] = [
    *streams.CHECKS,
    *definitions.CHECKS,
    *semantics.CHECKS,
    *compression.CHECKS,
]

Results = Mapping[str, Sequence[tuple[Verdict, str]]]
"""By the name of a server: the verdict and what was seen, for each of the checks."""


def table(results: Results) -> str:
    """The checks that each server has passed, by section, and those that one has not."""
    lines = [_row("section", "checks", results)]
    numbered = list(enumerate(CHECKS))
    for section, group in groupby(numbered, lambda pair: pair[1].section):
        numbers = [number for number, _ in group]
        lines.append(_row(section, str(len(numbers)), _passed(results, numbers)))
    lines.append(_row("all", str(len(CHECKS)), _passed(results, range(len(CHECKS)))))
    for name, verdicts in results.items():
        lines += ["", f"{name}: otherwise than required, but allowed"]
        lines += _those(verdicts, Verdict.ALLOWED) or ["  none"]
        lines += ["", f"{name}: failed"]
        lines += _those(verdicts, Verdict.FAILED) or ["  none"]
    return "\n".join(lines)


def _passed(results: Results, numbers: Sequence[int]) -> list[str]:
    return [
        str(sum(verdicts[number][0] is not Verdict.FAILED for number in numbers))
        for verdicts in results.values()
    ]


def _row(section: str, checks: str, cells: Iterable[str]) -> str:
    return f"{section:14}{checks:>8}" + "".join(f"{cell:>10}" for cell in cells)


def _those(verdicts: Sequence[tuple[Verdict, str]], verdict: Verdict) -> list[str]:
    return [
        f"  {check.section} {check.title}: {observed}"
        for check, (found, observed) in zip(CHECKS, verdicts, strict=True)
        if found is verdict
    ]
