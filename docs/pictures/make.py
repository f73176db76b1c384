"""Draws the pictures of the documentation from fixed dispatches and times.

The same source gives the same picture, to the byte.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import trio_dispatch
from trio_dispatch import (
    BatteryType,
    Dispatch,
    ElectricalComponentCategory,
    Frequency,
    InverterType,
    RecurrenceRule,
    TargetCategories,
    TargetIds,
    Weekday,
)

__all__ = ["BEGIN", "END", "NOW", "WIDTH", "a_day_of_a_microgrid", "picture"]

STATIC = Path(__file__).parents[1] / "_static"

BEGIN = datetime(2026, 6, 15, tzinfo=UTC)
END = BEGIN + timedelta(days=1)
NOW = BEGIN + timedelta(hours=10, minutes=24)
WIDTH = 840
"""The width at which a page shows it, so that it is not scaled."""

_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)
_DAILY = RecurrenceRule(Frequency.DAILY)
_WORKDAYS = RecurrenceRule(Frequency.WEEKLY, byweekdays=tuple(map(Weekday, range(1, 6))))


def a_day_of_a_microgrid() -> list[Dispatch]:
    """Thirty dispatches of a microgrid with batteries, solar power and chargers for cars."""
    found: list[Dispatch] = []

    def add(
        type: str,
        hour: float,
        hours: float | None,
        target: Any,
        **fields: Any,
    ) -> None:
        duration = None if hours is None else timedelta(hours=hours)
        found.append(
            Dispatch(
                id=len(found) + 1,
                type=type,
                start_time=BEGIN + hour * _HOUR,
                duration=duration,
                target=target,
                **fields,
            )
        )

    batteries = TargetCategories(ElectricalComponentCategory.BATTERY)
    lithium = TargetCategories(BatteryType.LI_ION)
    solar = TargetCategories(InverterType.PV)
    chargers = TargetCategories(ElectricalComponentCategory.EV_CHARGER)
    daily = partial(add, recurrence=_DAILY)
    workdays = partial(add, recurrence=_WORKDAYS)

    daily("BATTERY_CHARGE", 1, 3.5, batteries, payload={"power_kw": 40})
    daily("BATTERY_CHARGE", 2.5, 2.5, TargetIds(7, 8), payload={"power_kw": 15})
    daily("BATTERY_CHARGE", 11.5, 3, lithium, payload={"power_kw": 60, "from": "pv"})
    add("BATTERY_CHARGE", 13, 1, TargetIds(7, 8), payload={"power_kw": 10})
    workdays("PEAK_SHAVING", 6.5, 2.5, batteries, payload={"limit_kw": 120})
    workdays("PEAK_SHAVING", 8, 1.75, TargetIds(7, 8), payload={"limit_kw": 35})
    workdays("PEAK_SHAVING", 16.5, 3.5, batteries, payload={"limit_kw": 110})
    workdays("PEAK_SHAVING", 18, 1, TargetIds(7, 8), payload={"limit_kw": 30})
    daily("PV_CURTAILMENT", 11, 4, solar, payload={"limit_kw": 80})
    add("PV_CURTAILMENT", 12, 1.5, TargetIds(21), payload={"limit_kw": 0})
    add("PV_CURTAILMENT", 15.25, 1, TargetIds(21, 22), payload={"limit_kw": 20})
    workdays("EV_CHARGING", 0, 5.5, chargers, payload={"power_kw": 22})
    workdays("EV_CHARGING", 7.5, 2, TargetIds(31, 32), payload={"power_kw": 11})
    workdays("EV_CHARGING", 8.25, 3, TargetIds(33), payload={"power_kw": 22})
    add("EV_CHARGING", 9, 1.5, TargetIds(34, 35), payload={"power_kw": 11})
    workdays("EV_CHARGING", 12.5, 2.25, TargetIds(31, 32), payload={"power_kw": 7.4})
    workdays("EV_CHARGING", 17.75, 4, TargetIds(31, 32, 33, 34), payload={"power_kw": 11})
    daily("EV_CHARGING", 22, 7, chargers, payload={"power_kw": 22})
    for hour in (3.5, 7, 10.75, 14, 19.25, 21.5):
        daily("FREQUENCY_TEST", hour, 0, TargetIds(7), payload={"step_mhz": 50})
    add("FREQUENCY_TEST", 14.75, 0, TargetIds(8), dry_run=True, payload={"step_mhz": 200})
    add(
        "HEAT_PUMP",
        4,
        2 / 60,
        TargetIds(40),
        recurrence=RecurrenceRule(Frequency.MINUTELY, interval=6, byhours=(4, 5, 6, 7)),
    )
    daily("HEAT_PUMP", 12.75, 1.75, TargetIds(40), payload={"power_kw": 6})
    daily("HEAT_PUMP", 20, 1.5, TargetIds(40), payload={"power_kw": 4})
    add("ISLAND_MODE", 19.5, 2, None, dry_run=True, payload={"reason": "drill"})
    add("RESERVE", 15, None, TargetIds(8), payload={"soc_min": 0.3})
    return found


def picture(now: datetime | None = NOW) -> trio_dispatch.timeline.Timeline:
    """The picture at the top of the README."""
    return trio_dispatch.draw_timeline(a_day_of_a_microgrid(), BEGIN, END, now=now)


def main() -> None:
    """Write the pictures."""
    STATIC.mkdir(exist_ok=True)
    picture().save(STATIC / "timeline.svg", WIDTH)


if __name__ == "__main__":
    main()
