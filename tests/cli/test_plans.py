"""``apply`` and ``diff``: whatever fails on the way, the same command finishes, and nothing else.

The real service in memory, real bytes, virtual time, and a dispatcher that follows.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
from collections import Counter
from collections.abc import Hashable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.commanding import Cli, ServiceThread, on_virtual_time, settings_for
from tests.helpers.effort import cases
from trio_dispatch import (
    Dispatch,
    DispatchContent,
    Frequency,
    RecurrenceRule,
    TargetIds,
    clock,
    open_dispatcher,
)
from trio_dispatch.cli.app.run import Failure
from trio_dispatch.cli.commands.plans import apply
from trio_dispatch.grpc import Status
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service
from trio_dispatch.text.records import read_record, record_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WRITES = ("create", "update", "delete")
FAILURES = (Status.UNAVAILABLE, Status.INTERNAL, Status.RESOURCE_EXHAUSTED, Status.ABORTED)


@st.composite
def contents(draw: st.DrawFn) -> dict[str, object]:
    """Values of a dispatch, with the start in hours from now."""
    return {
        "type": draw(st.sampled_from("AB")),
        "start": draw(st.integers(1, 60)),
        "duration": draw(st.sampled_from([HOUR, 3 * HOUR, DAY, None])),
        "target": draw(st.sampled_from([TargetIds(1), TargetIds(1, 2), TargetIds(7)])),
        "active": draw(st.booleans()),
        "dry_run": draw(st.sampled_from([False, False, True])),
        "payload": {"power_kw": draw(st.integers(0, 2))},
        "recurrence": draw(
            st.none()
            | st.sampled_from([(), (12,)]).map(lambda h: RecurrenceRule(Frequency.DAILY, byhours=h))
        ),
    }


class Scene:
    """A service with dispatches that run, and a plan that keeps some of them."""

    def __init__(self, data: st.DataObject, path: Path) -> None:
        self.path = path
        self.rng = random.Random(data.draw(st.integers(0, 2**32), label="seed"))
        self.pool = data.draw(st.lists(contents(), min_size=1, max_size=6), label="pool")
        self.counts = data.draw(st.tuples(*[st.integers(0, 5)] * 3), label="counts")
        self.entries: list[dict[str, object]] = []
        self.kept: set[int] = set()

    async def prepare(self, service: LocalService) -> None:
        present, edited, new = self.counts
        now = clock.now().replace(microsecond=0)
        for n in range(present + 3):
            values = self.some(now)
            if n < 3:  # they run now, and the plan keeps them
                values |= {"start_time": now - HOUR, "duration": 9 * DAY, "recurrence": None}
                values |= {"active": True}
            dispatch = make_dispatch(n + 1, **values, create_time=now - DAY + n * HOUR)  # type: ignore[arg-type]
            await service.put(dispatch)
            record = record_of(dispatch)
            if n < 3:
                self.kept.add(dispatch.id)
                self.entries.append(record)
            elif self.rng.random() < 0.6:
                if n - 3 < edited:
                    record |= {"payload": {"power_kw": self.rng.randint(0, 9)}}
                    record |= {"duration": 60 * self.rng.randint(1, 99)}
                if self.rng.random() < 0.5:
                    del record["id"]
                if self.rng.random() < 0.5:
                    record["name"] = f"entry {n}"
                self.entries.append(record)
        for n in range(new):
            record = record_of(make_dispatch(0, **self.some(now)))  # type: ignore[arg-type]
            del record["id"], record["create_time"]
            self.entries.append(record | ({"name": f"new {n}"} if n % 2 else {}))
        self.rng.shuffle(self.entries)
        self.path.write_text("".join(f"{json.dumps(each)}\n" for each in self.entries))

    def some(self, now: datetime) -> dict[str, object]:
        values = dict(self.rng.choice(self.pool))
        return values | {"start_time": now + values.pop("start") * HOUR}  # type: ignore[operator]

    async def disturb(self, service: LocalService) -> None:
        """Let calls fail: before they are carried out, after, or with the connection."""
        for _ in range(self.rng.randint(1, 2)):
            service.fail_next(self.rng.choice((*WRITES, "list")), self.rng.choice(FAILURES))
        if self.rng.random() < 0.3:
            await trio.sleep(self.rng.random() / 50)
            await service.drop_connections()


def read_entry(record: dict[str, object]) -> Dispatch:
    return read_record({key: each for key, each in record.items() if key != "name"}, zone=UTC)


def meaning(dispatch: Dispatch) -> Hashable:
    content = DispatchContent.of(dispatch)
    return (*(getattr(content, name) for name in content.__dataclass_fields__),)


@settings(max_examples=cases(12, long=1500))
@given(st.data())
def test_the_same_command_finishes_what_failures_interrupt(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.jsonl"
    scene = Scene(data, path)
    prune = data.draw(st.booleans(), label="prune")

    async def main() -> None:
        async with open_test_service() as service:
            await scene.prepare(service)
            before = await service.dispatches()
            options = settings_for(service)

            async def command() -> bool:
                """Whether the command succeeded."""
                try:
                    await apply(options, file=str(path), prune=prune, yes=True, types=["A", "B"])
                except Exception:
                    await trio.sleep(1)
                    return False
                return True

            async def interrupted() -> bool:
                """Whether it succeeded although replies are late and somebody presses Ctrl-C."""
                late = scene.rng.choice([0, 0, 40])  # 40 s is beyond its timeout
                with (
                    service.delay(*WRITES, seconds=late),
                    trio.move_on_after(scene.rng.choice([0.01, 9999])) as scope,
                ):
                    return await command()
                assert scope.cancelled_caught
                return False

            async with (
                open_dispatcher(
                    microgrid_id=1, channel=service.channel, key=service.key
                ) as dispatcher,
                dispatcher.running_status_change.new_receiver() as status,
                trio.open_nursery() as nursery,
            ):
                seen: list[int] = []

                async def listen() -> None:
                    async for message in status:
                        seen.append(message.id)  # noqa: PERF401

                nursery.start_soon(listen)
                await trio.sleep(1)
                assert scene.kept <= {*seen}
                seen.clear()
                for _ in range(scene.rng.randint(1, 6)):
                    nursery.start_soon(scene.disturb, service)
                    await interrupted()
                await trio.sleep(1)
                for _ in range(20):
                    if await command():
                        break
                else:
                    raise AssertionError("it never finished")
                await trio.sleep(1)
                calls = service.calls
                assert await command()
                for name in WRITES:
                    assert service.calls[name] == calls[name], "nothing is left to do"
                await trio.sleep(1)
                assert not {*seen} & scene.kept, "a run that the plan does not change goes on"
                nursery.cancel_scope.cancel()
            after = await service.dispatches()
        wanted = Counter(meaning(read_entry(record)) for record in scene.entries)
        found = Counter(map(meaning, after.values()))
        if prune:
            assert found == wanted
        else:
            assert found >= wanted
            assert before.keys() <= after.keys()

    on_virtual_time(main)


# What people see.

PLAN = """\
microgrid = 1
types = ["CHARGE", "HEAT"]

[[dispatch]]
name = "noon"
type = "CHARGE"
start_time = 2090-01-01T12:00:00Z
duration = "90m"
target = "1-3"
payload = { power_kw = 5 }

[[dispatch]]
name = "evening"
type = "HEAT"
start_time = 2090-01-01T18:00:00Z
duration = "1h"
target = "hvac"
"""


@pytest.fixture
def plan(cli: Cli) -> Path:
    path = cli.directory / "plan.toml"
    path.write_text(PLAN)
    return path


def edited(plan: Path, *pairs: str) -> None:
    """Replace texts in a file."""
    text = plan.read_text()
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    plan.write_text(text)


def ids_of(service_thread: ServiceThread) -> dict[str, int]:
    return {each.type: id_ for id_, each in service_thread.dispatches().items()}


def test_from_a_plan_to_dispatches(cli: Cli, service_thread: ServiceThread, plan: Path) -> None:
    shown = cli("diff", str(plan))
    assert shown.exit_code == 1
    assert shown.stdout == (
        f"+ CHARGE  {plan}:4: 'noon'\n"
        "    target    1-3\n    start     2090-01-01 13:00\n    duration  1h30m\n"
        '    payload   {"power_kw": 5}\n'
        f"+ HEAT  {plan}:12: 'evening'\n"
        "    target    hvac\n    start     2090-01-01 19:00\n    duration  1h\n"
    )
    assert "microgrid 1: 2 to create; times in Europe/Berlin" in shown.stderr
    assert "--yes is required to apply a plan" in cli.fails(2, "apply", str(plan))
    assert service_thread.dispatches() == {}
    assert not plan.with_name("plan.toml.state").exists()

    applied = cli.ok("apply", str(plan), "--yes")
    ids = ids_of(service_thread)
    assert applied == (
        f"created #{ids['CHARGE']}  {plan}:4: 'noon'\n"
        f"created #{ids['HEAT']}  {plan}:12: 'evening'\n"
    )
    assert cli.ok("diff", str(plan), "--prune") == ""
    state = plan.with_name("plan.toml.state").read_bytes()
    assert cli.ok("apply", str(plan), "--yes") == ""
    assert plan.with_name("plan.toml.state").read_bytes() == state

    edited(plan, "power_kw = 5", "power_kw = 7", '"1h"', '"2h"')
    assert cli("diff", str(plan)).stdout == (
        f"~ #{ids['CHARGE']} CHARGE on 1-3  {plan}:4: 'noon'\n"
        '    payload   {"power_kw": 5} -> {"power_kw": 7}\n'
        f"~ #{ids['HEAT']} HEAT on hvac  {plan}:12: 'evening'\n    duration  1h -> 2h\n"
    )
    records = cli.json("apply", str(plan), "--yes")
    assert records[1] == {
        "action": "update", "place": f"{plan}:12: 'evening'", "id": ids["HEAT"],
        "old": {"duration": 3600}, "new": {"duration": 7200}, "done": True,
    }  # fmt: skip
    assert ids_of(service_thread) == ids


def test_prune_deletes_within_the_scope(
    cli: Cli, service_thread: ServiceThread, plan: Path
) -> None:
    service_thread.put(*(make_dispatch(id_, type=type_) for id_, type_ in enumerate("XY", 901)))
    service_thread.put(make_dispatch(903, type="HEAT", duration=HOUR))
    result = cli("apply", str(plan), "--yes")
    assert "1 dispatch not in the plan would be deleted with --prune" in result.stderr
    assert {901, 902, 903} <= service_thread.dispatches().keys()
    assert "- #903 HEAT on 1\n" in cli("diff", str(plan), "--prune").stdout
    assert "deleted #903" in cli.ok("apply", str(plan), "--yes", "--prune")
    # Without its entries it still speaks for its types.
    plan.write_text('types = ["CHARGE", "HEAT"]\n')
    cli.ok("apply", str(plan), "--yes", "--prune")
    assert service_thread.dispatches().keys() == {901, 902}
    # With no type named, what the plan has created before is still its own.
    plan.write_text(PLAN)
    cli.ok("apply", str(plan), "--yes")
    second = PLAN[PLAN.index('\n[[dispatch]]\nname = "evening') :]
    edited(plan, 'types = ["CHARGE", "HEAT"]', "", second, "")
    cli.ok("apply", str(plan), "--yes", "--prune")
    assert sorted(ids_of(service_thread)) == ["CHARGE", "X", "Y"]


def test_a_plan_of_another_microgrid(cli: Cli, plan: Path) -> None:
    message = cli.fails(2, "apply", str(plan), "-m", "2")
    assert message.startswith(f"{plan} is a plan for microgrid 1, not 2")


def test_the_exit_statuses_of_diff_after_errors(cli: Cli, plan: Path) -> None:
    cli.fails(2, "diff", str(plan), "--url", "grpc://127.0.0.1:1?ssl=false")
    cli.fails(2, "diff", str(plan), "--key", "wrong")
    cli.fails(2, "diff", str(plan.with_name("none.toml")))
    cli.fails(4, "apply", str(plan), "--yes", "--url", "grpc://127.0.0.1:1?ssl=false")


@pytest.mark.parametrize("answer", ["y", "n"])
def test_it_asks_on_a_terminal(
    cli: Cli, service_thread: ServiceThread, plan: Path, answer: str
) -> None:
    ours, theirs = os.openpty()
    try:
        process = cli.start("apply", str(plan), stdin=theirs)
        os.write(ours, f"{answer}\n".encode())
        _, err = process.communicate(timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Do it? [y/N]" in err
    assert "+ CHARGE" in err
    assert process.returncode == (0 if answer == "y" else 2)
    assert len(service_thread.dispatches()) == (2 if answer == "y" else 0)


def test_a_renamed_entry_and_a_lost_state(
    cli: Cli, service_thread: ServiceThread, plan: Path
) -> None:
    cli.ok("apply", str(plan), "--yes")
    ids = ids_of(service_thread)
    state = plan.with_name("plan.toml.state")
    state.unlink()
    edited(plan, '"noon"', '"midday"')
    assert cli.ok("apply", str(plan), "--yes") == "", "found by content"
    assert '"midday"' in state.read_text()
    # Another machine has the plan and its state from git.
    other = cli.directory / "other"
    other.mkdir()
    for path in (plan, state):
        (other / path.name).write_bytes(path.read_bytes())
    edited(other / plan.name, "power_kw = 5", "power_kw = 8", '"midday"', '"12 o\'clock"')
    cli.ok("apply", str(other / plan.name), "--yes")
    assert ids_of(service_thread) == ids
    # The first one is behind: it has the old values, which it puts back in place.
    cli.ok("apply", str(plan), "--yes")
    assert ids_of(service_thread) == ids
    assert service_thread.dispatches()[ids["CHARGE"]].payload == {"power_kw": 5}


def test_a_state_of_another_service_is_not_believed(
    cli: Cli, service_thread: ServiceThread, plan: Path
) -> None:
    cli.ok("apply", str(plan), "--yes")
    ids = ids_of(service_thread)
    service_thread.clear()
    foreign = make_dispatch(ids["CHARGE"], payload={"mine": True}, start_time=clock_now() + DAY)
    service_thread.put(foreign)
    cli.ok("apply", str(plan), "--yes")
    assert service_thread.dispatches()[foreign.id] == foreign
    assert len(service_thread.dispatches()) == 3


def clock_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def test_a_state_that_is_not_one(cli: Cli, plan: Path) -> None:
    state = plan.with_name("plan.toml.state")
    for text in ("Buy milk.\n", "[]", '{"format": "trio-dispatch plan state 1", "x": 5}'):
        state.write_text(text)
        message = cli.fails(2, "apply", str(plan), "--yes")
        assert message.startswith(f"{state}: not the state of a plan: ")
        assert "remove it to have entries recognised by content" in message
    state.unlink()
    cli.ok("apply", str(plan), "--yes", "--state", str(plan.with_name("elsewhere")))
    assert not state.exists()


def test_a_plan_is_applied_once_at_a_time(cli: Cli, plan: Path) -> None:
    with plan.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "is being applied by another process" in cli.fails(2, "apply", str(plan), "--yes")
        assert cli("diff", str(plan)).exit_code == 1


@pytest.mark.parametrize("name", ["plan.csv", "plan.jsonl", "plan.toml"])
def test_an_export_is_a_plan_without_a_difference(
    cli: Cli, service_thread: ServiceThread, name: str
) -> None:
    service_thread.put(
        make_dispatch(1, duration=None, payload={"a": [None, "=1"]}),
        make_dispatch(2, type="=1+1", recurrence=RecurrenceRule(Frequency.DAILY, byhours=(8,))),
        make_dispatch(3, type="=1+1", start_time=clock_now() - 9 * DAY),
    )
    path = cli.directory / name
    cli.ok("export", str(path))
    assert cli.ok("diff", str(path), "--prune") == ""
    # Applied elsewhere it creates what is not over.
    service_thread.clear()
    result = cli("apply", str(path), "--yes")
    assert "is over, and is not created" in result.stderr
    assert cli.ok("diff", str(path), "--prune") == ""
    assert len(service_thread.dispatches()) == 2


async def test_what_the_service_refuses_does_not_stop_the_rest(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    async with open_test_service() as service:
        options = settings_for(service)
        service.fail_next("create", Status.INVALID_ARGUMENT, "dispatch_data.payload: too hot")
        with pytest.raises(Failure):
            await apply(options, file=str(path), yes=True)
        said = capsys.readouterr()
        assert said.out == f"created #1  {path}:12: 'evening'\n"
        assert f"{path}:4: 'noon': not created: payload too hot" in said.err
        assert said.err.endswith("1 done, 1 refused\n")
        service.fail_next("create", Status.UNAVAILABLE)
        with pytest.raises(Exception, match=r"."):
            await apply(options, file=str(path), yes=True)
        assert "0 done, 1 left: to do the rest, give the same command again" in (
            capsys.readouterr().err
        )
        await apply(options, file=str(path), yes=True)
        assert capsys.readouterr().out == f"created #2  {path}:4: 'noon'\n"
        edited(path, "power_kw = 5", "power_kw = 6")
        service.fail_next("update", Status.NOT_FOUND)
        with pytest.raises(Failure):
            await apply(options, file=str(path), yes=True)
        assert ": it was deleted meanwhile" in capsys.readouterr().err


# Local time.

LOCAL = """\
[[dispatch]]
name = "noon"
type = "CHARGE"
start_time = 2026-01-01 12:00:00
timezone = "Europe/Berlin"
duration = "90m"
target = [7]
recurrence = "FREQ=DAILY"
except = [2026-05-01]
"""


async def test_local_time_follows_the_clocks(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(LOCAL)
    berlin = ZoneInfo("Europe/Berlin")
    async with open_test_service(keepalive=False) as service:
        options = settings_for(service)

        async def applied(**more: Any) -> Counter[str]:
            before = service.calls
            await apply(options, file=str(path), yes=True, ahead=100 * DAY, **more)
            return +Counter({name: service.calls[name] - before[name] for name in WRITES})

        assert (await applied())["create"] == 2
        first = await service.dispatches()
        assert not (await applied()).total()
        await trio.sleep(75 * 86400)
        assert await applied() == Counter(create=1), "what comes after the exception"
        await trio.sleep(75 * 86400)
        assert not (await applied()).total(), "they last until the clocks change"
        dispatches = await service.dispatches()
        assert first.items() <= dispatches.items(), "past ones are as they were"
        starts = []
        for each in dispatches.values():
            start = each.first_after(each.start_time, inclusive=True)
            while start is not None:
                starts.append(start.astimezone(berlin))
                start = each.first_after(start)
        days = {start.date() for start in starts}
        assert len(days) == len(starts), "no run is doubled"
        assert {start.strftime("%H:%M") for start in starts} == {"12:00"}
        every = {date(2026, 1, 1) + n * DAY for n in range(len(days) + 1)}
        assert every - days == {date(2026, 5, 1)}, "no run is skipped but one"
        # What is over is deleted only with prune; an edited time moves what is to come.
        assert (await applied(prune=True))["delete"] == 2
        edited(path, "12:00:00", "11:00:00")
        assert await applied() == Counter(update=1)
        (remaining,) = (await service.dispatches()).values()
        run = remaining.next_run_after(clock.now())
        assert run is not None
        assert run.astimezone(berlin).hour == 11
