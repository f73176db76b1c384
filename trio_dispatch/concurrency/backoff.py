"""How long to wait before the next try."""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """How long to wait before the next try: full jitter, 0.5 s doubling up to 60 s."""

    FIRST, MOST, HEALTHY = 0.5, 60.0, 60.0

    def __init__(self) -> None:
        self._ceiling = self.FIRST

    def delay(self, healthy_for: float = 0.0) -> float:
        """Seconds to wait after a failure that followed on so many seconds of health."""
        if healthy_for >= self.HEALTHY:
            self._ceiling = self.FIRST
        ceiling, self._ceiling = self._ceiling, min(2 * self._ceiling, self.MOST)
        return random.uniform(0, ceiling)  # noqa: S311
