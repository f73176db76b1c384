"""How late scheduled messages were announced."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

__all__ = ["Lateness", "LatenessHistogram"]

_BOUNDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    60.0,
)


@dataclass(frozen=True, slots=True)
class LatenessHistogram:
    """How late scheduled messages were announced, as the buckets of a histogram.

    Attributes:
      bounds: The upper bounds of the buckets in seconds, each itself included.
      counts: How many messages are in each bucket, and last how many were later.
      total: The sum over all messages.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: timedelta


class Lateness:
    """How late the scheduled messages of a dispatcher were announced.

    Attributes:
      last: The lateness of the last one.
      worst: That of the latest one.
    """

    def __init__(self) -> None:
        self.last = self.worst = self._total = timedelta()
        self._counts = [0] * (len(_BOUNDS) + 1)

    def note(self, lateness: timedelta) -> None:
        """A scheduled message was announced."""
        self.last = lateness
        self.worst = max(self.worst, lateness)
        self._total += lateness
        self._counts[bisect_left(_BOUNDS, lateness.total_seconds())] += 1

    def histogram(self) -> LatenessHistogram:
        """Return how many messages were how late."""
        return LatenessHistogram(_BOUNDS, tuple(self._counts), self._total)
