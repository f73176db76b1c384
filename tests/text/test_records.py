"""Dispatches as JSON and as CSV, and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.random_dispatches import dispatches, exactly
from trio_dispatch import Dispatch, EndCriteria, Frequency, RecurrenceRule, TargetIds, Weekday
from trio_dispatch.model.times import nanos_of
from trio_dispatch.testing import make_dispatch
from trio_dispatch.text.files import FileFormat, read_copies, write_header, write_row
from trio_dispatch.text.records import FIELDS, format_json_time, read_record, record_of

MINIMAL = {"type": "CHARGE", "start_time": "2026-12-01T08:00Z", "duration": 60, "target": [1]}


def read(record: Any, *, copy: bool = False) -> Dispatch:
    return read_record(record, zone=UTC, copy=copy)


@given(dispatches())
def test_any_dispatch_survives_json(dispatch: Dispatch) -> None:
    back = read(json.loads(json.dumps(record_of(dispatch))), copy=True)
    assert back == dispatch
    # Exactly, including nanoseconds and invalid values: as bytes on the wire.
    assert exactly(back) == exactly(dispatch)
    assert nanos_of(back.start_time) == nanos_of(dispatch.start_time)


@given(st.lists(dispatches(), max_size=4), st.sampled_from(["jsonl", "csv"]))
def test_any_dispatches_survive_a_file(some: list[Dispatch], format: FileFormat) -> None:
    text = write_header(format, 1) + "".join(write_row(each, format) for each in some)
    back = read_copies(text.encode().decode(), format, "plan", zone=UTC)
    assert back == some
    assert [*map(exactly, back)] == [*map(exactly, some)]


def test_records_have_the_documented_form() -> None:
    dispatch = make_dispatch(
        7,
        start_time=datetime(2026, 12, 1, 8, tzinfo=UTC),
        duration=timedelta(minutes=90),
        target=TargetIds(3, 1),
        payload={"power_kw": 5, "share": 0.5, "list": [1, True, None]},
        recurrence=RecurrenceRule(
            Frequency.WEEKLY,
            end_criteria=EndCriteria(count=3),
            byhours=(8,),
            byweekdays=(Weekday.MONDAY, Weekday.FRIDAY),
        ),
    )
    record = record_of(dispatch)
    assert tuple(record) == FIELDS
    assert record == {
        "id": 7,
        "type": "CHARGE",
        "start_time": "2026-12-01T08:00:00Z",
        "duration": 5400,
        "target": [1, 3],
        "active": True,
        "dry_run": False,
        "payload": {"power_kw": 5, "share": 0.5, "list": [1, True, None]},
        "recurrence": {
            "frequency": "weekly",
            "interval": 1,
            "end_criteria": {"count": 3},
            "byminutes": [],
            "byhours": [8],
            "byweekdays": ["mon", "fri"],
            "bymonthdays": [],
            "bymonths": [],
        },
        "create_time": "2025-12-31T00:00:00Z",
        "update_time": "2025-12-31T00:00:00Z",
        "end_time": None,
    }
    assert '"power_kw": 5,' in json.dumps(record), "whole numbers look whole"


def test_short_forms_are_accepted() -> None:
    dispatch = read(
        MINIMAL
        | {"start_time": "2026-12-01 08:00", "duration": "1h30m", "target": "1-3",
           "recurrence": "FREQ=DAILY;COUNT=3"}
    )  # fmt: skip
    assert dispatch.start_time == datetime(2026, 12, 1, 8, tzinfo=UTC)
    assert dispatch.duration == timedelta(minutes=90)
    assert dispatch.target == TargetIds(1, 2, 3)
    assert dispatch.recurrence == RecurrenceRule(Frequency.DAILY, end_criteria=EndCriteria(count=3))
    assert dispatch.active
    assert not dispatch.dry_run


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"type": 1}, "type: 1 is not a string"),
        ({"start_time": "8:00"}, "start_time: '8:00' is not a date and time"),
        ({"start_time": None}, "start_time: None is not a string"),
        ({"duration": -1}, "duration: -1 is not in the range 0 to"),
        ({"duration": 1.5}, "duration: 1.5 is not an integer"),
        ({"duration": "long"}, "duration: 'long' is not a duration"),
        ({"duration": True}, "duration: True is not an integer"),
        ({"target": [1, "battery"]}, "target: 'battery' is not an integer"),
        ({"target": ["boiler"]}, "target: unknown category 'boiler': use"),
        ({"target": 1}, "target: 1 is not a list of ids or of categories"),
        ({"target": [2**64]}, "is not in the range 0 to"),
        ({"active": "yes"}, "active: 'yes' is not true or false"),
        ({"payload": [1]}, "payload: .* is not an object"),
        ({"recurrence": {}}, "recurrence: frequency missing"),
        ({"recurrence": {"frequency": "often"}}, "unknown name 'often': use unspecified, minutely"),
        (
            {"recurrence": {"frequency": 3, "hours": [1]}},
            "'hours': unknown key: did you mean byhours",
        ),
        ({"recurrence": {"frequency": 3, "byhours": 8}}, "8 is not a list"),
        ({"recurrence": "FREQ=DAILY;BYSETPOS=1"}, "recurrence: .* does not support BYSETPOS"),
        (
            {"recurrence": {"frequency": 3, "end_criteria": {"at": 1}}},
            "'at': unknown key: use count",
        ),
        ({"colour": "red"}, "colour: unknown key: use id, type,"),
        ({"Target": "1"}, "Target: unknown key: did you mean target"),
    ],
)
def test_invalid_values_are_named(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(MINIMAL | change)


def test_missing_keys_are_named() -> None:
    with pytest.raises(ValueError, match=r"start_time: missing: use .*; target: missing: use 1-3"):
        read({"type": "CHARGE", "duration": 5})
    with pytest.raises(
        ValueError, match=r"id: missing.*; create_time: missing.*; update_time: mis"
    ):
        read(MINIMAL, copy=True)
    with pytest.raises(ValueError, match=r"is not an object with the keys"):
        read([1])


def test_a_missing_end_time_is_computed() -> None:
    times = {"id": 1, "create_time": "2026-01-01", "update_time": "2026-01-01"}
    end = read(MINIMAL | times, copy=True).end_time
    assert end == datetime(2026, 12, 1, 8, 1, tzinfo=UTC)


def test_times_have_as_many_digits_as_needed() -> None:
    assert format_json_time(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00Z"
    assert format_json_time(datetime(2026, 1, 1, microsecond=5, tzinfo=UTC)) == (
        "2026-01-01T00:00:00.000005Z"
    )
    assert format_json_time(None) is None
