"""The wall clock of a Trio run.

There is one in each run.  It is the system's clock, unless the run has a
`trio.testing.MockClock`: then it is a virtual one, which shows `VIRTUAL_START` when Trio's clock
shows 0 and moves with it, so that a test sees the same times every time it runs.  Nothing else in
this package reads a clock.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar, TypeVarTuple, cast

import trio

__all__ = [
    "VIRTUAL_START",
    "VirtualClock",
    "now",
    "run_in_thread",
    "sleep_towards",
    "sleep_until",
    "virtual_clock",
]

VIRTUAL_START = datetime(2026, 1, 1, tzinfo=UTC)
"""What a virtual clock shows at Trio time 0, unless it is set."""

_SLICE = 1.0  # A step of the system's clock goes unnoticed for so many seconds at the most.
_SMALL_STEP = timedelta(seconds=1)

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class _WallClock(Protocol):
    def now(self) -> datetime: ...
    async def sleep_towards(self, moment: datetime | None) -> None: ...


class SystemClock:
    """The system's clock, without small steps back: it stands still until they are made up for."""

    def __init__(self, read: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._read = read
        self._latest = read()

    def now(self) -> datetime:
        reading = self._read()
        if not timedelta() < self._latest - reading < _SMALL_STEP:
            self._latest = reading
        return self._latest

    async def sleep_towards(self, moment: datetime | None) -> None:
        # The clock may be stepped, or the machine suspended, while Trio's own clock counts on:
        # only looking again and again tells.
        await trio.sleep(min(_SLICE, _seconds_to(moment, self.now())))


class VirtualClock:
    """The wall clock of a run that has a `trio.testing.MockClock`.

    Attributes:
      start: The moment it was last set to; `VIRTUAL_START`, if it was not.
    """

    def __init__(self) -> None:
        self.start = self._origin = VIRTUAL_START
        self._stepped = trio.Event()

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=trio.current_time())

    def set(self, moment: datetime) -> None:
        """Make it show this moment now.

        Whoever sleeps until a moment looks at the clock again, as after a step of a real clock.
        """
        self.start = _aware(moment)
        self._show(self.start)

    def step(self, by: timedelta) -> None:
        """Move it forwards or backwards at once, as NTP or a person moves a real clock."""
        self._show(self.now() + by)

    async def advance(self, by: timedelta) -> None:
        """Let so much time pass, and all happen that is due in it; see `advance_to`."""
        await self.advance_to(self.now() + by)

    async def advance_to(self, moment: datetime) -> None:
        """Let time pass until it shows this moment, and all happen that is due by then.

        Other tasks wake at their own moments, one after the other, as they do when this one sleeps.
        At the end they have done what is due at the moment itself, too: every task waits for
        something else than its turn.  A checkpoint.

        Raises:
          ValueError: the moment is past, or has no time zone.
          RuntimeError: time stands still: the `MockClock` neither jumps nor has a rate.
        """
        moment = _aware(moment)
        if moment < self.now():
            raise ValueError(f"{moment} is before {self.now()}: `set` and `step` go back")
        _check_moves()
        await sleep_until(moment)
        await trio.testing.wait_all_tasks_blocked()

    def _show(self, moment: datetime) -> None:
        self._origin = moment - timedelta(seconds=trio.current_time())
        self._stepped.set()
        self._stepped = trio.Event()

    async def sleep_towards(self, moment: datetime | None) -> None:
        # Not so long from now on, which is rounded: all who wait for a moment wake together.
        at = math.inf if moment is None else (moment - self._origin).total_seconds()
        with trio.move_on_at(at):
            await self._stepped.wait()


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone: give an aware datetime")
    return moment.astimezone(UTC)


def _check_moves() -> None:
    clock = _mock_clock()
    assert clock is not None
    try:
        # While a thread is at work it is kept still, and moves again afterwards.
        kept_still = _threads.get()._threads > 0
    except LookupError:
        kept_still = False
    if not kept_still and clock.rate == 0 and clock.autojump_threshold == math.inf:
        raise RuntimeError(
            "time stands still in this run: it needs a trio.testing.MockClock(autojump_threshold=0)"
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
    # Whoever has a MockClock has imported trio.testing; it takes long, and nobody else needs it.
    testing = sys.modules.get("trio.testing")
    clock = trio.lowlevel.current_clock()
    if testing is None or not isinstance(clock, testing.MockClock):
        return None
    return cast("trio.testing.MockClock", clock)


def now() -> datetime:
    """What the wall clock of this Trio run shows, in UTC; outside of Trio, the system's clock.

    It never goes back by less than a second: after a small step back of the system's clock it
    stands still until the step is made up for.
    """
    return _current().now()


def virtual_clock() -> VirtualClock:
    """The virtual clock of this run, to set it or step it.

    Raises:
      RuntimeError: this run has no `trio.testing.MockClock`, and so no virtual clock.
    """
    clock = _current()
    if not isinstance(clock, VirtualClock):
        raise RuntimeError("a virtual clock needs a Trio run with a trio.testing.MockClock")
    return clock


async def sleep_towards(moment: datetime | None) -> None:
    """Sleep until a moment, for ever if it is None, or less long than that.

    It returns within a second after the clock was stepped.  A checkpoint.
    """
    await _current().sleep_towards(moment)


async def sleep_until(moment: datetime) -> None:
    """Sleep until the wall clock shows a moment or a later one.  A checkpoint.

    A step of the clock counts: after a step past the moment it returns within a second.
    """
    await trio.lowlevel.checkpoint()
    while now() < moment:
        await sleep_towards(moment)


class _StillClock:
    """Keeps a `MockClock` from moving while any thread is at work."""

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
    """Run a function in a worker thread, as `trio.to_thread.run_sync`; no virtual time passes.

    A `MockClock` that jumps ahead whenever all tasks wait would take a thread at work for an idle
    program.  A checkpoint; a cancellation takes effect when the function has returned, or at once
    if it is to be abandoned.
    """
    run = partial(trio.to_thread.run_sync, limiter=limiter, abandon_on_cancel=abandon_on_cancel)
    clock = _mock_clock()
    if clock is None:
        return await run(function, *args)
    try:
        still = _threads.get()
    except LookupError:
        still = _StillClock(clock)
        _threads.set(still)
    with still:
        return await run(function, *args)
