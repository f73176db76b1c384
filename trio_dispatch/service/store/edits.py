"""What the calls that write do to the dispatches: pure functions, the same for every store.

An `Edit` names the dispatches that it reads.  Given those and the counters, it decides on the
changes.  A store fetches, lets the edit decide, and writes the changes down, all in one
transaction; so it needs no knowledge of the calls, and the calls need none of the database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ...api import wire
from ...api.wire import Event
from ...model.validation import MAX_ID
from ..errors import NotFoundError, StoreFullError
from ..rules import check_size
from .rows import NOBODY, Author, Change, Row, row_of, row_of_message

__all__ = ["Counters", "Edit", "create", "delete", "put", "put_missing", "update"]


@dataclass(frozen=True, slots=True)
class Counters:
    """What a store counts beyond the dispatches that it has at present.

    Attributes:
      last_id: The highest id that was ever given.
      sequence: The number of changes so far, which is the sequence number of the last one.
    """

    last_id: int = 0
    sequence: int = 0

    def after(self, changes: Sequence[Change]) -> Counters:
        """Return the counters after these changes."""
        last_id = max([self.last_id, *(change.row.id for change in changes)])
        return Counters(last_id, self.sequence + len(changes))


Decide: TypeAlias = Callable[[Mapping[int, Row], Counters], Sequence[Change]]


@dataclass(frozen=True, slots=True)
class Edit:
    """One write, which takes effect as a whole or not at all.

    Attributes:
      microgrid_id: The microgrid whose dispatches change.
      reads: The ids of the dispatches that `decide` looks at.
      decide: Maps those of them that exist, and the counters, to the changes.  It may run more than
        once, possibly in another thread; an exception means that nothing is changed.
    """

    microgrid_id: int
    reads: Collection[int]
    decide: Decide


# What each edit has in common: `now` and `author` are for the log of changes.


def create(
    microgrid_id: int, data: wire.DispatchData, *, now: int, author: Author = NOBODY
) -> Edit:
    """Add a dispatch with a new id."""

    def decide(found: Mapping[int, Row], counters: Counters) -> list[Change]:
        if counters.last_id >= MAX_ID:
            raise StoreFullError("there are no more ids")
        sequence = counters.sequence + 1
        row = row_of(
            microgrid_id,
            counters.last_id + 1,
            data,
            create_time=now,
            update_time=now,
            created_sequence=sequence,
            updated_sequence=sequence,
        )
        check_size(row.message)
        return [Change(Event.CREATED, sequence, now, author, row)]

    return Edit(microgrid_id, (), decide)


def update(
    microgrid_id: int,
    dispatch_id: int,
    change: Callable[[wire.DispatchData], wire.DispatchData],
    *,
    now: int,
    author: Author = NOBODY,
) -> Edit:
    """Replace the content of a dispatch by what a function makes of it."""

    def decide(found: Mapping[int, Row], counters: Counters) -> list[Change]:
        old = _in_microgrid(found, microgrid_id, dispatch_id)
        sequence = counters.sequence + 1
        row = row_of(
            microgrid_id,
            dispatch_id,
            change(old.data()),
            create_time=old.create_time,
            update_time=max(now, old.update_time + 1),
            created_sequence=old.created_sequence,
            updated_sequence=sequence,
        )
        check_size(row.message, old.message)
        return [Change(Event.UPDATED, sequence, now, author, row, old)]

    return Edit(microgrid_id, (dispatch_id,), decide)


def delete(microgrid_id: int, dispatch_id: int, *, now: int, author: Author = NOBODY) -> Edit:
    """Remove a dispatch."""

    def decide(found: Mapping[int, Row], counters: Counters) -> list[Change]:
        row = _in_microgrid(found, microgrid_id, dispatch_id)
        return [Change(Event.DELETED, counters.sequence + 1, now, author, row, row)]

    return Edit(microgrid_id, (dispatch_id,), decide)


def put(microgrid_id: int, message: wire.Dispatch, *, now: int, author: Author = NOBODY) -> Edit:
    """Keep a dispatch exactly as it is, in place of one with the same id."""
    dispatch_id = _id_of(message)

    def decide(found: Mapping[int, Row], counters: Counters) -> list[Change]:
        old = found.get(dispatch_id)
        if old is not None and old.microgrid_id != microgrid_id:
            raise ValueError(f"dispatch {dispatch_id} belongs to microgrid {old.microgrid_id}")
        sequence = counters.sequence + 1
        row = row_of_message(
            microgrid_id, message, created_sequence=sequence, updated_sequence=sequence
        )
        event = Event.CREATED if old is None else Event.UPDATED
        return [Change(event, sequence, now, author, row, old)]

    return Edit(microgrid_id, (dispatch_id,), decide)


def put_missing(
    microgrid_id: int,
    messages: Collection[wire.Dispatch],
    *,
    now: int,
    author: Author = NOBODY,
) -> Edit:
    """Keep dispatches exactly as they are, except those whose ids are taken.

    Of several with the same id the first one counts.
    """
    by_id: dict[int, wire.Dispatch] = {}
    for message in messages:
        by_id.setdefault(_id_of(message), message)

    def decide(found: Mapping[int, Row], counters: Counters) -> list[Change]:
        missing = [message for id_, message in by_id.items() if id_ not in found]
        return [
            Change(
                Event.CREATED,
                sequence,
                now,
                author,
                row_of_message(
                    microgrid_id, message, created_sequence=sequence, updated_sequence=sequence
                ),
            )
            for sequence, message in enumerate(missing, counters.sequence + 1)
        ]

    return Edit(microgrid_id, by_id.keys(), decide)


def _in_microgrid(found: Mapping[int, Row], microgrid_id: int, dispatch_id: int) -> Row:
    row = found.get(dispatch_id)
    if row is None or row.microgrid_id != microgrid_id:
        raise NotFoundError(microgrid_id, dispatch_id)
    return row


def _id_of(message: wire.Dispatch) -> int:
    return 0 if message.metadata is None else message.metadata.dispatch_id
