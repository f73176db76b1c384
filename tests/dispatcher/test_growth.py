"""A dispatcher holds nothing about dispatches that are gone, however many there have been."""

from __future__ import annotations

import gc
import logging
import random
from collections import Counter, deque
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.dispatching import dispatching
from trio_dispatch import (
    ActorRun,
    Dispatch,
    ElectricalComponentCategory,
    Frequency,
    MergeByComponent,
    Receiver,
    RecurrenceRule,
    TargetIds,
    clock,
)
from trio_dispatch.testing import LocalService, open_test_service

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
MERGE = MergeByComponent(dict.fromkeys(range(1, 5), ElectricalComponentCategory.BATTERY))

RARELY = {"probe_interval": 10 * MINUTE}
KINDS: list[dict[str, Any]] = [
    {},
    {},
    {"duration": timedelta()},
    {"duration": timedelta(), "payload": {"invalid": True}},
    {"duration": None},
    {"dry_run": True},
    {"active": False},
    {"type": "OTHER"},
    {"target": TargetIds(77)},
    {"payload": {"invalid": True}},
    {"payload": {"fails": True}},
    {"payload": {"returns": True}},
    {"recurrence": RecurrenceRule(Frequency.MINUTELY, interval=7)},
]


def holdings() -> Counter[str]:
    """Count what the objects of the package hold, by class and attribute."""
    gc.collect()
    found: Counter[str] = Counter()
    for owner in gc.get_objects():
        kind = type(owner)
        if not str(kind.__module__).startswith("trio_dispatch."):
            continue
        found[kind.__qualname__] += 1
        names = [*getattr(owner, "__dict__", ())]
        names += [name for each in kind.__mro__ for name in getattr(each, "__slots__", ())]
        for name in names:
            held = getattr(owner, name, None)
            if isinstance(held, dict | set | list | deque):
                found[f"{kind.__qualname__}.{name}"] += len(held)
    return found


def parse(payload: Any) -> Any:
    if "invalid" in payload:
        raise ValueError("invalid")
    return payload


async def act(run: ActorRun[Any]) -> None:
    await trio.sleep(20)
    if "fails" in run.payload:
        raise RuntimeError("it fails")
    if "returns" not in run.payload:
        await trio.sleep_forever()


async def read(receiver: Receiver[Any]) -> None:
    async for _ in receiver:
        pass


async def come_and_go(service: LocalService, rng: random.Random) -> None:
    """Have some dispatches of each kind come, change and go, and a part of the faults happen."""

    async def create(**fields: Any) -> Dispatch:
        arguments: dict[str, Any] = {
            "type": "CHARGE",
            "start_time": clock.now() + rng.randrange(5, 600) * SECOND,
            "duration": 3 * MINUTE,
            "target": TargetIds(rng.randint(1, 4)),
        }
        return await service.client.create(1, **(arguments | fields))

    present = [await create(**fields) for fields in KINDS * 2]
    for number in range(6):
        await trio.sleep(120)
        some = rng.choice(present).id
        await service.client.update(1, some, payload={"invalid": 1} if number % 2 else {"a": 1})
        match number:
            case 1:
                await service.drop_connections()
            case 3:
                await service.restart()
            case 4:
                await service.client.delete(1, present.pop().id)
    for dispatch in present:
        await service.client.delete(1, dispatch.id)
    await trio.sleep(1200)


async def test_dispatches_that_are_gone_take_no_memory(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # It would keep each error, and what that refers to.
    rng = random.Random(1)
    async with (
        open_test_service(db=tmp_path / "service.db", keepalive=False) as service,
        dispatching(service, cache=tmp_path / "cache", name="site-7", **RARELY) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        actors = partial(dispatcher.run_actors, "CHARGE", act, payload=parse, merge=MERGE)
        await nursery.start(actors)
        for status in (None, "CHARGE"):
            nursery.start_soon(read, dispatcher.running_status_change.new_receiver(type=status))
        nursery.start_soon(read, dispatcher.lifecycle_events.new_receiver())
        # Its actor never finishes.
        await service.client.create(
            1, type="CHARGE", start_time="NOW", duration=None, target=TargetIds(1)
        )
        await come_and_go(service, rng)
        before = holdings()
        for _ in range(2):
            await come_and_go(service, rng)
        after = holdings()
        nursery.cancel_scope.cancel()
    # A kind of dispatch of which something is left would leave it four times.
    growth = {name: held - before[name] for name, held in after.items()}
    assert {name: more for name, more in growth.items() if more > 3} == {}
