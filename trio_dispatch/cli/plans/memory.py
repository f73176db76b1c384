"""What a plan remembers: which dispatches its entries have become.

It is kept in a file beside the plan, ``plan.toml.state``, to be committed with the plan.  The file
is JSON, with a line for each dispatch in a stable order, so that it merges like a text.  It has a
part for each microgrid and service.

The file is a help, not the truth.  A dispatch is recognised by its id and the time of its creation,
so that a service that was set up anew, or another one, is not mistaken for this one.  Without the
file, or with an old one, entries that have not changed since are recognised by their content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ...model.times import time_from_nanos, time_to_nanos
from ...text.records import format_json_time, read_time
from .matching import Known

__all__ = ["FORMAT", "Memory", "dump_memories", "read_memories", "section"]

FORMAT = "trio-dispatch plan state 1"


@dataclass(slots=True)
class Memory:
    """What a plan remembers of one microgrid of one service.

    Attributes:
      entries: The dispatches of entries with a label.
      others: Further dispatches that are, or were, the plan's.
    """

    entries: dict[str, Known] = field(default_factory=dict)
    others: list[Known] = field(default_factory=list)

    @property
    def known(self) -> set[Known]:
        """All of them."""
        return {*self.entries.values(), *self.others}

    def add(self, label: str | None, known: Known) -> None:
        """Remember a dispatch, under a label if it has one."""
        if label is None:
            self.others.append(known)
        else:
            self.entries[label] = known

    def forget(self, known: Known) -> None:
        """Forget a dispatch that was deleted."""
        self.others = [each for each in self.others if each != known]


def section(url: str | None, microgrid: int) -> str:
    """Return the name of the part for a microgrid and a service."""
    return f"microgrid {microgrid} at {urlsplit(url or '').netloc or 'unknown'}"


def read_memories(text: str) -> dict[str, Memory]:
    """Return the parts of a file.

    Raises:
      ValueError: the text is not that of such a file.
    """
    try:
        content = json.loads(text)
        if content.pop("format") != FORMAT:
            raise ValueError(f"format is not {FORMAT!r}")
        return {name: _read(part) for name, part in content.items()}
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as exc:
        raise ValueError(
            f"not the state of a plan: {exc!r}; remove it to have entries recognised by content"
        ) from None


def _read(part: Mapping[str, Any]) -> Memory:
    entries = {str(label): _known(text) for label, text in part["entries"].items()}
    return Memory(entries, [*map(_known, part["others"])])


def _known(text: str) -> Known:
    id_, created = text.split()
    return Known(int(id_), time_to_nanos(read_time(created)))


def dump_memories(memories: Mapping[str, Memory]) -> str:
    """Return the text of a file."""

    def text(known: Known) -> str:
        return f"{known.id} {format_json_time(time_from_nanos(known.created))}"

    content: dict[str, Any] = {"format": FORMAT}
    for name, memory in sorted(memories.items()):
        content[name] = {
            "entries": {label: text(known) for label, known in sorted(memory.entries.items())},
            "others": [*map(text, sorted({*memory.others}))],
        }
    return f"{json.dumps(content, indent=1, ensure_ascii=False)}\n"
