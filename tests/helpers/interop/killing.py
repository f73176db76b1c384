"""Writers and watchers of a service that is killed, and what they must find afterwards."""

from __future__ import annotations

import random
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from trio_dispatch import Dispatch, DispatchClient, ServiceError, TargetIds
from trio_dispatch.model.events import EventKind

__all__ = ["KEY", "MICROGRID", "Known", "Watcher", "list_all", "settle", "write"]

KEY, MICROGRID = "k", 1


@dataclass
class Known:
    """What the service must have, as far as the writers know.

    Attributes:
      states: By id, the marks that a dispatch may have now, None if it may be deleted.  There are
        several only if the service was killed before it answered.
      enough: Set when the writers have to stop.
      asked_for: The marks of dispatches that may have been created, with unknown ids.
    """

    states: dict[int, set[int | None]] = field(default_factory=dict)
    asked_for: set[int] = field(default_factory=set)
    acknowledged: int = 0
    enough: bool = False
    last_mark: int = 0

    def mark(self) -> int:
        self.last_mark += 1
        return self.last_mark


def payload(mark: int) -> dict[str, Any]:
    """Return a payload of a random size, each part of which contains the mark."""
    return {"mark": mark, "filler": f"{mark} " * (mark * 37 % 500), "again": {"mark": mark}}


def mark_of(dispatch: Dispatch) -> int:
    """Return the mark of a dispatch, after checking that the dispatch is complete."""
    mark = dispatch.payload["mark"]
    assert isinstance(mark, float)
    assert dispatch.payload == payload(int(mark))
    return int(mark)


async def write(client: DispatchClient, known: Known, rng: random.Random) -> None:
    """Create, update and delete dispatches of its own until told to stop or disconnected."""
    own: list[int] = []
    start = datetime.now(UTC) + timedelta(hours=1)
    while not known.enough:
        mark = known.mark()
        choice = rng.random() if own else 0.0
        try:
            if choice < 0.4:
                known.asked_for.add(mark)
                made = await client.create(
                    MICROGRID,
                    type="KILLED",
                    start_time=start,
                    duration=timedelta(minutes=mark % 7),
                    target=TargetIds(1),
                    payload=payload(mark),
                )
                known.asked_for.discard(mark)
                known.states[made.id] = {mark}
                own.append(made.id)
            elif choice < 0.8:
                id_ = rng.choice(own)
                known.states[id_].add(mark)
                await client.update(MICROGRID, id_, payload=payload(mark))
                known.states[id_] = {mark}
            else:
                id_ = own.pop(rng.randrange(len(own)))
                known.states[id_].add(None)
                await client.delete(MICROGRID, id_)
                known.states[id_] = {None}
        except ServiceError:
            return  # It may have taken effect or not.
        known.acknowledged += 1


def settle(known: Known, there: dict[int, Dispatch]) -> None:
    """Compare the dispatches with what must be there, and take them as the new state."""
    for id_, states in known.states.items():
        state = mark_of(there[id_]) if id_ in there else None
        assert state in states, f"dispatch {id_} is {state}, not one of {states}"
        known.states[id_] = {state}
    for id_ in there.keys() - known.states.keys():
        # Its creation was not acknowledged.
        mark = mark_of(there[id_])
        assert mark in known.asked_for
        known.states[id_] = {mark}
    known.asked_for.clear()


class Watcher:
    """Follow a microgrid; after the end of a stream open a new one, then list."""

    def __init__(self) -> None:
        self.dispatches: dict[int, Dispatch] = {}
        self.synced = trio.Event()
        self.came_again = 0

    async def follow(self, client: DispatchClient) -> None:
        """Follow the microgrid until the service is killed."""
        self.came_again += 1
        try:
            async with client.stream(MICROGRID) as events, trio.open_nursery() as nursery:
                nursery.start_soon(self._list, client, events.started)
                async for event in events:
                    self._apply(event.kind, event.dispatch)
                nursery.cancel_scope.cancel()
        except* ServiceError:
            pass

    async def _list(self, client: DispatchClient, started: trio.Event) -> None:
        await started.wait()
        self._since: dict[int, Dispatch | None] = {}
        listed = await list_all(client)
        self.dispatches = listed
        for id_, dispatch in self._since.items():
            self._put(id_, dispatch)
        self.synced.set()

    def _apply(self, event: EventKind, dispatch: Any) -> None:
        assert isinstance(dispatch, Dispatch)
        new = None if event is EventKind.DELETED else dispatch
        if self.synced.is_set():
            self._put(dispatch.id, new)
        else:
            self._since[dispatch.id] = new

    def _put(self, id_: int, dispatch: Dispatch | None) -> None:
        old = self.dispatches.get(id_)
        if dispatch is None:
            self.dispatches.pop(id_, None)
        elif old is None or not old.newer_than(dispatch):
            self.dispatches[id_] = dispatch


async def list_all(client: DispatchClient) -> dict[int, Dispatch]:
    async with aclosing(client.list(MICROGRID, page_size=100)) as pages:
        return {dispatch.id: dispatch async for page in pages for dispatch in page}
