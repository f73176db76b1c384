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
    """Something failed; the schedule goes on with what was last known until the next attempt."""


@dataclass(slots=True)
class SyncState:
    """The state of a dispatcher's connection to its service.  All times are in UTC.

    Attributes:
      phase: What the dispatcher does about it.
      since: When this phase began.
      offline_since: When contact was lost, or the dispatcher opened if it has had none; retries do
        not reset it.  None while there is contact.
      confirmed_at: When what is known last agreed with what the service has; None if it never has.
        It is kept up to date without notifying those who wait for another state.
      error: While waiting: what went wrong.
      next_try: While waiting: when the next attempt is made.
    """

    phase: SyncPhase
    since: datetime
    offline_since: datetime | None = None
    confirmed_at: datetime | None = field(default=None, compare=False)
    error: DispatchError | None = None
    next_try: datetime | None = None
