"""How connections and calls share the time with other tasks."""

from __future__ import annotations

import math
from typing import Final

import trio

# Frames before other tasks run: from one connection, and while several have frames.  With the calls
# that they begin, the latter take about 5 ms; more at a time is more efficient.
_FRAMES_ALONE: Final = 200
_FRAMES_PER_TICK: Final = 64
# Of one connection, however many wait: the headers of a call and its message.
_MIN_FRAMES: Final = 4

# A checkpoint takes long, compared with a small message.  A call sends or returns messages up to
# this size in all before other tasks run; each counts at least as the second number.
_TURN: Final = 64 * 1024
_LEAST: Final = 4 * 1024


def used_of_turn(used: int, size: int) -> int:
    """Return what is used of a call's turn after a message of that size; 0 if the turn is over."""
    used += max(size, _LEAST)
    return used if used < _TURN else 0


class Turns:
    """Lets connections handle frames in turn, so many of them before other tasks run.

    As long as few frames come, nobody waits.
    """

    def __init__(self) -> None:
        self._left = self._share = _FRAMES_ALONE
        self._waiting = trio.lowlevel.ParkingLot()
        self._renewing = False

    async def wait(self) -> int:
        """Wait for the connection's turn, and return the number of frames that it may handle.

        A checkpoint only if it has to wait.
        """
        if self._left > 0 and not self._waiting:
            return self._share
        if self._waiting or self._renewing:
            await self._waiting.park()
            return self._share
        self._renewing = True
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._renew()
        return self._share

    def used(self, frames: int) -> None:
        """Count the frames that were handled in a turn."""
        self._left -= frames

    def _renew(self) -> None:
        """Give the next ones their turns; the rest wait until other tasks have run."""
        waiting = self._waiting
        if not waiting:
            self._left = self._share = _FRAMES_ALONE
        else:
            self._left = _FRAMES_PER_TICK
            self._share = max(_MIN_FRAMES, _FRAMES_PER_TICK // (len(waiting) + 1))
            waiting.unpark(count=_FRAMES_PER_TICK // self._share)
        self._renewing = bool(waiting)
        if waiting:
            trio.lowlevel.current_trio_token().run_sync_soon(self._renew)


class Pace:
    """Spreads work over time, by Trio's clock: each piece waits until those before it are done.

    Args:
      rate: Units of work per second.
      burst: Units that need not wait after a pause.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._ahead = burst / rate
        self._done = -math.inf

    def delay(self, units: float) -> float:
        """Seconds to wait after so many units of work; not positive if there is time."""
        now = trio.current_time()
        self._done = max(self._done, now - self._ahead) + units / self._rate
        return self._done - now
