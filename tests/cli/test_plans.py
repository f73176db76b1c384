"""``apply`` and ``diff``: whatever fails on the way, the same command finishes, and nothing else.

The real service in memory, real bytes, virtual time, and a dispatcher that follows.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.commanding import on_virtual_time, settings_for
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
