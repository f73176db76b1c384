"""What is due: for every dispatch its next transition, and what was last announced.

Theory of operation.  Everything that affects what is announced goes through this file; it knows
neither I/O nor a clock.  Each dispatch has an entry, and at most one live item on a heap: its next
*transition*, the start of an occurrence or the end of the run that was announced.  `advance` deals
with the items that are due, in the order of their moments, at the same moment starts before ends,
then by id; each yields what is to be announced and puts the entry's next transition on the heap.
`upsert` and `remove` compare what was announced with what holds now and yield the difference.

An entry remembers the run that was announced, and up to which moment its occurrences have been
dealt with, so that none is dealt with twice.

=============  ==========================  =======================================================
transition     when                        what is announced
=============  ==========================  =======================================================
start          at most `catch_up` late     the run
start          later, the run goes on      the run, if no later occurrence has begun since
start          later, the run is over      `MissedRun`
pulse          at most `catch_up` late     the pulse
pulse          later                       `MissedRun`
end            always                      the stop: nobody may be left running
=============  ==========================  =======================================================

No stop follows a pulse, with one exception: when a dispatch whose pulse was announced is deleted or
deactivated, one stop is announced, so that an actor still at work on the pulse can be cancelled.

When time goes back, every dispatch is looked at again and each difference is announced; the pulses
that were sent are not sent again.  Items that a change has made stale stay on the heap until they
come up, or until they are the greater part of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from ..model.dispatch import Dispatch
from ..model.events import MissedRun
from .notices import Notice, NoticeKind

__all__ = ["Agenda"]

_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_BEGINNING = datetime.min.replace(tzinfo=UTC)

# So many runs of one dispatch are reported as missed in a row, before the rest is skipped: what
# runs now must not wait long behind what is over.
MISSED_LIMIT = 100


class _What(IntEnum):
    # The order of the heap.  To look comes first: what it finds over becomes an END at that moment.
    LOOK = 0
    START = 1
    END = 2


# When, what, which dispatch, and a number by which a stale item is told from a live one.
_Item = tuple[datetime, _What, int, int]


class _Entry:
    """A dispatch and what was announced of it."""

    __slots__ = (
        "announced",
        "dispatch",
        "done",
        "item",
        "missed",
        "pulsed",
        "recent_pulses",
        "run",
        "sent_pulses",
        "since",
        "until",
    )

    def __init__(self, dispatch: Dispatch, done: datetime) -> None:
        self.dispatch = dispatch
        self.done = done  # the occurrences up to here have been dealt with
        self.missed = 0  # so many in a row
        self.item: _Item | None = None  # the live one
        # The pulses that were sent under the present schedule, the first and the last, and those
        # that were sent so lately that another schedule might come upon them again.
        self.sent_pulses: tuple[datetime, datetime] | None = None
        self.recent_pulses: list[datetime] = []
        self.pulsed = False  # a pulse was announced, and has not been withdrawn since
        # The run that was announced:
        self.run: datetime | None = None  # when it began, None if none was
        self.until: datetime | None = None  # when it ends, None if it does not
        self.since = done  # when it was announced
        self.announced = dispatch  # with this content


class Agenda:
    """The dispatches that may run, and when each has its next transition.

    Args:
      catch_up: A start, a pulse or a whole run is announced up to so much late.
    """

    def __init__(self, catch_up: timedelta = timedelta(seconds=60)) -> None:
        self._catch_up = catch_up
        self._entries: dict[int, _Entry] = {}
        self._running: dict[int, _Entry] = {}
        self._heap: list[_Item] = []
        self._count = 0
        self._latest = _BEGINNING
        self._suspended = False

    @property
    def next_due(self) -> datetime | None:
        """When to call `advance` next; None if nothing is to come."""
        if self._suspended:
            return None
        while self._heap and not self._is_live(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def running_ids(self) -> list[int]:
        """The ids of what was announced as running and not yet as stopped, in order."""
        return sorted(self._running)

    def running(self) -> Iterator[Dispatch]:
        """What was announced as running and not yet as stopped, by id."""
        for id_ in self.running_ids():
            entry = self._running[id_]
            yield entry.dispatch.sent_for(entry.since)

    def upsert(
        self, dispatch: Dispatch, now: datetime, *, dealt_with: datetime | None = None
    ) -> list[Notice]:
        """A dispatch is new, or its content has changed.

        Args:
          dealt_with: Of a dispatch that is new here, up to when another agenda has dealt with it.
        """
        notices: list[Notice] = []
        entry = self._entries.get(dispatch.id)
        known = entry is not None
        if entry is None:
            # Whatever began longer ago belongs to the time before it was known.
            done = self._horizon(now)
            if dealt_with is not None:
                done = max(done, min(dealt_with, now))
            entry = _Entry(dispatch, done)
            self._entries[dispatch.id] = entry
        else:
            self._settle(entry, now, notices)
            done = self._seen_until(entry, dispatch, now)
            if _schedule_of(dispatch) != _schedule_of(entry.dispatch):
                entry.sent_pulses = None
            entry.dispatch = dispatch
            if entry.run is not None:
                self._compare(entry, now, notices)
            if entry.run is None:
                entry.done = done
        if entry.run is None:
            self._schedule(entry)
            self._settle(entry, now, notices)
            self._compare(entry, now, notices)
        if entry.pulsed and not dispatch.active:
            entry.pulsed = False
            if not notices or notices[-1].kind is not NoticeKind.STOP:
                notices.append(Notice(now, NoticeKind.STOP, dispatch.sent_for(now)))
        is_scheduled = entry.run is None and entry.item is not None
        entry.done = now
        if not is_scheduled:
            self._schedule(entry)
        # A message is read with the content it was sent with.  One that still waits would say of a
        # dispatch that has silently changed what was once to come.
        if known and (not notices or notices[-1].message != dispatch):
            message = dispatch.sent_for(now, halted=self._suspended)
            notices.append(Notice(now, NoticeKind.AMEND, message))
        return notices

    def remove(self, dispatch: Dispatch, now: datetime) -> list[Notice]:
        """A dispatch was deleted; this is the last that is known of it."""
        entry = self._entries.pop(dispatch.id, None)
        if entry is None:
            return []
        message = dispatch.sent_for(now)
        if self._running.pop(dispatch.id, None) is not None or entry.pulsed:
            return [Notice(now, NoticeKind.STOP, message)]
        return [Notice(now, NoticeKind.AMEND, message)]

    def forget(self, id_: int) -> None:
        """A dispatch that has ended is no longer of interest."""
        if id_ not in self._running:
            self._entries.pop(id_, None)

    def suspend(self, now: datetime) -> list[Notice]:
        """Stop all runs, and start none until `resume`."""
        self._suspended = True
        notices: list[Notice] = []
        for id_ in sorted(self._running):
            self._stop(self._running[id_], now, notices)
        return notices

    def resume(self, now: datetime) -> None:
        """Go on after `suspend`; the next `advance` looks at every dispatch."""
        self._suspended = False
        self._look_at_all(now)

    def advance(self, now: datetime, limit: int | None = None) -> list[Notice]:
        """Deal with what is due, with `limit` transitions at the most.

        If that was enough, `next_due` is after `now`.  If `now` is before what it was the last
        time, the clock was stepped back, and every dispatch is looked at again.
        """
        if now < self._latest:
            self._look_at_all(now)
        self._latest = now
        notices: list[Notice] = []
        while (due := self.next_due) is not None and due <= now:
            if limit is not None:
                if limit == 0:
                    break
                limit -= 1
            item = heapq.heappop(self._heap)
            self._deal(self._entries[item[2]], item, now, notices)
        return notices

    # One transition.

    def _deal(self, entry: _Entry, item: _Item, now: datetime, notices: list[Notice]) -> None:
        due, what, _, _ = item
        entry.item = None
        if what is _What.LOOK:
            self._look(entry, due, notices)
        elif what is _What.END:
            self._stop(entry, due, notices)
        elif entry.dispatch.is_pulse:
            self._pulse(entry, due, now, notices)
        else:
            self._begin(entry, due, now, notices)
        self._schedule(entry)

    def _begin(self, entry: _Entry, start: datetime, now: datetime, notices: list[Notice]) -> None:
        dispatch = entry.dispatch
        entry.done = start
        end = dispatch.end_of(start)
        if now - start <= self._catch_up:
            self._start(entry, start, start, notices)
        elif end is not None and end <= now:
            self._miss(entry, start, now, notices)
        elif dispatch.last_start(now) == start:
            self._start(entry, start, start, notices)

    def _pulse(self, entry: _Entry, pulse: datetime, now: datetime, notices: list[Notice]) -> None:
        entry.done = pulse
        sent = entry.sent_pulses
        if pulse in entry.recent_pulses or (sent is not None and sent[0] <= pulse <= sent[1]):
            return
        if now - pulse <= self._catch_up:
            entry.missed = 0
            entry.pulsed = True
            entry.sent_pulses = (pulse if sent is None or pulse < sent[0] else sent[0], pulse)
            recent = self._horizon(now)
            entry.recent_pulses = [p for p in entry.recent_pulses if p > recent] + [pulse]
            message = entry.dispatch.sent_for(pulse, pulse=pulse)
            notices.append(Notice(pulse, NoticeKind.START, message))
        else:
            self._miss(entry, pulse, now, notices)

    def _start(
        self, entry: _Entry, start: datetime, moment: datetime, notices: list[Notice]
    ) -> None:
        dispatch = entry.dispatch
        entry.missed = 0
        entry.run, entry.until = start, dispatch.end_of(start)
        entry.since, entry.announced = moment, dispatch
        self._running[dispatch.id] = entry
        notices.append(Notice(moment, NoticeKind.START, dispatch.sent_for(moment)))

    def _stop(self, entry: _Entry, moment: datetime, notices: list[Notice]) -> None:
        entry.run = entry.until = None
        del self._running[entry.dispatch.id]
        message = entry.dispatch.sent_for(moment, halted=self._suspended)
        notices.append(Notice(moment, NoticeKind.STOP, message))

    def _miss(self, entry: _Entry, start: datetime, now: datetime, notices: list[Notice]) -> None:
        entry.missed += 1
        notices.append(Notice(start, NoticeKind.START, MissedRun(entry.dispatch, start)))
        if entry.missed >= MISSED_LIMIT:
            entry.missed = 0
            recent = self._horizon(now)
            # The last that began before may go on still.
            last = entry.dispatch.last_start(recent) or recent
            entry.done = max(start, _minus(last, _MICROSECOND))

    # A difference between what was announced and what holds.

    def _compare(self, entry: _Entry, now: datetime, notices: list[Notice]) -> None:
        dispatch = entry.dispatch
        start = None if self._suspended else dispatch.run_at(now)
        if start is None:
            if entry.run is not None:
                self._stop(entry, now, notices)
        elif entry.run is None or self._differs(entry, start):
            self._start(entry, start, now, notices)
        else:
            entry.run = start

    def _differs(self, entry: _Entry, start: datetime) -> bool:
        """Whether what runs is no longer what was announced."""
        old, new = entry.announced, entry.dispatch
        return entry.until != new.end_of(start) or any(
            getattr(old, name) != getattr(new, name)
            for name in ("type", "target", "payload", "dry_run", "duration")
        )

    def _look(self, entry: _Entry, now: datetime, notices: list[Notice]) -> None:
        entry.done = now
        if entry.dispatch.is_pulse:
            return
        if entry.run is not None and entry.dispatch.run_at(now) is None:
            entry.until = now  # the END that is scheduled for it comes after the starts
        else:
            self._compare(entry, now, notices)

    def _look_at_all(self, now: datetime) -> None:
        self._heap.clear()
        for id_, entry in self._entries.items():
            self._count += 1
            entry.item = (now, _What.LOOK, id_, self._count)
            self._heap.append(entry.item)
        heapq.heapify(self._heap)

    # A change of content.

    def _settle(self, entry: _Entry, now: datetime, notices: list[Notice]) -> None:
        """Deal with what is due of one dispatch, before its content changes."""
        while not self._suspended and entry.item is not None and entry.item[0] <= now:
            self._deal(entry, entry.item, now, notices)

    def _seen_until(self, entry: _Entry, dispatch: Dispatch, now: datetime) -> datetime:
        """Up to which moment the occurrences of a new content are none of our concern.

        What is new may have been due when it was decided and be late only for having travelled;
        what was due before it was decided was never meant.  The service cuts "now" to the second.
        """
        # A service whose clock is ahead decides nothing that is yet to come.
        decided = _minus(min(dispatch.update_time, now), _SECOND)
        oldest = max(decided, self._horizon(now))
        if _schedule_of(dispatch) == _schedule_of(entry.dispatch):
            return max(oldest, entry.done)
        return oldest

    def _horizon(self, now: datetime) -> datetime:
        """What began at this moment or before began too long ago to be announced."""
        return _minus(_minus(now, self._catch_up), _MICROSECOND)

    # The heap.

    def _schedule(self, entry: _Entry) -> None:
        dispatch = entry.dispatch
        begin = None
        if dispatch.active and not dispatch.deleted:
            begin = dispatch.first_after(entry.done)
        end = entry.until if entry.run is not None else None
        if begin is not None and (end is None or begin <= end):
            self._push(entry, begin, _What.START)
        elif end is not None:
            self._push(entry, end, _What.END)
        else:
            entry.item = None

    def _push(self, entry: _Entry, due: datetime, what: _What) -> None:
        self._count += 1
        entry.item = (due, what, entry.dispatch.id, self._count)
        heapq.heappush(self._heap, entry.item)
        if len(self._heap) > 2 * len(self._entries) + 64:
            self._heap = [item for item in self._heap if self._is_live(item)]
            heapq.heapify(self._heap)

    def _is_live(self, item: _Item) -> bool:
        entry = self._entries.get(item[2])
        return entry is not None and entry.item is item


def _schedule_of(dispatch: Dispatch) -> tuple[object, ...]:
    return dispatch.start_time, dispatch.duration, dispatch.recurrence


def _minus(moment: datetime, delta: timedelta) -> datetime:
    return _BEGINNING if moment - _BEGINNING < delta else moment - delta
