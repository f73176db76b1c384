"""Times with nanoseconds."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_dispatch.model.times import nanos_of, time_from_nanos, time_to_nanos

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = time_to_nanos(datetime.min.replace(tzinfo=UTC))
LAST = time_to_nanos(datetime.max.replace(tzinfo=UTC)) + 999


@given(st.integers(FIRST, LAST) | st.sampled_from([FIRST, LAST, -1, 0, 1]))
def test_nanoseconds_survive(nanos: int) -> None:
    moment = time_from_nanos(nanos)
    assert time_to_nanos(moment) == nanos
    assert nanos_of(moment) == nanos % 1000
    assert moment == EPOCH + timedelta(microseconds=nanos // 1000)
    for same in (copy.copy(moment), copy.deepcopy(moment), pickle.loads(pickle.dumps(moment))):
        assert time_to_nanos(same) == nanos


@pytest.mark.parametrize("nanos", [FIRST - 1, LAST + 1, 10**40])
def test_outside_of_years_1_to_9999(nanos: int) -> None:
    with pytest.raises(OverflowError):
        time_from_nanos(nanos)


def test_arithmetic_drops_the_nanoseconds() -> None:
    moment = time_from_nanos(5) + timedelta(seconds=1)
    assert nanos_of(moment) == 0
    assert pickle.loads(pickle.dumps(moment)) == EPOCH + timedelta(seconds=1)
