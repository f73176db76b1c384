"""Import many dispatches into a store, exactly as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ... import clock
from ...api.codec import dispatch_to_wire, time_to_nanos
from ...model.dispatch import Dispatch
from . import edits
from .base import Store
from .edits import Counters, Edit
from .rows import NOBODY, Author, Change, Row

__all__ = ["BulkResult", "add_all"]

_PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class BulkResult:
    """The result of an import.

    Attributes:
      added: How many dispatches were added.
      present: The ids that the microgrid had already; those dispatches are unchanged.
      foreign: The ids that belong to dispatches of other microgrids.
    """

    added: int
    present: tuple[int, ...]
    foreign: tuple[int, ...]


async def add_all(
    store: Store,
    microgrid_id: int,
    dispatches: Sequence[Dispatch],
    *,
    author: Author = NOBODY,
    page_size: int = _PAGE_SIZE,
) -> BulkResult:
    """Add dispatches exactly as they are, with their own ids and times, without checking any rule.

    Dispatches whose ids exist are left out; the existing ones stay as they are.  Each page is one
    transaction and one checkpoint.  If this call is cancelled or fails, the pages before are in the
    store, and calling it again adds the rest.  Ids that are given later are higher.

    Args:
      author: Who adds them, for the log of changes.
      page_size: How many dispatches share a transaction.

    Raises:
      StoreError: the store cannot be written.
    """
    added = 0
    present: list[int] = []
    foreign: list[int] = []
    for begin in range(0, len(dispatches), page_size):
        messages = [dispatch_to_wire(each) for each in dispatches[begin : begin + page_size]]
        now = time_to_nanos(clock.now())
        edit = edits.put_missing(microgrid_id, messages, now=now, author=author)
        count, existing = await _add(store, edit)
        added += count
        for row in existing:
            (present if row.microgrid_id == microgrid_id else foreign).append(row.id)
    return BulkResult(added, tuple(present), tuple(foreign))


async def _add(store: Store, edit: Edit) -> tuple[int, list[Row]]:
    """Carry out an edit; return the number of its changes, and the dispatches that it found."""
    existing: list[Row] = []

    def decide(found: Mapping[int, Row], counters: Counters) -> Sequence[Change]:
        existing[:] = [found[id_] for id_ in edit.reads if id_ in found]
        return edit.decide(found, counters)

    changes = await store.write(replace(edit, decide=decide))
    return len(changes), existing
