"""Recurrence rules as values: what is refused, and what is kept if it arrives over the wire."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule, Weekday

DAILY, WEEKLY = Frequency.DAILY, Frequency.WEEKLY
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
MONDAY_NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def from_wire(frequency: int, interval: int = 1, **fields: Any) -> RecurrenceRule:
    lists = dict.fromkeys(("byminutes", "byhours", "byweekdays", "bymonthdays", "bymonths"), ())
    values: dict[str, Any] = {"end_criteria": None, **lists, **fields}
    return RecurrenceRule.unchecked(frequency=frequency, interval=interval, **values)


# Validity.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frequency": 7}, "frequency 7 .* 0 to 6"),
        ({"frequency": -1}, "frequency -1 "),
        ({"frequency": "DAILY"}, "frequency 'DAILY' is not an integer"),
        ({"interval": 0}, "interval 0 is not positive"),
        ({"interval": -3}, "interval -3 "),
        ({"interval": 1.5}, "interval 1.5 is not an integer"),
        ({"interval": True}, "interval True is not an integer"),
        ({"interval": None}, "interval None is not an integer"),
        ({"byminutes": (0, 60)}, "byminutes has 60, .* 0 to 59"),
        ({"byminutes": (-1,)}, "byminutes has -1,"),
        ({"byhours": (24,)}, "byhours has 24, .* 0 to 23"),
        ({"byhours": 12}, "byhours 12 is not a sequence"),
        ({"byhours": "12"}, "byhours '12' is not a sequence"),
        ({"byhours": ("12",)}, "byhours '12' is not an integer"),
        ({"byhours": None}, "byhours None is not a sequence"),
        ({"byweekdays": (Weekday.UNSPECIFIED,)}, "byweekdays has 0, .* 1 to 7"),
        ({"byweekdays": (8,)}, "byweekdays has 8,"),
        ({"bymonthdays": (0,)}, "bymonthdays has 0, .* 1 to 31 or from -31 to -1"),
        ({"bymonthdays": (1, 32)}, "bymonthdays has 32,"),
        ({"bymonthdays": (-32,)}, "bymonthdays has -32,"),
        ({"bymonths": (0,)}, "bymonths has 0, .* 1 to 12"),
        ({"bymonths": (13,)}, "bymonths has 13,"),
        ({"end_criteria": 5}, "end_criteria 5 is not an EndCriteria"),
    ],
)
def test_an_invalid_rule_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecurrenceRule(**{"frequency": DAILY, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "neither of count and until"),
        ({"count": 1, "until": MONDAY_NOON}, "both of count and until"),
        ({"count": 0}, "count 0 is not positive"),
        ({"count": 1.0}, "count 1.0 is not an integer"),
        ({"until": "2024-01-01"}, "until '2024-01-01' is not a datetime"),
    ],
)
def test_invalid_end_criteria_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EndCriteria(**fields)


def test_limits_of_the_service_are_left_to_the_service() -> None:
    rule = RecurrenceRule(WEEKLY, 10_001, EndCriteria(count=4097), bymonthdays=(1,))
    assert rule.problem is None


# Values.


def test_numbers_become_members_and_lists_tuples() -> None:
    rule = RecurrenceRule(4, byweekdays=[7, 1], byhours=range(2))  # type: ignore[arg-type]
    assert rule.frequency is Frequency.WEEKLY
    assert rule.byweekdays == (Weekday.SUNDAY, Weekday.MONDAY)
    assert all(isinstance(day, Weekday) for day in rule.byweekdays)
    assert rule.byhours == (0, 1)


def test_rules_are_immutable_values() -> None:
    rule = RecurrenceRule(DAILY, end_criteria=EndCriteria(count=3))
    same = RecurrenceRule(DAILY, end_criteria=EndCriteria(count=3))
    rule.next_after(MONDAY_NOON, MONDAY_NOON)
    assert rule == same
    assert hash(rule) == hash(same)
    assert repr(rule) == repr(same)
    assert rule != replace(rule, interval=2)
    with pytest.raises(FrozenInstanceError):
        rule.interval = 2  # type: ignore[misc]
    for other in (copy.copy(rule), copy.deepcopy(rule), pickle.loads(pickle.dumps(rule))):
        assert other == rule
        assert other.last(MONDAY_NOON) == rule.last(MONDAY_NOON)


def test_until_is_kept_in_utc() -> None:
    zone = timezone(timedelta(hours=-3))
    until = EndCriteria(until=MONDAY_NOON.astimezone(zone)).until
    assert until == MONDAY_NOON
    assert until is not None
    assert until.tzinfo is UTC


# From the wire.


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (from_wire(99), "frequency 99"),
        (from_wire(DAILY, 0), "interval 0"),
        (from_wire(DAILY, byminutes=[60]), "byminutes has 60"),
        (from_wire(DAILY, byhours=[12, 24]), "byhours has 24"),
        (from_wire(DAILY, byweekdays=[0]), "byweekdays has 0"),
        (from_wire(DAILY, byweekdays=[99]), "byweekdays has 99"),
        (from_wire(DAILY, bymonthdays=[0]), "bymonthdays has 0"),
        (from_wire(DAILY, bymonths=[2**31 - 1]), "bymonths has 2147483647"),
        (
            from_wire(DAILY, end_criteria=EndCriteria.unchecked(count=None, until=None)),
            "neither of count and until",
        ),
        (from_wire(DAILY, end_criteria=EndCriteria.unchecked(count=0, until=None)), "count 0"),
    ],
)
def test_an_invalid_rule_from_the_wire_is_kept_and_never_fires(
    rule: RecurrenceRule, problem: str
) -> None:
    assert rule.problem is not None
    assert problem in rule.problem
    assert rule.next_after(MONDAY_NOON, EARLIEST) is None
    assert rule.last_before(MONDAY_NOON, LATEST) is None
    assert list(rule.between(MONDAY_NOON, EARLIEST, LATEST)) == []
    assert rule.last(MONDAY_NOON) is None
    assert rule.count(MONDAY_NOON) == 0
    hash(rule)
    assert pickle.loads(pickle.dumps(rule)) == rule


def test_values_from_the_wire_are_kept_as_they_came() -> None:
    rule = from_wire(99, 0, byminutes=[5, 60, 5], byweekdays=[3, 42], bymonthdays=[0, -40])
    assert (rule.frequency, rule.interval) == (99, 0)
    assert rule.byminutes == (5, 60, 5)
    assert rule.byweekdays == (Weekday.WEDNESDAY, 42)
    assert rule.frequency.name == ""
    assert [repr(day) for day in rule.byweekdays] == ["<Weekday.WEDNESDAY: 3>", "Weekday(42)"]
    assert rule.bymonthdays == (0, -40)
    assert from_wire(DAILY, byhours=[3, 1]) == RecurrenceRule(DAILY, byhours=(3, 1))
    assert from_wire(DAILY, byhours=[3, 1]) != RecurrenceRule(DAILY, byhours=(1, 3))


def test_with_an_unspecified_frequency_nothing_else_matters() -> None:
    """An empty message is such a rule, with an interval of 0."""
    rule = from_wire(0, 0, byhours=[24])
    assert rule.problem is None
    assert rule.next_after(MONDAY_NOON, EARLIEST) == MONDAY_NOON
