"""``watch`` on virtual time, and its screen."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trio
import trio.testing
from rich.console import Console
from rich.text import Text

from trio_dispatch import RecurrenceRule, TargetIds
from trio_dispatch.cli.app.settings import Settings
from trio_dispatch.cli.commands.screen import Schedule, draw_screen
from trio_dispatch.cli.commands.watch import watch
from trio_dispatch.clock import VIRTUAL_START
from trio_dispatch.model.recurrence.rule import Frequency
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")


class Output:
    """What was written, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def write(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        assert text.endswith("\n")
        self.lines += text.splitlines()

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines

    def take_json(self) -> list[Any]:
        return [json.loads(line) for line in self.take()]


@asynccontextmanager
async def watching(
    service: LocalService, type: str | None = None, **options: Any
) -> AsyncIterator[Output]:
    settings = Settings(
        microgrid=1, key=service.key, channel=service.channel, zone=BERLIN, **options
    )
    output = Output()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(watch, settings, type=type, write=output.write))
        await trio.sleep(0.5)
        yield output
        nursery.cancel_scope.cancel()


async def test_lines_for_people(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_service() as service:
        await service.put(make_dispatch(1, payload={"power_kw": 5}))
        await service.put(make_dispatch(2, start_time=VIRTUAL_START + HOUR))
        async with watching(service) as output:
            assert output.take() == [
                "following microgrid 1, which has 2 dispatches",
                "01:00:00  sync      live since 01:00",
                '01:00:00  runs      #1 CHARGE on 1 until 02:00  {"power_kw": 5}',
            ]
            await trio.sleep(9)
            await service.client.create(
                1,
                type="PULSE",
                start_time=VIRTUAL_START + MINUTE,
                duration=timedelta(),
                target=TargetIds(7, 8),
                dry_run=True,
            )
            await trio.sleep(1)
            assert output.take() == ["01:00:09  created   #3 PULSE on 7,8 (dry run) from 01:01"]
            await trio.sleep(60)
            assert output.take() == ["01:01:00  pulse     #3 PULSE on 7,8 (dry run)"]
            await service.client.update(1, 1, payload={"power_kw": 7.5})
            await trio.sleep(1)
            assert output.take() == [
                (
                    "01:01:10  updated   #1 CHARGE on 1 until 02:00"
                    '  payload: {"power_kw": 5} -> {"power_kw": 7.5}'
                ),
                '01:01:10  runs      #1 CHARGE on 1 until 02:00  {"power_kw": 7.5}',
            ]
            await service.client.delete(1, 1)
            await service.client.update(1, 2, active=False)
            await trio.sleep(1)
            lines = output.take()
            assert sorted(lines) == [
                "01:01:11  deleted   #1 CHARGE on 1",
                "01:01:11  stops     #1 CHARGE on 1",
                "01:01:11  updated   #2 CHARGE on 1  active: yes -> no",
            ]
            assert lines.index("01:01:11  deleted   #1 CHARGE on 1") < lines.index(
                "01:01:11  stops     #1 CHARGE on 1"
            )


async def test_json_begins_with_all_dispatches(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_service() as service:
        await service.put(make_dispatch(1))
        await service.put(make_dispatch(2, start_time=VIRTUAL_START + HOUR))
        async with watching(service, output="json") as output:
            events = output.take_json()
            assert sorted((e["event"], e.get("dispatch", {}).get("id")) for e in events[:3]) == [
                ("known", 1), ("known", 2), ("sync", None),
            ]  # fmt: skip
            assert (events[3]["event"], events[3]["dispatch"]["id"]) == ("runs", 1)
            assert events[3]["dispatch"]["until"] == "2026-01-01T01:00:00Z"
            await trio.sleep(3600)
            runs, stops = output.take_json()
            assert (runs["event"], runs["dispatch"]["id"]) == ("runs", 2)
            assert (stops["event"], stops["dispatch"]["running"]) == ("stops", False)
            assert stops["time"].startswith("2026-01-01T01:00:00")


async def test_watch_one_type(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_service() as service:
        await service.put(make_dispatch(1, type="A"))
        await service.put(make_dispatch(2, type="B"))
        async with watching(service, "B", output="json") as output:
            ids = {e["dispatch"]["id"] for e in output.take_json() if "dispatch" in e}
            assert ids == {2}


async def test_a_lost_connection_is_shown_and_the_schedule_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service() as service:
        await service.put(make_dispatch(1, start_time=VIRTUAL_START + MINUTE))
        async with watching(service, output="json") as output:
            output.take()
            await service.stop()
            await trio.sleep(100)
            events = output.take_json()
            assert {"waiting"} == {e["phase"] for e in events if e["event"] == "sync"}
            assert "UNAVAILABLE" in events[0]["error"]
            assert [e["dispatch"]["id"] for e in events if e["event"] == "runs"] == [1]
            await service.restart()
            await trio.sleep(100)
            assert output.take_json()[-1]["phase"] == "live"


async def test_the_same_error_is_shown_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_service() as service, watching(service) as output:
        output.take()
        await service.stop()
        await trio.sleep(600)
        errors = [line.partition("disconnected: ")[2].partition(";")[0] for line in output.take()]
        assert len(errors) == len(set(errors)) <= 3
        await service.restart()
        await trio.sleep(100)
        await service.stop()
        await trio.sleep(1)
        lines = output.take()
        assert "live since" in lines[0]
        assert "disconnected" in lines[1]


async def test_a_slow_reader_holds_up_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_service() as service:
        settings = Settings(microgrid=1, key=service.key, channel=service.channel, output="json")
        events: list[Any] = []

        async def write(text: str) -> None:
            await trio.sleep(600)
            events.extend(map(json.loads, text.splitlines()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(watch, settings, write=write))
            await trio.sleep(1)
            for number in range(20):
                await service.client.create(
                    1, type=f"T{number}", start_time="NOW", duration=HOUR, target=TargetIds(1)
                )
            await trio.sleep(1500)
            nursery.cancel_scope.cancel()
        created = [e["dispatch"]["id"] for e in events if e["event"] == "created"]
        assert created == [*range(1, 21)]


# The screen.


def shown(width: int, height: int, *, count: int = 3) -> list[str]:
    """The screen of a dispatcher with some dispatches, at 1:30 of virtual time."""
    now = VIRTUAL_START + HOUR / 2
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    lines: list[str] = []

    async def main() -> None:
        async with open_test_service() as service:
            await service.put(make_dispatch(1, payload={"power_kw": 5}))
            await service.put(make_dispatch(2, type="ENDLESS", duration=None, dry_run=True))
            rule = RecurrenceRule(Frequency.DAILY)
            late = make_dispatch(start_time=VIRTUAL_START + HOUR, recurrence=rule)
            for id_ in range(3, 3 + count):
                await service.put(replace(late, id=id_))
            settings = Settings(microgrid=1, key=service.key, channel=service.channel, zone=BERLIN)
            async with settings.dispatcher() as dispatcher:
                schedule = Schedule()
                await schedule.refresh(dispatcher.dispatches, now)
                events = [Text(f"event {n}") for n in range(50)]
                screen = draw_screen(settings, dispatcher, schedule, events, now, console)
                with console.capture() as captured:
                    console.print(screen)
                lines.extend(Text.from_ansi(captured.get()).plain.rstrip("\n").split("\n"))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return lines


def test_the_screen_shows_running_and_coming_dispatches() -> None:
    lines = shown(100, 30)
    assert lines[0].startswith("microgrid 1  2026-01-01 01:30:00 Europe/Berlin  live since")
    text = "\n".join(line.rstrip() for line in lines)
    assert "Runs now\nID  TYPE" in text
    assert ' 1  CHARGE             1       02:00  30m      {"power_kw": 5}' in text
    assert " 2  ENDLESS (dry run)  1              forever" in text
    assert " 3  CHARGE  1       02:00  30m  1h" in text
    assert lines[-1].startswith("event 49")


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (40, 20), (200, 60)])
@pytest.mark.parametrize("count", [0, 3, 200])
def test_the_screen_fits(width: int, height: int, count: int) -> None:
    lines = shown(width, height, count=count)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    assert count < 200 or any("of 200" in line for line in lines)


async def test_the_schedule_updates_what_has_changed_or_passed() -> None:
    schedule = Schedule()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rule = RecurrenceRule(Frequency.HOURLY)
    hourly = make_dispatch(1, start_time=start, duration=MINUTE, recurrence=rule)
    await schedule.refresh({1: hourly}, start - MINUTE)
    assert [run for run, _ in schedule.coming()] == [start]
    await schedule.refresh({1: hourly}, start + MINUTE)
    assert [run for run, _ in schedule.coming()] == [start + HOUR]
    await schedule.refresh({1: replace(hourly, active=False)}, start + MINUTE)
    assert schedule.coming() == []
    await schedule.refresh({}, start)
    assert schedule.running(start) == []


async def test_a_resync_is_no_event(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_service() as service:
        await service.put(make_dispatch(1, duration=None))
        async with watching(service) as output:
            assert len(output.take()) == 3
            await trio.sleep(4 * 3600)
            assert output.take() == [], "to list everything again is no news"
