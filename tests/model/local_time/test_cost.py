"""Expanding a schedule takes as many steps as there are changes of the clocks and exceptions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from trio_dispatch import LocalSchedule, RecurrenceRule, TargetIds
from trio_dispatch.model.local_time.shifting import ShiftedRule
from trio_dispatch.model.recurrence.rfc5545 import parse_rrule

BEGIN, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with each question about an occurrence."""
    asked: list[str] = []

    def counted(cls: type, name: str) -> None:
        method = getattr(cls, name)

        def count(*args: Any, **kwargs: Any) -> Any:
            asked.append(name)
            return method(*args, **kwargs)

        monkeypatch.setattr(cls, name, count)

    counted(ShiftedRule, "first")
    counted(ShiftedRule, "last")
    counted(RecurrenceRule, "last_before")
    return asked


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=YEARLY",
        "FREQ=DAILY",
        f"FREQ=DAILY;BYHOUR={','.join(map(str, range(24)))};BYMINUTE=0,15,30,45",
        "FREQ=HOURLY;BYHOUR=6,7,8,9",
        "FREQ=MINUTELY;BYMONTH=1,2,3,4,5,6,7,8,9,10,11",
    ],
)
@pytest.mark.parametrize("excepted", [0, 100])
def test_steps_do_not_depend_on_the_number_of_occurrences(
    steps: list[str], rule: str, excepted: int
) -> None:
    schedule = LocalSchedule(
        timezone="Europe/Berlin",
        start=datetime.fromisoformat("2023-06-01T12:00"),
        duration=timedelta(minutes=1),
        recurrence=parse_rrule(rule),
        except_=[date(2024, 1, 1) + day * timedelta(days=20) for day in range(excepted)],
        type="CHARGE",
        target=TargetIds(1),
    )
    assert schedule.dispatches(BEGIN, END)
    # 17 changes of the clocks, and up to four rules between two of them.
    assert len(steps) < 17 * 4 * 6 + 4 * 6 * excepted
