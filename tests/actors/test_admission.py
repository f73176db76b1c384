"""Dispatches that no actor is run for: dry runs, other components, invalid payloads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import trio
import trio.testing

from tests.helpers.acting import Diary, acting, lasting, now
from trio_dispatch import (
    ActorRun,
    Dispatch,
    ElectricalComponentCategory,
    MergeByComponent,
    MergeByTypeTarget,
    TargetCategories,
    TargetIds,
)
from trio_dispatch.testing import LocalService

BATTERIES = TargetCategories(ElectricalComponentCategory.BATTERY)


def logged(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "trio_dispatch.actors" and record.levelno >= level
    ]


@pytest.fixture(autouse=True)
def log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio_dispatch.actors")


@pytest.mark.parametrize("seconds", [0, 60], ids=["pulse", "run"])
async def test_dry_run_is_logged_once_and_not_run(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
    seconds: int,
) -> None:
    diary = Diary()
    async with acting(service, diary.actor) as dispatcher:
        await service.put(lasting(1, 10, seconds, dry_run=True))
        await trio.sleep(20)
        if seconds:
            await service.put(lasting(1, 10, seconds, dry_run=True, payload={"power": 1}))
            await trio.sleep(1)
            (run,) = dispatcher.runs
            assert (run.dispatch.id, run.state, run.attempts) == (1, None, 0)
            assert run.refusal is not None
            assert run.refusal.startswith("it is a dry run")
        await trio.sleep(100)
        assert dispatcher.runs == ()
    assert diary.entries == []
    (message,) = logged(caplog)
    assert message.startswith("microgrid 1, dispatch 1: not run: it is a dry run; run_actors(")


async def test_dry_run_is_handed_to_the_actor_with_dry_runs(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    dry_runs = []

    async def actor(run: ActorRun) -> None:
        async for dispatch in run.changes:
            dry_runs.append((now(), dispatch.dry_run))  # noqa: PERF401

    async with acting(service, actor, dry_runs=True):
        await service.put(lasting(1, 0, 60, dry_run=True))
        await trio.sleep(10)
        await service.put(lasting(1, 0, 60))
        await trio.sleep(10)
    assert dry_runs == [(0, True), (10, False)]


async def test_update_to_a_dry_run_stops_the_actor_and_back_starts_it(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    async with acting(service, diary.actor):
        for dry_run in (False, True, False):
            await service.put(lasting(1, 0, None, dry_run=dry_run))
            await trio.sleep(10)
    assert [what for _, what in diary.entries] == ["1: 1 None", "1: end"] * 2


# Targets.


async def test_only_the_components_of_this_process_are_shown(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shown = {}

    async def actor(run: ActorRun) -> None:
        shown[run.dispatch.id] = run.target, run.dispatch.target

    async with acting(service, actor, targets=TargetIds(1, 2)):
        await service.put(lasting(1, 0, 60, target=TargetIds(1)))
        await service.put(lasting(2, 0, 60, target=TargetIds(2, 3)))
        await service.put(lasting(3, 0, 60, target=TargetIds(3, 4)))
        await service.put(lasting(4, 0, 60, target=BATTERIES))
        await service.put(lasting(5, 0, 0, target=TargetIds(2, 3)))
        await trio.sleep(10)
    assert shown == {
        1: (TargetIds(1), TargetIds(1)),
        2: (TargetIds(2), TargetIds(2)),
        5: (TargetIds(2), TargetIds(2)),
    }
    assert sorted(logged(caplog)) == [
        "microgrid 1, dispatch 2: components 3 ignored: not of this process",
        "microgrid 1, dispatch 3: not run: its target 3,4 contains no component of this process",
        (
            "microgrid 1, dispatch 4: not run: its target battery cannot be resolved to "
            "components; give merge=MergeByComponent(components)"
        ),
        "microgrid 1, dispatch 5: components 3 ignored: not of this process",
    ]


async def test_update_of_the_target_moves_a_dispatch_in_and_out_of_this_process(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    async with acting(service, diary.actor, targets=TargetIds(1), merge=MergeByTypeTarget()):
        for target in (TargetIds(2), TargetIds(1, 2), TargetIds(1), TargetIds(2)):
            await service.put(lasting(1, 0, None, target=target))
            await trio.sleep(10)
    assert [entry for entry in diary.entries if entry[0] != 20] == [
        (10, "1: 1 None"),
        (30, "1: end"),
    ]


async def test_targets_limit_the_components_of_a_category(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    components = []

    async def actor(run: ActorRun) -> None:
        components.append(run.component)

    merge = MergeByComponent(dict.fromkeys((1, 2, 3), ElectricalComponentCategory.BATTERY))
    async with acting(service, actor, targets=TargetIds(2, 3, 4), merge=merge):
        await service.put(lasting(1, 0, 60, target=BATTERIES))
        await trio.sleep(10)
    assert sorted(components) == [2, 3]


# Payloads.


@dataclass(frozen=True)
class Setting:
    power: float


def parse(payload: dict[str, Any]) -> Setting:
    return Setting(**payload)


class TypedDiary(Diary):
    async def set(self, run: ActorRun[Setting]) -> None:
        try:
            async for dispatch in run.changes:
                assert dispatch.payload == {"power": run.payload.power}
                self.note(f"{dispatch.id}: {run.payload.power:g}")
        finally:
            with run.cleanup():
                self.note(f"{run.dispatch.id}: end")


@pytest.mark.parametrize("on_invalid", ["keep", "stop"])
async def test_update_to_an_invalid_payload_keeps_the_last_valid_one_or_stops_the_run(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
    on_invalid: Literal["keep", "stop"],
) -> None:
    diary = TypedDiary()
    async with acting(service, diary.set, payload=parse, on_invalid=on_invalid) as dispatcher:
        for payload in ({"power": 1}, {"watts": 2}, {"watts": 2}, {"power": 3}):
            await service.put(lasting(1, 0, 60, payload=payload))
            await trio.sleep(10)
            if payload == {"watts": 2}:
                (run,) = dispatcher.runs
                assert (run.state is None) == (on_invalid == "stop")
        await trio.sleep(60)
    begin, *middle, end = [what for _, what in diary.entries]
    error = "TypeError: Setting.__init__() got an unexpected keyword argument 'watts'"
    if on_invalid == "keep":
        assert set(middle) <= {"1: 1", "1: 3"}
        assert middle[-1] == "1: 3"
        said = "its new payload is invalid, the last valid one is kept"
    else:
        assert middle == ["1: end", "1: 3"]
        said = "not run: its payload is invalid"
    assert (begin, end) == ("1: 1", "1: end")
    assert diary.entries[-1] == (60, "1: end")
    assert logged(caplog) == [f"microgrid 1, dispatch 1: {said}: {error}"]


@pytest.mark.parametrize("seconds", [0, 60], ids=["pulse", "run"])
async def test_dispatch_with_an_invalid_payload_is_not_run_and_logged_once(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
    seconds: int,
) -> None:
    diary = TypedDiary()
    async with acting(service, diary.set, payload=parse, on_error="raise") as dispatcher:
        await service.put(lasting(1, 0, seconds, payload={"watts": 1}))
        await service.put(lasting(2, 0, 60, payload={"power": 2}))
        await trio.sleep(10)
        if seconds:
            refused, accepted = dispatcher.runs
            assert isinstance(refused.error, TypeError)
            assert refused.refusal is not None
            assert "its payload is invalid: TypeError: " in refused.refusal
            assert accepted.refusal is None
        await trio.sleep(100)
    assert diary.entries == [(0, "2: 2"), (60, "2: end")]
    assert len(logged(caplog, logging.ERROR)) == 1


async def test_payload_that_was_valid_in_an_earlier_run_is_not_kept_for_the_next(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = TypedDiary()
    async with acting(service, diary.set, payload=parse):
        await service.put(lasting(1, 0, 10, payload={"power": 1}))
        await trio.sleep(20)
        await service.put(lasting(1, 20, 10, payload={"watts": 1}))
        await trio.sleep(20)
    assert diary.entries == [(0, "1: 1"), (10, "1: end")]


async def test_parser_gets_a_plain_dict(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    parsed = []

    def keep(payload: dict[str, Any]) -> None:
        parsed.append(payload)

    async def actor(run: ActorRun[None]) -> None:
        assert run.payload is None

    async with acting(service, actor, payload=keep, on_error="raise"):
        await service.put(lasting(1, 0, 10, payload={"steps": [1, {"power": 2}]}))
        await trio.sleep(1)
    assert parsed == [{"steps": [1, {"power": 2}]}]
    assert type(parsed[0]) is dict
    assert type(parsed[0]["steps"]) is list


async def test_payload_without_a_parser_is_the_mapping(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    payloads: list[Mapping[str, object]] = []

    async def actor(run: ActorRun) -> None:
        payloads.append(run.payload)

    async with acting(service, actor):
        await service.put(lasting(1, 0, 10, payload={"power": 1}))
        await trio.sleep(1)
    assert payloads == [{"power": 1}]


# What is refused because of an error in the program.


async def test_dispatch_whose_priority_cannot_be_found_is_not_run(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def priority(dispatch: Dispatch) -> float:
        return float(str(dispatch.payload["priority"]))

    diary = Diary()
    async with acting(service, diary.actor, priority=priority):
        await service.put(lasting(1, 0, 60))
        await service.put(lasting(2, 0, 60, payload={"priority": 1}))
        await trio.sleep(10)
    assert diary.entries == [(0, "2: 2 None"), (10, "2: end")]
    (message,) = logged(caplog)
    assert "dispatch 1: not run: " in message
    assert message.endswith("priority failed: KeyError: 'priority'")


@pytest.mark.parametrize("priority", [float("nan"), None])
async def test_priority_that_is_no_number_is_refused(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
    priority: float,
) -> None:
    diary = Diary()
    async with acting(service, diary.actor, priority=lambda _: priority):
        await service.put(lasting(1, 0, 60))
        await trio.sleep(10)
    assert diary.entries == []
    (message,) = logged(caplog)
    assert message.endswith(f"failed: TypeError: {priority!r} is not a priority: give a number")
