"""What a picture shows: from when to when, and in rows of what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Literal

__all__ = ["By", "Window"]

By = Literal["type", "target"]


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when a picture shows, both in UTC; now; and in which zone it names the times."""

    begin: datetime
    end: datetime
    now: datetime
    zone: tzinfo

    def share(self, moment: datetime) -> float:
        """Where a moment is, from 0 at the begin to 1 at the end."""
        return (moment - self.begin) / (self.end - self.begin)

    def part(self, parts: float) -> timedelta:
        """The time that one of so many equal parts takes; at least a microsecond."""
        return max((self.end - self.begin) / parts, timedelta.resolution)

    @property
    def shows_now(self) -> bool:
        return self.begin <= self.now < self.end
