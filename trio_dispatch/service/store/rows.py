"""A dispatch as a store keeps it: its message, and the columns that lists filter and sort by.

The message is kept as the bytes that clients receive.  So fields and enum numbers that this version
does not know survive, and a list or an event needs no encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ...api import wire
from ...api.codec import WIRE, time_from_nanos, time_to_nanos
from ...api.decoding import build_time, target_from_wire
from ...api.wire import Event
from ...grpc import MessageCodec
from ...model.target import TargetIds
from ..rules import is_recurring, last_run_end

__all__ = [
    "MAX_SENT_BYTES",
    "NOBODY",
    "Author",
    "Change",
    "Row",
    "check_time",
    "row_of",
    "row_of_message",
    "sendable",
    "target_text",
]

MAX_SENT_BYTES: Final = 3_600 * 1024
"""This leaves room for a page token in a message of 4 MiB."""

_METADATA_ONLY = MessageCodec(
    decoders={wire.DispatchData: bytes}, builders={wire.Timestamp: build_time}
)
_FIRST_TIME = time_to_nanos(datetime(1, 1, 1, tzinfo=UTC))
_END_OF_TIME = time_to_nanos(datetime(9999, 12, 31, tzinfo=UTC)) + 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Row:
    """A dispatch as a store keeps it.  Times are nanoseconds since 1970.

    Attributes:
      target: The target in the form of `target_text`.
      recurring: Whether it has a recurrence rule with a frequency.
      end_time: The end of the last occurrence; None if there is no last one or it has no end.
      created_sequence: The sequence number of the change that created it.
      updated_sequence: The sequence number of its last change.
      message: The encoded `Dispatch` message.
    """

    id: int
    microgrid_id: int
    type: str
    target: str
    active: bool
    dry_run: bool
    recurring: bool
    start_time: int
    end_time: int | None
    create_time: int
    update_time: int
    created_sequence: int
    updated_sequence: int
    message: bytes

    def data(self) -> wire.DispatchData:
        """Return a new copy of the dispatch's content."""
        data = WIRE.decode(self.message, wire.Dispatch).data
        return wire.DispatchData() if data is None else data


@dataclass(frozen=True, slots=True)
class Author:
    """Who made a change, for the log of changes.

    Attributes:
      key_name: The name of the API key; empty if none was needed.
      peer: The address from which the request came; empty if it is not known.
    """

    key_name: str = ""
    peer: str = ""


NOBODY = Author()


@dataclass(frozen=True, slots=True)
class Change:
    """A dispatch was created, updated or deleted: an entry of the log of changes.

    Attributes:
      sequence: The number of the change.
      time: When it was made, in nanoseconds since 1970.
      author: Who made it.
      row: The dispatch after the change; for a deletion, as it was last.
      old: The dispatch before the change; None for a creation.
    """

    event: Event
    sequence: int
    time: int
    author: Author
    row: Row
    old: Row | None = None

    @property
    def microgrid_id(self) -> int:
        """The microgrid of the dispatch."""
        return self.row.microgrid_id

    @property
    def message(self) -> bytes:
        """The encoded dispatch after the change; for a deletion, as it was last."""
        return self.row.message

    @property
    def new(self) -> Row | None:
        """The dispatch after the change; None for a deletion."""
        return None if self.event is Event.DELETED else self.row

    @property
    def moved(self) -> Row | None:
        """The old row of an update, whose sort keys walks under way still need."""
        if self.event is not Event.UPDATED or self.old is None:
            return None
        # A dispatch that was put in the place of another one is new to walks.
        same = self.old.created_sequence == self.row.created_sequence
        return self.old if same else None


def row_of(
    microgrid_id: int,
    dispatch_id: int,
    data: wire.DispatchData,
    *,
    create_time: int,
    update_time: int,
    created_sequence: int,
    updated_sequence: int,
) -> Row:
    """Return the row of a dispatch with this content."""
    end = last_run_end(data)
    message = wire.Dispatch(
        metadata=wire.DispatchMetadata(
            dispatch_id=dispatch_id,
            create_time=time_from_nanos(create_time),
            update_time=time_from_nanos(update_time),
            end_time=None if end is None else time_from_nanos(end),
        ),
        data=data,
    )
    return row_of_message(
        microgrid_id,
        message,
        created_sequence=created_sequence,
        updated_sequence=updated_sequence,
    )


def row_of_message(
    microgrid_id: int, message: wire.Dispatch, *, created_sequence: int, updated_sequence: int
) -> Row:
    """Return the row that keeps a dispatch exactly as it is; missing numbers count as 0."""
    # Not `or`: whether a message is empty takes betterproto2 longer than all the rest.
    metadata = wire.DispatchMetadata() if message.metadata is None else message.metadata
    data = wire.DispatchData() if message.data is None else message.data
    return Row(
        id=metadata.dispatch_id,
        microgrid_id=microgrid_id,
        type=data.type,
        target=target_text(data.target),
        active=data.is_active,
        dry_run=data.is_dry_run,
        recurring=is_recurring(data),
        start_time=_nanos(data.start_time),
        end_time=None if metadata.end_time is None else time_to_nanos(metadata.end_time),
        create_time=_nanos(metadata.create_time),
        update_time=_nanos(metadata.update_time),
        created_sequence=created_sequence,
        updated_sequence=updated_sequence,
        message=WIRE.encode(message, wire.Dispatch),
    )


def _nanos(moment: datetime | None) -> int:
    return 0 if moment is None else time_to_nanos(moment)


def sendable(message: bytes, limit: int = MAX_SENT_BYTES) -> bytes:
    """Return a dispatch as clients receive it.

    Older versions stored dispatches of up to 4 MiB.  Those that exceed a client's default limit
    would make their microgrid unlistable, so clients receive an inactive dispatch without content
    in their place, by which they can still be found, and deleted.
    """
    if len(message) <= limit:
        return message
    metadata = _METADATA_ONLY.decode(message, wire.Dispatch).metadata or wire.DispatchMetadata()
    data = wire.DispatchData(
        type="TOO LARGE", start_time=metadata.create_time or time_from_nanos(0)
    )
    return WIRE.encode(wire.Dispatch(metadata=metadata, data=data), wire.Dispatch)


def target_text(message: wire.TargetComponents | None) -> str:
    """Return a text that is equal for equal targets, whatever the order of their parts."""
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


def check_time(nanos: int) -> int:
    """Return a time if it is within the years 1 to 9999.

    Raises:
      ValueError: it is not.
    """
    if not _FIRST_TIME <= nanos < _END_OF_TIME:
        raise ValueError(f"{nanos} ns since 1970 is not within the years 1 to 9999")
    return nanos
