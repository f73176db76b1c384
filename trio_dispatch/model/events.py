"""What happens to dispatches: events of a service's stream, and messages of a dispatcher."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from .dispatch import Dispatch
from .undecodable import Undecodable

__all__ = [
    "Created",
    "Deleted",
    "EventKind",
    "LifecycleEvent",
    "MissedRun",
    "StreamEvent",
    "Updated",
]


class EventKind(Enum):
    """What happened to a dispatch."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    UNKNOWN = "unknown"
    """An event that this version of the library does not know, or that the service did not name."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """A change of one dispatch, as the service's stream reports it.

    Attributes:
      kind: What happened.
      dispatch: The new content; for a deletion, the last content.  An `Undecodable` if the content
        could not be decoded.
    """

    kind: EventKind
    dispatch: Dispatch | Undecodable


@dataclass(frozen=True, slots=True)
class Created:
    """A dispatch was created, or became known."""

    dispatch: Dispatch


@dataclass(frozen=True, slots=True)
class Updated:
    """A dispatch was updated.  Two events are equal if their dispatches are.

    Attributes:
      dispatch: The new content.
      previous: The content that was reported before; None if it is no longer known.
    """

    dispatch: Dispatch
    previous: Dispatch | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Deleted:
    """A dispatch was deleted.

    Attributes:
      dispatch: Its last known content, with `deleted` set.
    """

    dispatch: Dispatch
    # As in `Updated`, in case the dispatch is created again.
    _previous: Dispatch | None = field(default=None, compare=False, repr=False)


LifecycleEvent = Created | Updated | Deleted
"""A message of a dispatcher's lifecycle channel."""


@dataclass(frozen=True, slots=True)
class MissedRun:
    """A run or a pulse that was due and was not announced.

    It was over before the dispatcher could announce it: because the process was suspended, the
    service could not be reached, or `max_offline` had stopped all runs.

    Attributes:
      dispatch: The dispatch, with the content by which the run was due.
      start: The occurrence, in UTC.
    """

    dispatch: Dispatch
    start: datetime
