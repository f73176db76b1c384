"""The pages about actors and merging: each block of Python does what the page says."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import trio_dispatch
from trio_dispatch import Dispatcher, TargetIds, clock, open_dispatcher
from trio_dispatch.clock import VIRTUAL_START as START
from trio_dispatch.dispatcher.cache_file import save
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
IMPORTED = ["ActorRun", "BatteryType", "MergeByComponent", "TargetIds"]
LENGTH = 100.0  # seconds for which a block is run


@dataclass
class Block:
    title: str
    line: int
    source: str


def blocks_of(name: str) -> list[Block]:
    page = (HOWTO / name).read_text()
    blocks = []
    title = ""
    pattern = r"^## (?P<title>[^\n]*)$|^```python\n(?P<source>.*?)^```$"
    for part in re.finditer(pattern, page, re.MULTILINE | re.DOTALL):
        if part["title"]:
            title = part["title"]
        else:
            blocks.append(Block(title, page.count("\n", 0, part.start("source")), part["source"]))
    return blocks


class BatteryError(Exception):
    pass


@dataclass
class Battery:
    """A battery with the methods that the pages use, and a log of them."""

    id: int = 0
    log: list[tuple[float, str]] = field(default_factory=list)
    measured_power: float = 0.0
    checks: int = 0

    async def set_power(self, power: float) -> None:
        await trio.sleep(0.1)
        self.note(f"set {power:g}")

    async def adjust_power(self, by: float) -> None:
        await trio.lowlevel.checkpoint()
        self.measured_power += by

    async def check(self) -> None:
        self.checks += 1
        if self.checks == 1:
            raise BatteryError("it is on fire")

    async def show(self, text: str) -> None:
        self.note(text)

    async def switch_on(self) -> None:
        self.note("on")

    async def switch_off(self) -> None:
        await trio.sleep(0.1)
        self.note("off")

    def note(self, what: str) -> None:
        which = f"battery {self.id}: " if self.id else ""
        self.log.append(((clock.now() - START).total_seconds(), which + what))


@dataclass
class Bench:
    """What a block is run with."""

    service: LocalService
    dispatcher: Dispatcher
    battery: Battery
    printed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # They share a log.
        self.batteries = {id_: Battery(id_, self.battery.log) for id_ in (1, 2)}

    async def put(self, id_: int = 1, power: float = 5, **fields: Any) -> None:
        content: dict[str, Any] = {
            "payload": {"power_kw": power, "zone": "north"},
            "update_time": clock.now(),
        }
        await self.service.put(make_dispatch(id_, **(content | fields)))


Story = Callable[[Bench], Awaitable[None]]


async def run_block(
    block: Block, names: dict[str, Any], story: Story, bench: Bench
) -> list[tuple[float, str]]:
    """Run a block, which may await at its top level, during a story; returns the log."""
    names |= {
        "__name__": "page",
        "dataclass": dataclass,
        **{name: getattr(trio_dispatch, name) for name in IMPORTED},
        "trio": trio,
        "battery": bench.battery,
        "dispatcher": bench.dispatcher,
        "batteries": bench.batteries,
        "BatteryError": BatteryError,
        "print": lambda *args: bench.printed.append(" ".join(map(str, args))),
    }
    # With the line numbers of the page, for tracebacks.
    source = "\n" * block.line + block.source
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, block.title, "exec", flags=flags, dont_inherit=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(story, bench)
        with trio.move_on_after(LENGTH):
            running = eval(code, names)
            if inspect.iscoroutine(running):
                await running
        nursery.cancel_scope.cancel()
    return [(round(when, 3), what) for when, what in bench.battery.log]


async def follow(
    page: str,
    title: str,
    stories: list[tuple[Story, list[tuple[float, str]] | None]],
    cache: Path | None = None,
    names: dict[str, Any] | None = None,
) -> list[Bench]:
    """Run the blocks of a section, each with a story and the expected log of the battery."""
    blocks = [block for block in blocks_of(page) if block.title == title]
    benches = []
    names = {} if names is None else names
    for block, (story, log) in zip(blocks, stories, strict=True):
        clock.virtual_clock().set(START)
        async with (
            open_test_service(keepalive=False) as service,
            open_dispatcher(
                microgrid_id=1, channel=service.channel, key=service.key, cache=cache
            ) as dispatcher,
        ):
            bench = Bench(service, dispatcher, Battery())
            benches.append(bench)
            found = await run_block(block, names, story, bench)
            assert log is None or found == log, f"{title}, line {block.line}"
    return benches


async def a_run_that_changes(bench: Bench) -> None:
    await bench.put(duration=60 * SECOND)
    await trio.sleep(10)
    await bench.put(power=7, duration=60 * SECOND)


def defined_in(page: str, *titles: str) -> dict[str, Any]:
    """The functions that the first block of each section defines."""
    names: dict[str, Any] = {"trio": trio, "BatteryType": trio_dispatch.BatteryType}
    for title in titles:
        block = next(block for block in blocks_of(page) if block.title == title)
        exec(block.source.partition("\n\n\n")[0], names)
    return names


def charge() -> dict[str, Any]:
    return defined_in("actors.md", "The last command")


async def test_the_last_command(autojump_clock: trio.testing.MockClock) -> None:
    await follow(
        "actors.md",
        "The last command",
        [(a_run_that_changes, [(0.1, "set 5"), (10.1, "set 7"), (60.1, "set 0")])],
    )


async def test_changes(autojump_clock: trio.testing.MockClock) -> None:
    async def look(bench: Bench) -> None:
        await a_run_that_changes(bench)
        await trio.sleep(9.5 - 0.1)
        assert bench.battery.measured_power == pytest.approx(7, abs=0.01)

    refreshed = [(0.1, "set 5"), (10.1, "set 7"), (40.2, "set 7"), (60.1, "set 0")]
    await follow(
        "actors.md", "Changes", [(look, [(60.1, "set 0")]), (a_run_that_changes, refreshed)]
    )


async def test_when_it_returns(autojump_clock: trio.testing.MockClock) -> None:
    await follow(
        "actors.md", "When it returns", [(a_run_that_changes, [(0, "charging until 00:01")])]
    )


async def test_when_it_fails(autojump_clock: trio.testing.MockClock) -> None:
    async def once(bench: Bench) -> None:
        await bench.put(duration=60 * SECOND)

    restarted, ended = await follow("actors.md", "When it fails", [(once, None), (once, None)])
    log = [what for _, what in restarted.battery.log]
    assert log == ["set 5", "set 0", "set 5", "set 0"]
    assert restarted.battery.log[2][0] < 1
    assert [what for _, what in ended.battery.log] == ["set 5", "set 0"]
    assert ended.printed == ["giving up: it is on fire"]


async def test_pulses(autojump_clock: trio.testing.MockClock) -> None:
    async def pulse_and_run(bench: Bench) -> None:
        await bench.put(1, type="SWITCH", start_time=START + 5 * SECOND, duration=timedelta())
        await bench.put(2, type="SWITCH", start_time=START + 20 * SECOND, duration=10 * SECOND)

    await follow("actors.md", "Pulses", [(pulse_and_run, [(5, "on"), (20, "on"), (30.1, "off")])])


async def test_after_a_crash(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    ran = make_dispatch(1, start_time=START - HOUR, duration=30 * MINUTE)
    save(tmp_path / "cache", 1, START - HOUR, {1: ran}, [1])

    async def another_one(bench: Bench) -> None:
        await bench.put(2, duration=60 * SECOND)

    await follow(
        "actors.md",
        "After a crash",
        [(another_one, [(0.1, "set 0"), (0.2, "set 5"), (60.1, "set 0")])],
        cache=tmp_path / "cache",
        names=charge(),
    )


async def test_several_calls_and_other_tasks(autojump_clock: trio.testing.MockClock) -> None:
    names = defined_in("actors.md", "The last command", "Pulses")

    async def both(bench: Bench) -> None:
        await bench.put(1, duration=60 * SECOND)
        await bench.put(2, type="SWITCH", start_time=START + 20 * SECOND, duration=10 * SECOND)

    log = [(0.1, "set 5"), (20, "on"), (30.1, "off"), (60.1, "set 0")]
    (bench,) = await follow(
        "actors.md", "Several calls, and other tasks", [(both, log)], names=names
    )
    assert bench.printed == ["all actors are running"]


async def test_which_dispatches_are_run(autojump_clock: trio.testing.MockClock) -> None:
    async def some(bench: Bench) -> None:
        await bench.put(1, duration=20 * SECOND, dry_run=True)
        await bench.put(2, duration=20 * SECOND, target=TargetIds(3))
        await trio.sleep(5)
        await bench.put(3, 7, duration=20 * SECOND, target=TargetIds(2, 3))

    log = [(0, "would set 5.0 kW"), (5.1, "set 7"), (20.1, "set 0")]
    await follow("actors.md", "Which dispatches are run", [(some, log)], names=charge())


async def test_typed_payloads(autojump_clock: trio.testing.MockClock) -> None:
    async def some(bench: Bench) -> None:
        await bench.put(1, duration=60 * SECOND)
        await bench.put(2, duration=60 * SECOND, payload={"power": 5})
        await trio.sleep(10)
        await bench.put(1, duration=50 * SECOND, payload={"power": 5})

    log = [(0.1, "set 5"), (10.1, "set 5"), (50.1, "set 0")]
    await follow("actors.md", "Typed payloads", [(some, log)])


async def test_what_runs_now(autojump_clock: trio.testing.MockClock) -> None:
    (block,) = [block for block in blocks_of("actors.md") if block.title == "What runs now"]
    async with (
        open_test_service(keepalive=False) as service,
        open_dispatcher(microgrid_id=1, channel=service.channel, key=service.key) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        bench = Bench(service, dispatcher, Battery())
        await bench.put(1)
        await bench.put(2, dry_run=True)

        async def actor(run: trio_dispatch.ActorRun) -> None:
            await trio.sleep_forever()

        await nursery.start(dispatcher.run_actors, "CHARGE", actor)
        await trio.sleep(1)

        async def nothing(bench: Bench) -> None:
            pass

        await run_block(block, {}, nothing, bench)
        nursery.cancel_scope.cancel()
    running, refused = bench.printed
    assert running == "1 TaskState.RUNNING 1 None None"
    assert refused.startswith("2 None 0 None it is a dry run")


async def test_one_actor_for_each_component(autojump_clock: trio.testing.MockClock) -> None:
    """The table of the page."""
    title = "One actor for each component"
    (text,) = re.findall(r"```text\n(.*?)```", (HOWTO / "merging.md").read_text(), re.DOTALL)

    async def overlapping(bench: Bench) -> None:
        begin = START + HOUR
        both = TargetIds(1, 2)
        await bench.put(1, 3, start_time=begin, duration=40 * SECOND, target=both)
        await bench.put(2, 7, start_time=begin + 10 * SECOND, duration=10 * SECOND)
        clock.virtual_clock().set(begin - SECOND)

    (bench,) = await follow("merging.md", title, [(overlapping, None)])
    # Here, ten seconds stand for an hour.
    hours = [(8 + int(when - 3600) // 10, what) for when, what in bench.battery.log]
    seen = sorted(f"{hour:02}:00 {what.replace('set ', '')} kW\n" for hour, what in hours)
    assert "".join(seen) == text


async def test_several_types_on_one_component(autojump_clock: trio.testing.MockClock) -> None:
    async def overlapping(bench: Bench) -> None:
        await bench.put(1, 3, duration=60 * SECOND)
        times = {"start_time": START + 20 * SECOND, "duration": 20 * SECOND}
        await bench.put(2, 7, type="DISCHARGE", **times)

    names = defined_in("merging.md", "One actor for each component")
    names["components"] = {1: trio_dispatch.BatteryType.LI_ION}
    powers = {0.1: 3, 20.1: -7, 40.1: 3, 60.1: 0}
    log = [(when, f"battery 1: set {power}") for when, power in powers.items()]
    await follow("merging.md", "Several types on one component", [(overlapping, log)], names=names)


async def test_which_dispatch_drives(autojump_clock: trio.testing.MockClock) -> None:
    async def overlapping(bench: Bench) -> None:
        important = {"power_kw": 7, "priority": 1}
        await bench.put(1, payload=important, start_time=START + 20 * SECOND, duration=20 * SECOND)
        await bench.put(2, 3, start_time=START + 30 * SECOND, duration=20 * SECOND)

    names = defined_in("merging.md", "One actor for each component")
    names["components"] = {1: trio_dispatch.BatteryType.LI_ION}
    log = [(20.1, "battery 1: set 7"), (40.1, "battery 1: set 3"), (50.1, "battery 1: set 0")]
    await follow("merging.md", "Which dispatch drives", [(overlapping, log)], names=names)


async def test_a_strategy_of_your_own(autojump_clock: trio.testing.MockClock) -> None:
    async def overlapping(bench: Bench) -> None:
        await bench.put(1, 3, duration=80 * SECOND)
        await bench.put(2, 7, start_time=START + 20 * SECOND, duration=20 * SECOND)
        await bench.service.put(make_dispatch(3, payload={"power_kw": 9}))

    log: list[tuple[float, str]]
    log = [(0, "north: 3 kW"), (20, "north: 7 kW"), (40, "north: 3 kW"), (80, "north: off")]
    await follow("merging.md", "A strategy of your own", [(overlapping, log)])


def test_every_block_has_its_test() -> None:
    counts = {name: len(blocks_of(name)) for name in ("actors.md", "merging.md")}
    assert counts == {"actors.md": 12, "merging.md": 4}
    for name in counts:
        for path in re.findall(r"literalinclude\} (\S+)", (HOWTO / name).read_text()):
            assert (HOWTO / path).exists()
