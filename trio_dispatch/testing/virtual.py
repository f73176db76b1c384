"""Virtual time, and random decisions that repeat."""

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
    """Return the virtual wall clock of this Trio run, after setting it if a moment is given::

        async def main():
            clock = virtual_clock(datetime(2026, 3, 2, tzinfo=UTC))
            ...
            await clock.advance(timedelta(hours=6))

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    Raises:
      RuntimeError: the run has no `trio.testing.MockClock`.
      ValueError: the moment has no time zone.
    """
    wall = clock.virtual_clock()
    if start is not None:
        wall.set(start)
    return wall


@contextmanager
def deterministic(seed: int = 0) -> Iterator[None]:
    """Make the random decisions of Trio runs inside of the block repeatable::

        with deterministic():
            trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    Trio runs its tasks in random order, and retries wait for a random time.  Inside of the block
    these decisions, and all other numbers of the module `random`, follow from the seed.  Afterwards
    `random` continues as if the block had not been there.

    Threads are not covered: with a cache or a database, the order of their results may differ.

    Args:
      seed: Selects the sequence of random numbers.
    """
    # Hypothesis sets the same.
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
