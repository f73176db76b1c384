"""The time that a picture shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

__all__ = ["Window"]


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a picture shows, in UTC; the present; and the zone in which times are written.

    Attributes:
      begin: The first moment of the picture.
      end: The first moment after it.
      now: The present, which may be outside of the picture.
      zone: The time zone of its texts.
    """

    begin: datetime
    end: datetime
    now: datetime
    zone: tzinfo

    def share(self, moment: datetime) -> float:
        """Return the position of a moment, from 0 at the begin to 1 at the end."""
        return (moment - self.begin) / (self.end - self.begin)

    def part(self, parts: float) -> timedelta:
        """Return the length of one of a number of equal parts, at least a microsecond."""
        return max((self.end - self.begin) / parts, timedelta.resolution)

    @property
    def shows_now(self) -> bool:
        return self.begin <= self.now < self.end
