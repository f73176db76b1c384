"""What a list asks of a store: filters, order, pages.  Pure values and functions.

Theory of operation.  The pages of a list are a *walk*.  A walk covers the dispatches that existed
when its first page was read, in the order of that moment.  A dispatch that has been deleted since,
or that no longer passes the filter, is left out; the others are listed with their present content.
So no dispatch is listed twice, and none that existed throughout is skipped, even if the list is
sorted by update time and dispatches are updated meanwhile.

Every change of a store has a sequence number, one more than the change before.  A walk remembers
its *snapshot sequence*: the number of the last change before its first page.  A dispatch is sorted
by the key that it had at the snapshot.  If it has not changed since, it still has that key;
otherwise the store finds the key among the former keys of the last `REMEMBERED_CHANGES` changes.
If more changes than that happen during a walk, the walk continues as if it had begun later: a
dispatch that moved in the meantime may then be listed twice or skipped, as in any other keyset
pagination.  Create times do not change, so lists that are sorted by them have no such limit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import accumulate
from typing import TypeVar

from .rows import Row

__all__ = [
    "MAX_PAGE_BYTES",
    "MAX_PAGE_SIZE",
    "REMEMBERED_CHANGES",
    "SEARCHED_CHARACTERS",
    "Filter",
    "Page",
    "PageBuilder",
    "Query",
    "SortKey",
    "TimeRange",
]

_K = TypeVar("_K")

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
MAX_PAGE_BYTES = 2 * 1024 * 1024
"""A page ends before it has more bytes: gRPC clients take 4 MiB in one message by default."""

SEARCHED_CHARACTERS = 256
"""Queries look at the beginning of a type only: older versions stored types of any length."""

REMEMBERED_CHANGES = 100_000
"""A store remembers the former sort keys for this number of changes."""


class SortKey(Enum):
    """The field of `Row` by which a list is sorted."""

    START_TIME = "start_time"
    CREATE_TIME = "create_time"
    UPDATE_TIME = "update_time"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A half-open range of time; a bound of None is no bound."""

    start: int | None = None
    end: int | None = None

    def contains(self, moment: int | None) -> bool:
        """Whether a moment is in the range; None stands for a moment that never comes."""
        if moment is None:
            return self.end is None
        return (self.start is None or self.start <= moment) and (
            self.end is None or moment < self.end
        )


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dispatches a list includes.  A field that is None does not restrict it.

    Attributes:
      targets: Any of these, in the form of `target_text`.
      queried_ids: Any of these ids, or a type that contains any of `queried_types`.
    """

    targets: frozenset[str] | None = None
    active: bool | None = None
    dry_run: bool | None = None
    recurring: bool | None = None
    start_time: TimeRange | None = None
    end_time: TimeRange | None = None
    update_time: TimeRange | None = None
    ids: frozenset[int] | None = None
    queried_ids: frozenset[int] | None = None
    queried_types: tuple[str, ...] = ()

    def passes(self, row: Row) -> bool:
        """Whether the list includes a dispatch."""
        return (
            (self.active is None or self.active == row.active)
            and (self.dry_run is None or self.dry_run == row.dry_run)
            and (self.recurring is None or self.recurring == row.recurring)
            and (self.targets is None or row.target in self.targets)
            and (self.start_time is None or self.start_time.contains(row.start_time))
            and (self.end_time is None or self.end_time.contains(row.end_time))
            and (self.update_time is None or self.update_time.contains(row.update_time))
            and (self.ids is None or row.id in self.ids)
            and self._matches_queries(row)
        )

    def _matches_queries(self, row: Row) -> bool:
        if self.queried_ids is None:
            return True
        searched = row.type[:SEARCHED_CHARACTERS]
        return row.id in self.queried_ids or any(text in searched for text in self.queried_types)


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Query:
    """A request for one page of a list.

    Attributes:
      filter_message: The filter as the client sent it, for the page token.
      after: The sort key and the id after which the page begins; None for the first page.
      snapshot: The snapshot sequence of the walk; None for the first page.
      total: How many dispatches passed the filter at the snapshot; None for the first page.
    """

    microgrid_id: int
    filter: Filter = EVERYTHING
    filter_message: bytes = b""
    sort_key: SortKey = SortKey.CREATE_TIME
    descending: bool = True
    page_size: int = DEFAULT_PAGE_SIZE
    after: tuple[int, int] | None = None
    snapshot: int | None = None
    total: int | None = None

    def snapshot_at(self, sequence: int) -> int:
        """Return the snapshot sequence, for a store whose last change has this number."""
        if self.snapshot is None:
            return sequence
        return max(self.snapshot, sequence - REMEMBERED_CHANGES)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list.

    Attributes:
      messages: The encoded `Dispatch` messages, in order.
      total: How many dispatches passed the filter at the snapshot of the walk.
      following: The query for the next page; None if this is the last one.
    """

    messages: list[bytes]
    total: int
    following: Query | None


class PageBuilder:
    """Collects a page until it has enough entries or bytes; it has one entry at least.

    Attributes:
      messages: The encoded entries, in order.

    Args:
      size: How many entries the page has at most.
    """

    def __init__(self, size: int) -> None:
        self.messages: list[bytes] = []
        self._size = size
        self._bytes = 0
        self._last = (0, 0)
        self._more = False

    def add(self, key: int, id_: int, message: bytes) -> bool:
        """Add the next entry of the list; return False if it belongs on the next page."""
        self._bytes += len(message)
        full = len(self.messages) == self._size or self._bytes > MAX_PAGE_BYTES
        if full and self.messages:
            self._more = True
            return False
        self.messages.append(message)
        self._last = key, id_
        return True

    def extend(
        self, rows: Sequence[tuple[_K, int, bytes]], place: Callable[[_K, int], tuple[int, int]]
    ) -> bool:
        """Add the next entries of the list; return False if some belong on the next page.

        Args:
          rows: The key and the id of each entry, in any form, and its message.
          place: Returns the key and the id of the last one.
        """
        messages = [message for _, _, message in rows]
        sizes = [*accumulate(map(len, messages), initial=self._bytes)][1:]
        count = min(bisect_right(sizes, MAX_PAGE_BYTES), self._size - len(self.messages))
        if not self.messages:
            count = max(1, count)
        if taken := messages[:count]:
            self.messages += taken
            self._bytes = sizes[len(taken) - 1]
            self._last = place(*rows[len(taken) - 1][:2])
        self._more = len(taken) < len(rows)
        return not self._more

    @property
    def end(self) -> tuple[int, int] | None:
        """The key and the id of the last entry; None if no further page follows."""
        return self._last if self._more else None

    def page(self, query: Query, *, snapshot: int, total: int) -> Page:
        """Return the page of a walk with this snapshot sequence and number of dispatches."""
        following = (
            None
            if self.end is None
            else replace(query, after=self.end, snapshot=snapshot, total=total)
        )
        return Page(self.messages, total, following)
