"""Random rules have the occurrences that dateutil gives.

dateutil replays a rule from its start.  If that takes at most 50,000 steps, dateutil gets the rule
as it is.  For older and finer rules it gets a start that is moved by whole periods to shortly
before the moment.  Besides, every minute around the moment is compared with the definition of the
rule.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from dateutil import rrule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.effort import cases
from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule

FREQUENCIES = list(Frequency)[1:]
MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY = FREQUENCIES
STEPS = 50_000
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
UNITS = {
    MINUTELY: MINUTE,
    HOURLY: timedelta(hours=1),
    DAILY: DAY,
    WEEKLY: timedelta(days=7),
    MONTHLY: timedelta(days=28),
    YEARLY: timedelta(days=365),
}
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


def examples(number: int) -> settings:
    return settings(
        max_examples=cases(number, long=30 * number),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# dateutil, with a bound.


class Enough(Exception):  # noqa: N818 - it is not an error
    pass


class Bounded(rrule._iterinfo):
    """Makes dateutil stop at the first month beyond the horizon, even if it found nothing."""

    def rebuild(self, year: int, month: int) -> None:
        rule: Any = self.rrule
        if (year, month) > rule.horizon:
            raise Enough
        super().rebuild(year, month)


class Known:
    """All occurrences from one moment to another, both included, as dateutil gives them."""

    def __init__(self, rule: RecurrenceRule, start: datetime, horizon: datetime) -> None:
        self.since = EARLIEST
        self.until = LATEST
        self.occurrences: list[datetime] = []
        month = 12 if rule.frequency == YEARLY else horizon.month
        horizon = horizon.replace(month=month, day=monthrange(horizon.year, month)[1])
        with mock.patch.object(rrule, "_iterinfo", Bounded):
            try:
                for occurrence in dateutil_rule(rule, start, horizon):
                    self.occurrences.append(occurrence.replace(tzinfo=UTC))
                    if len(self.occurrences) == STEPS:
                        self.until = self.occurrences[-1]
                        break
            except Enough:
                self.until = horizon.replace(hour=23, minute=59, second=59, microsecond=999_999)
            except (ValueError, OverflowError):
                pass  # an empty set, or the end of year 9999

    def is_complete(self) -> bool:
        return (self.since, self.until) == (EARLIEST, LATEST)

    def check(self, rule: RecurrenceRule, start: datetime, moment: datetime) -> None:
        """Compare what the rule answers about a moment, if the moment is in the known range."""
        if not self.since <= moment <= self.until:
            return
        for inclusive in (False, True):
            bisect = bisect_left if inclusive else bisect_right
            at = bisect(self.occurrences, moment)
            following = rule.next_after(start, moment, inclusive)
            if at < len(self.occurrences):
                assert following == self.occurrences[at]
            elif self.until == LATEST:
                assert following is None
            else:
                assert following is None or following > self.until

            bisect = bisect_right if inclusive else bisect_left
            at = bisect(self.occurrences, moment)
            preceding = rule.last_before(start, moment, inclusive)
            if at:
                assert preceding == self.occurrences[at - 1]
            elif self.since == EARLIEST:
                assert preceding is None
            else:
                assert preceding is None or preceding < self.since


def dateutil_rule(rule: RecurrenceRule, start: datetime, horizon: datetime) -> Iterator[datetime]:
    end = rule.end_criteria or EndCriteria.unchecked(count=None, until=None)
    theirs: Any = rrule.rrule(
        getattr(rrule, Frequency(rule.frequency).name),
        dtstart=start.replace(tzinfo=None),
        interval=rule.interval,
        byminute=rule.byminutes or None,
        byhour=rule.byhours or None,
        byweekday=[day - 1 for day in rule.byweekdays] or None,
        bymonthday=rule.bymonthdays or None,
        bymonth=rule.bymonths or None,
        count=end.count,
        until=end.until and end.until.replace(tzinfo=None),
        wkst=rrule.MO,
    )
    theirs.horizon = horizon.year, horizon.month
    return iter(theirs)


def known_from_start(rule: RecurrenceRule, start: datetime, horizon: datetime) -> Known:
    """What dateutil gives up to a horizon; if that is too far, the beginning of it."""
    reach = shifted(start, periods(rule, STEPS))
    counts = rule.end_criteria is not None and rule.end_criteria.count is not None
    if reach < horizon:
        # A rule that counts must be replayed; for others `known_around` looks at the far end.
        horizon = reach if counts else shifted(start, periods(rule, 300))
    return Known(rule, start, horizon)


def known_around(rule: RecurrenceRule, start: datetime, moment: datetime) -> Known | None:
    """What dateutil gives if it starts whole periods later, shortly before a moment."""
    period = periods(rule, 1)
    before = (moment - start) // period - 40
    if rule.frequency > WEEKLY or before < 0:
        return None
    if rule.end_criteria is not None and rule.end_criteria.count is not None:
        return None
    moved = start + period * before
    known = Known(rule, moved, shifted(moment, periods(rule, 300)))
    known.since = moved.replace(microsecond=0)
    return known


# The definition of a rule.


def matches(rule: RecurrenceRule, start: datetime, moment: datetime) -> bool:
    """Whether a moment is an occurrence by the words of RFC 5545, `count` aside."""
    start = start.replace(microsecond=0)
    end = rule.end_criteria
    if moment < start or moment.second != start.second or moment.microsecond:
        return False
    if end is not None and end.until is not None and moment > end.until:
        return False
    frequency = Frequency(rule.frequency)
    if intervals(frequency, start, moment) % rule.interval:
        return False
    length = monthrange(moment.year, moment.month)[1]
    weekdays, monthdays, months = rule.byweekdays, rule.bymonthdays, rule.bymonths
    hours, minutes = rule.byhours, rule.byminutes
    if not (weekdays or monthdays):
        if frequency == WEEKLY:
            weekdays = (start.isoweekday(),)
        if frequency >= MONTHLY:
            monthdays = (start.day,)
        if frequency == YEARLY:
            months = months or (start.month,)
    if frequency >= DAILY:
        hours = hours or (start.hour,)
    if frequency >= HOURLY:
        minutes = minutes or (start.minute,)
    return (
        (not months or moment.month in months)
        and (not monthdays or bool({moment.day, moment.day - length - 1} & set(monthdays)))
        and (not weekdays or moment.isoweekday() in weekdays)
        and (not hours or moment.hour in hours)
        and (not minutes or moment.minute in minutes)
    )


def intervals(frequency: Frequency, start: datetime, moment: datetime) -> int:
    """The units of the frequency from a start to a moment, counted in the calendar."""
    if frequency == YEARLY:
        return moment.year - start.year
    if frequency == MONTHLY:
        return (moment.year - start.year) * 12 + moment.month - start.month
    days = moment.toordinal() - start.toordinal()
    if frequency == WEEKLY:
        return (days + start.weekday()) // 7
    hours = days * 24 + moment.hour - start.hour
    minutes = hours * 60 + moment.minute - start.minute
    return {DAILY: days, HOURLY: hours, MINUTELY: minutes}[frequency]


# Random rules.


@st.composite
def starts(draw: st.DrawFn) -> datetime:
    year = draw(
        st.one_of(
            st.integers(1990, 2030),
            st.sampled_from([1, 2, 1900, 2000, 2024, 2100, 9970, 9990, 9998, 9999]),
            st.integers(1, 9999),
        )
    )
    month = draw(st.one_of(st.integers(1, 12), st.sampled_from([1, 2, 12])))
    length = monthrange(year, month)[1]
    day = draw(st.one_of(st.integers(1, length), st.just(length)))
    hour, minute, second = (draw(st.integers(0, limit)) for limit in (23, 59, 59))
    microsecond = draw(st.sampled_from([0, 1, 500_000, 999_999]))
    return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)


@st.composite
def ages(draw: st.DrawFn) -> timedelta:
    """From a day before the start to 30 years after it, mostly short."""
    limit = draw(st.sampled_from([60, 86_400, 86_400 * 40, 86_400 * 800, 86_400 * 365 * 30]))
    seconds = draw(st.integers(-min(limit, 86_400), limit))
    return timedelta(seconds=seconds, microseconds=draw(st.sampled_from([0, 0, 1, 999_999])))


def some(values: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    """Mostly an empty list; otherwise one in any order, with repetitions."""
    return st.one_of(st.just([]), st.just([]), st.lists(values, min_size=1, max_size=4))


@st.composite
def rules(draw: st.DrawFn, frequency: Frequency, start: datetime) -> RecurrenceRule:
    interval = draw(
        st.one_of(
            st.just(1),
            st.integers(1, 12),
            st.integers(1, 400),
            st.integers(1, 3000),
            st.sampled_from([15, 24, 48, 1009, 1439, 1440, 1441, 10_080, 10_081, 2**32 - 1]),
        )
    )
    until = st.builds(shifted, st.just(start), ages()).map(lambda until: EndCriteria(until=until))
    count = st.builds(EndCriteria, count=st.one_of(st.integers(1, 9), st.integers(1, 2000)))
    end = draw(st.one_of(st.none(), st.none(), count, until))
    return RecurrenceRule(
        frequency,
        interval=interval,
        end_criteria=end,
        byminutes=draw(some(st.integers(0, 59))),  # type: ignore[arg-type]
        byhours=draw(some(st.integers(0, 23))),  # type: ignore[arg-type]
        byweekdays=draw(some(st.integers(1, 7))),  # type: ignore[arg-type]
        bymonthdays=draw(some(st.integers(-31, 31).filter(bool))),  # type: ignore[arg-type]
        bymonths=draw(some(st.integers(1, 12))),  # type: ignore[arg-type]
    )


def periods(rule: RecurrenceRule, number: int) -> timedelta:
    """A number of intervals of a rule, at most the whole range of datetimes."""
    seconds = UNITS[Frequency(rule.frequency)].total_seconds() * rule.interval * number
    return timedelta(seconds=min(seconds, (LATEST - EARLIEST).total_seconds()))


def shifted(moment: datetime, by: timedelta) -> datetime:
    """A moment that much later, within the range of datetimes."""
    if by > LATEST - moment:
        return LATEST
    return EARLIEST if by < EARLIEST - moment else moment + by


@pytest.mark.parametrize("frequency", FREQUENCIES, ids=lambda frequency: frequency.name)
@examples(70)
@given(data=st.data(), start=starts(), age=ages())
def test_occurrences_are_those_of_dateutil(
    frequency: Frequency, data: st.DataObject, start: datetime, age: timedelta
) -> None:
    rule = data.draw(rules(frequency, start))
    moment = shifted(start, age)
    known = known_from_start(rule, start, shifted(moment, periods(rule, 30)))
    moments = [moment]
    if known.occurrences:
        found = known.occurrences[data.draw(st.integers(0, len(known.occurrences) - 1))]
        moments += [shifted(found, by) for by in (-MICROSECOND, MICROSECOND * 0, MICROSECOND)]
        moments += [known.occurrences[0], known.occurrences[-1], EARLIEST, LATEST]
    for each in moments:
        known.check(rule, start, each)
    between = list(rule.between(start, moment, min(known.until, shifted(moment, periods(rule, 9)))))
    if moment <= known.until:
        low = bisect_left(known.occurrences, moment)
        assert between == known.occurrences[low : low + len(between)]
    if known.is_complete() and (rule.end_criteria is not None or not known.occurrences):
        assert rule.count(start) == len(known.occurrences)
        assert rule.last(start) == (known.occurrences[-1] if known.occurrences else None)
    around = known_around(rule, start, moment)
    if around is not None:
        around.check(rule, start, moment)


@pytest.mark.parametrize("frequency", FREQUENCIES, ids=lambda frequency: frequency.name)
@examples(30)
@given(data=st.data(), start=starts(), age=ages())
def test_occurrences_around_a_moment_match_the_definition(
    frequency: Frequency, data: st.DataObject, start: datetime, age: timedelta
) -> None:
    rule = data.draw(rules(frequency, start))
    if rule.end_criteria is not None and rule.end_criteria.count is not None:
        rule = replace(rule, end_criteria=None)
    # Two days of minutes for fine rules; two years of days, at the time of day, for coarse ones.
    by, number = (MINUTE, 2880) if frequency <= HOURLY else (DAY, 730)
    moment = shifted(start, age).replace(
        second=start.second, microsecond=0, **time_of_day(rule, start)
    )
    low, high = shifted(moment, -by * (number // 2)), shifted(moment, by * (number // 2))
    # At the ends of the range it may have been shifted to the middle of a minute.
    low = low.replace(second=start.second, microsecond=0)
    expected = [
        each
        for each in (low + by * step for step in range((high - low) // by + 1))
        if matches(rule, start, each)
    ]
    found = [
        each
        for each in rule.between(start, low, high)
        if frequency <= HOURLY or (each - low) % DAY == timedelta(0)
    ]
    assert found == [each for each in expected if each < high]
    for inclusive in (False, True):
        following = rule.next_after(start, moment, inclusive)
        preceding = rule.last_before(start, moment, inclusive)
        assert following is None or matches(rule, start, following)
        assert preceding is None or matches(rule, start, preceding)


def time_of_day(rule: RecurrenceRule, start: datetime) -> dict[str, Any]:
    if rule.frequency <= HOURLY:
        return {}
    return {
        "hour": min(rule.byhours, default=start.hour),
        "minute": min(rule.byminutes, default=start.minute),
    }


@examples(50)
@given(data=st.data(), start=starts(), years=st.integers(0, 3000))
def test_counting_agrees_with_seeking_at_any_age(
    data: st.DataObject, start: datetime, years: int
) -> None:
    """If n occurrences lie up to one, that one is the last of n."""
    rule = data.draw(rules(data.draw(st.sampled_from(FREQUENCIES)), start))
    rule = replace(rule, end_criteria=None)
    found = rule.next_after(start, shifted(start, timedelta(days=365 * years)))
    if found is None:
        return
    number = replace(rule, end_criteria=EndCriteria(until=found)).count(start)
    assert number is not None
    counted = replace(rule, end_criteria=EndCriteria(count=number))
    assert counted.last(start) == found
    assert counted.count(start) == number
    before = rule.last_before(start, found)
    if before is not None:
        one_less = replace(rule, end_criteria=EndCriteria(count=number - 1))
        assert one_less.last(start) == before


def test_the_calendar_repeats_every_400_years() -> None:
    """The seeking algorithm relies on it."""
    assert date(2000, 1, 1).toordinal() + 146_097 == date(2400, 1, 1).toordinal()
    assert 146_097 % 7 == 0
