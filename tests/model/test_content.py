"""The content of a dispatch, and skipping an occurrence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random

import pytest

from tests.helpers.effort import cases
from trio_dispatch import (
    Dispatch,
    DispatchContent,
    EndCriteria,
    Frequency,
    RecurrenceRule,
    Skipped,
    TargetIds,
    skip_occurrence,
)
from trio_dispatch.model.recurrence.rfc5545 import format_rrule, parse_rrule

START = datetime(2027, 1, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def content(rule: str | None, start: datetime = START) -> DispatchContent:
    return DispatchContent(
        type="CHARGE",
        start_time=start,
        duration=HOUR,
        target=TargetIds(1),
        payload={"kw": 5},
        recurrence=None if rule is None else parse_rrule(rule),
    )


def dispatch(rule: str | None, start: datetime = START) -> Dispatch:
    return content(rule, start).with_id(7)


def starts(*contents: DispatchContent | None) -> list[datetime]:
    """Return the first occurrences of some dispatches together."""
    moments: list[datetime] = []
    for each in contents:
        if each is not None:
            moment = each.with_id(0).first_after(START - DAY)
            while moment is not None and len(moments) < 300:
                moments.append(moment)
                moment = each.with_id(0).first_after(moment)
    return sorted(moments)


def test_content_is_a_dispatch_without_what_the_service_adds() -> None:
    given = replace(dispatch("FREQ=DAILY"), create_time=START, update_time=START, end_time=START)
    assert DispatchContent.of(given) == content("FREQ=DAILY")
    assert DispatchContent.of(given).with_id(8) == Dispatch(
        id=8,
        type="CHARGE",
        start_time=START,
        duration=HOUR,
        target=TargetIds(1),
        payload={"kw": 5},
        recurrence=parse_rrule("FREQ=DAILY"),
    )


def test_invalid_content_is_refused() -> None:
    with pytest.raises(ValueError, match=r"start_time .* has no time zone"):
        content(None, START.replace(tzinfo=None))


# From a moment on.


@pytest.mark.parametrize(
    ("rule", "moment", "start", "expected"),
    [
        ("FREQ=DAILY", START, START, "FREQ=DAILY"),
        ("FREQ=DAILY", START + HOUR, START + DAY, "FREQ=DAILY"),
        ("FREQ=DAILY;COUNT=5", START + HOUR, START + DAY, "FREQ=DAILY;COUNT=4"),
        ("FREQ=DAILY;COUNT=5", START + 4 * DAY, START + 4 * DAY, "FREQ=DAILY;COUNT=1"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=SU", START, START + 2 * DAY,
         "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU"),
    ],
)  # fmt: skip
def test_starting_at_leaves_out_what_is_before(
    rule: str, moment: datetime, start: datetime, expected: str
) -> None:
    found = content(rule).starting_at(moment)
    assert found is not None
    assert (found.start_time, found.recurrence and format_rrule(found.recurrence)) == (
        start,
        expected,
    )


def test_nothing_starts_after_the_end() -> None:
    assert content("FREQ=DAILY;COUNT=5").starting_at(START + 5 * DAY) is None
    assert content(None).starting_at(START + HOUR) is None
    with pytest.raises(ValueError, match=r"moment .* has no time zone"):
        content(None).starting_at(START.replace(tzinfo=None))


def test_contents_that_differ_in_the_past_only_are_the_same_from_now_on() -> None:
    now = START + 3 * DAY + HOUR
    whole = content("FREQ=WEEKLY;BYDAY=SU,MO;BYHOUR=12")
    later = content("FREQ=WEEKLY;BYDAY=MO,SU;BYHOUR=12", START + 3 * DAY)
    assert whole.same_from(later, now)
    assert not whole.same_from(later, START)
    assert not whole.same_from(replace(later, payload={"kw": 6}), now)
    assert not whole.same_from(content("FREQ=WEEKLY;BYDAY=MO;BYHOUR=12"), now)


def test_contents_that_are_over_are_the_same_if_their_other_fields_are() -> None:
    now = START + 9 * DAY
    assert content(None).same_from(content("FREQ=DAILY;COUNT=2"), now)
    assert not content(None).same_from(replace(content(None), active=False), now)
    assert not content(None).same_from(content("FREQ=DAILY"), now)


# Skipping.


def test_an_occurrence_in_between_is_skipped_by_two_dispatches() -> None:
    found = skip_occurrence(dispatch("FREQ=DAILY"), START + 3 * DAY)
    assert found == Skipped(
        content("FREQ=DAILY;UNTIL=20270103T120000Z"), content("FREQ=DAILY", START + 4 * DAY)
    )


def test_the_continuation_has_what_remains_of_a_count() -> None:
    found = skip_occurrence(dispatch("FREQ=DAILY;COUNT=10"), START + 3 * DAY)
    assert found == Skipped(
        content("FREQ=DAILY;UNTIL=20270103T120000Z"), content("FREQ=DAILY;COUNT=6", START + 4 * DAY)
    )


def test_the_first_and_the_last_occurrence_need_no_continuation() -> None:
    daily = dispatch("FREQ=DAILY;COUNT=3")
    assert skip_occurrence(daily, START) == Skipped(
        content("FREQ=DAILY;COUNT=2", START + DAY), None
    )
    assert skip_occurrence(daily, START + 2 * DAY) == Skipped(
        content("FREQ=DAILY;UNTIL=20270102T120000Z"), None
    )


def test_nothing_remains_of_a_single_run() -> None:
    assert skip_occurrence(dispatch(None), START) == Skipped(None, None)
    assert skip_occurrence(dispatch("FREQ=DAILY;COUNT=1"), START) == Skipped(None, None)
    forever = replace(dispatch("FREQ=DAILY"), duration=None)
    assert skip_occurrence(forever, START) == Skipped(None, None)


def test_the_run_that_goes_on_is_not_stopped() -> None:
    given = dispatch("FREQ=DAILY")
    found = skip_occurrence(given, START + DAY)
    now = START + HOUR / 2
    assert found.original is not None
    assert found.original.with_id(7).until_at(now) == given.until_at(now) == START + HOUR


@pytest.mark.parametrize(
    ("rule", "occurrence", "message"),
    [
        ("FREQ=DAILY", START + HOUR,
         "13:00:00Z is not an occurrence of .* 7: the nearest are .*1T12:00:00Z and .*2T12:00:00Z"),
        (None, START - HOUR, "is not an occurrence of .* 7: the nearest is 2027-01-01T12:00:00Z"),
        ("FREQ=DAILY;COUNT=1", START.replace(tzinfo=None), "occurrence .* has no time zone"),
    ],
)  # fmt: skip
def test_what_is_not_an_occurrence_cannot_be_skipped(
    rule: str | None, occurrence: datetime, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        skip_occurrence(dispatch(rule), occurrence)


def test_a_dispatch_that_never_runs_has_no_occurrence_to_skip() -> None:
    rule = RecurrenceRule.unchecked(
        frequency=3, interval=0, end_criteria=None, byminutes=(), byhours=(), byweekdays=(),
        bymonthdays=(), bymonths=(),
    )  # fmt: skip
    with pytest.raises(ValueError, match="dispatch 7, which has none"):
        skip_occurrence(replace(dispatch(None), recurrence=rule), START)


@pytest.mark.parametrize("seed", range(cases(60, long=3000)))
def test_all_occurrences_but_the_skipped_one_remain(seed: int) -> None:
    random = Random(seed)

    def some(low: int, high: int) -> tuple[int, ...]:
        return tuple(random.sample(range(low, high + 1), random.choice([0, 0, 1, 3])))

    rule = RecurrenceRule(
        random.choice(list(Frequency)[1:]),
        interval=random.choice([1, 1, 2, 3, 5]),
        end_criteria=random.choice(
            [
                None,
                EndCriteria(count=random.randint(1, 30)),
                EndCriteria(until=START + random.randint(0, 90) * DAY),
            ]
        ),
        byminutes=some(0, 59),
        byhours=some(0, 23),
        byweekdays=some(1, 7),
        bymonthdays=some(1, 28),
        bymonths=some(1, 12),
    )
    given = replace(dispatch(None), recurrence=rule)
    end = datetime(2100, 1, 1, tzinfo=UTC)
    occurrences = list(islice(rule.between(START, START, end), 60))
    if not occurrences:
        return
    skipped = random.choice(occurrences)
    found = skip_occurrence(given, skipped)
    expected = [each for each in occurrences if each != skipped]
    remaining = sorted(
        moment
        for each in found
        if each is not None and each.recurrence is not None
        for moment in islice(each.recurrence.between(each.start_time, START, end), 60)
    )
    assert remaining[: len(expected)] == expected
    if len(occurrences) < 60:
        assert remaining == expected
