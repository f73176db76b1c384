"""The wall clock of a Trio run.

Each run has one.  It is the system's clock, unless the run has a `trio.testing.MockClock`: then it
is a virtual clock, which shows `VIRTUAL_START` at Trio's time 0 and advances with Trio's time, so
that a test sees the same times in every run.  Nothing else in this package reads a clock.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar, TypeVarTuple, cast

import trio

__all__ = [
    "VIRTUAL_START",
    "VirtualClock",
    "held_still",
    "now",
    "run_in_thread",
    "sleep_towards",
    "sleep_until",
    "virtual_clock",
]

VIRTUAL_START = datetime(2026, 1, 1, tzinfo=UTC)
"""The time of a virtual clock at Trio's time 0, unless the clock was set."""

_SLICE = 1.0  # A step of the system's clock is noticed within this many seconds.
_SMALL_STEP = timedelta(seconds=1)

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class _WallClock(Protocol):
    def now(self) -> datetime: ...
    async def sleep_towards(self, moment: datetime | None, nap: trio.CancelScope) -> None: ...


class SystemClock:
    """The system's clock.  After a small step back it stands still until it has caught up."""

    def __init__(self, read: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._read = read
        self._latest = read()

    def now(self) -> datetime:
        reading = self._read()
        if not timedelta() < self._latest - reading < _SMALL_STEP:
            self._latest = reading
        return self._latest

    async def sleep_towards(self, moment: datetime | None, nap: trio.CancelScope) -> None:
        # The clock may be stepped, or the machine suspended, while Trio's clock runs on.  No event
        # reports that, so the clock is read again at short intervals.
        seconds = min(_SLICE, _seconds_to(moment, self.now()))
        with nap:
            nap.deadline = trio.current_time() + seconds
            await trio.sleep_forever()


class VirtualClock:
    """The wall clock of a run that has a `trio.testing.MockClock`.

    Attributes:
      start: The moment to which the clock was last set; `VIRTUAL_START` if it was never set.
    """

    def __init__(self) -> None:
        self.start: datetime = VIRTUAL_START
        self._origin = VIRTUAL_START
        self._stepped = trio.Event()

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=trio.current_time())

    def set(self, moment: datetime) -> None:
        """Set the clock to a moment.

        Tasks that sleep until a moment check the clock again, as after a step of a real clock.
        """
        self.start = _aware(moment)
        self._show(self.start)

    def step(self, by: timedelta) -> None:
        """Step the clock forwards or backwards, as NTP or a person steps a real clock."""
        self._show(self.now() + by)

    async def advance(self, by: timedelta) -> None:
        """Let this much time pass, with everything that is due in it; see `advance_to`."""
        await self.advance_to(self.now() + by)

    async def advance_to(self, moment: datetime) -> None:
        """Let time pass until the clock shows this moment, with everything that is due by then.

        Other tasks wake at their own moments, in order, as they do while a task sleeps.  When this
        returns, they have also done what is due at the moment itself: every task is blocked.  A
        checkpoint.

        Raises:
          ValueError: the moment is past, or has no time zone.
          RuntimeError: virtual time stands still, because the `MockClock` has neither an autojump
            threshold nor a rate.
        """
        moment = _aware(moment)
        if moment < self.now():
            raise ValueError(f"{moment} is before {self.now()}: use `set` or `step` to go back")
        _check_moves()
        await sleep_until(moment)
        await trio.testing.wait_all_tasks_blocked()

    def _show(self, moment: datetime) -> None:
        self._origin = moment - timedelta(seconds=trio.current_time())
        self._stepped.set()
        self._stepped = trio.Event()

    async def sleep_towards(self, moment: datetime | None, nap: trio.CancelScope) -> None:
        with nap:
            if moment is not None:
                # Not a duration, which would be rounded: all tasks that wait for the same moment
                # wake together.
                nap.deadline = (moment - self._origin).total_seconds()
            await self._stepped.wait()


def _aware(moment: datetime) -> datetime:
    # As `model.validation.utc` does; the model imports this module.
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone: give an aware datetime")
    return moment.astimezone(UTC)


def _check_moves() -> None:
    clock = _mock_clock()
    assert clock is not None
    try:
        # While threads work the clock is held, and runs on afterwards.
        kept_still = _threads.get()._threads > 0
    except LookupError:
        kept_still = False
    if not kept_still and clock.rate == 0 and clock.autojump_threshold == math.inf:
        raise RuntimeError(
            "virtual time stands still: use trio.testing.MockClock(autojump_threshold=0)"
        )


def _seconds_to(moment: datetime | None, now: datetime) -> float:
    if moment is None:
        return math.inf
    return max(0.0, (moment - now).total_seconds())


_clock: trio.lowlevel.RunVar[_WallClock] = trio.lowlevel.RunVar("trio_dispatch wall clock")
_threads: trio.lowlevel.RunVar[_StillClock] = trio.lowlevel.RunVar("trio_dispatch threads")
_outside = SystemClock()


def _current() -> _WallClock:
    if not trio.lowlevel.in_trio_run():
        return _outside
    try:
        return _clock.get()
    except LookupError:
        _clock.set(VirtualClock() if _mock_clock() else SystemClock())
        return _clock.get()


def _mock_clock() -> trio.testing.MockClock | None:
    # A program with a MockClock has imported trio.testing, which is slow to import.
    testing = sys.modules.get("trio.testing")
    clock = trio.lowlevel.current_clock()
    if testing is None or not isinstance(clock, testing.MockClock):
        return None
    return cast("trio.testing.MockClock", clock)


def now() -> datetime:
    """Return the time of this run's wall clock, in UTC; outside of Trio, of the system's clock.

    It never goes back by less than a second: after a small step back of the system's clock it
    stands still until the clock has caught up.
    """
    return _current().now()


def virtual_clock() -> VirtualClock:
    """Return the virtual clock of this run, to set or step it.

    Raises:
      RuntimeError: the run has no `trio.testing.MockClock`, and so no virtual clock.
    """
    clock = _current()
    if not isinstance(clock, VirtualClock):
        raise RuntimeError("a virtual clock needs a Trio run with a trio.testing.MockClock")
    return clock


async def sleep_towards(moment: datetime | None, nap: trio.CancelScope | None = None) -> None:
    """Sleep until a moment at most, or for ever at most if it is None.

    Returns within a second after the clock was stepped, and may return earlier for no reason.  A
    checkpoint.

    Args:
      nap: A new scope, to be cancelled in order to wake the sleeper.
    """
    await _current().sleep_towards(moment, nap or trio.CancelScope())


async def sleep_until(moment: datetime) -> None:
    """Sleep until the wall clock shows the moment or a later one.  A checkpoint.

    After a step of the clock past the moment, it returns within a second.
    """
    await trio.lowlevel.checkpoint()
    while now() < moment:
        await sleep_towards(moment)


class _StillClock(AbstractContextManager[None]):
    """Holds a `MockClock` while threads or other processes work."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self._clock = clock
        self._threads = 0
        self._kept = (0.0, math.inf)

    def __enter__(self) -> None:
        if self._threads == 0:
            self._kept = self._clock.rate, self._clock.autojump_threshold
            self._clock.rate, self._clock.autojump_threshold = 0.0, math.inf
        self._threads += 1

    def __exit__(self, *_: object) -> None:
        self._threads -= 1
        if self._threads == 0:
            self._clock.rate, self._clock.autojump_threshold = self._kept


async def run_in_thread(
    function: Callable[[*_Ts], _T],
    *args: *_Ts,
    limiter: trio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
) -> _T:
    """Run a function in a worker thread, like `trio.to_thread.run_sync`, while virtual time stands.

    A `MockClock` that jumps ahead when all tasks wait would otherwise jump while a thread works.  A
    checkpoint.  A cancellation takes effect when the function has returned, or at once with
    `abandon_on_cancel`.
    """
    run = partial(trio.to_thread.run_sync, limiter=limiter, abandon_on_cancel=abandon_on_cancel)
    with held_still():
        return await run(function, *args)


def held_still() -> AbstractContextManager[None]:
    """A ``with`` block in which virtual time stands, for what other processes or threads do.

    Without a `MockClock` it has no effect.
    """
    clock = _mock_clock()
    if clock is None:
        return nullcontext()
    try:
        return _threads.get()
    except LookupError:
        still = _StillClock(clock)
        _threads.set(still)
        return still
