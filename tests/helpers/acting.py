"""Actors that write down what happens to them, and a dispatcher that runs them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import trio

from tests.helpers.dispatching import dispatching
from trio_dispatch import ActorRun, Dispatch, Dispatcher, TargetIds, clock
from trio_dispatch.clock import VIRTUAL_START
from trio_dispatch.testing import LocalService, make_dispatch

START = VIRTUAL_START
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def at(seconds: float) -> datetime:
    """A moment, so many seconds from the start."""
    return START + seconds * SECOND


def now() -> float:
    """The seconds since the start."""
    return (clock.now() - START).total_seconds()


def lasting(id: int, start: float, seconds: float | None, **fields: Any) -> Dispatch:
    """A dispatch that starts so many seconds from the start, for so many seconds; one component."""
    defaults: dict[str, Any] = {
        "start_time": at(start),
        "duration": None if seconds is None else timedelta(seconds=seconds),
        "target": TargetIds(id),
        "update_time": clock.now(),
    }
    return make_dispatch(id, **(defaults | fields))


@asynccontextmanager
async def acting(
    service: LocalService, actor: Any, *, type: str = "CHARGE", cache: Any = None, **options: Any
) -> AsyncIterator[Dispatcher]:
    """A dispatcher that runs an actor while the block does."""
    async with (
        dispatching(service, cache=cache) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(partial(dispatcher.run_actors, type, actor, **options))
        yield dispatcher
        nursery.cancel_scope.cancel()


class Diary:
    """What happened to actors, and when, in seconds since the start."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, str]] = []

    def note(self, what: str) -> None:
        self.entries.append((round(now(), 3), what))

    async def actor(self, run: ActorRun) -> None:
        """Notes what it is told until it is cancelled."""
        first = run.dispatch.id
        try:
            async for dispatch in run.changes:
                power: Any = run.payload.get("power")
                self.note(f"{first}: {dispatch.id} {power if power is None else int(power)}")
        finally:
            with run.cleanup():
                await trio.lowlevel.checkpoint()
                self.note(f"{first}: end")

    async def noting(self, what: str, run: ActorRun) -> None:
        """Notes something else, too."""
        self.note(what)
        await self.actor(run)
