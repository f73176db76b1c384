"""How late scheduled messages were announced."""

from __future__ import annotations

from datetime import timedelta

__all__ = ["Lateness"]


class Lateness:
    """How late the scheduled messages of a dispatcher were announced.

    Attributes:
      last: The lateness of the last one.
      worst: That of the latest one.
    """

    def __init__(self) -> None:
        self.last = self.worst = timedelta()

    def note(self, lateness: timedelta) -> None:
        """A scheduled message was announced."""
        self.last = lateness
        self.worst = max(self.worst, lateness)
