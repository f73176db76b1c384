"""Actors that record what happens to them, and a dispatcher that runs them."""

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
    """Return the moment that is a number of seconds after the start."""
    return START + seconds * SECOND


def now() -> float:
    """Return the seconds since the start."""
    return (clock.now() - START).total_seconds()


def lasting(id: int, start: float, seconds: float | None, **fields: Any) -> Dispatch:
    """Return a dispatch with its start and duration in seconds, for the component with its id."""
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
    """Run an actor with a dispatcher for the time of the block."""
    async with (
        dispatching(service, cache=cache) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(partial(dispatcher.run_actors, type, actor, **options))
        yield dispatcher
        nursery.cancel_scope.cancel()


class Diary:
    """A record of what happened to actors, and when, in seconds since the start."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, str]] = []

    def note(self, what: str) -> None:
        self.entries.append((round(now(), 3), what))

    async def actor(self, run: ActorRun) -> None:
        """An actor that notes what it is shown until it is cancelled."""
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
        """The same, and notes something first."""
        self.note(what)
        await self.actor(run)
