"""What the benchmarks found, as a table and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.benchmarks import machine
from tests.benchmarks.harness import Measured, Unit, better_by


@dataclass(frozen=True)
class Aim:
    """What ours is to reach; what is None does not matter.

    Attributes:
      at_most, at_least: A value.
      ratio: So many times better than the peer.
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
    """A line of the table: ours beside a peer, or alone."""

    work: str
    ours: str
    peer: str = ""
    theirs: str = ""
    ratio: str = ""
    aim: str = ""
    met: bool | None = None

    def cells(self) -> list[str]:
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return [self.work, self.ours, self.peer, self.theirs, self.ratio, self.aim, met]


@dataclass(frozen=True)
class Section:
    """What came of one benchmark.

    Attributes:
      title: Of its part of the page.
      how: How it is measured, in Markdown.
      lines: Of the table.
      table: Numbers of its own, in Markdown.
    """

    title: str
    how: str
    lines: list[Line] = field(default_factory=list)
    table: str = ""


HEAD = ["work", "ours", "peer", "the peer's", "ours is better by", "aim", "met"]


def compare(
    work: str, ours: Measured, peer: Measured | None, unit: Unit, aim: Aim | None = None
) -> Line:
    """The line of ours and a peer; a peer that was stopped counts with the time that it had."""
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
    return Line(work, ours.show(unit), peer_name, theirs, ratio_shown, aim.show(unit), met)


def _significant(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 20 else f"{ratio:.1f}" if ratio >= 5 else f"{ratio:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """A table in Markdown, aligned for who reads it as it stands; these columns to the left."""
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
    """The table of all lines."""
    rows = [line.cells() for section in sections for line in section.lines]
    return table(HEAD, rows, left=(0, 2, 5, 6)) if rows else ""


def page(sections: Sequence[Section], began: datetime, load: float, *, quick: bool) -> str:
    """The page of the documentation."""
    minutes = (datetime.now(UTC) - began).total_seconds() / 60
    introduction = (
        "What `make bench` found, which wrote this page.  In each line ours and the peer took "
        "turns in one run; a value is the median of its rounds, a ratio the median of the ratios "
        "in each round, and more than 1 where ours is better.  The ratio counts: another machine "
        "has other values."
    )
    when = (
        f"Measured on {began:%d %B %Y, %H:%M} UTC, in {minutes:.0f} minutes; the load average "
        f"was {load:.2f} when it began."
    )
    if quick:
        when += "  This was a quick run, with little work and few rounds: take it as a hint."
    parts = ["# Speed", introduction, main_table(sections)]
    parts += ["## The machine", machine.describe(), when, machine.versions()]
    parts += ["## How each is measured"]
    for section in sections:
        parts += [f"### {section.title}", section.how, section.table]
    return "\n\n".join(filter(None, parts)) + "\n"
