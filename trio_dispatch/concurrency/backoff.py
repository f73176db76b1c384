"""The pause before the next attempt after a failure."""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """Pauses with full jitter: from up to 0.5 s, doubling, to up to 60 s.

    Args:
      healthy_after: An attempt that worked for this many seconds before it failed resets the pause.
    """

    FIRST, MOST = 0.5, 60.0

    def __init__(self, healthy_after: float = 60.0) -> None:
        self._healthy_after = healthy_after
        self._ceiling = self.FIRST

    def delay(self, healthy_for: float = 0.0) -> float:
        """Return the seconds to wait after an attempt that worked for `healthy_for` seconds."""
        if healthy_for >= self._healthy_after:
            self._ceiling = self.FIRST
        ceiling, self._ceiling = self._ceiling, min(2 * self._ceiling, self.MOST)
        return random.uniform(0, ceiling)  # noqa: S311
