"""The channels of a dispatcher: how each treats its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..concurrency.broadcast import Broadcast, LimitedBroadcast, Rules
from ..model.dispatch import Dispatch
from ..model.events import Created, Deleted, LifecycleEvent, MissedRun, Updated

__all__ = [
    "lifecycle_channel",
    "merge_events",
    "merge_statuses",
    "missed_channel",
    "status_channel",
]


def lifecycle_channel(
    snapshot: Callable[[str | None], Iterable[LifecycleEvent]],
) -> LimitedBroadcast[LifecycleEvent]:
    """Return a channel that keeps every event up to a receiver's limit, and then merges them."""
    return LimitedBroadcast(
        Rules(
            key=lambda event: event.dispatch.id,
            type=lambda event: event.dispatch.type,
            final=lambda event: isinstance(event, Deleted),
            begins=lambda event: isinstance(event, Created),
            merge=merge_events,
            merges=lambda _, __, crowded: crowded,
            snapshot=snapshot,
        )
    )


def status_channel(
    snapshot: Callable[[str | None], Iterable[Dispatch]],
    received: Callable[[Dispatch], None] | None = None,
) -> Broadcast[Dispatch]:
    """Return a channel on which the newest status of a dispatch replaces the queued one."""
    return Broadcast(
        Rules(
            key=lambda dispatch: dispatch.id,
            type=lambda dispatch: dispatch.type,
            final=lambda dispatch: dispatch.deleted,
            merge=merge_statuses,
            # A pulse does not end a run: a receiver that saw the start has to see the stop.
            merges=lambda older, newer, _: newer.pulse is None or older.pulse is not None,
            snapshot=snapshot,
            received=received,
        )
    )


def missed_channel(
    snapshot: Callable[[str | None], Iterable[MissedRun]], received: Callable[[MissedRun], None]
) -> LimitedBroadcast[MissedRun]:
    """Return a channel that keeps, past a receiver's limit, the last missed run per dispatch."""
    return LimitedBroadcast(
        Rules(
            key=lambda missed: missed.dispatch.id,
            type=lambda missed: missed.dispatch.type,
            final=lambda _: False,
            merge=lambda _, newer: newer,
            merges=lambda _, __, crowded: crowded,
            snapshot=snapshot,
            received=received,
        )
    )


def merge_events(older: LifecycleEvent, newer: LifecycleEvent) -> LifecycleEvent | None:
    """Merge two events about one dispatch, neither of which was received; None if they cancel."""
    match older, newer:
        case Created(), Deleted():
            return None
        case Created(), _:
            return Created(newer.dispatch)
        # A receiver of one type may not have seen what came between the two events.
        case (
            Updated(previous=known) | Deleted(_previous=known),
            Created(dispatch=now) | Updated(dispatch=now),
        ):
            # A change that was undone is no event.
            return None if now == known else Updated(now, known)
        case Updated(previous=known) | Deleted(_previous=known), Deleted(dispatch=last):
            return Deleted(last, known)
    return newer


def merge_statuses(older: Dispatch, newer: Dispatch) -> Dispatch:
    """Return the newer status; a queued pulse stays, unless its dispatch was withdrawn."""
    if older.pulse is None or newer.pulse is not None or newer.deleted or not newer.active:
        return newer
    return newer.sent_for(newer.sent_at or older.pulse, pulse=older.pulse)
