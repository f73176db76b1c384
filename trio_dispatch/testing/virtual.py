"""Time and chance in a test: virtual, and the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from trio._core import _run as scheduler

from .. import clock
from ..clock import VirtualClock

__all__ = ["VirtualClock", "deterministic", "virtual_clock"]


def virtual_clock(start: datetime | None = None) -> VirtualClock:
    """The virtual wall clock of this Trio run, set to a moment if one is given::

        async def main():
            clock = virtual_clock(datetime(2026, 3, 2, tzinfo=UTC))
            ...
            await clock.advance(timedelta(hours=6))

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    Raises:
      RuntimeError: this run has no `trio.testing.MockClock`.
      ValueError: the moment has no time zone.
    """
    wall = clock.virtual_clock()
    if start is not None:
        wall.set(start)
    return wall


@contextmanager
def deterministic(seed: int = 0) -> Iterator[None]:
    """Let chance decide the same each time, for Trio runs inside of the block::

        with deterministic():
            trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    It decides in which order Trio's tasks have their turns, and how long is waited before a next
    try: both are still shuffled, but by what the seed gives, as is all else that comes from the
    module `random`.  Afterwards `random` goes on as if nothing had been.

    Threads take the time they take: with a cache, or a database, the order of what they bring is
    not the same each time.

    Args:
      seed: Another one gives another order.
    """
    # What Hypothesis sets, too.
    flag = "_ALLOW_DETERMINISTIC_SCHEDULING"
    kept = random.getstate(), scheduler._r.getstate(), getattr(scheduler, flag)
    random.seed(seed)
    scheduler._r.seed(seed)
    setattr(scheduler, flag, True)
    try:
        yield
    finally:
        random.setstate(kept[0])
        scheduler._r.setstate(kept[1])
        setattr(scheduler, flag, kept[2])
