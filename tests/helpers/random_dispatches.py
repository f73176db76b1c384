"""Random dispatches of every kind that a service may store, valid or not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from trio_dispatch import (
    BatteryType,
    Dispatch,
    ElectricalComponentCategory,
    EndCriteria,
    EvChargerType,
    InverterType,
    RecurrenceRule,
    TargetCategories,
    TargetCategory,
    TargetIds,
)
from trio_dispatch.api.codec import encode_dispatch
from trio_dispatch.model.times import time_from_nanos

SECOND = 10**9
_FIRST = int(datetime(1, 1, 2, tzinfo=UTC).timestamp())
_LAST = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp())

nanos = st.integers(_FIRST * SECOND, _LAST * SECOND) | st.integers(_FIRST, _LAST).map(
    lambda seconds: seconds * SECOND
)
moments = nanos.map(time_from_nanos)
json_values: Any = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
categories = st.builds(
    TargetCategory,
    st.integers(0, 40).map(ElectricalComponentCategory),
    st.none()
    | st.integers(0, 9).map(BatteryType)
    | st.integers(0, 9).map(InverterType)
    | st.integers(0, 9).map(EvChargerType),
)
targets = (
    st.none()
    | st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 30), max_size=9).map(
        lambda ids: TargetIds(*ids)
    )
    | st.lists(categories, min_size=1, max_size=4).map(lambda some: TargetCategories(*some))
)


def numbers(low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high + 1), max_size=4)


rules = st.builds(
    RecurrenceRule.unchecked,
    frequency=st.integers(0, 9),
    interval=st.integers(0, 2**32 - 1) | st.just(1),
    end_criteria=st.none()
    | st.just(EndCriteria.unchecked(count=None, until=None))
    | st.builds(EndCriteria.unchecked, count=st.integers(0, 5000), until=st.none())
    | st.builds(EndCriteria.unchecked, count=st.none(), until=moments),
    byminutes=numbers(0, 59),
    byhours=numbers(0, 23),
    byweekdays=numbers(0, 7),
    bymonthdays=numbers(-32, 31),
    bymonths=numbers(0, 12),
)


@st.composite
def dispatches(draw: st.DrawFn) -> Dispatch:
    updated = draw(nanos)
    return Dispatch(
        id=draw(st.integers(0, 2**64 - 1)),
        type=draw(st.text()),
        start_time=draw(moments),
        duration=draw(
            st.none() | st.integers(0, 2**32 - 1).map(lambda seconds: timedelta(seconds=seconds))
        ),
        target=draw(targets),
        active=draw(st.booleans()),
        dry_run=draw(st.booleans()),
        payload=draw(st.dictionaries(st.text(), json_values, max_size=4)),
        recurrence=draw(st.none() | rules),
        create_time=draw(moments),
        update_time=time_from_nanos(updated),
        end_time=draw(st.none() | moments),
    )


def exactly(dispatch: Dispatch) -> tuple[Any, bytes]:
    """Return what two dispatches share if they are equal to the nanosecond, valid or not.

    The order in which a set of categories is on the wire is not.
    """
    return dispatch.target, encode_dispatch(replace(dispatch, target=None))
