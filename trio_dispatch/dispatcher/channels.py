"""What the channels of a dispatcher know of their messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..concurrency.broadcast import Broadcast, Rules
from ..model.dispatch import Dispatch
from ..model.events import Created, Deleted, LifecycleEvent, MissedRun, Updated


def lifecycle_channel(
    snapshot: Callable[[str | None], Iterable[LifecycleEvent]],
) -> Broadcast[LifecycleEvent]:
    """Every event is kept for whoever can keep up, and merged for whoever cannot."""
    return Broadcast(
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


def status_channel(snapshot: Callable[[str | None], Iterable[Dispatch]]) -> Broadcast[Dispatch]:
    """Only the newest status of a dispatch counts."""
    return Broadcast(
        Rules(
            key=lambda dispatch: dispatch.id,
            type=lambda dispatch: dispatch.type,
            final=lambda dispatch: dispatch.deleted,
            merge=merge_statuses,
            # A pulse is not the end of a run: whoever was told to start has to be told to stop.
            merges=lambda older, newer, _: newer.pulse is None or older.pulse is not None,
            snapshot=snapshot,
        )
    )


def missed_channel() -> Broadcast[MissedRun]:
    """What was missed is told to whoever was there, of each dispatch the last to the slow."""
    return Broadcast(
        Rules(
            key=lambda missed: missed.dispatch.id,
            type=lambda missed: missed.dispatch.type,
            final=lambda _: False,
            merge=lambda _, newer: newer,
            merges=lambda _, __, crowded: crowded,
            snapshot=lambda _: (),
        )
    )


def merge_events(older: LifecycleEvent, newer: LifecycleEvent) -> LifecycleEvent | None:
    """What is left of two events about the same dispatch for whoever has read neither."""
    match older, newer:
        case Created(), Deleted():
            return None
        case Created(), _:
            return Created(newer.dispatch)
        # What comes between two events may have been of no concern to a receiver of one type.
        case (
            Updated(previous=told) | Deleted(_previous=told),
            Created(dispatch=now) | Updated(dispatch=now),
        ):
            # There and back again is no event.
            return None if now == told else Updated(now, told)
        case Updated(previous=told) | Deleted(_previous=told), Deleted(dispatch=last):
            return Deleted(last, told)
    return newer


def merge_statuses(older: Dispatch, newer: Dispatch) -> Dispatch:
    """The newer status; a pulse that was not yet read stays unless it is not to be acted upon."""
    if older.pulse is None or newer.pulse is not None or newer.deleted or not newer.active:
        return newer
    return newer.sent_for(newer.sent_at or older.pulse, pulse=older.pulse)
