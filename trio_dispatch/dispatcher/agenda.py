"""What is due: for every dispatch its next transition, and what was last announced of it.

Theory of operation.  Everything that decides about announcements goes through this file; it knows
neither I/O nor a clock.  Each dispatch has an entry, and at most one live item on a heap: its next
*transition*, the start of an occurrence or the end of the run.  `advance` deals with the items that
are due, in the order of their moments, at the same moment starts before ends, then by id; each
yields notices and puts the entry's next transition on the heap.  `upsert` and `remove` compare what
was announced with what holds now, and yield the difference.

Two rules decide what is announced, and both are code.  `_RULES` has, for what was last announced of
a dispatch and what holds now, the new state of the entry and the kind of the notice.  `_lateness`
says what becomes of an occurrence that is due: a start or a pulse up to `catch_up` late is
announced; a later start is announced if its run goes on; what is over then, and a later pulse, is
a missed run.

An entry remembers the moment up to which its occurrences have been dealt with, and the last ones
that were announced or missed, so that none is dealt with twice, whatever the clock does and however
late a change arrives.  Items that a change has made stale stay on the heap until they come up, or
until they outnumber the others.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import IntEnum, auto
from operator import attrgetter

from ..model.dispatch import Dispatch
from ..model.events import MissedRun
from .notices import Notice, NoticeKind

__all__ = ["Agenda"]

_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_BEGINNING = datetime.min.replace(tzinfo=UTC)

MISSED_LIMIT = 100
"""After this many missed runs of one dispatch in a row, the rest is skipped: what runs now must not
wait long behind what is over."""
_RECENT_LIMIT = 20


class _State(IntEnum):
    """What was last announced of a dispatch."""

    NOTHING = auto()
    """Nothing, or a stop."""
    PULSE = auto()
    """A pulse.  No stop follows it, unless the dispatch is withdrawn."""
    RUN = auto()
    """A run that has not been announced as stopped."""
    INTERRUPTED = auto()
    """The stop of a run that goes on, since the agenda is suspended."""
    WITHHELD = auto()
    """Nothing, although a run started, since the agenda is suspended."""


class _Holds(IntEnum):
    """What holds for a dispatch at a moment."""

    RUNS = auto()
    """It runs, as it was announced."""
    STARTS = auto()
    """It runs, and this was not announced, or not with this content or this end."""
    SUSPENDED = auto()
    """It would run if the agenda were not suspended."""
    RESTS = auto()
    """It does not run."""
    WITHDRAWN = auto()
    """It is deleted or inactive, or a pulse dispatch that has got another type."""


_NOTHING, _PULSE, _RUN, _INTERRUPTED, _WITHHELD = _State
_REPLACE, _START, _STOP, _MISSED = (
    NoticeKind.REPLACE,
    NoticeKind.START,
    NoticeKind.STOP,
    NoticeKind.MISSED,
)

_RULES: dict[tuple[_State, _Holds], tuple[_State, NoticeKind]] = {
    (_NOTHING, _Holds.STARTS): (_RUN, _START),
    (_NOTHING, _Holds.SUSPENDED): (_WITHHELD, _REPLACE),
    (_NOTHING, _Holds.RESTS): (_NOTHING, _REPLACE),
    (_NOTHING, _Holds.WITHDRAWN): (_NOTHING, _REPLACE),
    (_PULSE, _Holds.STARTS): (_RUN, _START),
    (_PULSE, _Holds.SUSPENDED): (_WITHHELD, _REPLACE),
    (_PULSE, _Holds.RESTS): (_PULSE, _REPLACE),
    (_PULSE, _Holds.WITHDRAWN): (_NOTHING, _STOP),
    (_RUN, _Holds.RUNS): (_RUN, _REPLACE),
    (_RUN, _Holds.STARTS): (_RUN, _START),
    (_RUN, _Holds.SUSPENDED): (_INTERRUPTED, _STOP),
    (_RUN, _Holds.RESTS): (_NOTHING, _STOP),
    (_RUN, _Holds.WITHDRAWN): (_NOTHING, _STOP),
    (_INTERRUPTED, _Holds.STARTS): (_RUN, _START),
    (_INTERRUPTED, _Holds.SUSPENDED): (_INTERRUPTED, _REPLACE),
    (_INTERRUPTED, _Holds.RESTS): (_NOTHING, _REPLACE),
    (_INTERRUPTED, _Holds.WITHDRAWN): (_NOTHING, _REPLACE),
    (_WITHHELD, _Holds.STARTS): (_RUN, _START),
    (_WITHHELD, _Holds.SUSPENDED): (_WITHHELD, _REPLACE),
    (_WITHHELD, _Holds.RESTS): (_NOTHING, _MISSED),
    (_WITHHELD, _Holds.WITHDRAWN): (_NOTHING, _MISSED),
}


class _Lateness(IntEnum):
    """What becomes of an occurrence that is due."""

    ANNOUNCED = auto()
    MISSED = auto()
    PASSED_OVER = auto()
    """It was dealt with before, or a later one runs in its place."""


# What an item of the heap is, in the order of the heap: a look at the dispatch comes first, because
# if it finds a run over, the end follows at that moment.  Plain numbers: the garbage collector
# ignores a tuple of these.
_LOOK, _BEGIN, _END = range(3)

# When, what, which dispatch, and a number that tells a stale item from a live one.
_Item = tuple[datetime, int, int, int]


class _Entry:
    """A dispatch, and what was announced of it."""

    __slots__ = (
        "announced",
        "dispatch",
        "done",
        "item",
        "missed",
        "recent",
        "run",
        "sent_pulses",
        "since",
        "state",
        "until",
    )

    def __init__(self, dispatch: Dispatch, done: datetime) -> None:
        self.dispatch = dispatch
        self.state = _NOTHING
        self.done = done  # the occurrences up to this moment have been dealt with
        self.missed = 0  # the number of missed runs in a row
        self.item: _Item | None = None  # the live one
        # The first and the last pulse that were sent under the present schedule; and the last
        # occurrences of any schedule that were announced or missed.
        self.sent_pulses: tuple[datetime, datetime] | None = None
        self.recent: tuple[datetime, ...] = ()
        # The content that the last run or pulse was announced with.
        self.announced = dispatch
        # The run that was announced, interrupted or withheld:
        self.run: datetime | None = None  # its occurrence, None without a run
        self.until: datetime | None = None  # its end, None if it does not end
        self.since = done  # when it was announced

    def remember(self, occurrence: datetime) -> None:
        """Add an occurrence to the recent ones."""
        self.recent = (*self.recent[1 - _RECENT_LIMIT :], occurrence)


class Agenda:
    """The dispatches that may run, and the next transition of each.

    Args:
      catch_up: A start, a pulse or a whole run is announced up to this late.
      history: Runs that ended longer ago than this are not reported as missed by a dispatch that
        is new here.
      opened: Pulses before this moment are not announced, if their dispatch was created before it:
        an earlier process may have announced them.  None if it is known that none has.
    """

    def __init__(
        self,
        catch_up: timedelta = timedelta(seconds=60),
        *,
        history: timedelta = timedelta(hours=1),
        opened: datetime | None = None,
    ) -> None:
        self._catch_up = catch_up
        self._history = max(history, catch_up)
        self._opened = opened or _BEGINNING
        self._entries: dict[int, _Entry] = {}
        self._running: dict[int, _Entry] = {}
        self._heap: list[_Item] = []
        self._count = 0
        self._latest = _BEGINNING
        self._suspended = False

    @property
    def next_due(self) -> datetime | None:
        """When to call `advance` next; None if nothing is to come."""
        while self._heap and not self._is_live(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pulses_due(self, now: datetime) -> bool:
        """Whether a pulse is due, so that `advance` may announce it."""
        pending = [0] if self._heap else []
        while pending:
            index = pending.pop()
            item = self._heap[index]
            if item[0] > now:
                continue
            if self._is_live(item) and self._entries[item[2]].dispatch.is_pulse:
                return True
            pending += [
                child for child in (2 * index + 1, 2 * index + 2) if child < len(self._heap)
            ]
        return False

    def running_ids(self) -> list[int]:
        """The ids of the dispatches that were announced as running and not as stopped, sorted."""
        return sorted(self._running)

    def running(self) -> Iterator[Dispatch]:
        """The dispatches that were announced as running and not as stopped, by id."""
        for id_ in self.running_ids():
            entry = self._running[id_]
            yield entry.dispatch.sent_for(entry.since)

    def upsert(
        self,
        dispatch: Dispatch,
        now: datetime,
        *,
        dealt_with: datetime | None = None,
        limit: int | None = None,
    ) -> list[Notice]:
        """Add a dispatch, or take its changed content.

        Args:
          dealt_with: For a dispatch that is new here: another agenda dealt with its occurrences up
            to this moment.
          limit: Deal with this many of the transitions that are due already, and leave the others
            to `advance`.
        """
        notices: list[Notice] = []
        entry = self._entries.get(dispatch.id)
        known = entry is not None
        if entry is None:
            # The occurrences of a rule are at whole seconds, the first one perhaps just before.
            if _minus(dispatch.start_time, _SECOND) > now:
                # Nothing can run, be due or have been missed.
                self._entries[dispatch.id] = entry = _Entry(dispatch, now)
                self._schedule(entry)
                return notices
            entry = _Entry(dispatch, self._first_concern(dispatch, now, dealt_with))
            self._entries[dispatch.id] = entry
        else:
            self._settle(entry, now, notices)
            done = self._dealt_with(entry, dispatch, now)
            if _schedule_of(dispatch) != _schedule_of(entry.dispatch):
                entry.sent_pulses = None
            entry.dispatch = dispatch
            if entry.run is not None:
                self._compare(entry, now, notices)
            if entry.run is None:
                entry.done = done
        is_behind = False
        if entry.run is None:
            self._schedule(entry)
            is_behind = self._settle(entry, now, notices, limit)
            # The last of the occurrences that are still to be dealt with is the one that may run.
            if not is_behind:
                self._compare(entry, now, notices)
        if not is_behind:
            is_scheduled = entry.run is None and entry.item is not None
            entry.done = now
            if not is_scheduled:
                self._schedule(entry)
        if known:
            self._replace(entry, now, notices)
        return notices

    def remove(self, dispatch: Dispatch, now: datetime) -> list[Notice]:
        """Remove a deleted dispatch, whose last content this is."""
        entry = self._entries.get(dispatch.id)
        if entry is None:
            return []
        notices: list[Notice] = []
        self._settle(entry, now, notices)
        entry.dispatch = dispatch
        self._compare(entry, now, notices)
        self._replace(entry, now, notices)
        del self._entries[dispatch.id]
        return notices

    def forget(self, id_: int) -> None:
        """Remove an expired dispatch, unless it runs."""
        if id_ not in self._running:
            self._entries.pop(id_, None)

    def suspend(self, now: datetime) -> list[Notice]:
        """Stop all runs, and start none until `resume`; runs that end before are missed."""
        self._suspended = True
        notices: list[Notice] = []
        for id_ in self.running_ids():
            self._compare(self._running[id_], now, notices)
        return notices

    def resume(self, now: datetime) -> None:
        """End the suspension; the next `advance` starts what runs."""
        self._suspended = False
        for entry in self._entries.values():
            if entry.state in {_INTERRUPTED, _WITHHELD}:
                self._push(entry, now, _LOOK)

    def advance(self, now: datetime, limit: int | None = None) -> list[Notice]:
        """Deal with the transitions that are due, at most `limit` of them.

        Afterwards `next_due` is after `now`, unless the limit was met.  If `now` is before that of
        the last call, the clock was stepped back, and every dispatch is looked at again.
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
        due, action, _, _ = item
        entry.item = None
        if action == _LOOK:
            self._look(entry, due, notices)
        elif action == _END:
            self._step(entry, _Holds.RESTS, due, notices)
        else:
            entry.done = due
            match self._lateness(entry, due, now):
                case _Lateness.ANNOUNCED if entry.dispatch.is_pulse:
                    self._pulse(entry, due, notices)
                case _Lateness.ANNOUNCED:
                    holds = _Holds.SUSPENDED if self._suspended else _Holds.STARTS
                    self._step(entry, holds, due, notices, due)
                case _Lateness.MISSED:
                    self._miss(entry, due, now, notices)
                case _Lateness.PASSED_OVER:
                    pass
        self._schedule(entry)

    def _lateness(self, entry: _Entry, due: datetime, now: datetime) -> _Lateness:
        """What becomes of an occurrence."""
        dispatch = entry.dispatch
        is_known = due in entry.recent
        is_late = now - due > self._catch_up
        if dispatch.is_pulse:
            sent = entry.sent_pulses
            if is_known or (sent is not None and sent[0] <= due <= sent[1]):
                return _Lateness.PASSED_OVER
            if is_late or self._suspended or self._may_be_announced_before(dispatch, due):
                return _Lateness.MISSED
            return _Lateness.ANNOUNCED
        end = dispatch.end_of(due)
        if not is_known and not is_late:
            return _Lateness.ANNOUNCED
        if end is not None and end <= now:
            return _Lateness.PASSED_OVER if is_known else _Lateness.MISSED
        if dispatch.last_start(now) == due:
            return _Lateness.ANNOUNCED
        return _Lateness.PASSED_OVER

    def _may_be_announced_before(self, dispatch: Dispatch, pulse: datetime) -> bool:
        return pulse < self._opened and dispatch.create_time < self._opened

    def _pulse(self, entry: _Entry, pulse: datetime, notices: list[Notice]) -> None:
        sent = entry.sent_pulses
        entry.missed = 0
        entry.state = _PULSE
        entry.announced = entry.dispatch
        entry.sent_pulses = (pulse if sent is None or pulse < sent[0] else sent[0], pulse)
        entry.remember(pulse)
        notices.append(Notice(pulse, _START, entry.dispatch.sent_for(pulse, pulse=pulse)))

    def _miss(self, entry: _Entry, start: datetime, now: datetime, notices: list[Notice]) -> None:
        entry.missed += 1
        entry.remember(start)
        notices.append(Notice(start, _MISSED, MissedRun(entry.dispatch, start)))
        if entry.missed >= MISSED_LIMIT:
            entry.missed = 0
            recent = self._horizon(now)
            # The last occurrence before may still run.
            last = entry.dispatch.last_start(recent) or recent
            entry.done = max(start, _minus(last, _MICROSECOND))

    # The difference between what was announced and what holds.

    def _step(
        self,
        entry: _Entry,
        holds: _Holds,
        moment: datetime,
        notices: list[Notice],
        run: datetime | None = None,
    ) -> None:
        """Apply the rule for what holds; `run` is the occurrence that runs, if one does."""
        dispatch = entry.dispatch
        before = entry.run, entry.announced
        if entry.state is _WITHHELD and holds is _Holds.SUSPENDED and run != entry.run:
            self._step(entry, _Holds.RESTS, moment, notices)
        if entry.state is _INTERRUPTED and run != entry.run:
            entry.state = _NOTHING
        entry.state, kind = _RULES[entry.state, holds]
        entry.run = run
        entry.until = None if run is None else dispatch.end_of(run)
        if entry.state is _RUN:
            self._running[dispatch.id] = entry
        else:
            self._running.pop(dispatch.id, None)
        if kind is _START:
            assert run is not None
            entry.missed = 0
            entry.since, entry.announced = moment, dispatch
            if run not in entry.recent:
                entry.remember(run)
            notices.append(Notice(moment, kind, dispatch.sent_for(moment)))
        elif kind is _STOP:
            message = dispatch.sent_for(moment, halted=self._suspended)
            notices.append(Notice(moment, kind, message))
        elif kind is _MISSED:
            start, content = before
            assert start is not None
            entry.remember(start)
            notices.append(Notice(moment, kind, MissedRun(content, start)))
        elif entry.state is _WITHHELD:
            entry.announced = dispatch

    def _compare(self, entry: _Entry, now: datetime, notices: list[Notice]) -> None:
        dispatch = entry.dispatch
        run = dispatch.run_at(now)
        if not dispatch.active or dispatch.deleted:
            holds = _Holds.WITHDRAWN
        elif run is None:
            # An actor of the old type may still act on the pulse.
            has_left = entry.state is _PULSE and dispatch.type != entry.announced.type
            holds = _Holds.WITHDRAWN if has_left else _Holds.RESTS
        elif self._suspended:
            holds = _Holds.SUSPENDED
        elif entry.state is _RUN and not self._differs(entry, run):
            holds = _Holds.RUNS
        else:
            holds = _Holds.STARTS
        self._step(entry, holds, now, notices, run)

    def _differs(self, entry: _Entry, start: datetime) -> bool:
        """Whether what runs is no longer what was announced."""
        old, new = entry.announced, entry.dispatch
        return entry.until != new.end_of(start) or (
            old is not new and _shown_of(old) != _shown_of(new)
        )

    def _replace(self, entry: _Entry, now: datetime, notices: list[Notice]) -> None:
        """Have a message that is still queued take the content that a silent change has given.

        A message is read with the content that it was sent with, and would call a dispatch that
        has silently changed running when its old schedule comes up.
        """
        dispatch = entry.dispatch
        if not notices or notices[-1].message != dispatch:
            message = dispatch.sent_for(now, halted=self._suspended)
            notices.append(Notice(now, _REPLACE, message))

    def _look(self, entry: _Entry, now: datetime, notices: list[Notice]) -> None:
        entry.done = min(entry.done, now)
        if entry.dispatch.is_pulse:
            return
        if entry.state is _RUN and entry.dispatch.run_at(now) is None:
            entry.until = now  # the END that is scheduled for it comes after the starts
        else:
            self._compare(entry, now, notices)
        if entry.run is not None and entry.run <= now:
            entry.done = max(entry.done, entry.run)

    def _look_at_all(self, now: datetime) -> None:
        self._heap.clear()
        for entry in self._entries.values():
            while entry.recent and entry.recent[-1] > now and not entry.dispatch.is_pulse:
                entry.recent = entry.recent[:-1]  # what starts again is to be announced again
            self._push(entry, now, _LOOK)

    # A change of content.

    def _settle(
        self, entry: _Entry, now: datetime, notices: list[Notice], limit: int | None = None
    ) -> bool:
        """Deal with what is due of one dispatch; returns whether the limit has left something."""
        while entry.item is not None and entry.item[0] <= now:
            if limit is not None:
                if limit == 0:
                    return True
                limit -= 1
            self._deal(entry, entry.item, now, notices)
        return False

    def _first_concern(
        self, dispatch: Dispatch, now: datetime, dealt_with: datetime | None
    ) -> datetime:
        """The moment after which the occurrences of a new dispatch matter."""
        if dealt_with is not None:
            return min(dealt_with, now)
        # What was due after the creation and is over was missed.
        created = _minus(min(dispatch.create_time, now), _SECOND)
        return min(self._horizon(now), max(created, _minus(now, self._history)))

    def _dealt_with(self, entry: _Entry, dispatch: Dispatch, now: datetime) -> datetime:
        """The moment up to which the occurrences of a new content do not matter.

        An occurrence of the new content may have been due when the change was made, and be late
        only because the change arrived late; what was due before the change was never meant.
        """
        # The service cuts "now" to the second.  A clock of its that is ahead decides nothing that
        # is yet to come.
        decided = _minus(min(dispatch.update_time, now), _SECOND)
        oldest = max(decided, _minus(now, self._history))
        if len(entry.recent) == _RECENT_LIMIT:
            oldest = max(oldest, entry.recent[0])
        if _schedule_of(dispatch) == _schedule_of(entry.dispatch):
            return max(oldest, entry.done)
        return oldest

    def _horizon(self, now: datetime) -> datetime:
        """The moment up to which a start is too late to be caught up with."""
        return _minus(_minus(now, self._catch_up), _MICROSECOND)

    # The heap.

    def _schedule(self, entry: _Entry) -> None:
        dispatch = entry.dispatch
        begin = None
        if dispatch.active and not dispatch.deleted:
            begin = dispatch.first_after(entry.done)
        end = entry.until if entry.run is not None else None
        if begin is not None and (end is None or begin <= end):
            self._push(entry, begin, _BEGIN)
        elif end is not None:
            self._push(entry, end, _END)
        else:
            entry.item = None

    def _push(self, entry: _Entry, due: datetime, action: int) -> None:
        self._count += 1
        entry.item = (due, action, entry.dispatch.id, self._count)
        heapq.heappush(self._heap, entry.item)
        if len(self._heap) > 2 * len(self._entries) + 64:
            self._heap = [item for item in self._heap if self._is_live(item)]
            heapq.heapify(self._heap)

    def _is_live(self, item: _Item) -> bool:
        entry = self._entries.get(item[2])
        return entry is not None and entry.item is item


_schedule_of = attrgetter("start_time", "duration", "recurrence")
# What a change of is announced while a dispatch runs.
_shown_of = attrgetter("type", "target", "payload", "dry_run", "duration")


def _minus(moment: datetime, delta: timedelta) -> datetime:
    return _BEGINNING if moment - _BEGINNING < delta else moment - delta
