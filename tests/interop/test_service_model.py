"""The official client at our service, with random calls, against a plain model of the API.

What the client shows has to be what the model says, call by call: contents, order of lists,
refusals.  The same model over our own channel, with pages and update masks by hand, is in
``tests/service/test_model.py``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.interop.peers import Peer, PeerError, within

LONG = os.environ.get("TRIO_DISPATCH_LONG") == "1"
CALLS = 3000 if LONG else 300

TYPES = ["CHARGE", "CHARGE_FAST", "charge", "ü#4"]
TARGETS: list[list[Any]] = [[1], [2, 3], ["BATTERY"], ["BATTERY:LI_ION", "EV_CHARGER"]]
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
BASE = datetime.now(UTC).replace(microsecond=123456) + timedelta(days=1)


def at(hours: int) -> datetime:
    return BASE + timedelta(hours=hours)


@dataclass
class Entry:
    """A dispatch of the model, as the client shows it; times of the service are taken over."""

    shown: dict[str, Any]

    def __post_init__(self) -> None:
        self.shown["end_time"] = self.end and self.end.isoformat()

    @property
    def start(self) -> datetime:
        return datetime.fromisoformat(self.shown["start_time"])

    @property
    def end(self) -> datetime | None:
        """The end of the last run."""
        duration, rule = self.shown["duration"], self.shown["recurrence"]
        if duration is None or (rule is not None and rule["count"] is None):
            return None
        length = timedelta(seconds=duration)
        if rule is None:
            return self.start + length
        last = self.start + timedelta(days=rule["interval"] * (rule["count"] - 1))
        # What recurs does so in whole seconds.
        return last.replace(microsecond=0) + length

    def passes(self, filters: dict[str, Any]) -> bool:
        shown, tests = self.shown, []
        for name, value in filters.items():
            match name:
                case "active" | "dry_run":
                    tests.append(shown[name] is value)
                case "filter_queries":
                    tests.append(any(map(self._answers, value)))
                case "dispatch_ids":
                    tests.append(shown["id"] in value)
                case "target_components":
                    tests.append(shown["target"] in value)
                case "start_from":
                    tests.append(self.start >= datetime.fromisoformat(value))
                case "start_to":
                    tests.append(self.start < datetime.fromisoformat(value))
                case "end_from":
                    tests.append(not self.end or self.end >= datetime.fromisoformat(value))
                case "end_to":
                    tests.append(self.end is not None and self.end < datetime.fromisoformat(value))
                case _:
                    raise AssertionError(name)
        return all(tests)

    def _answers(self, query: str) -> bool:
        if query[0] == "#" and query[1:].isdigit():
            return bool(self.shown["id"] == int(query[1:]))
        return query in self.shown["type"]


@dataclass
class Model:
    entries: dict[int, Entry] = field(default_factory=dict)
    last_id: int = 0


class Player:
    """Does the same by the client and to the model, and compares."""

    def __init__(self, client: Peer, rng: random.Random) -> None:
        self.client = client
        self.rng = rng
        self.model = Model()

    def pick(self, values: list[Any]) -> Any:
        return self.rng.choice(values)

    def some_id(self) -> int:
        return self.rng.randint(1, self.model.last_id + 2)

    def maybe(self, make: Callable[[], Any], chance: float = 0.3) -> Any:
        """A value, or mostly none."""
        return make() if self.rng.random() < chance else None

    async def create(self) -> None:
        fields: dict[str, Any] = {
            "type": self.pick(TYPES),
            "start_time": at(self.rng.randrange(48)).isoformat(),
            "duration": self.pick(DURATIONS),
            "target": self.pick(TARGETS),
            "active": self.pick([True, False]),
            "dry_run": self.pick([True, False]),
            "payload": self.pick(PAYLOADS),
            "recurrence": self.pick(RULES),
        }
        if self.rng.random() < 0.1:
            bad = self.pick(
                [
                    {"type": ""},
                    {"recurrence": DAILY | {"interval": 10_001}},
                    {"recurrence": DAILY | {"byhours": [24]}},
                ]
            )
            await self.refused("INVALID", "create", **{**fields, **bad})
            return
        self.model.last_id += 1
        shown = await self.client.ask("create", **fields)
        times = {name: shown[name] for name in ("create_time", "update_time")}
        assert times["create_time"] == times["update_time"]
        entry = Entry({"id": self.model.last_id, **fields, **times})
        self.model.entries[self.model.last_id] = entry
        assert shown == entry.shown

    async def update(self) -> None:
        id_ = self.some_id()
        changes = {
            name: value
            for name, value in {
                "start_time": self.maybe(lambda: at(self.rng.randrange(48)).isoformat()),
                "duration": self.maybe(lambda: self.pick(DURATIONS[1:])),
                "target": self.maybe(lambda: self.pick(TARGETS)),
                "active": self.maybe(lambda: self.pick([True, False])),
                "payload": self.maybe(lambda: self.pick(PAYLOADS)),
                "recurrence": self.maybe(lambda: RULES[1]),
            }.items()
            if value is not None
        }
        if not changes or self.rng.random() < 0.2:
            changes["duration"] = None
        entry = self.model.entries.get(id_)
        if entry is None:
            await self.refused("NOT_FOUND", "update", id=id_, **changes)
            return
        if self.rng.random() < 0.1:
            await self.refused("INVALID", "update", id=id_, start_time=at(-48).isoformat())
        shown = await self.client.ask("update", id=id_, **changes)
        assert shown["update_time"] >= entry.shown["update_time"]
        updated = Entry({**entry.shown, **changes, "update_time": shown["update_time"]})
        self.model.entries[id_] = updated
        assert shown == updated.shown

    async def delete(self) -> None:
        id_ = self.some_id()
        if self.model.entries.pop(id_, None) is None:
            await self.refused("NOT_FOUND", "delete", id=id_)
        else:
            await self.client.ask("delete", id=id_)

    async def get(self) -> None:
        id_ = self.some_id()
        entry = self.model.entries.get(id_)
        if entry is None:
            await self.refused("NOT_FOUND", "get", id=id_)
        else:
            assert await self.client.ask("get", id=id_) == entry.shown

    async def list(self) -> None:
        filters = {
            "active": self.maybe(lambda: self.pick([True, False])),
            "dry_run": self.maybe(lambda: self.pick([True, False])),
            "filter_queries": self.maybe(lambda: self.rng.sample(QUERIES, 2)),
            "dispatch_ids": self.maybe(lambda: [self.some_id() for _ in range(5)]),
            "target_components": self.maybe(lambda: self.rng.sample(TARGETS, 2)),
            "start_from": self.maybe(lambda: at(self.rng.randrange(48)).isoformat(), 0.2),
            "start_to": self.maybe(lambda: at(self.rng.randrange(48)).isoformat(), 0.2),
            "end_from": self.maybe(lambda: at(self.rng.randrange(48)).isoformat(), 0.2),
            "end_to": self.maybe(lambda: at(self.rng.randrange(48)).isoformat(), 0.2),
        }
        filters = {name: value for name, value in filters.items() if value is not None}
        size = self.rng.randint(1, 8)
        pages = await self.client.ask("list", page_size=size, **filters)
        entries = [entry for entry in self.model.entries.values() if entry.passes(filters)]
        entries.sort(key=lambda entry: (entry.shown["create_time"], entry.shown["id"]))
        expected = [entry.shown for entry in reversed(entries)]
        assert [shown for page in pages for shown in page] == expected
        assert all(len(page) == size for page in pages[:-1])

    async def refused(self, status: str, do: str, **arguments: Any) -> None:
        with pytest.raises(PeerError, match=f"{do}: {status}"):
            await self.client.ask(do, **arguments)


@within(60 + CALLS / 20)
async def test_the_official_client_agrees_with_ours(official: Peer) -> None:
    seed = random.randrange(1 << 32) if LONG else 4711
    rng = random.Random(seed)
    player = Player(official, rng)
    calls = [player.create, player.update, player.delete, player.get, player.list]
    done: list[str] = []
    try:
        for _ in range(CALLS):
            call = rng.choices(calls, weights=[4, 4, 2, 2, 3])[0]
            done.append(call.__name__)
            await call()
    except BaseException:
        print(f"seed {seed}, call {len(done)}: {done[-1]}")
        raise
    assert len(player.model.entries) > CALLS / 20
