"""The dispatchers that report to a service, and what they tell of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

__all__ = ["ConnectionState", "DispatcherInfo", "DispatcherStatus"]

_MISSED_INTERVALS: Final = 3
_LEAST_SILENCE: Final = timedelta(seconds=30)


class ConnectionState(Enum):
    """What a dispatcher does about its connection to the service.  The values are the API's."""

    CONNECTING = 1
    """It opens the stream of changes."""

    SYNCING = 2
    """The stream is open, and everything that exists is being listed."""

    LIVE = 3
    """Everything is known, and every change arrives as it happens."""

    WAITING = 4
    """Something failed; until the next attempt, the schedule continues with what is known."""

    CLOSED = 5
    """The dispatcher was closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherStatus:
    """The status that a dispatcher sends to the service.

    Attributes:
      connection: The state of its connection to the service.
      interval: How often it sends its status.
      lateness: How late the last scheduled start or end of a run was announced.
      worst_lateness: The greatest lateness since the dispatcher was opened.
      waiting: How many reports wait to be delivered.
    """

    connection: ConnectionState
    interval: timedelta
    lateness: timedelta = timedelta()
    worst_lateness: timedelta = timedelta()
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class DispatcherInfo:
    """A dispatcher that has reported to a service.  All times are in UTC, by the service's clock.

    Attributes:
      name: Its name.
      version: The version of its software.
      first_report_time, last_report_time: When the service received its first and its last report
        or status.
      lost: How many of its reports were lost because too many were waiting.
      status: Its last status; None if it sends none, as older versions.
      offline_since: When the service received its last report or status, if it is offline or was
        closed; None while it is live, and without a status.
    """

    name: str
    version: str
    first_report_time: datetime
    last_report_time: datetime
    lost: int
    status: DispatcherStatus | None = None
    offline_since: datetime | None = None

    def is_silent(self, now: datetime) -> bool:
        """Whether it was closed, or has not told its status for so long that it is offline."""
        if self.status is None:
            return False
        silence = max(_MISSED_INTERVALS * self.status.interval, _LEAST_SILENCE)
        is_closed = self.status.connection is ConnectionState.CLOSED
        return is_closed or now - self.last_report_time > silence
