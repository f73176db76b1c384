"""What was seen of each run, in any number of processes, and whether the service has recorded it.

A process that is killed may have reported what happened at that very moment or not: its report may
not have been written yet.  Everything else must be in the service exactly as it was seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import trio

from trio_dispatch import ActorRun, Dispatch, Dispatcher, clock
from trio_dispatch.model.runs import ReportedRun, ReportedState, StopReason

__all__ = [
    "Key",
    "Notes",
    "Seen",
    "Witness",
    "key_of",
    "watch_actor",
    "watch_statuses",
]

Key = tuple[int, datetime, bool]
"""The dispatch, the occurrence, and whether it is about an actor."""


@dataclass
class Seen:
    """What was seen of a run.

    Attributes:
      started: When it started.
      calls, short_calls: How often the actor was called; how often it ended at the same moment.
      attempts: The most calls without a pause of the dispatch in between, which begins a new count.
      ended: When it ended last; None while it runs.
      how: How it ended: "over", "early", "failed" or "killed".
      by_itself: Whether the actor ended, and not the run.
      unsure: Whether something happened at the moment of a kill.
    """

    started: datetime
    touched: datetime
    calls: int = 1
    short_calls: int = 0
    attempts: int = 1
    calls_since_pause: int = 1
    ended: datetime | None = None
    how: str = ""
    by_itself: bool = False
    unsure: bool = False


class Notes(Protocol):
    """Takes what a process sees."""

    def begin(self, process: int, key: Key, now: datetime) -> None:
        """A run starts, or goes on in another process."""

    def end(
        self, process: int, key: Key, now: datetime, until: datetime | None, how: str = ""
    ) -> None:
        """A run ends, which was to last until a moment."""


_STATES = {
    "": ReportedState.RUNNING,
    "over": ReportedState.COMPLETED,
    "early": ReportedState.STOPPED,
    "failed": ReportedState.FAILED,
    "killed": ReportedState.STOPPED,
}


@dataclass
class Witness:
    """What the processes of one dispatcher saw, each until it was killed.

    Attributes:
      seen: By run.
      process: The number of the present process.
      ends: When processes ended, or something happened to them.
      tolerance: How exact the times of notes are: zero on virtual time.
      delay: How long before a kill something may have happened that was not reported any more.
      lag: How long after it was recorded something may be seen, on a busy machine.
      kept: How long the service keeps a run that has ended.
      openings: From when until when dispatchers were opened, if that took time: what is announced
        then is recorded, but nobody can see it yet.
    """

    seen: dict[Key, Seen] = field(default_factory=dict)
    process: int = 0
    ends: list[datetime] = field(default_factory=list)
    tolerance: timedelta = timedelta()
    delay: timedelta = timedelta()
    lag: timedelta = timedelta()
    kept: timedelta = timedelta.max
    openings: list[tuple[datetime, datetime]] = field(default_factory=list)

    def disturb(self, now: datetime) -> None:
        """What happens at this moment may be reported or not."""
        self.ends.append(now)
        for seen in self.seen.values():
            seen.unsure |= now - seen.touched <= self.delay

    def kill(self, now: datetime) -> None:
        """What the present process sees from now on does not count."""
        self.process += 1
        self.disturb(now)
        for seen in self.seen.values():
            if seen.ended is None:
                seen.ended, seen.how = now, "killed"

    def close(self, now: datetime) -> None:
        """The present process ends: what it announces at this moment may not be seen."""
        self.ends.append(now)

    def begin(self, process: int, key: Key, now: datetime) -> None:
        if process != self.process:
            return
        seen = self.seen.get(key)
        if seen is None:
            self.seen[key] = Seen(now, now)
            return
        # A dispatch that is extended after its run was over runs again.  A run that ended early may
        # also have ended with its process, and its count goes on: `calls` is the limit.
        may_begin_count = (
            self._has_paused(key, seen.touched) if seen.by_itself else seen.how in {"over", "early"}
        )
        seen.unsure |= self._is_forgotten(seen, now)
        seen.touched = now
        seen.calls += 1
        seen.calls_since_pause = 1 if may_begin_count else seen.calls_since_pause + 1
        seen.attempts = max(seen.attempts, seen.calls_since_pause)
        seen.ended, seen.how = None, ""

    def end(
        self, process: int, key: Key, now: datetime, until: datetime | None, how: str = ""
    ) -> None:
        if process != self.process:
            return
        seen = self.seen[key]
        seen.short_calls += self._same(seen.touched, now)
        seen.touched = seen.ended = now
        seen.by_itself = bool(how)
        seen.how = how or ("over" if until is not None and until <= now else "early")

    def _has_paused(self, key: Key, since: datetime) -> bool:
        """Whether a dispatch did not run for a time since its actor ended by itself."""
        announced = self.seen.get((key[0], key[1], False))
        return announced is not None and (announced.ended is not None or announced.touched >= since)

    def _is_forgotten(self, seen: Seen, now: datetime) -> bool:
        """Whether the service may have removed its record of a run."""
        return seen.ended is not None and now - seen.ended > self.kept - self.lag

    def problems(
        self, keys: Collection[Key], runs: Mapping[Key, ReportedRun], now: datetime
    ) -> Iterator[str]:
        """Yield how the record of the service differs from what was seen.

        Args:
          keys: The seen runs that are compared.
          now: When the record was read.
          runs: What the service has recorded; runs that were not seen among them must be missed,
            skipped or too short to be seen.
        """
        for key in keys:
            seen, run = self.seen[key], runs.get(key)
            if (
                seen.unsure
                or self._is_forgotten(seen, now)
                or (self._same(seen.started, seen.ended) and run is None)
            ):
                continue
            if run is None:
                yield f"the service has no record of {key}, {seen}"
            elif seen.how != "killed" or not self._is_opening(run.ended_time):
                for problem in self._compare(seen, run):
                    yield f"{problem}: {key}, {seen}, {run}"
        for key, run in runs.items():
            if key not in self.seen and not self._may_be_unseen(run):
                yield f"nobody saw {run}"

    def _compare(self, seen: Seen, run: ReportedRun) -> Iterator[str]:
        if run.state is not _STATES[seen.how]:
            yield "another end was recorded"
        started = run.started_time
        if not (
            self._agree(started, seen.started) or self._is_end(started) or self._is_opening(started)
        ):
            yield "another start was recorded"
        if run.actor and not seen.attempts - seen.short_calls <= run.attempts <= seen.calls:
            yield "another number of attempts was recorded"
        crashed = run.reason is StopReason.CRASHED
        if crashed != (seen.how == "killed"):
            yield "a crash was recorded that did not happen, or none that did"
        elif crashed:
            if run.ended_time is None or (
                seen.ended is not None and run.ended_time < seen.ended - self.tolerance
            ):
                yield "the end of a crashed run was recorded too early"
        elif run.reason is not StopReason.SHUTDOWN and not self._agree(run.ended_time, seen.ended):
            yield "another time of the end was recorded"

    def _may_be_unseen(self, run: ReportedRun) -> bool:
        return (
            run.state is ReportedState.MISSED
            or (run.state is ReportedState.SKIPPED and run.dry_run)
            or self._same(run.started_time, run.ended_time)
            or self._is_end(run.started_time)
            or self._is_opening(run.started_time)
        )

    def _is_opening(self, moment: datetime | None) -> bool:
        return moment is not None and any(
            begin - self.tolerance <= moment <= end + self.tolerance for begin, end in self.openings
        )

    def _is_end(self, moment: datetime | None) -> bool:
        return moment is not None and any(
            -self.tolerance <= end - moment <= self.delay + self.tolerance for end in self.ends
        )

    def _agree(self, recorded: datetime | None, seen: datetime | None) -> bool:
        if recorded is None or seen is None:
            return recorded is seen
        return -self.tolerance <= seen - recorded <= self.lag + self.tolerance

    def _same(self, one: datetime | None, other: datetime | None) -> bool:
        if one is None or other is None:
            return one is other
        return abs(one - other) <= self.tolerance


def key_of(run: ReportedRun) -> Key:
    """Return what identifies a recorded run of a dispatcher."""
    return run.dispatch_id, run.start_time, bool(run.actor)


def _occurrence(message: Dispatch) -> datetime | None:
    """Return the run or the pulse that a status message or a shown dispatch is about."""
    if message.pulse is not None:
        return message.pulse
    now = clock.now()
    return message.run_at(now if message.sent_at is None else max(now, message.sent_at))


async def watch_statuses(notes: Notes, process: int, dispatcher: Dispatcher) -> None:
    """Note what a status receiver sees, until cancelled."""
    running: dict[int, tuple[Key, datetime | None]] = {}
    try:
        with dispatcher.running_status_change.new_receiver() as receiver:
            async for message in receiver:
                before = running.pop(message.id, None)
                start, now = _occurrence(message), clock.now()
                if before is not None and before[0][1] != start:
                    notes.end(process, before[0], now, before[1])
                    before = None
                if start is not None:
                    key = message.id, start, False
                    if before is None:
                        notes.begin(process, key, now)
                    if message.pulse is None:
                        running[message.id] = key, message.end_of(start)
                    else:  # It is over at once, and no message says so.
                        notes.end(process, key, now, start)
    finally:
        for key, until in running.values():
            notes.end(process, key, clock.now(), until)


async def watch_actor(
    notes: Notes, process: int, run: ActorRun, *, how: str = "", seconds: float = 10**6
) -> None:
    """Note what an actor is shown, until it is cancelled or ends by itself.

    Args:
      how: How it ends by itself, "over" or "failed"; else it does not.
      seconds: When it ends by itself.
    """
    start = _occurrence(run.dispatch)
    key: Key | None = None
    if start is not None:
        key = run.dispatch.id, start, True
        notes.begin(process, key, clock.now())
    until, ending = run.until, ""
    try:
        with trio.move_on_after(seconds):
            async for dispatch in run.changes:
                start = _occurrence(dispatch)
                if start is None:
                    continue  # a run that was over before this was looked at
                if key is not None and key[1] != start:
                    notes.end(process, key, clock.now(), until)
                    key = None
                if key is None:
                    key = dispatch.id, start, True
                    notes.begin(process, key, clock.now())
                until = run.until
        ending = how
        if how == "failed":
            raise RuntimeError("the battery does not answer")
    finally:
        if key is not None:
            notes.end(process, key, clock.now(), until, ending)
