"""The scheduler: announces what happens to dispatches, and what is due, on the channels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter

import trio

from .. import clock
from ..concurrency.broadcast import Broadcast, LimitedBroadcast
from ..model.dispatch import Dispatch
from ..model.events import Created, Deleted, LifecycleEvent, MissedRun
from .agenda import Agenda
from .cache import Cache
from .cache_file import SavedState
from .channels import lifecycle_channel, missed_channel, status_channel
from .lateness import Lateness
from .notices import Notice, NoticeKind
from .pending_orphans import LeftOn, PendingOrphans
from .rule_problems import RuleProblems
from .undelivered import UndeliveredMissedRuns, UndeliveredPulses

__all__ = ["Scheduler"]

log = logging.getLogger("trio_dispatch.dispatcher")

# The number of transitions that are dealt with before other tasks have their turn.
_TRANSITIONS_AT_ONCE = 100


class Scheduler:
    """Announces what happens and what is due.

    Args:
      dispatches: The known dispatches by id; live.
      cache: Makes the cache, given a function that returns what has to be stopped if the process
        dies.
      driven: Returns what actors act on.
      saved: What an earlier process knew, if anything; see `restore`.
      report: Takes each notice that is announced, and the time.
      lateness: Takes how late scheduled messages are.

    Attributes:
      lifecycle_events, running_status_change, missed_runs: The channels, see `Dispatcher`.
      orphans: What the last process left running.
      announced: The number of status messages that were published.
      missed: The number of missed runs.
    """

    def __init__(
        self,
        microgrid_id: int,
        dispatches: Mapping[int, Dispatch],
        *,
        catch_up: timedelta,
        history: timedelta,
        cache: Callable[[Callable[[], LeftOn]], Cache],
        driven: Callable[[], Iterable[Dispatch]],
        saved: SavedState | None,
        lateness: Lateness,
        report: Callable[[Notice, datetime], None] = lambda _, __: None,
    ) -> None:
        self._microgrid_id = microgrid_id
        self._dispatches = dispatches
        self._agenda = Agenda(
            catch_up, history=history, opened=clock.now() if saved is None else None
        )
        self.orphans = PendingOrphans()
        self.cache = cache(self._left_on)
        self._driven = driven
        self._saved = saved
        self._report = report
        self._pulses = UndeliveredPulses(catch_up)
        self._missed_runs = UndeliveredMissedRuns(history)
        self._problems = RuleProblems(microgrid_id)
        self._nap = trio.CancelScope()
        self._wakes_at: datetime | None = None
        self._idle = trio.Event()
        self.lifecycle_events: LimitedBroadcast[LifecycleEvent] = lifecycle_channel(self._existing)
        self.running_status_change: Broadcast[Dispatch] = status_channel(
            self._statuses, self._received
        )
        self.missed_runs: LimitedBroadcast[MissedRun] = missed_channel(
            self._missed_runs.snapshot, self._missed_runs.received
        )
        self.announced = self.missed = 0
        self.lateness = lateness

    @property
    def running(self) -> int:
        """The number of dispatches that run now."""
        return len(self._agenda.running_ids())

    async def run(self) -> None:
        """The scheduler task: announces what is due, and sleeps until the next transition."""
        while True:
            await self._advance(clock.now())
            self._idle.set()
            self._nap, self._wakes_at = trio.CancelScope(), self._agenda.next_due
            await clock.sleep_towards(self._wakes_at, self._nap)

    async def wait_idle(self) -> None:
        """Wait until the scheduler task has announced everything that is due now."""
        self._idle = trio.Event()
        self._nap.cancel()
        await self._idle.wait()

    async def _advance(self, now: datetime) -> None:
        """Announce everything that is due by now; a checkpoint if that is much."""
        while True:
            if self._agenda.pulses_due(now):
                await self.cache.write_ahead(now)
            self._announce(self._agenda.advance(now, _TRANSITIONS_AT_ONCE), is_scheduled=True)
            due = self._agenda.next_due
            if due is None or due > now:
                return
            await trio.lowlevel.checkpoint()

    async def restore(self) -> None:
        """Start from what an earlier process knew; call it once, before anything else."""
        if self._saved is None:
            return
        now = clock.now()
        notices: list[Notice] = []
        for number, dispatch in enumerate(self._saved.dispatches):
            if number % _TRANSITIONS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            self.cache.put(dispatch)
            notices += self._agenda.upsert(dispatch, now, dealt_with=self._saved.saved, limit=0)
        self._announce(notices)
        await self._advance(now)
        # Nobody could receive what was announced just now.
        self.orphans.inherit(self._saved, self._dispatches, now)

    def apply(self, events: Sequence[LifecycleEvent], expired: Iterable[int]) -> None:
        """Announce events, and what they change in what runs now; not a checkpoint.

        Args:
          expired: The ids of dispatches that are no longer known, since they have ended.
        """
        now = clock.now()
        notices: list[Notice] = []
        for event in events:
            self.lifecycle_events.publish(event)
            dispatch = event.dispatch
            self.cache.put(dispatch)
            if isinstance(event, Deleted):
                self._problems.forget(dispatch.id)
                notices += self._agenda.remove(dispatch, now)
            else:
                self._problems.check(dispatch)
                # What cannot be dealt with now is dealt with by the task, in turn with others; a
                # pulse always is, since it is recorded first.
                limit = max(0, _TRANSITIONS_AT_ONCE - len(notices))
                notices += self._agenda.upsert(
                    dispatch, now, limit=0 if dispatch.is_pulse else limit
                )
        for id_ in expired:
            self._problems.forget(id_)
            self._agenda.forget(id_)
            self.cache.drop(id_)
        notices.sort(key=attrgetter("order"))
        self._announce(notices)
        due = self._agenda.next_due
        if due is not None and (self._wakes_at is None or due < self._wakes_at):
            self._nap.cancel()

    def suspend(self) -> None:
        """Stop all runs, and start none until `resume`."""
        self._announce(self._agenda.suspend(clock.now()))

    def resume(self) -> None:
        """Start what runs now."""
        self._agenda.resume(clock.now())
        self._nap.cancel()

    def close(self) -> None:
        """End all receivers."""
        self.lifecycle_events.close()
        self.running_status_change.close()
        self.missed_runs.close()

    def _announce(self, notices: Sequence[Notice], *, is_scheduled: bool = False) -> None:
        if not notices:
            return
        now = clock.now()
        self.cache.touch()
        for notice in notices:
            message = notice.message
            if isinstance(message, MissedRun):
                self._miss(message, now)
                self._report(notice, now)
                continue
            self._pulses.announced(message)
            if notice.kind is NoticeKind.REPLACE:
                self.running_status_change.replace_queued(message)
                continue
            self.announced += 1
            self.orphans.announced(message, notice.kind, now)
            self.running_status_change.publish(message)
            self._report(notice, now)
            if is_scheduled:
                self.lateness.note(now - notice.moment)

    def _miss(self, missed: MissedRun, now: datetime) -> None:
        self.missed += 1
        self._missed_runs.announced(missed, now)
        log.warning(
            "microgrid %d, dispatch %d: the run of %s was missed",
            self._microgrid_id,
            missed.dispatch.id,
            missed.start,
        )
        self.missed_runs.publish(missed)

    # What receivers start with, and what they have read.

    def _existing(self, type: str | None) -> Iterator[Created]:
        known = (each for each in self._dispatches.values() if type in {None, each.type})
        return map(Created, sorted(known, key=attrgetter("id")))

    def _statuses(self, type: str | None) -> Iterator[Dispatch]:
        yield from self.orphans.stopped
        yield from self._agenda.running()
        yield from self._pulses.snapshot(type)

    def _received(self, message: Dispatch) -> None:
        self._pulses.received(message)
        if self.orphans.received(message):
            self.cache.touch()

    def _left_on(self) -> LeftOn:
        """What has to be stopped if the process dies."""
        ids = sorted({*self._agenda.running_ids(), *self.orphans.pending})
        running = [self._dispatches[id_] for id_ in ids if id_ in self._dispatches]
        return LeftOn(running, [*self.orphans.left, *self._driven()])
