"""Random schedules have the occurrences that `zoneinfo` and dateutil give.

- dateutil gets the rule with a start in the zone, and `zoneinfo` makes moments of what it gives.
  That is RFC 5545, by which rules of days and longer units are to be expanded.
- Every minute of some days, most of them around changes of the clocks, is compared with the
  definition of the rule: `zoneinfo` says what the clocks show.  Rules of hours and minutes, which
  count elapsed time, are compared in this way only.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from random import Random
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from dateutil import rrule

from tests.helpers.effort import cases
from trio_dispatch import (
    DispatchContent,
    EndCriteria,
    Frequency,
    LocalSchedule,
    RecurrenceRule,
    TargetIds,
)

UNUSUAL = [
    "Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "Africa/Juba", "America/Asuncion",
    "America/Havana", "America/Nuuk", "America/Santiago", "America/Scoresbysund",
    "America/St_Johns", "Antarctica/Casey", "Antarctica/Troll", "Antarctica/Vostok", "Asia/Almaty",
    "Asia/Amman", "Asia/Beirut", "Asia/Gaza", "Asia/Kathmandu", "Asia/Qostanay", "Asia/Tehran",
    "Atlantic/Azores", "Australia/Eucla", "Australia/Lord_Howe", "Europe/Berlin", "Europe/Dublin",
    "Pacific/Apia", "Pacific/Chatham", "Pacific/Easter", "Pacific/Fiji", "Pacific/Kiritimati",
    "Pacific/Kwajalein", "Pacific/Norfolk",
]  # fmt: skip
# The years in which these crossed the date line.
CROSSINGS = {"Pacific/Apia": 2011, "Pacific/Kwajalein": 1993, "Pacific/Kiritimati": 1994}
FINE = (Frequency.MINUTELY, Frequency.HOURLY)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AMOUNT = 3000
"""About as many occurrences are compared for each schedule."""


@pytest.mark.parametrize("batch", range(cases(1, long=50)))
def test_random_schedules_have_the_occurrences_of_dateutil_and_of_every_minute(batch: int) -> None:
    for seed in range(200 * batch, 200 * batch + cases(25, long=200)):
        check(seed)


def check(seed: int) -> None:
    random = Random(seed)
    zone = ZoneInfo(random.choice(UNUSUAL if random.random() < 0.6 else zones()))
    schedule = random_schedule(random, zone)
    assert schedule.recurrence is not None
    begin = schedule.start.replace(tzinfo=UTC) + random.choice([-2, 0, 0, 30, 300]) * DAY
    days = max(3, min(3000, AMOUNT // (1 + per_day(schedule.recurrence))))
    end = min(begin + days * DAY, max(begin + 3 * DAY, datetime(2033, 1, 1, tzinfo=UTC)))
    found = schedule.dispatches(begin, end)
    for each in found:
        check_accepted(each)

    if schedule.recurrence.frequency not in FINE:
        assert occurrences(found, begin, end) == list(by_dateutil(schedule, zone, begin, end))
    for low in random_days(random, schedule, zone, begin, end):
        high = low + 50 * HOUR
        expected = list(by_the_minute(schedule, zone, low, high))
        dispatches = schedule.dispatches(low, high)
        assert occurrences(dispatches, low, high) == expected
        # Another time range gives equal dispatches.
        if begin <= low and high <= end:
            assert all(each in found for each in dispatches)


def random_schedule(random: Random, zone: ZoneInfo) -> LocalSchedule:
    def some(low: int, high: int, *, rarely: float = 0.5, most: int = 4) -> tuple[int, ...]:
        if random.random() < rarely:
            return ()
        numbers = [each for each in range(low, high + 1) if each]
        numbers += [0] if low == 0 else []
        amount = random.randint(1, min(most, len(numbers)))
        return tuple(random.sample(numbers, amount))

    year = random.randint(2024, 2031)
    if random.random() < 0.5:
        year = CROSSINGS.get(zone.key, year)
    start = datetime.fromisoformat(f"{year}-01-01") + random.randrange(366 * 1440) * MINUTE
    changes = [each for each in clock_changes(zone) if each.year == year]
    if changes and random.random() < 0.5:
        change = random.choice(changes).astimezone(zone).replace(tzinfo=None)
        start = change + random.randint(-3000, 1500) * MINUTE
    if random.random() < 0.5:
        start = start.replace(minute=random.choice([0, 0, 15, 30]))
    start = start.replace(second=random.choice([0, 0, 0, 30]), fold=0)
    frequency = random.choice(list(Frequency)[1:])
    fine = frequency in FINE
    end = None
    if random.random() < 0.3:
        if random.random() < 0.5:
            end = EndCriteria(count=random.randint(1, 200))
        else:
            until = start.replace(tzinfo=UTC) + random.randrange(1, 600 * 1440) * MINUTE
            end = EndCriteria(until=until)
    rule = RecurrenceRule(
        frequency,
        interval=random.choice([1, 1, 1, 2, 3, 7, 25, 90] if fine else [1, 1, 1, 2, 3, 5]),
        end_criteria=end,
        byminutes=some(0, 59, rarely=0.6),
        byhours=some(0, 23, rarely=0.4, most=random.choice([3, 24])),
        byweekdays=some(1, 7, rarely=0.5, most=7),
        bymonthdays=some(-31, 31, rarely=0.7, most=random.choice([2, 8])),
        bymonths=some(1, 12, rarely=0.7, most=6),
    )
    free = [start.date() + random.randrange(400) * DAY for _ in range(random.choice([0, 0, 1, 9]))]
    return LocalSchedule(
        timezone=zone.key,
        start=start,
        duration=timedelta(),
        recurrence=rule,
        except_=free,
        type="A",
        target=TargetIds(1),
    )


def random_days(
    random: Random, schedule: LocalSchedule, zone: ZoneInfo, begin: datetime, end: datetime
) -> Iterator[datetime]:
    start = schedule.start.replace(tzinfo=zone).astimezone(UTC)
    rule = schedule.recurrence
    assert rule is not None
    if rule.frequency in FINE and rule.end_criteria and rule.end_criteria.count:
        yield start  # To count them, one must see them all.
        return
    changes = [each for each in clock_changes(zone) if max(begin, start) < each < end]
    for change in random.sample(changes, min(2, len(changes))):
        yield change - random.randrange(48) * HOUR
    yield begin + random.randrange((end - begin) // HOUR) * HOUR


def check_accepted(content: DispatchContent) -> None:
    """Assert what the service demands of a rule."""
    rule = content.recurrence
    if rule is None:
        return
    assert 1 <= rule.interval <= 10_000
    assert rule.end_criteria is None or rule.end_criteria.count is None
    assert rule.frequency != Frequency.WEEKLY or not rule.bymonthdays
    assert rule.next_after(content.start_time, content.start_time, True) == content.start_time
    if rule.end_criteria is not None:
        assert rule.last(content.start_time) == rule.end_criteria.until


def occurrences(found: list[DispatchContent], begin: datetime, end: datetime) -> list[datetime]:
    moments: list[datetime] = []
    for each in found:
        if each.recurrence is not None:
            moments += each.recurrence.between(each.start_time, begin, end)
        elif begin <= each.start_time < end:
            moments.append(each.start_time)
    return sorted(moments)


def per_day(rule: RecurrenceRule) -> int:
    fine = rule.frequency in FINE
    minutes = len(set(rule.byminutes)) or (60 if rule.frequency == Frequency.MINUTELY else 1)
    return minutes * (len(set(rule.byhours)) or (24 if fine else 1))


# dateutil.


def by_dateutil(
    schedule: LocalSchedule, zone: ZoneInfo, begin: datetime, end: datetime
) -> Iterator[datetime]:
    rule = schedule.recurrence
    assert rule is not None
    criteria = rule.end_criteria
    wanted: dict[str, Any] = {}
    if criteria is not None and criteria.count is not None:
        wanted["count"] = criteria.count
    until = end + 2 * DAY
    if criteria is not None and criteria.until is not None:
        until = min(until, criteria.until)
    given = rrule.rrule(
        getattr(rrule, rule.frequency.name),
        dtstart=schedule.start.replace(tzinfo=zone),
        interval=rule.interval,
        byminute=rule.byminutes or None,
        byhour=rule.byhours or None,
        byweekday=[day - 1 for day in rule.byweekdays] or None,
        bymonthday=rule.bymonthdays or None,
        bymonth=rule.bymonths or None,
        **wanted,
    )
    moments = set()
    for local in given:
        moment = local.astimezone(UTC)
        if local.replace(tzinfo=UTC) > end + 3 * DAY:
            break
        if moment <= until and begin <= moment < end and local.date() not in schedule.except_:
            moments.add(moment)
    yield from sorted(moments)


# Every minute.


def by_the_minute(
    schedule: LocalSchedule, zone: ZoneInfo, low: datetime, high: datetime
) -> Iterator[datetime]:
    rule = schedule.recurrence
    assert rule is not None
    criteria = rule.end_criteria
    first = schedule.start.replace(tzinfo=zone).astimezone(UTC)
    moment = low.replace(second=first.second, microsecond=0)
    left = criteria.count if criteria is not None and criteria.count is not None else 10**9
    until = criteria.until if criteria is not None and criteria.until is not None else high
    if criteria is not None and criteria.count is not None and rule.frequency not in FINE:
        walls = list(rrule_walls(schedule))
        if not walls:
            return
        until = walls[-1].replace(tzinfo=zone).astimezone(UTC)
    while moment < high:
        if moment >= max(low, first) and moment <= until:
            walls = walls_of(moment, zone, rule.frequency in FINE)
            start = schedule.start
            if rule.frequency in FINE:
                start = first.replace(tzinfo=None) + (walls[0] - moment.replace(tzinfo=None))
            matching = [each for each in walls if each >= start and matches(rule, start, each)]
            if matching and left > 0:
                left -= rule.frequency in FINE
                if any(each.date() not in schedule.except_ for each in matching):
                    yield moment
        moment += MINUTE


def rrule_walls(schedule: LocalSchedule) -> rrule.rrule:
    rule = schedule.recurrence
    assert rule is not None
    assert rule.end_criteria is not None
    return rrule.rrule(
        getattr(rrule, rule.frequency.name),
        dtstart=schedule.start,
        interval=rule.interval,
        byminute=rule.byminutes or None,
        byhour=rule.byhours or None,
        byweekday=[day - 1 for day in rule.byweekdays] or None,
        bymonthday=rule.bymonthdays or None,
        bymonth=rule.bymonths or None,
        count=rule.end_criteria.count,
    )


def walls_of(moment: datetime, zone: ZoneInfo, fine: bool) -> list[datetime]:
    """Return the local times that mean a moment."""
    shown = moment.astimezone(zone)
    if fine:
        return [shown.replace(tzinfo=None, fold=0)]
    naive = moment.replace(tzinfo=None)
    offsets = {
        (moment + hours * HOUR).astimezone(zone).utcoffset() or timedelta()
        for hours in (-25, -3, 0, 3, 25)
    }
    walls = {naive + offset for offset in offsets}
    return [wall for wall in sorted(walls) if wall.replace(tzinfo=zone).astimezone(UTC) == moment]


def matches(rule: RecurrenceRule, start: datetime, wall: datetime) -> bool:
    """Whether a rule matches a local time, interval included."""
    fine = rule.frequency in FINE
    if rule.byminutes:
        if wall.minute not in rule.byminutes:
            return False
    elif rule.frequency != Frequency.MINUTELY and wall.minute != start.minute:
        return False
    if rule.byhours:
        if wall.hour not in rule.byhours:
            return False
    elif not fine and wall.hour != start.hour:
        return False
    return (
        on_interval(rule, start, wall)
        and (not rule.bymonths or wall.month in rule.bymonths)
        and on_day(rule, start, wall.date())
    )


def on_interval(rule: RecurrenceRule, start: datetime, wall: datetime) -> bool:
    days = wall.toordinal() - start.toordinal()
    months = 12 * (wall.year - start.year) + wall.month - start.month
    hours = 24 * days + wall.hour - start.hour
    units = {
        Frequency.MINUTELY: 60 * hours + wall.minute - start.minute,
        Frequency.HOURLY: hours,
        Frequency.DAILY: days,
        Frequency.WEEKLY: (days + start.weekday()) // 7,
        Frequency.MONTHLY: months,
        Frequency.YEARLY: wall.year - start.year,
    }
    return units[rule.frequency] % rule.interval == 0


def on_day(rule: RecurrenceRule, start: datetime, day: date) -> bool:
    if not (rule.byweekdays or rule.bymonthdays):
        match rule.frequency:
            case Frequency.WEEKLY:
                return day.weekday() == start.weekday()
            case Frequency.MONTHLY:
                return day.day == start.day
            case Frequency.YEARLY:
                return day.day == start.day and (bool(rule.bymonths) or day.month == start.month)
    length = monthrange(day.year, day.month)[1]
    by_month = {day.day, day.day - length - 1} & set(rule.bymonthdays)
    return (not rule.byweekdays or day.isoweekday() in rule.byweekdays) and (
        not rule.bymonthdays or bool(by_month)
    )


# Zones.


@cache
def zones() -> list[str]:
    return sorted(available_timezones())


@cache
def clock_changes(zone: ZoneInfo) -> list[datetime]:
    """Return about when the clocks change, in the years that the test looks at."""
    years = [range(2023, 2034)]
    if zone.key in CROSSINGS:
        years.append(range(CROSSINGS[zone.key], CROSSINGS[zone.key] + 2))
    found = []
    for each in years:
        day = datetime(each[0], 1, 1, tzinfo=UTC)
        while day.year <= each[-1]:
            if day.astimezone(zone).utcoffset() != (day + DAY).astimezone(zone).utcoffset():
                found.append(day + 12 * HOUR)
            day += DAY
    return sorted(found)
