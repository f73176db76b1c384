"""A dispatch as a store keeps it: its message, and beside it what lists ask of it.

The message is kept as the bytes that are sent to whoever asks for the dispatch.  So fields and enum
numbers that this version does not know survive, and nothing is encoded anew for a list of a
thousand or for each of many watchers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from ..api import wire
from ..api.codec import WIRE, time_from_nanos, time_to_nanos
from ..api.decoding import target_from_wire
from ..api.wire import Event
from ..model.target import TargetIds
from .rules import recurs, run_end

__all__ = ["MAX_ID", "Change", "Row", "check_moment", "row_of", "row_of_message", "target_text"]

MAX_ID = (1 << 64) - 1
_FIRST_MOMENT = time_to_nanos(datetime(1, 1, 1, tzinfo=UTC))
_END = time_to_nanos(datetime(9999, 12, 31, tzinfo=UTC)) + 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Row:
    """A dispatch as a store keeps it.  Times are nanoseconds since 1970.

    Attributes:
      target: What it is for, as `target_text` has it.
      recurring: Whether it has a recurrence rule with a frequency.
      starts: Its start time.
      ends: The end of its last occurrence; None if there is none.
      born: The number of the change that brought it into the store.
      changed: The number of the last change to it.
      message: The bytes of the `Dispatch` message.
    """

    id: int
    microgrid_id: int
    type: str
    target: str
    active: bool
    dry_run: bool
    recurring: bool
    starts: int
    ends: int | None
    created: int
    updated: int
    born: int
    changed: int
    message: bytes

    def data(self) -> wire.DispatchData:
        """A fresh copy of what the dispatch says."""
        return WIRE.decode(self.message, wire.Dispatch).data or wire.DispatchData()


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a dispatch: its row after the change, for a deletion the last one."""

    event: Event
    row: Row


def row_of(
    microgrid_id: int,
    dispatch_id: int,
    data: wire.DispatchData,
    *,
    created: int,
    updated: int,
    born: int,
    changed: int,
) -> Row:
    """The row of a dispatch that says this."""
    end = run_end(data)
    message = wire.Dispatch(
        metadata=wire.DispatchMetadata(
            dispatch_id=dispatch_id,
            create_time=time_from_nanos(created),
            update_time=time_from_nanos(updated),
            end_time=None if end is None else time_from_nanos(end),
        ),
        data=data,
    )
    return row_of_message(microgrid_id, message, born=born, changed=changed)


def row_of_message(microgrid_id: int, message: wire.Dispatch, *, born: int, changed: int) -> Row:
    """The row of a dispatch that is to be kept exactly as it is; what is missing counts as 0."""
    metadata = message.metadata or wire.DispatchMetadata()
    data = message.data or wire.DispatchData()
    return Row(
        id=metadata.dispatch_id,
        microgrid_id=microgrid_id,
        type=data.type,
        target=target_text(data.target),
        active=data.is_active,
        dry_run=data.is_dry_run,
        recurring=recurs(data),
        starts=_nanos(data.start_time),
        ends=None if metadata.end_time is None else time_to_nanos(metadata.end_time),
        created=_nanos(metadata.create_time),
        updated=_nanos(metadata.update_time),
        born=born,
        changed=changed,
        message=WIRE.encode(message, wire.Dispatch),
    )


def _nanos(moment: datetime | None) -> int:
    return 0 if moment is None else time_to_nanos(moment)


def target_text(message: wire.TargetComponents | None) -> str:
    """A text that is the same for all messages that mean the same target, in whatever order."""
    target = target_from_wire(message)
    if target is None:
        return "" if message is None else WIRE.encode(message, wire.TargetComponents).hex()
    if isinstance(target, TargetIds):
        return "ids " + ",".join(map(str, sorted(target)))
    categories = sorted(
        (int(item.category), type(item.type).__name__, int(item.type))
        if item.type is not None
        else (int(item.category), "", 0)
        for item in target
    )
    return "categories " + ",".join(
        f"{category}:{kind}:{number}" if kind else str(category)
        for category, kind, number in categories
    )


def check_moment(nanos: int) -> int:
    """
    Raises:
      ValueError: it is not within the years 1 to 9999.
    """
    if not _FIRST_MOMENT <= nanos < _END:
        raise ValueError(f"{nanos} ns are not within the years 1 to 9999")
    return nanos
