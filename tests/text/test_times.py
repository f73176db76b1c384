"""Times as people write them, against Python's own time zones."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_dispatch.text.times import (
    find_offset_change,
    format_moment,
    parse_absolute,
    parse_moment,
)
from trio_dispatch.text.zones import find_zone

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    UTC,
    BERLIN,
    ZoneInfo("America/New_York"),
    ZoneInfo("Australia/Lord_Howe"),  # puts its clocks forward by half an hour
    ZoneInfo("Asia/Kathmandu"),
    ZoneInfo("Pacific/Apia"),  # once left out a day
    ZoneInfo("Africa/Cairo"),  # puts its clocks forward at midnight
    ZoneInfo("America/Havana"),  # puts its clocks back to midnight
    ZoneInfo("America/Santiago"),
    ZoneInfo("Antarctica/Troll"),  # puts its clocks forward by two hours
]
SUNDAY = datetime(2026, 11, 22, 11, 0, 5, 123, tzinfo=UTC)
zones = st.sampled_from(ZONES)
FIRST, LAST = map(datetime.fromisoformat, ("1990-01-01", "2090-01-01"))
moments = st.datetimes(FIRST, LAST, timezones=st.just(UTC))
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def parse(text: str, now: datetime = SUNDAY, zone: tzinfo = BERLIN) -> datetime:
    return parse_moment(text, now=now, zone=zone)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("in 10 minutes", "2026-11-22T11:10:05"),
        ("In  1h30m", "2026-11-22T12:30:05"),
        ("5 minutes ago", "2026-11-22T10:55:05"),
        ("2 days 3 hours ago", "2026-11-20T08:00:05"),
        ("tomorrow 8:00", "2026-11-23T07:00:00"),
        ("tomorrow at 08:00", "2026-11-23T07:00:00"),
        ("yesterday", "2026-11-20T23:00:00"),
        ("today 8:00", "2026-11-22T07:00:00"),
        ("monday 14:00", "2026-11-23T13:00:00"),
        ("mon 14:00", "2026-11-23T13:00:00"),
        ("sunday 14:00", "2026-11-22T13:00:00"),
        ("sunday 12:00", "2026-11-29T11:00:00"),
        ("sunday", "2026-11-28T23:00:00"),
        ("8:00", "2026-11-23T07:00:00"),
        ("13:00", "2026-11-22T12:00:00"),
        ("6pm", "2026-11-22T17:00:00"),
        ("6 AM", "2026-11-23T05:00:00"),
        ("12am", "2026-11-22T23:00:00"),
        ("12:30pm", "2026-11-22T11:30:00"),
        ("tomorrow 6pm", "2026-11-23T17:00:00"),
        ("tomorrow at 6:30 pm UTC", "2026-11-23T18:30:00"),
        ("monday 7am", "2026-11-23T06:00:00"),
        ("2026-12-01 6pm", "2026-12-01T17:00:00"),
        ("12:00:06", "2026-11-22T11:00:06"),
        ("13:00 UTC", "2026-11-22T13:00:00"),
        ("tomorrow 8:00Z", "2026-11-23T08:00:00"),
        ("2026-12-01", "2026-11-30T23:00:00"),
        ("2026-12-01 08:00", "2026-12-01T07:00:00"),
        ("2026-12-01T08:00Z", "2026-12-01T08:00:00"),
        ("2026-12-01t08:00:30.5z", "2026-12-01T08:00:30.500000"),
        ("2026-12-01 08:00+05:30", "2026-12-01T02:30:00"),
        ("2026-12-01T08:00:00 -0130", "2026-12-01T09:30:00"),
    ],
)
def test_what_a_text_means(text: str, moment: str) -> None:
    assert parse(text) == datetime.fromisoformat(f"{moment}+00:00")


def test_now_is_now_to_the_microsecond() -> None:
    assert parse("now") == SUNDAY


@pytest.mark.parametrize(
    "text",
    ["", "soon", "8", "in", "in 5", "in forever", "ago", "m 8:00", "2026-12-1", "tomorrow 8",
     "08:00 2026-12-01", "2026-12-01 08:00 CET", "2026-12-01T08:00ZZ", "tomorrow tomorrow"],
)  # fmt: skip
def test_an_invalid_time_is_answered_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time: use now, 'in 10 minutes'") as caught:
        parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("25:00", "hour must be in 0..23"),
        ("8:60", "minute must be in 0..59"),
        ("2026-02-30", "day is out of range"),
        ("0000-01-01", "year 0 is out of range"),
    ],
)
def test_an_invalid_date_or_time_of_day(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)


def test_beyond_the_calendar() -> None:
    with pytest.raises(ValueError, match="not within the years 1 to 9999"):
        parse("in 400 weeks", now=datetime(9999, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="not within the years 1 to 9999"):
        parse("0001-01-01 00:00+01:00")


def test_a_skipped_time_is_refused_with_alternatives() -> None:
    with pytest.raises(ValueError, match="clocks go forward") as caught:
        parse("2026-03-29 02:30")
    for said in ("2026-03-29 01:30", "2026-03-29 03:30"):
        assert said in str(caught.value)
        parse(said)


def test_a_repeated_time_is_refused_with_alternatives() -> None:
    with pytest.raises(ValueError, match="clocks go back") as caught:
        parse("2026-10-25 02:30")
    first, second = "2026-10-25 02:30+02:00", "2026-10-25 02:30+01:00"
    assert first in str(caught.value)
    assert second in str(caught.value)
    assert parse(second) - parse(first) == timedelta(hours=1)


def test_a_time_of_day_that_is_skipped_tomorrow_is_refused() -> None:
    with pytest.raises(ValueError, match="2026-03-29 02:30 does not exist in Europe/Berlin"):
        parse("2:30", now=datetime(2026, 3, 28, 12, tzinfo=UTC))


def test_the_next_time_of_day_may_be_in_the_repeated_hour() -> None:
    for minute in (15, 45):  # for the first time, when one 2:30 or both are still to come
        now = datetime(2026, 10, 25, 0, minute, tzinfo=UTC)
        if minute == 15:
            with pytest.raises(ValueError, match="2026-10-25 02:30 occurs twice"):
                parse("2:30", now=now)
        else:
            assert parse("2:30", now=now) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    # 2:15 for the second time; the second 2:30 is still to come.
    now = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)
    assert parse("2:30", now=now) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@given(moments, zones)
def test_a_formatted_moment_is_parsed_as_the_same_moment(moment: datetime, zone: tzinfo) -> None:
    text = format_moment(moment, zone)
    assert parse_moment(text, now=SUNDAY, zone=zone) == moment
    assert parse_absolute(text, zone=zone) == moment


@given(st.datetimes(timezones=st.just(UTC)), zones)
def test_a_formatted_moment_of_any_year_can_be_parsed(moment: datetime, zone: tzinfo) -> None:
    assert parse_absolute(format_moment(moment, zone), zone=zone) == moment


def shown(moment: datetime, zone: tzinfo) -> datetime:
    """What the clocks of a zone show at a moment."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


@given(moments, zones, st.times(), st.sampled_from(WEEKDAYS))
def test_the_next_one_is_the_first_that_clocks_show(
    now: datetime, zone: tzinfo, clock: time, weekday: str
) -> None:
    """Against a walk over the minutes around it."""
    minute = timedelta(minutes=1)
    for text in (f"{clock:%H:%M}", f"{weekday} {clock:%H:%M}"):
        try:
            moment = parse_moment(text, now=now, zone=zone)
        except ValueError as exc:
            assert "the clocks go" in str(exc)  # noqa: PT017
            continue
        local = shown(moment, zone)
        assert f"{local:%H:%M:%S}" == f"{clock:%H:%M}:00"
        assert text == f"{clock:%H:%M}" or local.weekday() == WEEKDAYS.index(weekday)
        assert moment >= now
        # None comes before it, also not after the clocks went back.
        ahead = [moment - minutes * minute for minutes in range(1, 180)]
        days = range(1, 2) if text == f"{clock:%H:%M}" else range(1, 8)
        ahead += [moment - timedelta(days=day, hours=hour) for day in days for hour in (-1, 0, 1)]
        for before in ahead:
            assert (
                before < now
                or shown(before, zone).time() != local.time()
                or (shown(before, zone).weekday() != local.weekday() and len(text) > 5)
            )


@given(moments, zones)
def test_a_day_begins_with_its_first_moment(now: datetime, zone: tzinfo) -> None:
    """Whether or not the clocks show midnight then, or show it twice."""
    day = shown(now, zone).date()
    for text in ("today", f"{day}"):
        begin = parse_moment(text, now=now, zone=zone)
        assert shown(begin, zone).date() == day
        assert shown(begin - timedelta(microseconds=1), zone).date() < day
        assert begin <= now


@pytest.mark.parametrize(
    ("zone", "text", "now", "local"),
    [
        ("Africa/Cairo", "today", "2027-04-30T12:00", "2027-04-30 01:00"),
        ("Africa/Cairo", "2027-04-30", "2027-04-01T00:00", "2027-04-30 01:00"),
        ("Asia/Beirut", "tomorrow", "2027-03-27T12:00", "2027-03-28 01:00"),
        ("America/Santiago", "sunday", "2027-09-03T12:00", "2027-09-05 01:00"),
        ("America/Havana", "today", "2027-03-14T12:00", "2027-03-14 01:00"),
        ("America/Havana", "2027-11-07", "2027-11-01T00:00", "2027-11-07 00:00-04:00"),
        ("Pacific/Apia", "2011-12-31", "2011-12-01T00:00", "2011-12-31 00:00"),
        ("EET-2EEST,M4.5.5/0,M10.5.4/24", "2027-04-30", "2027-04-01T00:00", "2027-04-30 01:00"),
    ],
)
def test_days_without_a_midnight_or_with_two(
    monkeypatch: pytest.MonkeyPatch, zone: str, text: str, now: str, local: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    place = find_zone("local")
    begin = parse_moment(text, now=datetime.fromisoformat(f"{now}+00:00"), zone=place)
    assert format_moment(begin, place) == local
    assert shown(begin - timedelta(microseconds=1), place).date() < shown(begin, place).date()


def test_a_day_that_the_clocks_skip() -> None:
    apia = ZoneInfo("Pacific/Apia")
    for text in ("2011-12-30", "2011-12-30 08:00"):
        with pytest.raises(ValueError, match=r"2011-12-30.* does not exist in Pacific/Apia"):
            parse_absolute(text, zone=apia)


@given(moments, zones)
def test_a_date_and_time_is_that_of_the_clocks_there(now: datetime, zone: tzinfo) -> None:
    local = now.astimezone(zone).replace(tzinfo=None, fold=0, microsecond=0)
    candidates = {
        local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        for fold in (0, 1)
        if local.replace(tzinfo=zone, fold=fold).astimezone(UTC).astimezone(zone)
        .replace(tzinfo=None, fold=0) == local
    }  # fmt: skip
    if len(candidates) == 1:
        assert parse_moment(local.isoformat(" "), now=now, zone=zone) in candidates
    else:
        with pytest.raises(ValueError, match="occurs twice"):
            parse_moment(local.isoformat(" "), now=now, zone=zone)


@given(moments)
def test_the_next_change_of_the_clocks(now: datetime) -> None:
    change = find_offset_change(BERLIN, now)
    if change is None:  # in the years for which nothing is laid down
        return
    second = timedelta(seconds=1)
    assert now < change.moment
    assert (change.moment - second).astimezone(BERLIN).utcoffset() == change.before
    assert change.moment.astimezone(BERLIN).utcoffset() == change.after
    assert change.before != change.after
    assert now.astimezone(BERLIN).utcoffset() == change.before


def test_zones_without_changes() -> None:
    assert find_offset_change(UTC, SUNDAY) is None
    assert find_offset_change(ZoneInfo("Asia/Kathmandu"), SUNDAY) is None


@pytest.mark.parametrize("text", ["now", "8:00", "tomorrow 8:00", "in 5 minutes", "monday"])
def test_relative_times_are_refused_in_files(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date and time: use 2026-12-01T08:00Z"):
        parse_absolute(text, zone=BERLIN)


def test_zones_by_name() -> None:
    assert find_zone("utc") is UTC
    assert find_zone("Asia/Kathmandu").utcoffset(SUNDAY) == timedelta(hours=5, minutes=45)
    for name in ("Berlin", "", "../etc/passwd", "Europe/Berlin\0", "/etc/localtime", "Europe"):
        with pytest.raises(ValueError, match="is not a time zone: use local, UTC or a name"):
            find_zone(name)


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (":Europe/Berlin", "Europe/Berlin"),
        ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST,M3.5.0,M10.5.0/3"),
        ("UTC", "UTC"),
        ("UTC0", "UTC"),
        ("", "UTC"),
    ],
)
def test_the_local_zone(monkeypatch: pytest.MonkeyPatch, variable: str, name: str) -> None:
    if variable.startswith("/") and not Path(variable).exists():
        pytest.skip("no zones are installed there")
    monkeypatch.setenv("TZ", variable)
    assert str(find_zone("local")) == name


def test_the_local_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)
    assert find_zone("local").utcoffset(SUNDAY) is not None


@pytest.mark.parametrize("variable", ["Mars/Phobos", "/nonexistent", "CET-1CEST,M13.5.0"])
def test_a_local_zone_that_is_invalid(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("TZ", variable)
    with pytest.raises(ValueError, match=f"TZ='{variable}' is not a time zone"):
        find_zone("local")


@given(moments)
def test_a_rule_is_a_zone_like_any_other(moment: datetime) -> None:
    """Since 1996 that of Berlin."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        zone = find_zone("local")
    assert parse_absolute(format_moment(moment, zone), zone=zone) == moment
    if moment.year >= 1996:
        assert format_moment(moment, zone) == format_moment(moment, BERLIN)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("13pm", "before am and pm, use an hour from 1 to 12"),
        ("0am", "before am and pm, use an hour from 1 to 12"),
        ("6", "use now, "),
        ("tomorrow 6", "use now, "),
        ("2026-12-01 08", "use now, "),
        ("6xm", "use now, "),
        ("6:3pm", "use now, "),
    ],
)
def test_hours_without_minutes_need_am_or_pm(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"{text!r} is not a time: {why}"):
        parse_moment(text, now=SUNDAY, zone=BERLIN)
