"""Reports the results as a table and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.benchmarks import machine
from tests.benchmarks.harness import Measured, Unit, better_by


@dataclass(frozen=True)
class Aim:
    """A target for ours.

    Attributes:
      at_most, at_least: Limits for the value.
      ratio: How many times better than the peer it has to be.
    """

    at_most: float | None = None
    at_least: float | None = None
    ratio: float | None = None

    def show(self, unit: Unit) -> str:
        said = []
        if self.at_most is not None:
            said.append(f"under {unit.show(self.at_most)}")
        if self.at_least is not None:
            said.append(f"over {unit.show(self.at_least)}")
        if self.ratio is not None:
            said.append(f"{self.ratio:g}x")
        return " and ".join(said)

    def is_met(self, value: float, ratio: float | None) -> bool:
        return (
            (self.at_most is None or value <= self.at_most)
            and (self.at_least is None or value >= self.at_least)
            and (self.ratio is None or (ratio is not None and ratio >= self.ratio))
        )


@dataclass(frozen=True)
class Line:
    """A line of the table: ours, with or without a peer and a limit."""

    work: str
    ours: str
    peer: str = ""
    theirs: str = ""
    ratio: str = ""
    aim: str = ""
    met: bool | None = None
    limit: str = ""

    def cells(self) -> list[str]:
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return [
            *(self.work, self.ours, self.peer, self.theirs),
            *(self.ratio, self.aim, met, self.limit),
        ]


@dataclass(frozen=True)
class Section:
    """The results of one benchmark.

    Attributes:
      title: The heading on the page.
      how: How it is measured, in Markdown.
      lines: Its lines of the main table.
      table: A table of its own, in Markdown.
    """

    title: str
    how: str
    lines: list[Line] = field(default_factory=list)
    table: str = ""


HEAD = ["work", "ours", "peer", "the peer's", "ours is better by", "aim", "met", "limit"]


def compare(
    work: str,
    ours: Measured,
    peer: Measured | None,
    unit: Unit,
    aim: Aim | None = None,
    *,
    limit: Measured | None = None,
) -> Line:
    """Compare ours with a peer.  A peer that was stopped counts with its time limit.

    Args:
      limit: What cannot be surpassed, since ours does the same and more.
    """
    aim = aim or Aim()
    ratio = None
    ratio_shown = peer_name = theirs = ""
    if peer is not None:
        peer_name, theirs = peer.name, peer.show(unit)
        if ours.values:
            ratio = better_by(ours, peer, unit)
            ratio_shown = f"{'' if peer.values else '> '}{_significant(ratio)}x"
    met = None
    if aim != Aim():
        met = bool(ours.values) and aim.is_met(ours.median, ratio)
    most = ""
    if limit is not None:
        most = f"{limit.name}: {limit.show(unit)}, {better_by(ours, limit, unit):.0%} reached"
    return Line(work, ours.show(unit), peer_name, theirs, ratio_shown, aim.show(unit), met, most)


def _significant(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 20 else f"{ratio:.1f}" if ratio >= 5 else f"{ratio:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Return a Markdown table, aligned in its source; `left` are the left-aligned columns."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = [
        "-" * width if number in left else "-" * (width - 1) + ":"
        for number, width in enumerate(widths)
    ]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in (head, rule, *rows)
    )


def main_table(sections: Sequence[Section]) -> str:
    """Return the table of all lines."""
    rows = [line.cells() for section in sections for line in section.lines]
    return table(HEAD, rows, left=(0, 2, 5, 6, 7)) if rows else ""


def page(sections: Sequence[Section], began: datetime, load: float, *, quick: bool) -> str:
    """Return the page of the documentation."""
    minutes = (datetime.now(UTC) - began).total_seconds() / 60
    introduction = (
        "`make bench` measured these values and wrote this page.  In each line, ours and the peer "
        "took turns in one run.  A value is the median of its rounds.  A ratio is the median of "
        "the ratios in each round, and greater than 1 where ours is better.  Compare ratios: the "
        "values depend on the machine.  A limit is a part of the same work, done by something that "
        "does nothing else."
    )
    when = (
        f"Measured on {began:%d %B %Y, %H:%M} UTC, in {minutes:.0f} minutes; the load average "
        f"was {load:.2f} at the beginning."
    )
    if quick:
        when += "  This was a quick run with few rounds, which gives only a rough idea."
    parts = ["# Speed", introduction, main_table(sections)]
    parts += ["## The machine", machine.describe(), when, machine.versions()]
    parts += ["## How each is measured"]
    for section in sections:
        parts += [f"### {section.title}", section.how, section.table]
    return "\n\n".join(filter(None, parts)) + "\n"
