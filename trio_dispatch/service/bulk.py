"""Dispatches by the hundred into a store, as they are: for imports while no service runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..api import wire
from ..api.codec import dispatch_to_wire
from ..model.dispatch import Dispatch
from .row import Row, row_of_message
from .store import Store, Table

__all__ = ["BulkResult", "add_all"]

_PAGE = 500


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of some dispatches.

    Attributes:
      added: How many are in the store now that were not.
      present: The ids that were there already, whatever those dispatches say.
      foreign: The ids that dispatches of other microgrids have.
    """

    added: int
    present: tuple[int, ...]
    foreign: tuple[int, ...]


async def add_all(
    store: Store, microgrid_id: int, dispatches: Sequence[Dispatch], *, page: int = _PAGE
) -> BulkResult:
    """Keep dispatches exactly as they are, with their own ids and times, whatever the rules say.

    Those whose ids are there already are left out, and what is there stays as it is.  Each page is
    one transaction: it is in the store as a whole or not at all.  A checkpoint for each; when it is
    cancelled or fails, the pages before are in the store, and the same call again adds the rest.
    Ids that are given later are higher than all of these.

    It is for a store that nobody watches: watchers would be told of nothing.

    Args:
      page: How many dispatches a transaction has.

    Raises:
      ValueError: somebody watches the store.
      StoreError: the store cannot be written.
    """
    if store.watchers.statistics().watchers:
        raise ValueError("somebody watches this store: end the service before adding to it")
    added = 0
    present: list[int] = []
    foreign: list[int] = []
    for begin in range(0, len(dispatches), page):
        some = dispatches[begin : begin + page]
        outcome = _Page(microgrid_id, some)
        await store._commit(outcome.step)
        added += outcome.added
        present += outcome.present
        foreign += outcome.foreign
    return BulkResult(added, tuple(present), tuple(foreign))


class _Page:
    """A page as a step of the store, which may run it more than once."""

    def __init__(self, microgrid_id: int, dispatches: Iterable[Dispatch]) -> None:
        self._microgrid_id = microgrid_id
        # What makes no sense is to be found before anything is changed.  Of several with the same
        # id the first one counts.
        self._messages: dict[int, wire.Dispatch] = {}
        for each in dispatches:
            self._messages.setdefault(each.id, dispatch_to_wire(each))
        self.added = 0
        self.present: list[int] = []
        self.foreign: list[int] = []

    def step(self, table: Table) -> None:
        self.added, self.present, self.foreign = 0, [], []
        rows: list[Row] = []
        for id_, message in self._messages.items():
            old = table.find(id_)
            if old is None:
                number = table.changes + len(rows) + 1
                rows.append(
                    row_of_message(self._microgrid_id, message, born=number, changed=number)
                )
            elif old.microgrid_id == self._microgrid_id:
                self.present.append(id_)
            else:
                self.foreign.append(id_)
        for row in rows:
            table.insert(row)
        table.changes += len(rows)
        table.last_id = max(table.last_id, *(row.id for row in rows), 0)
        self.added = len(rows)
