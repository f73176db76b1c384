"""Runs our service, and converts our dispatches to the format of the official client."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.helpers.interop.ccore import KEY, MICROGRID
from tests.helpers.interop.peers import Peer, start
from trio_dispatch import (
    Dispatch,
    DispatchClient,
    Frequency,
    RecurrenceRule,
    Target,
    TargetIds,
    Weekday,
)
from trio_dispatch.service import Keys, Store, open_service, open_store


@dataclass(frozen=True)
class OurService:
    """A running service, with its process, or its store if it runs in this one."""

    url: str
    peer: Peer | None = None
    store: Store | None = None

    async def wait_watched(self, watchers: int) -> None:
        """Wait until a number of clients stream the dispatches of a service in this process."""
        assert self.store is not None
        while self.store.watchers.statistics().watchers < watchers:  # noqa: ASYNC110 - no event says it
            await trio.sleep(0.01)


@asynccontextmanager
async def serve_here(db: Path | str, keys: Keys) -> AsyncIterator[OurService]:
    """Run a service in this process, which starts faster."""
    async with (
        open_store(db) as store,
        open_service(store, keys=keys) as service,
        trio.open_nursery() as nursery,
    ):
        [address] = await nursery.start(partial(service.server.serve_tcp, 0, host="127.0.0.1"))
        yield OurService(f"grpc://127.0.0.1:{address[1]}?ssl=false", store=store)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serve(db: Path) -> AsyncIterator[OurService]:
    """Run ``trio-dispatch serve``, whose first line of output has its address."""
    command = Path(sys.executable).with_name("trio-dispatch")
    async with start(command, "serve", "--listen", "127.0.0.1:0", "--db", db, "--key", KEY) as peer:
        first = await peer.line()
        found = re.search(r"grpc://\S+", first)
        assert found is not None, first
        yield OurService(found[0], peer)


async def update_again_and_again(client: DispatchClient, id_: int) -> None:
    """Announce on the stream that it is open."""
    number = 0
    while True:
        number += 1
        await client.update(MICROGRID, id_, payload={"number": number})
        await trio.sleep(0.05)


def as_shown(dispatch: Dispatch) -> dict[str, Any]:
    """Return a dispatch in the format of ``official_client.py``."""
    return {
        "id": dispatch.id,
        "type": dispatch.type,
        "start_time": dispatch.start_time.isoformat(),
        "duration": None if dispatch.duration is None else dispatch.duration.total_seconds(),
        "target": _target(dispatch.target),
        "active": dispatch.active,
        "dry_run": dispatch.dry_run,
        "payload": dispatch.payload,
        "recurrence": _rule(dispatch.recurrence),
        "create_time": dispatch.create_time.isoformat(),
        "update_time": dispatch.update_time.isoformat(),
        "end_time": dispatch.end_time and dispatch.end_time.isoformat(),
    }


def _target(target: Target | None) -> list[Any]:
    assert target is not None
    return sorted(target) if isinstance(target, TargetIds) else sorted(map(str, target))


def _rule(rule: RecurrenceRule | None) -> dict[str, Any] | None:
    if rule is None:
        return None
    end = rule.end_criteria
    return {
        "frequency": Frequency(rule.frequency).name,
        "interval": rule.interval,
        "count": end and end.count,
        "until": end and end.until and end.until.isoformat(),
        "byminutes": [*rule.byminutes],
        "byhours": [*rule.byhours],
        "byweekdays": [Weekday(day).name for day in rule.byweekdays],
        "bymonthdays": [*rule.bymonthdays],
        "bymonths": [*rule.bymonths],
    }
