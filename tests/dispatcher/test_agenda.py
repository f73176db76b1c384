"""The agenda, compared with a walk over every minute."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dateutil import rrule

from trio_dispatch.dispatcher.agenda import MISSED_LIMIT, Agenda
from trio_dispatch.dispatcher.notices import Notice, NoticeKind
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.model.events import MissedRun
from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule, Weekday
from trio_dispatch.model.target import TargetIds
from trio_dispatch.testing.factory import make_dispatch

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
HOURLY = RecurrenceRule(Frequency.HOURLY)


def announced(notices: list[Notice]) -> list[str]:
    """The notices: when, relative to the start, what, and about which dispatch."""
    return [" ".join(word(notice)) for notice in notices if notice.kind is not NoticeKind.REPLACE]


def word(notice: Notice) -> Iterator[str]:
    yield str(notice.moment - START)
    message = notice.message
    if isinstance(message, MissedRun):
        yield from ("missed", str(message.dispatch.id))
    else:
        kind = "pulse" if message.pulse else notice.kind.name.lower()
        yield from (kind, str(message.id))


def test_run_starts_and_stops() -> None:
    agenda = Agenda()
    assert announced(agenda.upsert(make_dispatch(start_time=START + HOUR), START)) == []
    assert agenda.next_due == START + HOUR
    assert announced(agenda.advance(START + HOUR)) == ["1:00:00 start 1"]
    assert [dispatch.id for dispatch in agenda.running()] == [1]
    assert agenda.next_due == START + 2 * HOUR
    assert announced(agenda.advance(START + 2 * HOUR)) == ["2:00:00 stop 1"]
    assert agenda.next_due is None


def test_first_occurrence_runs_just_before_a_start_time_with_a_fraction() -> None:
    start = START + 0.7 * SECOND
    dispatch = make_dispatch(start_time=start, duration=MINUTE, recurrence=HOURLY)
    for fraction in (0.4, 0.8):
        notices = Agenda().upsert(dispatch, START + fraction * SECOND)
        assert [each.split()[-2:] for each in announced(notices)] == [["start", "1"]]


def test_running_dispatch_is_announced_once_when_it_is_added() -> None:
    agenda = Agenda()
    dispatch = make_dispatch()
    assert announced(agenda.upsert(dispatch, START + MINUTE * 30)) == ["0:00:00 start 1"]
    assert announced(agenda.upsert(replace(dispatch, end_time=START), START + MINUTE * 31)) == []


def test_overlapping_runs_are_announced_with_their_new_end_and_one_stop() -> None:
    for length in (HOUR, HOUR * 1.5):
        agenda = Agenda()
        rule = RecurrenceRule(Frequency.HOURLY, end_criteria=EndCriteria(count=3))
        agenda.upsert(make_dispatch(duration=length, recurrence=rule), START - SECOND)
        notices = agenda.advance(START + MINUTE) + agenda.advance(START + HOUR + SECOND)
        notices += agenda.advance(START + HOUR * 2 + SECOND) + agenda.advance(START + HOUR * 9)
        assert [notice.kind.name for notice in notices] == ["START", "START", "START", "STOP"]
        assert notices[-1].moment == START + HOUR * 2 + length


def test_starts_of_an_instant_come_before_its_stops_then_by_id() -> None:
    agenda = Agenda()
    for id_, start in ((4, 0), (3, 1), (2, 0), (1, 1)):
        agenda.upsert(make_dispatch(id_, start_time=START + start * HOUR), START - SECOND)
    agenda.advance(START)
    assert announced(agenda.advance(START + HOUR)) == [
        "1:00:00 start 1",
        "1:00:00 start 3",
        "1:00:00 stop 2",
        "1:00:00 stop 4",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "OTHER"},
        {"target": TargetIds(2)},
        {"payload": {"power": 1}},
        {"dry_run": True},
        {"duration": 2 * HOUR},
        {"duration": None},
    ],
    ids=str,
)
def test_update_while_running_is_announced_at_once(change: dict[str, object]) -> None:
    agenda = Agenda()
    dispatch = make_dispatch()
    agenda.upsert(dispatch, START)
    now = START + MINUTE * 5
    assert announced(agenda.upsert(replace(dispatch, **change), now)) == ["0:05:00 start 1"]  # type: ignore[arg-type]


def test_update_that_leaves_the_run_as_it_is_is_not_announced() -> None:
    agenda = Agenda()
    dispatch = make_dispatch(recurrence=RecurrenceRule(Frequency.DAILY))
    agenda.upsert(dispatch, START)
    weekly = replace(dispatch, recurrence=RecurrenceRule(Frequency.WEEKLY))
    assert announced(agenda.upsert(weekly, START + MINUTE)) == []
    agenda.advance(START + 2 * HOUR)
    assert agenda.next_due == START + timedelta(days=7)


def test_deletion_and_deactivation_stop_a_running_dispatch_only() -> None:
    for end in ("delete", "deactivate"):
        agenda = Agenda()
        running, waiting = make_dispatch(1), make_dispatch(2, start_time=START + HOUR)
        agenda.upsert(running, START)
        agenda.upsert(waiting, START)
        now = START + MINUTE
        notices = []
        for dispatch in (running, waiting):
            if end == "delete":
                notices += agenda.remove(replace(dispatch, deleted=True), now)
            else:
                notices += agenda.upsert(replace(dispatch, active=False), now)
        assert announced(notices) == ["0:01:00 stop 1"]
        assert agenda.next_due is None
        assert agenda.advance(START + 9 * HOUR) == []


def test_each_pulse_is_one_message_and_none_is_repeated() -> None:
    agenda = Agenda()
    pulse = make_dispatch(duration=timedelta(), recurrence=HOURLY)
    notices = agenda.upsert(pulse, START)
    notices += agenda.upsert(replace(pulse, payload={"a": 1}), START + SECOND)
    notices += agenda.advance(START + HOUR)
    # Neither a step back of the clock nor another rule that fires at the same moment repeats it.
    notices += agenda.advance(START + HOUR - MINUTE)
    notices += agenda.advance(START + HOUR + SECOND)
    daily = replace(
        pulse, recurrence=RecurrenceRule(Frequency.MINUTELY), update_time=START + HOUR + SECOND
    )
    notices += agenda.upsert(daily, START + HOUR + SECOND)
    assert announced(notices) == ["0:00:00 pulse 1", "1:00:00 pulse 1"]


def test_silent_update_replaces_the_queued_message() -> None:
    agenda = Agenda()
    pulse = make_dispatch(duration=timedelta())
    agenda.upsert(pulse, START)
    (notice,) = agenda.upsert(replace(pulse, payload={"a": 1}), START + SECOND)
    assert notice.kind is NoticeKind.REPLACE


@pytest.mark.parametrize("how", ["delete", "deactivate"])
def test_withdrawing_a_dispatch_after_its_pulse_yields_one_stop(how: str) -> None:
    agenda = Agenda()
    pulse = make_dispatch(duration=timedelta(), recurrence=HOURLY)
    agenda.upsert(pulse, START)
    inactive, deleted = replace(pulse, active=False), replace(pulse, deleted=True)
    now = START + MINUTE
    if how == "delete":
        (notice,) = agenda.remove(deleted, now)
    else:
        (notice,) = agenda.upsert(inactive, now)
        assert announced(agenda.upsert(replace(inactive, payload={"a": 1}), now)) == []
        assert announced(agenda.remove(deleted, now)) == []
    assert announced([notice]) == ["0:01:00 stop 1"]
    assert isinstance(notice.message, Dispatch)
    assert notice.message.running_at(now) is False
    assert notice.message.pulse is None


def test_withdrawing_a_dispatch_before_its_first_pulse_yields_no_stop() -> None:
    agenda = Agenda()
    pulse = make_dispatch(start_time=START + HOUR, duration=timedelta())
    agenda.upsert(pulse, START)
    assert announced(agenda.remove(replace(pulse, deleted=True), START + MINUTE)) == []


def test_deleting_a_run_that_was_a_pulse_before_yields_one_stop() -> None:
    agenda = Agenda()
    pulse = make_dispatch(duration=timedelta())
    agenda.upsert(pulse, START)
    running = replace(pulse, duration=HOUR)
    assert announced(agenda.upsert(running, START + MINUTE)) == ["0:00:00 start 1"]
    stopped = replace(running, active=False)
    assert announced(agenda.upsert(stopped, START + MINUTE)) == ["0:01:00 stop 1"]
    assert announced(agenda.remove(replace(stopped, deleted=True), START + MINUTE)) == []


def test_late_transition_is_caught_up_with_or_missed() -> None:
    agenda = Agenda(catch_up=MINUTE)
    agenda.upsert(make_dispatch(1, start_time=START + MINUTE, duration=10 * SECOND), START)
    agenda.upsert(make_dispatch(2, start_time=START + 2 * MINUTE, duration=10 * SECOND), START)
    agenda.upsert(make_dispatch(3, start_time=START + MINUTE, duration=timedelta()), START)
    agenda.upsert(make_dispatch(4, start_time=START + 2 * MINUTE, duration=timedelta()), START)
    agenda.upsert(make_dispatch(5, start_time=START + MINUTE, duration=HOUR), START)
    assert announced(agenda.advance(START + 3 * MINUTE)) == [
        "0:01:00 missed 1",
        "0:01:00 missed 3",
        "0:01:00 start 5",
        "0:02:00 start 2",
        "0:02:00 pulse 4",
        "0:02:10 stop 2",
    ]


def test_runs_skipped_by_a_clock_step_are_missed_not_replayed() -> None:
    agenda = Agenda()
    agenda.upsert(make_dispatch(duration=MINUTE, recurrence=HOURLY), START - SECOND)
    assert announced(agenda.advance(START)) == ["0:00:00 start 1"]
    assert announced(agenda.advance(START + 3 * HOUR)) == [
        "0:01:00 stop 1",
        "1:00:00 missed 1",
        "2:00:00 missed 1",
        "3:00:00 start 1",
    ]


def test_new_dispatch_is_caught_up_with_and_its_later_runs_are_missed() -> None:
    agenda = Agenda(catch_up=MINUTE, history=HOUR)
    pulse = make_dispatch(1, duration=timedelta(), recurrence=HOURLY)
    assert announced(agenda.upsert(pulse, START + 5 * HOUR + MINUTE)) == ["5:00:00 pulse 1"]
    short = make_dispatch(2, duration=SECOND, recurrence=HOURLY)
    now = START + 5 * HOUR + MINUTE + SECOND
    assert announced(agenda.upsert(short, now)) == ["5:00:00 missed 2"]


def test_pulse_that_was_due_before_an_update_was_made_is_not_announced() -> None:
    agenda = Agenda()
    pulse = make_dispatch(duration=timedelta(), active=False, recurrence=HOURLY)
    agenda.upsert(pulse, START)
    now = START + HOUR + 10 * SECOND
    assert announced(agenda.upsert(replace(pulse, active=True, update_time=now), now)) == []
    # But a change that was decided in time and came late is.
    agenda = Agenda()
    agenda.upsert(pulse, START)
    decided = replace(pulse, active=True, update_time=START + HOUR - SECOND)
    assert announced(agenda.upsert(decided, now)) == ["1:00:00 pulse 1"]


def test_update_first_announces_what_was_due_under_the_old_content() -> None:
    agenda = Agenda()
    pulse = make_dispatch(duration=timedelta(), recurrence=HOURLY)
    agenda.upsert(pulse, START + SECOND)
    now = START + HOUR + 30 * SECOND
    assert announced(agenda.upsert(replace(pulse, payload={"a": 1}, update_time=now), now)) == [
        "1:00:00 pulse 1"
    ]


def test_clock_step_back_announces_the_differences() -> None:
    agenda = Agenda()
    agenda.upsert(make_dispatch(1, start_time=START + HOUR), START)
    agenda.upsert(make_dispatch(2, duration=HOUR), START)
    agenda.upsert(make_dispatch(3, start_time=START - HOUR, duration=9 * HOUR), START)
    agenda.advance(START + HOUR)
    assert announced(agenda.advance(START + HOUR / 2)) == ["0:30:00 start 2", "0:30:00 stop 1"]
    assert announced(agenda.advance(START + HOUR)) == ["1:00:00 start 1", "1:00:00 stop 2"]


def test_service_clock_ahead_delays_nothing() -> None:
    agenda = Agenda()
    hourly = make_dispatch(duration=MINUTE, recurrence=HOURLY, start_time=START + HOUR)
    agenda.upsert(hourly, START)
    ahead = replace(hourly, payload={"a": 1}, update_time=START + 10 * HOUR)
    assert announced(agenda.upsert(ahead, START + MINUTE)) == []
    assert agenda.next_due == START + HOUR


def test_cache_from_the_future_delays_nothing() -> None:
    agenda = Agenda()
    hourly = make_dispatch(duration=MINUTE, recurrence=HOURLY, start_time=START + HOUR)
    agenda.upsert(hourly, START, dealt_with=START + 24 * HOUR)
    assert agenda.next_due == START + HOUR


def test_clock_that_was_ahead_delays_no_pulse() -> None:
    agenda = Agenda()
    agenda.upsert(make_dispatch(duration=timedelta(), recurrence=HOURLY), START + 9000.5 * HOUR)
    agenda.advance(START + 9000.6 * HOUR)
    agenda.advance(START + HOUR / 2)
    assert agenda.next_due == START + HOUR


def test_new_schedule_repeats_no_pulse() -> None:
    agenda = Agenda(catch_up=5 * MINUTE)
    minutely = RecurrenceRule(Frequency.MINUTELY)
    pulse = make_dispatch(duration=timedelta(), recurrence=minutely)
    agenda.upsert(pulse, START - SECOND)
    for minutes in range(4):
        assert len(agenda.advance(START + minutes * MINUTE)) == 1
    ended = replace(minutely, end_criteria=EndCriteria(count=100))
    changed = replace(pulse, recurrence=ended, update_time=START + MINUTE / 2)
    assert announced(agenda.upsert(changed, START + 3.5 * MINUTE)) == []


def test_running_dispatch_is_announced_after_the_limit_of_missed_runs() -> None:
    agenda = Agenda()
    agenda.upsert(make_dispatch(duration=50 * MINUTE, recurrence=HOURLY), START - SECOND)
    notices = agenda.advance(START + 10_000.5 * HOUR)
    missed = [n for n in notices if isinstance(n.message, MissedRun)]
    assert len(missed) == MISSED_LIMIT
    assert [d.id for d in agenda.running()] == [1]
    assert agenda.next_due == START + 10_000 * HOUR + 50 * MINUTE


def test_suspended_agenda_runs_nothing() -> None:
    agenda = Agenda()
    agenda.upsert(make_dispatch(1, duration=None), START)
    (notice,) = agenda.suspend(START + MINUTE)
    assert notice.kind is NoticeKind.STOP
    assert isinstance(notice.message, Dispatch)
    assert not notice.message.running_at(START + MINUTE)
    assert announced(agenda.upsert(make_dispatch(2, duration=None), START + MINUTE)) == []
    assert agenda.advance(START + HOUR) == []
    agenda.resume(START + HOUR)
    assert announced(agenda.advance(START + HOUR)) == ["1:00:00 start 1", "1:00:00 start 2"]


def test_run_that_starts_and_ends_while_suspended_is_missed() -> None:
    agenda = Agenda()
    agenda.upsert(make_dispatch(1, start_time=START + HOUR, duration=MINUTE), START)
    agenda.upsert(make_dispatch(2, start_time=START + HOUR, duration=timedelta()), START)
    assert announced(agenda.suspend(START + MINUTE)) == []
    assert announced(agenda.advance(START + HOUR)) == ["1:00:00 missed 2"]
    assert announced(agenda.advance(START + 2 * HOUR)) == ["1:01:00 missed 1"]
    agenda.resume(START + 2 * HOUR)
    assert announced(agenda.advance(START + 2 * HOUR)) == []


def test_run_that_was_interrupted_by_a_suspension_is_not_missed() -> None:
    agenda = Agenda()
    agenda.upsert(make_dispatch(1), START)
    assert announced(agenda.suspend(START + MINUTE)) == ["0:01:00 stop 1"]
    assert announced(agenda.advance(START + 2 * HOUR)) == []
    agenda.resume(START + 2 * HOUR)
    assert announced(agenda.advance(START + 2 * HOUR)) == []


def test_run_that_starts_while_suspended_is_announced_late_if_it_goes_on() -> None:
    agenda = Agenda()
    agenda.upsert(make_dispatch(1, start_time=START + HOUR), START)
    agenda.suspend(START)
    assert announced(agenda.advance(START + 1.5 * HOUR)) == []
    agenda.resume(START + 1.5 * HOUR)
    assert announced(agenda.advance(START + 1.5 * HOUR)) == ["1:30:00 start 1"]
    assert announced(agenda.advance(START + 2 * HOUR)) == ["2:00:00 stop 1"]


@pytest.mark.parametrize("how", ["moved away", "deactivated", "deleted"])
def test_run_that_is_withdrawn_while_it_is_withheld_is_missed(how: str) -> None:
    agenda = Agenda()
    dispatch = make_dispatch(1, start_time=START + HOUR)
    agenda.upsert(dispatch, START)
    agenda.suspend(START)
    now = START + HOUR + MINUTE
    agenda.advance(now)
    if how == "deleted":
        notices = agenda.remove(replace(dispatch, deleted=True), now)
    elif how == "deactivated":
        notices = agenda.upsert(replace(dispatch, active=False, update_time=now), now)
    else:
        moved = replace(dispatch, start_time=START + 9 * HOUR, update_time=now)
        notices = agenda.upsert(moved, now)
    assert announced(notices) == ["1:01:00 missed 1"]
    (missed,) = [n.message for n in notices if isinstance(n.message, MissedRun)]
    assert missed == MissedRun(dispatch, START + HOUR)


def test_further_occurrences_while_suspended_are_each_missed_once() -> None:
    agenda = Agenda()
    rule = RecurrenceRule(Frequency.HOURLY, end_criteria=EndCriteria(count=3))
    agenda.upsert(make_dispatch(1, duration=1.5 * HOUR, recurrence=rule), START - SECOND)
    agenda.suspend(START - SECOND)
    notices = agenda.advance(START + 9 * HOUR)
    starts = [n.message.start - START for n in notices if isinstance(n.message, MissedRun)]
    assert starts == [timedelta(), HOUR, 2 * HOUR]
    assert len(announced(notices)) == 3


def test_run_that_was_over_before_its_dispatch_was_seen_is_missed_if_created_before() -> None:
    now = START + 10 * MINUTE
    for created, expected in ((START, ["0:01:00 missed 1"]), (START + 2 * MINUTE, [])):
        agenda = Agenda()
        dispatch = make_dispatch(
            start_time=START + MINUTE,
            duration=MINUTE,
            create_time=created,
            update_time=created,
        )
        assert announced(agenda.upsert(dispatch, now)) == expected
        assert announced(agenda.advance(now + HOUR)) == []


def test_run_of_a_change_that_arrives_when_it_is_over_is_missed() -> None:
    agenda = Agenda()
    dispatch = make_dispatch(start_time=START + 9 * HOUR)
    agenda.upsert(dispatch, START)
    moved = replace(
        dispatch, start_time=START + MINUTE, duration=MINUTE, update_time=START + SECOND
    )
    assert announced(agenda.upsert(moved, START + HOUR / 2)) == ["0:01:00 missed 1"]
    # A later change of the same run does not report it again.
    later = replace(moved, duration=2 * MINUTE)
    assert announced(agenda.upsert(later, START + HOUR / 2)) == []


def test_run_that_was_due_when_the_process_was_down_is_missed() -> None:
    agenda = Agenda()
    dispatch = make_dispatch(start_time=START + HOUR, duration=MINUTE)
    notices = agenda.upsert(dispatch, START + 100 * HOUR, dealt_with=START)
    assert announced(notices) == ["1:00:00 missed 1"]


def test_run_that_is_due_is_dealt_with_before_its_dispatch_is_removed() -> None:
    agenda = Agenda()
    dispatch = make_dispatch(start_time=START + HOUR, duration=MINUTE)
    agenda.upsert(dispatch, START)
    notices = agenda.remove(replace(dispatch, deleted=True), START + 2 * HOUR)
    assert announced(notices) == ["1:00:00 missed 1"]


@pytest.mark.parametrize(
    ("created", "expected"),
    [(START, ["0:00:50 missed 1"]), (START + MINUTE, ["0:00:50 pulse 1"])],
)
def test_pulse_before_the_agenda_was_opened_is_not_announced(
    created: datetime, expected: list[str]
) -> None:
    agenda = Agenda(opened=START + MINUTE)
    pulse = make_dispatch(start_time=START + 50 * SECOND, duration=timedelta(), create_time=created)
    assert announced(agenda.upsert(pulse, START + MINUTE)) == expected


def test_long_backlog_is_dealt_with_in_slices() -> None:
    agenda = Agenda(catch_up=timedelta(days=1))
    now = START + timedelta(days=2)
    minutely = RecurrenceRule(Frequency.MINUTELY)
    dispatch = make_dispatch(duration=10 * SECOND, recurrence=minutely)
    notices = agenda.upsert(dispatch, now, limit=7)
    assert len(notices) == 7
    while (due := agenda.next_due) is not None and due <= now:
        slice_ = agenda.advance(now, 100)
        assert len(slice_) <= 100
        notices += slice_
    assert [n.kind.name for n in notices] == ["START", "STOP"] * 1440 + ["START"]
    assert agenda.running_ids() == [1]


def test_dispatch_without_end_and_invalid_rule() -> None:
    agenda = Agenda()
    assert announced(agenda.upsert(make_dispatch(1, duration=None, recurrence=HOURLY), START)) == [
        "0:00:00 start 1"
    ]
    invalid = RecurrenceRule.unchecked(
        frequency=3,
        interval=0,
        end_criteria=None,
        byminutes=(),
        byhours=(),
        byweekdays=(),
        bymonthdays=(),
        bymonths=(),
    )
    assert announced(agenda.upsert(make_dispatch(2, recurrence=invalid), START)) == []
    assert (
        announced(agenda.upsert(make_dispatch(3, duration=None, recurrence=invalid), START)) == []
    )
    assert agenda.next_due is None


def test_advance_respects_its_limit() -> None:
    agenda = Agenda()
    for id_ in range(10):
        agenda.upsert(make_dispatch(id_, start_time=START + HOUR), START)
    slices = [agenda.advance(START + HOUR, 4) for _ in range(3)]
    assert [len(notices) for notices in slices] == [4, 4, 2]


def test_stale_items_do_not_pile_up() -> None:
    agenda = Agenda()
    dispatch = make_dispatch(start_time=START + HOUR)
    for number in range(10_000):
        agenda.upsert(replace(dispatch, payload={"n": number}), START)
    assert len(agenda._heap) < 100


# The walk.  Everything happens on whole minutes, and every minute is looked at.


def random_dispatch(rng: random.Random, id_: int, now: datetime) -> Dispatch:
    rule = None
    if rng.random() < 0.8:
        rule = RecurrenceRule(
            rng.choice([Frequency.HOURLY, Frequency.DAILY, Frequency.WEEKLY]),
            interval=rng.randint(1, 3),
            byhours=tuple(rng.sample(range(24), rng.choice([0, 0, 2]))),
            byminutes=tuple(rng.sample(range(60), rng.choice([0, 0, 2]))),
            byweekdays=tuple(rng.sample(list(Weekday)[1:], rng.choice([0, 0, 3]))),
            end_criteria=rng.choice(
                [None, EndCriteria(count=20), EndCriteria(until=now + 5 * HOUR)]
            ),
        )
    minutes = rng.choice([0, 1, 30, 60, 90, 24 * 60, 26 * 60, None])
    return make_dispatch(
        id_,
        start_time=now + MINUTE * rng.randint(1, 2000),
        duration=None if minutes is None and rng.random() < 0.2 else MINUTE * (minutes or 0),
        recurrence=rule,
        active=rng.random() < 0.9,
        payload={"n": rng.randint(0, 1)},
        update_time=now,
    )


class Walk:
    """The expected notices, found by looking at every minute."""

    def __init__(self) -> None:
        self.dispatches: dict[int, Dispatch] = {}
        self.occurrences: dict[int, set[datetime]] = {}
        self.latest: dict[int, datetime] = {}
        self.announced: dict[int, tuple[object, ...]] = {}
        self.pulsed: set[int] = set()  # a pulse was announced and not withdrawn

    def put(self, dispatch: Dispatch, now: datetime, until: datetime) -> None:
        self.dispatches[dispatch.id] = dispatch
        found = self.occurrences[dispatch.id] = set(occurrences(dispatch, until))
        begun = [start for start in found if start <= now]
        self.latest.pop(dispatch.id, None)
        if begun:
            self.latest[dispatch.id] = max(begun)

    def state(self, dispatch: Dispatch, now: datetime) -> tuple[object, ...] | None:
        # The walk goes forward, so that what has begun need not be looked for again.
        if now in self.occurrences[dispatch.id]:
            self.latest[dispatch.id] = now
        if not dispatch.active:
            return None
        start = self.latest.get(dispatch.id)
        if start is None:
            return None
        until = None if dispatch.duration is None else start + dispatch.duration
        if until is not None and until <= now:
            return None
        return until, dispatch.payload["n"], dispatch.duration

    def look(self, ids: list[int], now: datetime, *, changed: bool) -> list[str]:
        found = []
        for id_ in ids:
            dispatch = self.dispatches[id_]
            state, old = self.state(dispatch, now), self.announced.get(id_)
            starts = not changed and dispatch.active and now in self.occurrences[id_]
            if starts and dispatch.duration == timedelta():
                found.append((0, id_, "pulse"))
                self.pulsed.add(id_)
            elif state is not None and (state != old or starts):
                found.append((0, id_, "start"))
                self.pulsed.discard(id_)
            elif state is None and (
                old is not None or (id_ in self.pulsed and not dispatch.active)
            ):
                found.append((1, id_, "stop"))
            if not dispatch.active:
                self.pulsed.discard(id_)
            if state is None:
                self.announced.pop(id_, None)
            else:
                self.announced[id_] = state
        return [f"{now - START} {kind} {id_}" for _, id_, kind in sorted(found)]


def occurrences(dispatch: Dispatch, until: datetime) -> Iterator[datetime]:
    rule = dispatch.recurrence
    if rule is None or dispatch.duration is None:
        yield dispatch.start_time
        return
    names: list[Any] = [rrule.HOURLY, rrule.DAILY, rrule.WEEKLY]
    criteria = rule.end_criteria or EndCriteria(count=10**6)
    try:
        moments = rrule.rrule(
            names[rule.frequency - Frequency.HOURLY],
            dtstart=dispatch.start_time,
            interval=rule.interval,
            byhour=rule.byhours or None,
            byminute=rule.byminutes or None,
            byweekday=[day - 1 for day in rule.byweekdays] or None,
            count=criteria.count,
            until=criteria.until,
        )
    except ValueError:  # it never fires
        return
    yield from itertools.takewhile(lambda moment: moment <= until, moments)


@pytest.mark.parametrize(
    ("count", "days", "seed"),
    [
        *((40, 10, seed) for seed in range(6)),
        *(pytest.param(200, 60, seed, marks=pytest.mark.long) for seed in range(4)),
    ],
)
def test_agenda_agrees_with_a_walk_over_every_minute(count: int, days: int, seed: int) -> None:
    rng = random.Random(seed)
    agenda, walk = Agenda(), Walk()
    end = START + timedelta(days=days)
    now = START
    while now < end:
        expected = walk.look(sorted(walk.dispatches), now, changed=False)
        assert announced(agenda.advance(now)) == expected
        while rng.random() < 0.01:
            id_ = rng.randint(1, count)
            old = walk.dispatches.get(id_)
            if old is not None and rng.random() < 0.2:
                gone = agenda.remove(replace(old, deleted=True), now)
                was_running = walk.announced.pop(id_, None) is not None or id_ in walk.pulsed
                walk.pulsed.discard(id_)
                del walk.dispatches[id_]
                assert [n.kind for n in gone if n.kind is not NoticeKind.REPLACE] == (
                    [NoticeKind.STOP] if was_running else []
                )
                continue
            new = random_dispatch(rng, id_, now)
            if old is not None and rng.random() < 0.6:
                new = replace(old, active=rng.random() < 0.7, payload=new.payload, update_time=now)
            walk.put(new, now, end)
            assert announced(agenda.upsert(new, now)) == walk.look([id_], now, changed=True)
        assert [d.id for d in agenda.running()] == sorted(walk.announced)
        now += MINUTE
