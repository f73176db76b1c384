"""The axis: moments that the clocks of a zone show as round ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_dispatch.timeline.ticks import Axis, make_axis, offsets

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kathmandu",  # 5:45 off UTC
        "Australia/Lord_Howe",  # where clocks move by half an hour
        "America/Sao_Paulo",  # where they did at midnight
        "Pacific/Apia",  # which left out a day
    )
]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROOM = 8


def axis(begin: datetime, end: datetime, zone: object = UTC, size: float = 120) -> Axis:
    """An axis where every label takes its letters and two more."""
    return make_axis(begin, end, zone, size, lambda label: len(label) + 2)  # type: ignore[arg-type]


def berlin(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=BERLIN).astimezone(UTC)


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        (15, ["00", "01", "02", "03", "04"]),
        # Clocks go forward on the 29th, and back on the 25th of October.
        (29, ["00", "01", "03", "04", "05"]),
    ],
)
def test_hours_of_days_in_march(day: int, hours: list[str]) -> None:
    begin, end = berlin(2026, 3, day), berlin(2026, 3, day + 1)
    ticks = axis(begin, end, BERLIN, 240).ticks
    assert len(ticks) == (end - begin) / HOUR == (23 if day == 29 else 24)
    assert [tick.label for tick in ticks][:5] == [f"{hour}:00" for hour in hours]
    assert [tick.moment for tick in ticks] == [begin + n * HOUR for n in range(len(ticks))]


def test_an_hour_that_occurs_twice() -> None:
    begin, end = berlin(2026, 10, 25), berlin(2026, 10, 26)
    ticks = axis(begin, end, BERLIN, 240).ticks
    assert len(ticks) == 25
    assert [tick.label[:2] for tick in ticks][:5] == ["00", "01", "02", "02", "03"]
    # Every third hour by the clock: once four hours pass.
    ticks = axis(begin, end, BERLIN, 60).ticks
    assert [tick.label[:2] for tick in ticks] == ["00", "03", "06", "09", "12", "15", "18", "21"]
    assert ticks[1].moment - ticks[0].moment == 4 * HOUR


def test_a_day_without_midnight() -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    begin = datetime(2018, 11, 2, 3, tzinfo=UTC)
    days = {tick.label: tick.moment for tick in axis(begin, begin + 5 * DAY, zone, 60).ticks}
    # On 4 November 2018 the day began at 01:00.
    assert days["Sun 4"] == datetime(2018, 11, 4, 3, tzinfo=UTC)
    assert days["Mon 5"] == datetime(2018, 11, 5, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("length", "first", "spans"),
    [
        (timedelta(minutes=1), ["10:24:00", "10:24:05"], ["Mon 15 Jun 2026"]),
        (timedelta(minutes=10), ["10:24", "10:25"], ["Mon 15 Jun 2026"]),
        (HOUR, ["10:25", "10:30"], ["Mon 15 Jun 2026"]),
        (6 * HOUR, ["10:30", "11:00"], ["Mon 15 Jun 2026"]),
        (DAY, ["12:00", "14:00"], ["Mon 15 Jun 2026", "Tue 16 Jun"]),
        (7 * DAY, ["12:00", "00:00"], ["Mon 15 Jun 2026", "Tue 16 Jun"]),
        (14 * DAY, ["Tue 16", "Wed 17"], ["June 2026"]),
        (31 * DAY, ["16", "18"], ["June 2026", "July"]),
        (120 * DAY, ["22", "29"], ["June 2026", "July"]),
        (365 * DAY, ["22", "6"], ["June 2026", "July"]),
        (1000 * DAY, ["Jul", "Sep"], ["2026", "2027"]),
        (3653 * DAY, ["Jul", "Jan"], ["2026", "2027"]),
        (36_525 * DAY, ["2030", "2040"], []),
    ],
)
def test_from_a_minute_to_a_century(length: timedelta, first: list[str], spans: list[str]) -> None:
    begin = datetime(2026, 6, 15, 10, 24, tzinfo=UTC)
    found = axis(begin, begin + length)
    assert [tick.label for tick in found.ticks][:2] == first
    assert [span.labels[0] for span in found.spans][:2] == spans
    assert 4 <= len(found.ticks) <= 30


MOMENTS = st.integers(0, 50 * 365 * 86_400).map(
    lambda seconds: datetime(1990, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(
    MOMENTS,
    st.floats(60, 20 * 365 * 86_400.0).map(lambda seconds: timedelta(seconds=seconds)),
    st.sampled_from(ZONES),
    st.integers(40, 1000),
)
def test_ticks_are_round_in_order_and_have_room(
    begin: datetime, length: timedelta, zone: ZoneInfo, size: int
) -> None:
    end = begin + length
    found = axis(begin, end, zone, size)
    moments = [tick.moment for tick in found.ticks]
    assert all(begin <= moment < end for moment in moments)
    assert moments == sorted(set(moments))
    assert len(moments) <= size / 4 + 2
    for tick in found.ticks:
        local = tick.moment.astimezone(zone)
        if ":" in tick.label:
            form = "%H:%M:%S" if tick.label.count(":") == 2 else "%H:%M"
            assert local.strftime(form) == tick.label
            assert local.microsecond == 0
            assert local.second == 0 or form.endswith("S")
        elif not local.hour == local.minute == 0:
            # Only where midnight is left out: a moment before, it was yesterday.
            before = (tick.moment - timedelta.resolution).astimezone(zone)
            assert before.date() < local.date()
    # Where the clocks are not moved, labels do not touch.
    if len({offset for _, offset in offsets(begin, end, zone)}) == 1:
        scale = size / length.total_seconds()
        for one, two in pairwise(found.ticks):
            gap = (two.moment - one.moment).total_seconds() * scale
            # The steps that are from 1st to 1st are 1 or 2 days shorter at a month's end.
            assert gap >= len(one.label) or one.label.isdecimal()


@given(MOMENTS, st.integers(1, 900), st.sampled_from(ZONES))
def test_spans_are_contiguous(begin: datetime, hours: int, zone: ZoneInfo) -> None:
    end = begin + hours * HOUR
    spans = axis(begin, end, zone).spans
    assert spans[0].begin == begin
    assert spans[-1].end == end
    assert all(one.end == two.begin for one, two in pairwise(spans))
    assert all(span.begin < span.end for span in spans)


@given(MOMENTS, st.integers(1, 4000), st.sampled_from(ZONES))
def test_offsets(begin: datetime, days: int, zone: ZoneInfo) -> None:
    known = offsets(begin, begin + days * DAY, zone)
    assert [moment for moment, _ in known] == sorted(moment for moment, _ in known)
    for number in range(0, days * 24, 7):
        moment = begin + number * HOUR
        offset = [offset for start, offset in known if start <= moment][-1]
        assert offset == moment.astimezone(zone).utcoffset()
    for moment, _ in known[1:]:
        before = (moment - timedelta(seconds=1)).astimezone(zone).utcoffset()
        assert before != moment.astimezone(zone).utcoffset()


def test_centuries() -> None:
    first, last = datetime(1000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
    for zone in (UTC, timezone(-14 * HOUR), timezone(14 * HOUR), BERLIN):
        assert axis(last - HOUR, last, zone).ticks
        assert axis(first, first + HOUR, zone).ticks
        labels = [tick.label for tick in axis(first, last, zone).ticks]
        assert labels[1:3] == ["1500", "2000"] or labels[:2] == ["1500", "2000"]
        assert "8500" in labels[-2:]
