"""Lists of runs and of changes: filters and pages.  Pure values and functions.

Both are listed from the latest entry to the earliest.  An entry has a *place*, its time and its
number, which never changes; a page continues after the place of the last entry of the page before.
So no entry is listed twice, and none that existed throughout is skipped.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from ...api.codec import time_from_nanos
from ...api.runs import encode_change
from ...api.wire import Event
from ...model.runs import ReportedState
from .queries import PageBuilder, TimeRange
from .rows import MAX_SENT_BYTES, Change, sendable

__all__ = [
    "ChangeFilter",
    "ChangeRow",
    "Entry",
    "LogPage",
    "LogQuery",
    "Place",
    "RunFilter",
    "log_page",
    "passes",
]

_MAX_CONTENT_BYTES: Final = MAX_SENT_BYTES // 2

Place: TypeAlias = tuple[int, int]
"""The time of an entry in nanoseconds since 1970, and its number."""


class Entry(Protocol):
    """A run or a change, as a store keeps it."""

    @property
    def place(self) -> Place:
        """Its place in a list."""

    @property
    def message(self) -> bytes:
        """The encoded message that a list shows."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a list includes.  A field that is empty does not restrict it."""

    ids: frozenset[int] = frozenset()
    components: frozenset[int] = frozenset()
    states: frozenset[int] = frozenset()
    types: frozenset[str] = frozenset()
    dispatchers: frozenset[str] = frozenset()
    within: TimeRange | None = None

    def columns(self) -> dict[str, Collection[int] | Collection[str]]:
        """Return the permitted values of the columns that are restricted.

        The most selective column comes first.  Most runs are completed, so that state selects
        little.
        """
        states: dict[str, Collection[int] | Collection[str]] = {"state": self.states}
        common = ReportedState.COMPLETED.value in self.states
        columns: dict[str, Collection[int] | Collection[str]] = {
            "dispatch_id": self.ids,
            "component_id": self.components,
            **({} if common else states),
            "type": self.types,
            "dispatcher": self.dispatchers,
            **states,
        }
        return {name: values for name, values in columns.items() if values}


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which changes a list includes.  A field that is empty does not restrict it."""

    ids: frozenset[int] = frozenset()
    key_names: frozenset[str] = frozenset()
    within: TimeRange | None = None

    def columns(self) -> dict[str, Collection[int] | Collection[str]]:
        """Return the permitted values of the columns that are restricted, as for runs."""
        columns: dict[str, Collection[int] | Collection[str]] = {
            "dispatch_id": self.ids,
            "key_name": self.key_names,
        }
        return {name: values for name, values in columns.items() if values}


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change as a store keeps it.

    Attributes:
      time: In nanoseconds since 1970.
      event: The number of the event in the API.
      old, new: The encoded dispatch before and after the change.
    """

    sequence: int
    microgrid_id: int
    time: int
    event: int
    dispatch_id: int
    key_name: str
    peer: str
    old: bytes | None
    new: bytes | None

    @classmethod
    def of(cls, change: Change) -> ChangeRow:
        """Return the row of a change."""
        old, new = change.old, change.new
        return cls(
            change.sequence,
            change.microgrid_id,
            change.time,
            change.event,
            change.row.id,
            change.author.key_name,
            change.author.peer,
            None if old is None else old.message,
            None if new is None else new.message,
        )

    @property
    def place(self) -> Place:
        """Its place in a list."""
        return self.time, self.sequence

    @property
    def message(self) -> bytes:
        """The encoded `Change` message."""
        return encode_change(
            sequence=self.sequence,
            time=time_from_nanos(self.time),
            event=Event(self.event),
            dispatch_id=self.dispatch_id,
            key_name=self.key_name,
            peer=self.peer,
            old=None if self.old is None else sendable(self.old, _MAX_CONTENT_BYTES),
            new=None if self.new is None else sendable(self.new, _MAX_CONTENT_BYTES),
        )


_F = TypeVar("_F", RunFilter, ChangeFilter)


def passes(wanted: RunFilter | ChangeFilter, entry: Entry) -> bool:
    """Whether a list includes an entry."""
    within = wanted.within
    return (within is None or within.contains(entry.place[0])) and all(
        getattr(entry, name) in values for name, values in wanted.columns().items()
    )


@dataclass(frozen=True, slots=True)
class LogQuery(Generic[_F]):
    """A request for one page of a list.

    Attributes:
      filter_message: The filter as the client sent it, for the page token.
      after: The place after which the page begins; None for the first page.
    """

    microgrid_id: int
    filter: _F
    filter_message: bytes = b""
    page_size: int = 100
    after: Place | None = None


@dataclass(frozen=True, slots=True)
class LogPage(Generic[_F]):
    """One page of a list.

    Attributes:
      messages: The encoded entries, the latest first.
      following: The query for the next page; None if this is the last one.
    """

    messages: list[bytes]
    following: LogQuery[_F] | None


def log_page(query: LogQuery[_F], builder: PageBuilder) -> LogPage[_F]:
    """Return the page that a builder has collected."""
    following = None if builder.end is None else replace(query, after=builder.end)
    return LogPage(builder.messages, following)
