"""Random calls by the official client to our service: our client must see the same.

That the service does what the API says is checked in ``tests/service/test_model.py``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from tests.helpers.effort import LONG, cases
from tests.helpers.interop.ccore import KEY, MICROGRID
from tests.helpers.interop.ours import as_shown, serve_here
from tests.helpers.interop.peers import Peer, PeerError, start_script, within
from trio_dispatch import (
    BatteryType,
    Dispatch,
    DispatchClient,
    ElectricalComponentCategory,
    ServiceError,
    Target,
    TargetCategories,
    TargetIds,
    open_client,
)
from trio_dispatch.grpc import Status
from trio_dispatch.service import Keys

CALLS = cases(200, long=3000)

T = TypeVar("T")

TYPES = ["CHARGE", "CHARGE_FAST", "charge", "ü#4"]
TARGETS: list[tuple[list[Any], Target]] = [
    ([1], TargetIds(1)),
    ([2, 3], TargetIds(2, 3)),
    (["BATTERY"], TargetCategories(ElectricalComponentCategory.BATTERY)),
    (
        ["BATTERY:LI_ION", "EV_CHARGER"],
        TargetCategories(BatteryType.LI_ION, ElectricalComponentCategory.EV_CHARGER),
    ),
]
QUERIES = ["CHARGE", "arge", "#4", "#0007", "FAST", "#"]
DURATIONS = [None, 0.0, 1.0, 3600.0]
PAYLOADS: list[dict[str, Any]] = [{}, {"a": 1.5}, {"b": [None, True, {"c": "ü"}]}]
DAILY = {
    "frequency": "DAILY",
    "interval": 2,
    "count": 3,
    "until": None,
    "byminutes": [],
    "byhours": [],
    "byweekdays": [],
    "bymonthdays": [],
    "bymonths": [],
}
RULES = [None, DAILY, DAILY | {"frequency": "MONTHLY", "count": None, "bymonthdays": [1, -1]}]
INVALID: list[dict[str, Any]] = [
    {"type": ""},
    {"recurrence": DAILY | {"interval": 10_001}},
    {"recurrence": DAILY | {"byhours": [24]}},
]
BASE = datetime.now(UTC).replace(microsecond=123456) + timedelta(days=1)


class Player:
    """Makes random calls with the official client, and looks at the result with ours."""

    def __init__(
        self, officials: list[Peer], ours: list[DispatchClient], rng: random.Random
    ) -> None:
        self._officials = officials
        self._ours = ours
        self.rng = rng
        self.last_id = 0

    @property
    def official(self) -> Peer:
        """The official client: of several, which call different services, any one."""
        return self.rng.choice(self._officials)

    @property
    def ours(self) -> DispatchClient:
        """Our client: of several, any one."""
        return self.rng.choice(self._ours)

    def pick(self, values: Sequence[T]) -> T:
        return self.rng.choice(values)

    def some_id(self) -> int:
        return self.rng.randint(1, self.last_id + 2)

    def some_time(self) -> datetime:
        return BASE + timedelta(hours=self.rng.randrange(48))

    def some(self, values: dict[str, Any], chance: float = 0.3) -> dict[str, Any]:
        """Return a few of these values."""
        return {name: value for name, value in values.items() if self.rng.random() < chance}

    async def present(self, id_: int) -> dict[str, Any] | None:
        """Return a dispatch as our client sees it, None if the service has none with this id."""
        try:
            found = await self.ours.get(MICROGRID, id_)
        except ServiceError as exc:
            if exc.status is not Status.NOT_FOUND:
                raise
            return None
        assert isinstance(found, Dispatch)
        return as_shown(found)

    async def create(self) -> None:
        fields: dict[str, Any] = {
            "type": self.pick(TYPES),
            "start_time": self.some_time().isoformat(),
            "duration": self.pick(DURATIONS),
            "target": self.pick(TARGETS)[0],
            "active": self.pick([True, False]),
            "dry_run": self.pick([True, False]),
            "payload": self.pick(PAYLOADS),
            "recurrence": self.pick(RULES),
        }
        if self.rng.random() < 0.1:
            await self.refused("INVALID", "create", **{**fields, **self.pick(INVALID)})
            return
        shown = await self.official.ask("create", **fields)
        self.last_id += 1
        assert shown["id"] == self.last_id
        assert {name: shown[name] for name in fields} == fields
        assert shown["create_time"] == shown["update_time"]
        assert shown == await self.present(self.last_id)

    async def update(self) -> None:
        id_ = self.some_id()
        changes = self.some(
            {
                "start_time": self.some_time().isoformat(),
                "duration": self.pick(DURATIONS),
                "target": self.pick(TARGETS)[0],
                "active": self.pick([True, False]),
                "payload": self.pick(PAYLOADS),
                "recurrence": DAILY,
            }
        ) or {"duration": None}
        before = await self.present(id_)
        if before is None:
            await self.refused("NOT_FOUND", "update", id=id_, **changes)
            return
        if self.rng.random() < 0.1:
            past = (BASE - timedelta(days=2)).isoformat()
            await self.refused("INVALID", "update", id=id_, start_time=past)
        shown = await self.official.ask("update", id=id_, **changes)
        calculated = {"update_time": shown["update_time"], "end_time": shown["end_time"]}
        assert shown == {**before, **changes, **calculated}
        assert shown["update_time"] > before["update_time"]
        assert shown == await self.present(id_)

    async def delete(self) -> None:
        id_ = self.some_id()
        if await self.present(id_) is None:
            await self.refused("NOT_FOUND", "delete", id=id_)
        else:
            await self.official.ask("delete", id=id_)
            assert await self.present(id_) is None

    async def get(self) -> None:
        id_ = self.some_id()
        present = await self.present(id_)
        if present is None:
            await self.refused("NOT_FOUND", "get", id=id_)
        else:
            assert await self.official.ask("get", id=id_) == present

    async def list(self) -> None:
        targets = self.rng.sample(TARGETS, 2)
        same = self.some({"active": self.pick([True, False]), "dry_run": self.pick([True, False])})
        queries = self.some({"filter_queries": self.rng.sample(QUERIES, 2)})
        ids = self.some({"dispatch_ids": [self.some_id() for _ in range(5)]})
        by_target = self.some({"target_components": [official for official, _ in targets]})
        names = ("start_from", "start_to", "end_from", "end_to")
        times = self.some({name: self.some_time() for name in names}, 0.2)
        size = self.rng.randint(1, 8)
        pages = await self.official.ask(
            "list",
            page_size=size,
            **same,
            **queries,
            **ids,
            **by_target,
            **{name: time.isoformat() for name, time in times.items()},
        )
        listed = self.ours.list(
            MICROGRID,
            page_size=size,
            queries=queries.get("filter_queries", ()),
            ids=ids.get("dispatch_ids", ()),
            targets=[target for _, target in targets] if by_target else (),
            **same,
            **times,
        )
        expected = [
            [as_shown(each) for each in page if isinstance(each, Dispatch)] async for page in listed
        ]
        assert pages == expected
        assert all(len(page) == size for page in pages[:-1])

    async def refused(self, status: str, do: str, **arguments: Any) -> None:
        with pytest.raises(PeerError, match=f"{do}: {status}"):
            await self.official.ask(do, **arguments)


@within(60 + CALLS / 20)
async def test_the_official_client_agrees_with_ours(official: Peer, ours: DispatchClient) -> None:
    await play([official], [ours], CALLS)


@within(60 + CALLS / 20)
async def test_three_services_on_postgresql_are_one(database: str) -> None:
    async with AsyncExitStack() as stack:
        officials, ours = [], []
        for _ in range(3):
            service = await stack.enter_async_context(serve_here(database, Keys.of(KEY)))
            peer = start_script("official_client", service.url, KEY)
            officials.append(await stack.enter_async_context(peer))
            client = open_client(service.url, key=KEY)
            ours.append(await stack.enter_async_context(client))
        await play(officials, ours, CALLS // 3)


async def play(officials: list[Peer], ours: list[DispatchClient], number: int) -> None:
    """Make random calls."""
    seed = random.randrange(1 << 32) if LONG else 4711
    rng = random.Random(seed)
    player = Player(officials, ours, rng)
    calls = [player.create, player.update, player.delete, player.get, player.list]
    done: list[str] = []
    try:
        for _ in range(number):
            call = rng.choices(calls, weights=[4, 4, 2, 2, 3])[0]
            done.append(call.__name__)
            await call()
    except BaseException:
        print(f"seed {seed}, call {len(done)}: {done[-1]}")
        raise
    assert player.last_id > number / 10
