"""The state of a dispatcher's connection to its service."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from ..errors import DispatchError

__all__ = ["SyncPhase", "SyncState"]


class SyncPhase(Enum):
    """What a dispatcher does about its connection to the service."""

    CONNECTING = "connecting"
    """It opens the stream of changes."""

    SYNCING = "syncing"
    """The stream is open, and everything that exists is being listed."""

    LIVE = "live"
    """Everything is known, and every change arrives as it happens."""

    WAITING = "waiting"
    """Something failed; until the next attempt, the schedule continues with what is known."""


@dataclass(slots=True)
class SyncState:
    """The state of a dispatcher's connection to its service.  All times are in UTC.

    Attributes:
      phase: What the dispatcher does about the connection.
      since: When this phase began.
      offline_since: When contact was lost, or the dispatcher opened if it has had none; retries do
        not reset it.  None while there is contact.
      confirmed_at: When the known dispatches were last confirmed by the service; None if they never
        were.  A new value wakes no task that waits for a change of the state.
      error: While waiting: what went wrong.
      next_try: While waiting: when the next attempt is made.
    """

    phase: SyncPhase
    since: datetime
    offline_since: datetime | None = None
    confirmed_at: datetime | None = field(default=None, compare=False)
    error: DispatchError | None = None
    next_try: datetime | None = None
