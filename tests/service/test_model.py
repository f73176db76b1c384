"""The service over real gRPC against a plain model of the API, with random calls."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.api_model import (
    SECOND,
    TARGETS,
    TYPES,
    Entry,
    Filter,
    Model,
    Walk,
    is_valid_rule,
    payload_of,
    target,
    update_message,
    updated_entry,
)
from tests.helpers.effort import cases
from tests.helpers.postgres import PostgresServer
from tests.helpers.service import Wired, wired
from tests.helpers.services import DispatchServiceStub
from trio_dispatch import Dispatch, clock
from trio_dispatch.api import wire
from trio_dispatch.api.codec import time_from_nanos, time_to_nanos
from trio_dispatch.api.wire import FieldMask, PaginationParams
from trio_dispatch.grpc import GRPCError, Status
from trio_dispatch.model.events import EventKind
from trio_dispatch.service import open_store

QUERIES = ["CHARGE", "arge", "#4", "#", "#0001", "", "#99999999999999999999999", "FAST"]
SORTS = [(field, order) for field in range(4) for order in range(3)]


class Player:
    """Make the same calls to the service and the model, and compare the results."""

    def __init__(self, stubs: list[DispatchServiceStub], model: Model) -> None:
        self._stubs = cycle(stubs)
        self.model = model

    @property
    def stub(self) -> DispatchServiceStub:
        """A service: of several, another one for each call."""
        return next(self._stubs)

    async def create(
        self,
        microgrid_id: int,
        kind: int,
        ahead: int | None,
        duration: int | None,
        payload: int | None,
        rule: tuple[int, int],
        dry_run: bool,
    ) -> None:
        """Create a dispatch, so many nanoseconds ahead; None stands for now."""
        now = time_to_nanos(clock.now())
        start = now - now % SECOND if ahead is None else now + ahead
        call = self.stub.create_microgrid_dispatch(
            wire.CreateMicrogridDispatchRequest(
                microgrid_id=microgrid_id,
                dispatch_data=wire.DispatchData(
                    type=TYPES[kind],
                    start_time=None if ahead is None else time_from_nanos(start),
                    duration=duration,
                    target=target(TARGETS[kind % len(TARGETS)]),
                    is_active=True,
                    is_dry_run=dry_run,
                    payload=payload_of(payload),
                    recurrence=wire.RecurrenceRule(
                        freq=wire.RecurrenceRuleFrequency(rule[0]), interval=rule[1]
                    ),
                ),
                start_immediately=ahead is None,
            )
        )
        if not is_valid_rule(rule):
            await self.refused(call, Status.INVALID_ARGUMENT)
            return
        response = await call
        self.model.last_id += 1
        entry = Entry(
            id=self.model.last_id,
            microgrid_id=microgrid_id,
            type=TYPES[kind],
            target=TARGETS[kind % len(TARGETS)],
            active=True,
            dry_run=dry_run,
            start=start,
            duration=duration,
            payload=payload,
            rule=rule,
            created=now,
            updated=now,
        )
        self.model.entries[entry.id] = entry
        self.record(EventKind.CREATED, entry)
        self.same(response.dispatch, entry)

    async def update(
        self, microgrid_id: int, id_: int, changes: dict[str, int | None], more: str | None = None
    ) -> None:
        """Change what is named, or clear it for None; `more` is named, too."""
        now = time_to_nanos(clock.now())
        call = self.stub.update_microgrid_dispatch(
            wire.UpdateMicrogridDispatchRequest(
                microgrid_id=microgrid_id,
                dispatch_id=id_,
                update=update_message(changes, now),
                update_mask=FieldMask(paths=[*changes, *([] if more is None else [more])]),
            )
        )
        entry = self.model.entries.get(id_)
        if entry is None or entry.microgrid_id != microgrid_id:
            await self.refused(call, Status.NOT_FOUND)
            return
        updated = updated_entry(entry, changes, now)
        if updated is None or more is not None or not changes:
            await self.refused(call, Status.INVALID_ARGUMENT)
            return
        response = await call
        self.model.entries[id_] = updated
        self.record(EventKind.UPDATED, updated)
        self.same(response.dispatch, updated)

    async def delete(self, microgrid_id: int, id_: int) -> None:
        call = self.stub.delete_microgrid_dispatch(
            wire.DeleteMicrogridDispatchRequest(microgrid_id=microgrid_id, dispatch_id=id_)
        )
        entry = self.model.entries.get(id_)
        if entry is None or entry.microgrid_id != microgrid_id:
            await self.refused(call, Status.NOT_FOUND)
            return
        await call
        self.record(EventKind.DELETED, self.model.entries.pop(id_))

    async def get(self, microgrid_id: int, id_: int) -> None:
        call = self.stub.get_microgrid_dispatch(
            wire.GetMicrogridDispatchRequest(microgrid_id=microgrid_id, dispatch_id=id_)
        )
        entry = self.model.entries.get(id_)
        if entry is None or entry.microgrid_id != microgrid_id:
            await self.refused(call, Status.NOT_FOUND)
        else:
            self.same((await call).dispatch, entry)

    async def walk(
        self, microgrid_id: int, filter_: Filter, sort: tuple[int, int], size: int
    ) -> None:
        """Read the first page of a list."""
        there = [e for e in self.model.entries.values() if e.microgrid_id == microgrid_id]
        ordered = sorted(there, key=lambda e: e.key(sort[0]), reverse=sort[1] != 1)
        total = sum(map(filter_.passes, there))
        walk = Walk(microgrid_id, filter_, sort, size, [e.id for e in ordered], total, "")
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
        assert info.total_items == walk.total

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def step(self, seconds: int) -> None:
        clock.virtual_clock().step(timedelta(seconds=seconds))

    def record(self, event: EventKind, entry: Entry) -> None:
        if entry.microgrid_id == 1:
            self.model.events.append((event, entry.id, entry.updated))

    async def refused(self, call: Any, status: Status) -> None:
        with pytest.raises(GRPCError) as caught:
            await call
        assert caught.value.status is status

    def same(self, message: wire.Dispatch | None, entry: Entry) -> None:
        assert message is not None
        assert message.metadata is not None
        assert message.data is not None
        assert message.data.target is not None
        assert message.data.target.component_ids is not None
        end = message.metadata.end_time
        rule = message.data.recurrence or wire.RecurrenceRule()
        payload = message.data.payload
        assert entry == Entry(
            id=message.metadata.dispatch_id,
            microgrid_id=entry.microgrid_id,
            type=message.data.type,
            target=tuple(message.data.target.component_ids.ids),
            active=message.data.is_active,
            dry_run=message.data.is_dry_run,
            start=nanos(message.data.start_time),
            duration=message.data.duration,
            payload=None if payload is None else int(payload.fields["n"].number_value or 0),
            rule=(int(rule.freq), rule.interval),
            created=nanos(message.metadata.create_time),
            updated=nanos(message.metadata.update_time),
        )
        assert (None if end is None else time_to_nanos(end)) == entry.end


def nanos(moment: Any) -> int:
    return time_to_nanos(moment)


microgrids = st.sampled_from([1, 1, 1, 1, 1, 2, (1 << 64) - 1])
ids = st.integers(1, 5) | st.integers(1, 12)
seconds = st.none() | st.integers(-1, 4) | st.integers(-5, 60)
bounds = st.tuples(seconds, seconds)
FILTERS = {
    "active": st.booleans(),
    "dry_run": st.booleans(),
    "recurring": st.booleans(),
    "queries": st.lists(st.sampled_from(QUERIES), max_size=2).map(tuple),
    "targets": st.lists(st.sampled_from(TARGETS), max_size=2).map(tuple),
    "ids": st.lists(ids, max_size=4).map(tuple),
    "starts": bounds,
    "ends": bounds,
    "updated": bounds,
}
# Few at a time, or hardly any dispatch would pass.
filters = st.lists(
    st.sampled_from(sorted(FILTERS)).flatmap(lambda name: st.tuples(st.just(name), FILTERS[name])),
    max_size=2,
).map(lambda chosen: Filter(**dict[str, Any](chosen)))


def step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(name), *arguments)


PATHS = ["is_active", "duration", "start_time", "target", "payload"]
RULE_PATHS = ["recurrence.freq", "recurrence.interval"]
RULES = [(0, 0)] * 4 + [(1, 1), (3, 2), (6, 10_000), (3, 0), (3, 10_001), (0, 7)]
# (Required fields can be cleared, too, which is refused.)
changes = st.lists(
    st.tuples(
        st.sampled_from([*PATHS, *PATHS, *RULE_PATHS]),
        st.one_of(*[st.integers(0, 30)] * 5, st.none()),
    ),
    max_size=3,
).map(dict)
UNKNOWN = ["type", "is_dry_run", "recurrence.x", ""]

steps = st.one_of(
    step(
        "create",
        microgrids,
        st.integers(0, 3),
        st.none() | st.integers(0, 40) | st.integers(0, 40 * SECOND),
        st.none() | st.integers(0, 30),
        st.none() | st.integers(0, 9),
        st.sampled_from(RULES),
        st.booleans(),
    ),
    step(
        "create",
        microgrids,
        st.integers(0, 3),
        st.just(5 * SECOND),
        st.just(60),
        st.none(),
        st.just((0, 0)),
        st.just(False),
    ),
    step("update", microgrids, ids, changes),
    step("update", st.just(1), ids, st.just({"is_active": 0}) | st.just({"is_active": 1})),
    step("update", st.just(1), ids, st.just({"recurrence": None})),
    step("update", st.just(1), ids, changes, st.sampled_from(UNKNOWN)),
    step("delete", microgrids, ids),
    step("get", microgrids, ids),
    step("walk", microgrids, filters, st.sampled_from(SORTS), st.integers(1, 4)),
    step("walk", st.just(1), filters, st.sampled_from(SORTS), st.integers(1, 4)),
    step("go_on", st.integers(0, 3)),
    step("go_on", st.integers(0, 3)),
    step("wait", st.floats(0, 20)),
    step("step", st.integers(-30, 30)),
    step("restart"),
)


plain = step(
    "create",
    st.just(1),
    st.just(0),
    st.integers(0, 30 * SECOND),
    st.just(60),
    st.none(),
    st.just((0, 0)),
    st.just(False),
)

# A list is read while its dispatches change.
moving = st.one_of(
    step(
        "update",
        st.just(1),
        st.integers(1, 8),
        st.fixed_dictionaries({"start_time": st.integers(0, 30)})
        | st.fixed_dictionaries({"is_active": st.integers(0, 1)}),
    ),
    step("delete", st.just(1), st.integers(1, 8)),
    plain,
    step("go_on", st.just(0)),
    step("go_on", st.just(0)),
    step("go_on", st.just(0)),
    step("restart"),
)
walking = st.builds(
    lambda created, walk, moved: [*created, walk, *moved],
    st.lists(
        plain,
        min_size=4,
        max_size=8,
    ),
    step("walk", st.just(1), st.just(Filter()), st.sampled_from(SORTS), st.integers(1, 2)),
    st.lists(moving, min_size=3, max_size=25),
)
scripts = st.one_of(
    st.lists(steps, max_size=20),
    st.lists(steps, min_size=25, max_size=60),
    st.lists(steps, min_size=25, max_size=60),
    walking,
)


async def play(
    path: Path | str | None, script: list[tuple[Any, ...]], *, replicas: int = 1
) -> None:
    """Play a script; a "restart" in it closes the service and its store and opens new ones.

    Args:
      replicas: The number of services that share the database.
    """
    model = Model()
    parts: list[list[tuple[Any, ...]]] = [[]]
    for name, *arguments in script:
        if name == "restart" and path is not None:
            parts.append([])
        elif name != "restart":
            parts[-1].append((name, *arguments))
    for part in parts:
        events: list[tuple[EventKind, int, int]] = []
        model.events.clear()
        async with AsyncExitStack() as stack:
            stubs = []
            for _ in range(replicas):
                store = await stack.enter_async_context(open_store(path))
                service = await stack.enter_async_context(wired(store))
                channel = await stack.enter_async_context(service.wire_channel())
                stubs.append(DispatchServiceStub(channel))
            nursery = await stack.enter_async_context(trio.open_nursery())
            await nursery.start(watch, service, events)
            player = Player(stubs, model)
            for name, *arguments in part:
                await getattr(player, name)(*arguments)
            await wait_all_tasks_blocked()
            with trio.move_on_after(60):
                # Changes of other replicas come in their own time.
                while len(events) < len(model.events):  # noqa: ASYNC110
                    await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert events == model.events


async def watch(
    service: Wired,
    events: list[tuple[EventKind, int, int]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    async def read() -> None:
        async for event in stream:
            dispatch = event.dispatch
            assert isinstance(dispatch, Dispatch)
            events.append((event.kind, dispatch.id, time_to_nanos(dispatch.update_time)))

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


@settings(max_examples=cases(60, long=3000))
@given(scripts)
def test_the_service_in_memory_agrees_with_the_model(script: list[tuple[Any, ...]]) -> None:
    run(partial(play, None, script))


@settings(max_examples=cases(20, long=1000))
@given(scripts)
def test_the_service_on_disk_agrees_with_the_model(script: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        run(partial(play, Path(directory) / "dispatches.db", script))


@settings(
    max_examples=cases(8, long=500), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(scripts)
def test_three_services_on_postgresql_agree_with_the_model(
    postgres: PostgresServer, script: list[tuple[Any, ...]]
) -> None:
    with postgres.database() as url:
        run(partial(play, url, script, replicas=3))
