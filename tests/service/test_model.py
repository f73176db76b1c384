"""The service over real gRPC against a plain model of the API, with random calls."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_dispatch import clock
from trio_dispatch._generated.frequenz.api.common.v1alpha8.pagination import PaginationParams
from trio_dispatch._generated.frequenz.api.common.v1alpha8.streaming import Event
from trio_dispatch._generated.frequenz.api.common.v1alpha8.types import Interval
from trio_dispatch._generated.frequenz.api.dispatch import v1 as wire
from trio_dispatch._generated.google.protobuf import FieldMask
from trio_dispatch.codec import time_from_nanos, time_to_nanos
from trio_dispatch.grpc import GRPCError, Status
from trio_dispatch.service import open_store

from .conftest import Wired, wired

Update = wire.UpdateMicrogridDispatchRequestDispatchUpdate
SECOND = 10**9

TYPES = ["CHARGE", "CHARGE_FAST", "charge", "ü#4"]
TARGETS = [(1,), (2, 3), (3, 2)]
QUERIES = ["CHARGE", "arge", "#4", "#", "#0001", "", "#99999999999999999999999", "FAST"]
SORTS = [(field, order) for field in range(4) for order in range(3)]


@dataclass
class Entry:
    """A dispatch of the model."""

    id: int
    microgrid_id: int
    type: str
    target: tuple[int, ...]
    active: bool
    start: int
    duration: int | None
    created: int
    updated: int

    @property
    def end(self) -> int | None:
        return None if self.duration is None else self.start + self.duration * SECOND

    def key(self, sort_field: int) -> tuple[int, int]:
        value = {1: self.start, 3: self.updated}.get(sort_field, self.created)
        return value, self.id


@dataclass
class Filter:
    """A filter, for the service and for the model."""

    active: bool | None = None
    queries: tuple[str, ...] = ()
    targets: tuple[tuple[int, ...], ...] = ()
    ids: tuple[int, ...] = ()
    # Seconds from the virtual start of time.
    starts: tuple[int | None, int | None] | None = None
    ends: tuple[int | None, int | None] | None = None
    updated: tuple[int | None, int | None] | None = None

    def passes(self, entry: Entry) -> bool:
        return all(
            (
                self.active is None or entry.active == self.active,
                not self.queries or any(self._answers(q, entry) for q in self.queries),
                not self.targets or set(entry.target) in map(set, self.targets),
                not self.ids or entry.id in self.ids,
                self._within(self.starts, entry.start),
                self._within(self.ends, entry.end),
                self._within(self.updated, entry.updated),
            )
        )

    @staticmethod
    def _answers(query: str, entry: Entry) -> bool:
        if query[:1] == "#" and query[1:].isdigit():
            return entry.id == int(query[1:])
        return query in entry.type

    @staticmethod
    def _within(bounds: tuple[int | None, int | None] | None, moment: int | None) -> bool:
        low, high = bounds or (None, None)
        if moment is None:
            return high is None
        return (low is None or at(low) <= moment) and (high is None or moment < at(high))

    def message(self) -> wire.DispatchFilter:
        def interval(bounds: tuple[int | None, int | None] | None) -> Interval | None:
            if bounds is None:
                return None
            low, high = bounds
            return Interval(
                start_time=None if low is None else time_from_nanos(at(low)),
                end_time=None if high is None else time_from_nanos(at(high)),
            )

        return wire.DispatchFilter(
            is_active=self.active,
            queries=[*self.queries],
            targets=[target(ids) for ids in self.targets],
            dispatch_ids=[*self.ids],
            start_time_interval=interval(self.starts),
            end_time_interval=interval(self.ends),
            update_time_interval=interval(self.updated),
        )


def at(seconds: int) -> int:
    return time_to_nanos(clock.VIRTUAL_START) + seconds * SECOND


def target(ids: tuple[int, ...]) -> wire.TargetComponents:
    return wire.TargetComponents(component_ids=wire.TargetComponentsIdSet(ids=[*ids]))


@dataclass
class Walk:
    """A list that is read page by page."""

    microgrid_id: int
    filter: Filter
    sort: tuple[int, int]
    size: int
    order: list[int]
    token: str


@dataclass
class Model:
    entries: dict[int, Entry] = field(default_factory=dict)
    last_id: int = 0
    events: list[tuple[Event, int, int]] = field(default_factory=list)
    walks: list[Walk] = field(default_factory=list)


class Player:
    """Does the same to the service and to the model, and compares."""

    def __init__(self, service: Wired, stub: wire.MicrogridDispatchServiceStub, model: Model):
        self.stub = stub
        self.model = model

    async def create(self, microgrid_id: int, kind: int, ahead: int, duration: int | None) -> None:
        now = time_to_nanos(clock.now())
        start = now + ahead
        response = await self.stub.create_microgrid_dispatch(
            wire.CreateMicrogridDispatchRequest(
                microgrid_id=microgrid_id,
                dispatch_data=wire.DispatchData(
                    type=TYPES[kind],
                    start_time=time_from_nanos(start),
                    duration=duration,
                    target=target(TARGETS[kind % len(TARGETS)]),
                    is_active=True,
                ),
            )
        )
        self.model.last_id += 1
        entry = Entry(
            id=self.model.last_id,
            microgrid_id=microgrid_id,
            type=TYPES[kind],
            target=TARGETS[kind % len(TARGETS)],
            active=True,
            start=start,
            duration=duration,
            created=now,
            updated=now,
        )
        self.model.entries[entry.id] = entry
        self.record(Event.CREATED, entry)
        self.same(response.dispatch, entry)

    async def update(self, microgrid_id: int, id_: int, what: str, number: int) -> None:
        now = time_to_nanos(clock.now())
        update = Update()
        match what:
            case "is_active":
                update.is_active = number % 2 == 0
            case "duration" if number % 3:
                update.duration = number
            case "start_time":
                update.start_time = time_from_nanos(now + number * SECOND)
        call = self.stub.update_microgrid_dispatch(
            wire.UpdateMicrogridDispatchRequest(
                microgrid_id=microgrid_id,
                dispatch_id=id_,
                update=update,
                update_mask=FieldMask(paths=[what]),
            )
        )
        entry = self.model.entries.get(id_)
        if entry is None or entry.microgrid_id != microgrid_id:
            await self.not_found(call)
            return
        response = await call
        entry.updated = max(now, entry.updated + 1)
        match what:
            case "is_active":
                entry.active = number % 2 == 0
            case "duration":
                entry.duration = number if number % 3 else None
            case "start_time":
                entry.start = now + number * SECOND
        self.record(Event.UPDATED, entry)
        self.same(response.dispatch, entry)

    async def delete(self, microgrid_id: int, id_: int) -> None:
        call = self.stub.delete_microgrid_dispatch(
            wire.DeleteMicrogridDispatchRequest(microgrid_id=microgrid_id, dispatch_id=id_)
        )
        entry = self.model.entries.get(id_)
        if entry is None or entry.microgrid_id != microgrid_id:
            await self.not_found(call)
            return
        await call
        self.record(Event.DELETED, self.model.entries.pop(id_))

    async def get(self, microgrid_id: int, id_: int) -> None:
        call = self.stub.get_microgrid_dispatch(
            wire.GetMicrogridDispatchRequest(microgrid_id=microgrid_id, dispatch_id=id_)
        )
        entry = self.model.entries.get(id_)
        if entry is None or entry.microgrid_id != microgrid_id:
            await self.not_found(call)
        else:
            self.same((await call).dispatch, entry)

    async def walk(
        self, microgrid_id: int, filter_: Filter, sort: tuple[int, int], size: int
    ) -> None:
        """Read the first page of a list."""
        there = [e for e in self.model.entries.values() if e.microgrid_id == microgrid_id]
        ordered = sorted(there, key=lambda e: e.key(sort[0]), reverse=sort[1] != 1)
        walk = Walk(microgrid_id, filter_, sort, size, [e.id for e in ordered], "")
        await self.page(walk, PaginationParams(page_size=size))
        self.model.walks.append(walk)

    async def go_on(self, index: int) -> None:
        """Read the next page of a list that was begun earlier."""
        if self.model.walks:
            walk = self.model.walks[index % len(self.model.walks)]
            if walk.token:
                await self.page(walk, PaginationParams(page_token=walk.token))

    async def page(self, walk: Walk, params: PaginationParams) -> None:
        response = await self.stub.list_microgrid_dispatches(
            wire.ListMicrogridDispatchesRequest(
                microgrid_id=walk.microgrid_id,
                filter=walk.filter.message(),
                sort_options=wire.SortOptions(
                    sort_field=wire.SortField(walk.sort[0]),
                    sort_order=wire.SortOrder(walk.sort[1]),
                ),
                pagination_params=params,
            )
        )
        candidates = [
            id_
            for id_ in walk.order
            if (entry := self.model.entries.get(id_)) and walk.filter.passes(entry)
        ]
        expected = candidates[: walk.size]
        for dispatch, id_ in zip(response.dispatches, expected, strict=True):
            self.same(dispatch, self.model.entries[id_])
        if expected:
            walk.order = walk.order[walk.order.index(expected[-1]) + 1 :]
        info = response.pagination_info
        assert info is not None
        walk.token = info.next_page_token or ""
        assert bool(walk.token) == (len(candidates) > walk.size)
        assert info.total_items == sum(
            entry.microgrid_id == walk.microgrid_id and walk.filter.passes(entry)
            for entry in self.model.entries.values()
        )

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def step(self, seconds: int) -> None:
        clock.virtual_clock().step(timedelta(seconds=seconds))

    def record(self, event: Event, entry: Entry) -> None:
        if entry.microgrid_id == 1:
            self.model.events.append((event, entry.id, entry.updated))

    async def not_found(self, call: Any) -> None:
        with pytest.raises(GRPCError) as caught:
            await call
        assert caught.value.status is Status.NOT_FOUND

    def same(self, message: wire.Dispatch | None, entry: Entry) -> None:
        assert message is not None
        assert message.metadata is not None
        assert message.data is not None
        assert message.data.target is not None
        assert message.data.target.component_ids is not None
        end = message.metadata.end_time
        assert entry == Entry(
            id=message.metadata.dispatch_id,
            microgrid_id=entry.microgrid_id,
            type=message.data.type,
            target=tuple(message.data.target.component_ids.ids),
            active=message.data.is_active,
            start=nanos(message.data.start_time),
            duration=message.data.duration,
            created=nanos(message.metadata.create_time),
            updated=nanos(message.metadata.update_time),
        )
        assert (None if end is None else time_to_nanos(end)) == entry.end


def nanos(moment: Any) -> int:
    return time_to_nanos(moment)


microgrids = st.sampled_from([1, 1, 1, 2, (1 << 64) - 1])
ids = st.integers(1, 12)
bounds = st.none() | st.tuples(st.none() | st.integers(-5, 60), st.none() | st.integers(-5, 60))
filters = st.builds(Filter) | st.builds(
    Filter,
    active=st.none() | st.booleans(),
    queries=st.lists(st.sampled_from(QUERIES), max_size=2).map(tuple),
    targets=st.lists(st.sampled_from(TARGETS), max_size=2).map(tuple),
    ids=st.lists(ids, max_size=4).map(tuple),
    starts=bounds,
    ends=bounds,
    updated=bounds,
)


def step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(name), *arguments)


steps = st.one_of(
    step(
        "create",
        microgrids,
        st.integers(0, 3),
        st.integers(0, 40) | st.integers(0, 40 * SECOND),
        st.none() | st.integers(0, 30),
    ),
    step("create", microgrids, st.integers(0, 3), st.just(5 * SECOND), st.just(60)),
    step(
        "update",
        microgrids,
        ids,
        st.sampled_from(["is_active", "duration", "start_time"]),
        st.integers(0, 30),
    ),
    step("update", st.just(1), ids, st.just("is_active"), st.integers(0, 1)),
    step("delete", microgrids, ids),
    step("get", microgrids, ids),
    step("walk", microgrids, filters, st.sampled_from(SORTS), st.integers(1, 4)),
    step("go_on", st.integers(0, 3)),
    step("go_on", st.integers(0, 3)),
    step("wait", st.floats(0, 20)),
    step("step", st.integers(-30, 30)),
    step("restart"),
)


# A list is read while what it lists is being changed.
moving = st.one_of(
    step("update", st.just(1), st.integers(1, 8), st.just("start_time"), st.integers(0, 30)),
    step("update", st.just(1), st.integers(1, 8), st.just("is_active"), st.integers(0, 1)),
    step("delete", st.just(1), st.integers(1, 8)),
    step("create", st.just(1), st.just(0), st.integers(0, 30 * SECOND), st.just(60)),
    step("go_on", st.just(0)),
    step("go_on", st.just(0)),
    step("go_on", st.just(0)),
    step("restart"),
)
walking = st.builds(
    lambda created, walk, moved: [*created, walk, *moved],
    st.lists(
        step("create", st.just(1), st.just(0), st.integers(0, 30 * SECOND), st.just(60)),
        min_size=4,
        max_size=8,
    ),
    step("walk", st.just(1), st.just(Filter()), st.sampled_from(SORTS), st.integers(1, 2)),
    st.lists(moving, min_size=3, max_size=25),
)
scripts = st.lists(steps, max_size=40) | walking


async def play(path: Path | None, script: list[tuple[Any, ...]]) -> None:
    """Play a script; where it says so, the service and its store are closed and opened anew."""
    model = Model()
    parts: list[list[tuple[Any, ...]]] = [[]]
    for name, *arguments in script:
        if name == "restart" and path is not None:
            parts.append([])
        elif name != "restart":
            parts[-1].append((name, *arguments))
    for part in parts:
        events: list[tuple[Event, int, int]] = []
        model.events.clear()
        async with (
            open_store(path) as store,
            wired(store) as service,
            service.wire_channel() as channel,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(watch, service, events)
            player = Player(service, wire.MicrogridDispatchServiceStub(channel), model)
            for name, *arguments in part:
                await getattr(player, name)(*arguments)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert events == model.events


async def watch(
    service: Wired,
    events: list[tuple[Event, int, int]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    async def read() -> None:
        async for event in stream:
            dispatch = event.dispatch
            events.append((event.event, dispatch.id, time_to_nanos(dispatch.update_time)))

    async with (
        service.client() as client,
        client.stream(1) as stream,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(read)
        await stream.started.wait()
        task_status.started()


def run(main: Callable[[], Any]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


quickly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quickly
@given(scripts)
def test_in_memory(script: list[tuple[Any, ...]]) -> None:
    run(partial(play, None, script))


@settings(quickly, max_examples=40)
@given(scripts)
def test_on_disk(script: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        run(partial(play, Path(directory) / "dispatches.db", script))
