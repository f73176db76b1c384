"""Every rule, at the edge: a value that is accepted, and the next one, which is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.service import NOW, START, data, target
from trio_dispatch.api import wire
from trio_dispatch.api.codec import WIRE, payload_to_wire, time_from_nanos
from trio_dispatch.api.wire import (
    ElectricalComponentCategory,
    ListValue,
    Struct,
    Value,
)
from trio_dispatch.service import InvalidRequestError
from trio_dispatch.service.rules import (
    MAX_DISPATCH_BYTES,
    SECOND,
    UPDATE_PATHS,
    check_size,
    last_run_end,
    new_data,
    updated_data,
)

Update = wire.UpdateMicrogridDispatchRequestDispatchUpdate
RuleUpdate = wire.UpdateMicrogridDispatchRequestDispatchUpdateRecurrenceRuleUpdate
Frequency = wire.RecurrenceRuleFrequency


def rule(**changes: Any) -> wire.RecurrenceRule:
    return wire.RecurrenceRule(**{"freq": Frequency.DAILY, "interval": 1, **changes})


def count(number: int) -> wire.RecurrenceRuleEndCriteria:
    return wire.RecurrenceRuleEndCriteria(count=number)


def nested(levels: int) -> Struct:
    """Return a payload with this number of levels, alternately objects and lists."""
    value: Any = 1
    for level in range(levels - 1):
        value = {"x": value} if level % 2 else [value]
    return payload_to_wire({"x": value})


def of_size(size: int) -> Struct:
    """Return a payload with this number of bytes."""
    empty = len(WIRE.encode(payload_to_wire({"x": "y" * 50_000}), Struct)) - 50_000
    payload = payload_to_wire({"x": "y" * (size - empty)})
    assert len(WIRE.encode(payload, Struct)) == size
    return payload


def of_values(number: int, levels: int = 2) -> Struct:
    """Return a payload with this number of empty values, of 2 bytes each, in its last level."""
    value: Any = ListValue(values=[Value()] * number)
    for _ in range(levels - 2):
        value = ListValue(values=[Value(list_value=value)])
    return Struct(fields={"x": Value(list_value=value)})


def categories(number: int) -> wire.TargetComponents:
    """Return a target with this number of categories."""
    battery = ElectricalComponentCategory.BATTERY
    some = wire.TargetComponentsCategorySet(categories=[battery] * number)
    return wire.TargetComponents(component_categories=some)


def by(name: str, *values: int) -> wire.RecurrenceRule:
    return rule(**{name: list(values)})


RULES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("type", {"type": " "}, {"type": ""}),
    ("type", {"type": "x" * 256}, {"type": "x" * 257}),
    ("type", {"type": "ü" * 128}, {"type": "ü" * 129}),
    ("start_time", {"start_time": START}, {"start_time": time_from_nanos(NOW - 1)}),
    ("start_time", {"start_time": time_from_nanos(NOW + 1)}, {"start_time": None}),
    ("target", {"target": target(0)}, {"target": target()}),
    ("target", {"target": target(1, 1)}, {"target": None}),
    ("target", {"target": target(*range(1000))}, {"target": target(*range(1001))}),
    ("target", {"target": categories(1000)}, {"target": categories(1001)}),
    (
        "target",
        {
            "target": wire.TargetComponents(
                component_categories=wire.TargetComponentsCategorySet(
                    categories=[ElectricalComponentCategory(4711)]
                )
            )
        },
        {"target": wire.TargetComponents(component_categories=wire.TargetComponentsCategorySet())},
    ),
    (
        "target",
        {
            "target": wire.TargetComponents(
                component_categories_types=wire.TargetComponentsCategoryTypeSet(
                    categories=[
                        wire.TargetComponentsCategoryAndType(
                            category=ElectricalComponentCategory.BATTERY
                        )
                    ]
                )
            )
        },
        {
            "target": wire.TargetComponents(
                component_categories_types=wire.TargetComponentsCategoryTypeSet()
            )
        },
    ),
    ("target", {}, {"target": wire.TargetComponents()}),
    ("payload", {"payload": nested(5)}, {"payload": nested(6)}),
    ("payload", {"payload": of_size(50 * 1024)}, {"payload": of_size(50 * 1024 + 1)}),
    ("payload", {"payload": None}, {"payload": nested(40)}),
    ("payload", {"payload": of_values(20_000)}, {"payload": of_values(25_600)}),
    ("payload", {"payload": of_values(5_000, 4)}, {"payload": of_values(25_600, 4)}),
    ("recurrence.freq", {"recurrence": rule(freq=6)}, {"recurrence": rule(freq=Frequency(7))}),
    ("recurrence.freq", {"recurrence": rule(freq=1)}, {"recurrence": rule(freq=Frequency(-1))}),
    ("recurrence.interval", {"recurrence": rule()}, {"recurrence": rule(interval=0)}),
    (
        "recurrence.interval",
        {"recurrence": rule(interval=10_000)},
        {"recurrence": rule(interval=10_001)},
    ),
    (
        "recurrence.interval",
        {"recurrence": wire.RecurrenceRule(byhours=[1])},
        {"recurrence": wire.RecurrenceRule(interval=10_001)},
    ),
    (
        "recurrence.end_criteria.count",
        {"recurrence": rule(end_criteria=count(1))},
        {"recurrence": rule(end_criteria=count(0))},
    ),
    (
        "recurrence.end_criteria.count",
        {"recurrence": rule(end_criteria=count(4096))},
        {"recurrence": rule(end_criteria=count(4097))},
    ),
    (
        "recurrence.byminutes",
        {"recurrence": by("byminutes", 0, 59)},
        {"recurrence": by("byminutes", 0, 60)},
    ),
    ("recurrence.byhours", {"recurrence": by("byhours", 0, 23)}, {"recurrence": by("byhours", 24)}),
    (
        "recurrence.byweekdays",
        {"recurrence": by("byweekdays", 1, 7)},
        {"recurrence": by("byweekdays", 1, 0)},
    ),
    (
        "recurrence.byweekdays",
        {"recurrence": by("byweekdays", 7)},
        {"recurrence": by("byweekdays", 8)},
    ),
    (
        "recurrence.bymonthdays",
        {"recurrence": by("bymonthdays", 1, 31)},
        {"recurrence": by("bymonthdays", 32)},
    ),
    (
        "recurrence.bymonthdays",
        {"recurrence": by("bymonthdays", -1, -31)},
        {"recurrence": by("bymonthdays", -32)},
    ),
    (
        "recurrence.bymonthdays",
        {"recurrence": by("bymonthdays", -1)},
        {"recurrence": by("bymonthdays", 0)},
    ),
    (
        "recurrence.bymonthdays",
        {"recurrence": rule(freq=Frequency.MONTHLY, bymonthdays=[1])},
        {"recurrence": rule(freq=Frequency.WEEKLY, bymonthdays=[1])},
    ),
    (
        "recurrence.bymonths",
        {"recurrence": by("bymonths", 1, 12)},
        {"recurrence": by("bymonths", 13)},
    ),
    (
        "recurrence.byminutes",
        {"recurrence": by("byminutes", *[1] * 60)},
        {"recurrence": by("byminutes", *[1] * 61)},
    ),
    (
        "recurrence.byhours",
        {"recurrence": by("byhours", *[1] * 24)},
        {"recurrence": by("byhours", *[1] * 25)},
    ),
    (
        "recurrence.byweekdays",
        {"recurrence": by("byweekdays", *[1] * 7)},
        {"recurrence": by("byweekdays", *[1] * 8)},
    ),
    (
        "recurrence.bymonthdays",
        {"recurrence": by("bymonthdays", *[1] * 62)},
        {"recurrence": by("bymonthdays", *[1] * 63)},
    ),
    (
        "recurrence.bymonths",
        {"recurrence": by("bymonths", *[1] * 12)},
        {"recurrence": by("bymonths", *[1] * 13)},
    ),
    (
        "recurrence.bymonths",
        {"recurrence": by("bymonths", 1)},
        {"recurrence": by("bymonths", 0)},
    ),
]


@pytest.mark.parametrize(("field", "accepted", "refused"), RULES)
def test_create_checks_each_rule(
    field: str, accepted: dict[str, Any], refused: dict[str, Any]
) -> None:
    made = new_data(data(**accepted), start_immediately=False, now=NOW)
    assert WIRE.encode(made, wire.DispatchData) == WIRE.encode(data(**accepted), wire.DispatchData)
    with pytest.raises(InvalidRequestError) as caught:
        new_data(data(**refused), start_immediately=False, now=NOW)
    assert caught.value.field == f"dispatch_data.{field}"
    assert str(caught.value).startswith(f"dispatch_data.{field} ")


def as_update(changes: dict[str, Any]) -> tuple[Update, list[str]]:
    changes = dict(changes)
    paths = [*changes]
    found = changes.get("recurrence")
    if found is not None:
        changes["recurrence"] = RuleUpdate(
            **{name: getattr(found, name) for name in (*RULE_FIELDS, "freq", "interval")}
        )
    return Update(**changes), paths


RULE_FIELDS = ("end_criteria", "byminutes", "byhours", "byweekdays", "bymonthdays", "bymonths")


@pytest.mark.parametrize(
    ("field", "accepted", "refused"), [row for row in RULES if row[0] != "type" and row[1]]
)
def test_update_checks_each_rule(
    field: str, accepted: dict[str, Any], refused: dict[str, Any]
) -> None:
    update, paths = as_update(accepted)
    made = updated_data(data(), update, paths, now=NOW)
    assert WIRE.encode(made, wire.DispatchData) == WIRE.encode(data(**accepted), wire.DispatchData)
    update, paths = as_update(refused)
    with pytest.raises(InvalidRequestError) as caught:
        updated_data(data(), update, paths, now=NOW)
    assert caught.value.field == f"update.{field}"


def test_create_requires_dispatch_data() -> None:
    with pytest.raises(InvalidRequestError, match="dispatch_data is required"):
        new_data(None, start_immediately=True, now=NOW)


@pytest.mark.parametrize("sent", [None, START - timedelta(days=1), START + timedelta(days=1)])
def test_start_immediately_ignores_the_start_time(sent: datetime | None) -> None:
    now = NOW + 7 * SECOND + 999_999_999
    made = new_data(data(start_time=sent), start_immediately=True, now=now)
    assert made.start_time == START + timedelta(seconds=7)


@pytest.mark.parametrize(
    "paths",
    [
        ["type"],
        ["is_dry_run"],
        ["recurrence.foo"],
        ["payload.x"],
        ["start_time", "nonsense"],
        ["isActive"],
        [""],
    ],
)
def test_an_unknown_path_in_the_mask_is_refused(paths: list[str]) -> None:
    with pytest.raises(InvalidRequestError, match=r"update_mask contains .* cannot be updated"):
        updated_data(data(), Update(start_time=START), paths, now=NOW)


def test_a_long_path_is_cut_in_the_error() -> None:
    with pytest.raises(InvalidRequestError, match=r"update_mask contains 'xxx") as caught:
        updated_data(data(), Update(), ["x" * 1_000_000], now=NOW)
    assert len(str(caught.value)) < 200


def test_a_whole_dispatch_has_a_limited_size() -> None:
    def message(size: int, update_time: datetime | None = None) -> bytes:
        content = data(type="x" * size)
        metadata = wire.DispatchMetadata(update_time=update_time)
        return WIRE.encode(wire.Dispatch(metadata=metadata, data=content), wire.Dispatch)

    limit = MAX_DISPATCH_BYTES
    allowed, large, larger = (message(limit + more) for more in (-100, 0, 1))
    check_size(allowed)
    for old in (None, allowed):
        with pytest.raises(InvalidRequestError, match=f"dispatch must have at most {limit} bytes"):
            check_size(large, old)
    # An older one that is too large may be updated, but not grow.
    check_size(message(limit, START), large)
    with pytest.raises(InvalidRequestError):
        check_size(larger, large)


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="update_mask must name"):
        updated_data(data(), Update(), [], now=NOW)


def test_only_fields_in_the_mask_are_changed() -> None:
    update = Update(start_time=START + timedelta(1), duration=5, target=target(9), is_active=False)
    made = updated_data(data(), update, ["is_active"], now=NOW)
    assert made == data(is_active=False)


@pytest.mark.parametrize("update", [None, Update()])
def test_a_field_in_the_mask_that_is_not_set_is_cleared(update: Update | None) -> None:
    full = data(payload=payload_to_wire({"x": 1}), recurrence=rule(byhours=[1, 2]))
    paths = ["duration", "payload", "is_active", "recurrence"]
    made = updated_data(full, update, paths, now=NOW)
    assert made == data(duration=None, is_active=False)


@pytest.mark.parametrize(("path", "field"), [("start_time", "start_time"), ("target", "target")])
def test_a_required_field_cannot_be_cleared(path: str, field: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"update\.{field} is required"):
        updated_data(data(), Update(), [path], now=NOW)


def test_a_rule_is_updated_field_by_field() -> None:
    old = rule(byhours=[1, 2], end_criteria=count(3), byweekdays=[1])
    update = Update(recurrence=RuleUpdate(interval=7, byminutes=[5]))
    paths = ["recurrence.interval", "recurrence.byhours", "recurrence.end_criteria"]
    made = updated_data(data(recurrence=old), update, paths, now=NOW)
    assert made.recurrence == rule(interval=7, byweekdays=[1])


def test_an_update_can_add_a_rule() -> None:
    update = Update(recurrence=RuleUpdate(freq=Frequency.HOURLY, interval=2))
    made = updated_data(data(), update, ["recurrence.freq", "recurrence.interval"], now=NOW)
    assert made.recurrence == rule(freq=Frequency.HOURLY, interval=2)
    with pytest.raises(InvalidRequestError, match=r"update\.recurrence\.interval"):
        updated_data(data(), update, ["recurrence.freq"], now=NOW)


def test_an_updated_rule_is_checked_as_a_whole() -> None:
    weekly = data(recurrence=rule(freq=Frequency.WEEKLY))
    update = Update(recurrence=RuleUpdate(bymonthdays=[1]))
    with pytest.raises(InvalidRequestError, match="must be empty in a weekly recurrence"):
        updated_data(weekly, update, ["recurrence.bymonthdays"], now=NOW)


def test_an_imported_invalid_dispatch_can_be_deactivated() -> None:
    broken = data(recurrence=rule(interval=0), target=None, start_time=START - timedelta(9))
    made = updated_data(broken, Update(is_active=False), ["is_active"], now=NOW)
    assert not made.is_active


def test_empty_end_criteria_are_dropped() -> None:
    endless = rule(end_criteria=wire.RecurrenceRuleEndCriteria())
    made = new_data(data(recurrence=endless), start_immediately=False, now=NOW)
    assert made.recurrence == rule()


def test_an_empty_rule_is_dropped() -> None:
    made = new_data(data(recurrence=wire.RecurrenceRule()), start_immediately=False, now=NOW)
    assert made.recurrence is None


def test_every_update_path_is_accepted() -> None:
    for path in UPDATE_PATHS - {"start_time", "target"}:
        updated_data(data(), None, [path], now=NOW)


UNTIL = wire.RecurrenceRuleEndCriteria(until_time=START + timedelta(days=2, hours=1))


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({}, 60 * SECOND),
        ({"start_time": time_from_nanos(NOW + 7)}, 60 * SECOND + 7),
        ({"duration": 0}, 0),
        ({"duration": None}, None),
        ({"recurrence": rule()}, None),
        ({"recurrence": wire.RecurrenceRule(interval=3)}, 60 * SECOND),
        ({"recurrence": rule(end_criteria=count(3))}, (2 * 86_400 + 60) * SECOND),
        ({"recurrence": rule(end_criteria=UNTIL)}, (2 * 86_400 + 60) * SECOND),
        (
            {"recurrence": rule(end_criteria=count(1), bymonths=[2], bymonthdays=[30])},
            None,
        ),
        ({"start_time": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)}, None),
    ],
)
def test_last_run_end(changes: dict[str, Any], after: int | Callable[[], int] | None) -> None:
    end = last_run_end(data(**changes))
    assert end == (None if after is None else NOW + after)  # type: ignore[operator]
