"""The log of changes: every change, with its author and content."""

from __future__ import annotations

import random
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import trio
from trio.testing import MockClock

from tests.helpers.service import HOUR, OpenStore, Wired, create, data, wired
from trio_dispatch import Dispatch, clock
from trio_dispatch.client.client import DispatchClient
from trio_dispatch.model.runs import ChangeKind, DispatchChange
from trio_dispatch.service import Key, Keys, Store
from trio_dispatch.service.store.bulk import add_all
from trio_dispatch.service.store.memory import MemoryStore
from trio_dispatch.service.store.rows import Author
from trio_dispatch.testing import make_dispatch

KEYS = Keys(Key(name, name=name.upper()) for name in ("desk", "ems", "ops"))


async def changes(client: DispatchClient, **filters: Any) -> list[DispatchChange]:
    return [change async for page in client.list_changes(1, **filters) for change in page]


@dataclass(frozen=True)
class Made:
    """A change that a test has made."""

    kind: ChangeKind
    time: datetime
    key_name: str
    old: Dispatch | None
    new: Dispatch | None


async def test_every_change_is_found_with_its_author_and_content(
    open_any_store: OpenStore, autojump_clock: MockClock
) -> None:
    rng = random.Random(7)
    made: list[Made] = []
    present: dict[int, Dispatch] = {}

    async def change_something(client: DispatchClient, name: str) -> None:
        await trio.sleep(rng.choice([0, 0.001, 60]))
        id_ = rng.choice([0, *present])
        old = present.pop(id_, None)
        new: Dispatch | None = None
        if old is None:
            new = await create(client, payload={"power": rng.random()})
        elif rng.random() < 0.7:
            if rng.random() < 0.5:
                new = await client.update(1, id_, payload={"power": rng.random()})
            else:
                new = await client.update(1, id_, active=not old.active, duration=None)
        else:
            await client.delete(1, id_)
        kind = ChangeKind.CREATED if old is None else ChangeKind.UPDATED
        if new is None:
            kind = ChangeKind.DELETED
        else:
            present[new.id] = new
        made.insert(0, Made(kind, clock.now(), name.upper(), old, new))

    async def compare(service: Wired) -> None:
        async with service.client("ops") as client:
            found = await changes(client, page_size=7)
            as_made = [Made(c.kind, c.time, c.key_name, *contents(c)) for c in found]
            assert as_made == made
            assert [c.sequence for c in found] == [*range(90, 0, -1)]
            for change in found:
                some = change.new or change.old
                assert isinstance(some, Dispatch)
                assert change.dispatch_id == some.id
            middle = made[45].time
            for filters, expected in (
                ({"key_names": ["DESK"]}, [c for c in found if c.key_name == "DESK"]),
                ({"ids": [1, 2, 3]}, [c for c in found if c.dispatch_id in {1, 2, 3}]),
                ({"time_from": middle}, [c for c in found if c.time >= middle]),
                (
                    {"time_to": middle, "key_names": ["EMS", "OPS"], "ids": [2, 4]},
                    [
                        c
                        for c in found
                        if c.time < middle and c.key_name != "DESK" and c.dispatch_id in {2, 4}
                    ],
                ),
            ):
                assert await changes(client, page_size=5, **filters) == expected

    names = ["desk", "ems", "ops"]
    async with open_any_store() as store, wired(store, KEYS) as service:
        for _ in range(90):
            name = rng.choice(names)
            async with service.client(name) as client:
                await change_something(client, name)
        await compare(service)
    if not isinstance(store, MemoryStore):
        async with open_any_store() as store, wired(store, KEYS) as service:
            await compare(service)


def contents(change: DispatchChange) -> tuple[Dispatch | None, Dispatch | None]:
    assert isinstance(change.old, Dispatch | None)
    assert isinstance(change.new, Dispatch | None)
    return change.old, change.new


async def test_changes_of_other_microgrids_are_not_listed(
    store: Store, autojump_clock: MockClock
) -> None:
    async with wired(store) as service, service.client() as client:
        await create(client, 2)
        assert await changes(client) == []


async def test_imports_have_an_author(store: Store, autojump_clock: MockClock) -> None:
    async with wired(store) as service, service.client() as client:
        plan = [make_dispatch(number) for number in range(1, 4)]
        await add_all(store, 1, plan, author=Author("import", "file"))
        await store.put(1, make_dispatch(2, type="OTHER"), author=Author("test"))
        put, *added = await changes(client)
        assert (put.kind, put.key_name, put.old) == (ChangeKind.UPDATED, "test", plan[1])
        assert [change.new for change in added] == plan[::-1]
        assert {(change.key_name, change.peer) for change in added} == {("import", "file")}


async def test_a_refused_write_is_no_change(store: Store, autojump_clock: MockClock) -> None:
    async with wired(store) as service, service.client() as client:
        made = await create(client)
        with trio.move_on_after(0):
            await client.delete(1, made.id)
        for call in (
            client.delete(1, 99),
            client.update(1, made.id, start_time=clock.now() - HOUR),
        ):
            try:
                await call
            except Exception:
                continue
            raise AssertionError
        assert [change.kind for change in await changes(client)][-1] is ChangeKind.CREATED


async def test_pages_continue_where_they_ended(store: Store, autojump_clock: MockClock) -> None:
    async with wired(store) as service, service.client() as client:
        for _ in range(6):
            await create(client)
        pages = client.list_changes(1, page_size=3)
        async with aclosing(pages):
            first = await anext(pages)
            await client.delete(1, 5)
            clock.virtual_clock().step(-timedelta(days=1))
            await client.delete(1, 1)
            rest = [change async for page in pages for change in page]
        # The clock was set back, so the last change is listed behind the others.
        ids = [change.dispatch_id for change in [*first, *rest]]
        assert ids == [6, 5, 4, 3, 2, 1, 1]


async def test_large_contents_do_not_exceed_a_message(store: Store) -> None:
    from trio_dispatch.api import wire
    from trio_dispatch.api.wire import Struct, Value

    payload = Struct(fields={"x": Value(string_value="y" * 3_000_000)})
    message = wire.Dispatch(
        metadata=wire.DispatchMetadata(dispatch_id=1), data=data(payload=payload)
    )
    async with wired(store) as service, service.client() as client:
        await store.put(1, message)
        await store.put(1, message)
        second, first = await changes(client)
        assert isinstance(first.new, Dispatch)
        assert isinstance(second.old, Dispatch)
        assert (first.new.type, second.old.type) == ("TOO LARGE", "TOO LARGE")
