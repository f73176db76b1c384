"""Failures of other schedulers when the clocks change, reported in public: none happens here.

Each schedule is asked for the days around the change.  No run is skipped, doubled, or an hour off.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from trio_dispatch import DispatchContent, LocalSchedule, TargetIds
from trio_dispatch.model.recurrence.rfc5545 import parse_rrule

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def local_runs(rule: str, timezone: str, first: str, days: int) -> list[str]:
    """Return when runs start, by the clocks of the place, on some days from a date on."""
    zone = ZoneInfo(timezone)
    begin = datetime.fromisoformat(first).replace(tzinfo=zone)
    end = begin + days * DAY  # Wall time: midnight to midnight.
    found = LocalSchedule(
        timezone=timezone,
        start=datetime.fromisoformat(first) - 60 * DAY,
        duration=timedelta(minutes=10),
        recurrence=parse_rrule(rule),
        type="JOB",
        target=TargetIds(1),
    ).dispatches(begin, end)
    moments = [moment for each in found for moment in _starts(each, begin, end)]
    assert len(set(moments)) == len(moments)
    return [f"{moment.astimezone(zone):%d %H:%M%z}" for moment in sorted(moments)]


def _starts(content: DispatchContent, begin: datetime, end: datetime) -> list[datetime]:
    rule, start = content.recurrence, content.start_time
    if rule is None:
        return [start] if begin <= start < end else []
    return list(rule.between(start, begin, end))


@pytest.mark.parametrize(
    ("rule", "timezone", "first", "expected"),
    [
        # https://github.com/hashicorp/nomad/issues/3392: 02:30 was not run in spring, and was run
        # twice in autumn.
        pytest.param(
            "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "Europe/Berlin", "2018-03-24",
            ["24 02:30+0100", "25 03:30+0200", "26 02:30+0200"],
            id="nomad-3392-spring",
        ),
        pytest.param(
            "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "Europe/Berlin", "2017-10-28",
            ["28 02:30+0200", "29 02:30+0200", "30 02:30+0100"],
            id="nomad-3392-autumn",
        ),
        # https://github.com/hashicorp/nomad/issues/5410: 02:00 was run thousands of times.
        pytest.param(
            "FREQ=DAILY;BYHOUR=2;BYMINUTE=0", "America/New_York", "2019-03-09",
            ["09 02:00-0500", "10 03:00-0400", "11 02:00-0400"],
            id="nomad-5410",
        ),
        # https://github.com/hashicorp/nomad/pull/7894: a job is skipped on 10 March 2019, and run
        # twice on 3 November 2019.
        pytest.param(
            "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "America/New_York", "2019-03-09",
            ["09 02:30-0500", "10 03:30-0400", "11 02:30-0400"],
            id="nomad-7894-spring",
        ),
        pytest.param(
            "FREQ=DAILY;BYHOUR=1;BYMINUTE=30", "America/New_York", "2019-11-02",
            ["02 01:30-0400", "03 01:30-0400", "04 01:30-0500"],
            id="nomad-7894-autumn",
        ),
        # https://github.com/hashicorp/nomad/issues/7289: no job ran after 02:00 on 8 March 2020.
        pytest.param(
            "FREQ=DAILY;BYHOUR=1,2,3,4;BYMINUTE=0", "America/New_York", "2020-03-08",
            # What would be 02:00 is 03:00: one run.
            ["08 01:00-0500", "08 03:00-0400", "08 04:00-0400",
             "09 01:00-0400", "09 02:00-0400", "09 03:00-0400", "09 04:00-0400"],
            id="nomad-7289",
        ),
        # https://github.com/celery/celery/issues/1604: Monday 12:00 was run at 11:00, too.
        pytest.param(
            "FREQ=WEEKLY;BYDAY=MO;BYHOUR=12;BYMINUTE=0", "Europe/Amsterdam", "2013-10-21",
            ["21 12:00+0200", "28 12:00+0100"],
            id="celery-1604",
        ),
        # In the same thread: 17:00 was run at 16:00, too.
        pytest.param(
            "FREQ=DAILY;BYHOUR=17;BYMINUTE=0", "America/New_York", "2015-10-31",
            ["31 17:00-0400", "01 17:00-0500", "02 17:00-0500"],
            id="celery-1604-daily",
        ),
        # https://github.com/celery/celery/issues/9653: one hour late after the change in spring.
        pytest.param(
            "FREQ=DAILY;BYHOUR=9;BYMINUTE=0", "Europe/Zurich", "2025-03-29",
            ["29 09:00+0100", "30 09:00+0200", "31 09:00+0200"],
            id="celery-9653",
        ),
        # https://github.com/celery/django-celery-beat/issues/134: 16:04 was run at 17:04.
        pytest.param(
            "FREQ=DAILY;BYHOUR=16;BYMINUTE=4", "America/New_York", "2025-03-08",
            ["08 16:04-0500", "09 16:04-0400", "10 16:04-0400"],
            id="django-celery-beat-134",
        ),
        # https://github.com/celery/celery/pull/10608: a change of the clocks at 02:45.
        pytest.param(
            "FREQ=DAILY;BYHOUR=3;BYMINUTE=50", "Pacific/Chatham", "2026-09-26",
            ["26 03:50+1245", "27 03:50+1345", "28 03:50+1345"],
            id="celery-10608-spring",
        ),
        pytest.param(
            "FREQ=DAILY;BYHOUR=3;BYMINUTE=50", "Pacific/Chatham", "2026-04-04",
            ["04 03:50+1345", "05 03:50+1245", "06 03:50+1245"],
            id="celery-10608-autumn",
        ),
        pytest.param(
            "FREQ=DAILY;BYHOUR=23;BYMINUTE=0", "Antarctica/Troll", "2026-10-24",
            ["24 23:00+0200", "25 23:00+0000", "26 23:00+0000"],
            id="celery-10608-two-hours",
        ),
    ],
)  # fmt: skip
def test_every_run_starts_once_at_its_local_time(
    rule: str, timezone: str, first: str, expected: list[str]
) -> None:
    days = 8 if rule.startswith("FREQ=WEEKLY") else len({each[:2] for each in expected})
    assert local_runs(rule, timezone, first, days) == expected


@pytest.mark.parametrize("first", ["2026-03-08", "2026-11-01"])
def test_an_hourly_job_runs_every_hour(first: str) -> None:
    """https://github.com/celery/celery/issues/10107: the second 01:00 was skipped."""
    runs = local_runs("FREQ=HOURLY;BYMINUTE=0", "US/Pacific", first, 1)
    assert len(runs) == (23 if first < "2026-06" else 25)
    assert [run[3:5] for run in runs[:4]] == (
        ["00", "01", "03", "04"] if first < "2026-06" else ["00", "01", "01", "02"]
    )
