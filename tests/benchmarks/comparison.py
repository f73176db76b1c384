"""The figures of the README's comparison are those of the page about speed."""

from __future__ import annotations

import re

_FIRST_SYNC = "first sync of 10,000 one-shot dispatches"
_DAILY = "first sync of 10,000 dispatches that have recurred daily for 30 days"
_BURST = "2,000 updates in a burst over 10,000 dispatches, at the receiver"
_LOST = "lost of them"
_NEXT_RUN = "`next_after`, a minutely rule that is a year old"


def with_figures(readme: str, page: str) -> str:
    """Return the README with the figures of a page that `make bench` has written."""
    measured: dict[str, tuple[str, str]] = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) > 3:
            measured.setdefault(cells[0], (cells[1], cells[3]))

    def rate(side: int) -> str:
        lost = measured[_LOST][side]
        lost = "none" if lost == "0%" else lost
        return f"{measured[_BURST][side].replace(' /s', ' per second')}, {lost} lost"

    microseconds = float(measured[_NEXT_RUN][1].removesuffix(" µs").replace(",", ""))
    for title, ours, theirs in (
        ("first sync of 10,000 dispatches", *measured[_FIRST_SYNC]),
        ("the same, each recurring daily for 30 days", *measured[_DAILY]),
        ("2,000 updates in a burst, over 10,000 dispatches", rate(0), rate(1)),
        (
            "next run of a minutely rule that is a year old",
            measured[_NEXT_RUN][0],
            f"{microseconds / 1e6:.1f} s, during which nothing else runs",
        ),
    ):
        row = rf"^\| {re.escape(title)} \|.*$"
        readme, found = re.subn(row, f"| {title} | {ours} | {theirs} |", readme, flags=re.MULTILINE)
        if not found:
            raise ValueError(f"the README has no row {title!r}")
    return readme
