"""The events of a dispatcher, as ``watch`` shows them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

import trio

from ... import clock
from ...dispatcher.dispatcher import Dispatcher
from ...dispatcher.state import SyncPhase, SyncState
from ...model.dispatch import Dispatch, RunningState
from ...model.events import Updated
from ...text.records import format_json, format_json_time, payload_json, record_of
from ...text.runs import differences
from ...text.safe import dump_json, printable
from ...text.show import format_headline
from ...text.times import format_moment, format_near
from ..app.run import explain
from ..app.settings import Settings

_BATCH = 256
"""The number of events that wait at most: beyond it they wait, and are merged, in the receivers."""

_STYLES = {
    "runs": "bold green",
    "pulse": "bold green",
    "stops": "bold",
    "deleted": "red",
    "missed": "bold red",
    "sync": "yellow",
}


class Event(NamedTuple):
    """Something that happened.

    Attributes:
      name: known, created, updated, deleted, runs, stops, pulse, missed or sync.
      time: When it was received.
      dispatch: The dispatch that it is about.
      sync: The connection state that it is about.
      previous: Of an update, the content before, if it is known.
    """

    name: str
    time: datetime
    dispatch: Dispatch | None = None
    sync: SyncState | None = None
    previous: Dispatch | None = None

    @property
    def rank(self) -> int:
        """Orders what became known together: what exists before what runs."""
        return 1 if self.name in {"runs", "stops", "pulse", "missed"} else 0


class News:
    """Whether an event is worth a line: not a dispatch that existed, nor the same error again."""

    def __init__(self) -> None:
        self._error = ""

    def __call__(self, event: Event) -> bool:
        if event.sync is None:
            return event.name != "known"
        before, self._error = self._error, str(event.sync.error or "")
        return not self._error or self._error != before


async def next_events(events: trio.MemoryReceiveChannel[Event]) -> list[Event]:
    """Wait for events, and return all that have come, at most a batch from each source."""
    batch = [await events.receive()]
    await trio.lowlevel.checkpoint()  # what belongs together comes together
    with suppress(trio.WouldBlock):
        while True:
            batch.append(events.receive_nowait())
    return sorted(batch, key=lambda event: event.rank)


@asynccontextmanager
async def follow(
    settings: Settings, type: str | None
) -> AsyncIterator[tuple[Dispatcher, trio.MemoryReceiveChannel[Event]]]:
    """Open a dispatcher, and a channel of all its events."""
    send, receive = trio.open_memory_channel[Event](_BATCH)
    async with settings.dispatcher() as dispatcher, trio.open_nursery() as nursery:
        # From here on errors are shown as events.
        with _quiet(settings.verbose):
            for source in (_send_lifecycle, _send_status, _send_missed):
                nursery.start_soon(source, dispatcher, type, send)
            nursery.start_soon(_send_sync, dispatcher, send)
            yield dispatcher, receive
            nursery.cancel_scope.cancel()


@contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    log = logging.getLogger("trio_dispatch")
    level = log.level
    log.setLevel(level if verbose else logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


Send = trio.MemorySendChannel[Event]


async def _send_lifecycle(dispatcher: Dispatcher, type: str | None, send: Send) -> None:
    with dispatcher.lifecycle_events.new_receiver(type=type) as events:
        for _ in range(events.statistics().waiting):
            await send.send(Event("known", clock.now(), events.receive_nowait().dispatch))
        async for event in events:
            # Created, Updated or Deleted
            name = event.__class__.__name__.lower()
            previous = event.previous if isinstance(event, Updated) else None
            await send.send(Event(name, clock.now(), event.dispatch, previous=previous))


async def _send_status(dispatcher: Dispatcher, type: str | None, send: Send) -> None:
    with dispatcher.running_status_change.new_receiver(type=type) as statuses:
        async for dispatch in statuses:
            runs = dispatch.running(type) is RunningState.RUNNING
            name = "pulse" if dispatch.pulse is not None else "runs" if runs else "stops"
            await send.send(Event(name, clock.now(), dispatch))


async def _send_missed(dispatcher: Dispatcher, type: str | None, send: Send) -> None:
    with dispatcher.missed_runs.new_receiver(type=type) as runs:
        async for missed in runs:
            await send.send(Event("missed", clock.now(), missed.dispatch))


async def _send_sync(dispatcher: Dispatcher, send: Send) -> None:
    async for state in dispatcher.sync_state.eventual_values():
        if state.phase in {SyncPhase.LIVE, SyncPhase.WAITING}:
            await send.send(Event("sync", clock.now(), sync=state))


# Lines.


def format_json_line(event: Event) -> str:
    """Return an event as a line of JSON."""
    record: dict[str, Any] = {"time": format_json_time(event.time), "event": event.name}
    if event.sync is not None:
        error = event.sync.error
        record |= {
            "phase": event.sync.phase.value,
            "error": None if error is None else str(error),
            "next_try": format_json_time(event.sync.next_try),
        }
    text = dump_json(record)
    if event.dispatch is None:
        return text
    text = f'{text[:-1]}, "dispatch": {format_json(event.dispatch, event.time)}'
    if event.previous is not None:
        text += f', "previous": {dump_json(record_of(event.previous))}'
    return f"{text}}}"


def format_line(settings: Settings, event: Event) -> str:
    """Return an event as a line for people."""
    moment = event.time.replace(microsecond=0).astimezone(settings.zone)
    name = settings.paint(f"{event.name:<8}", _STYLES.get(event.name, "cyan"))
    time = settings.paint(f"{moment:%H:%M:%S}", "dim")
    return f"{time}  {name}  {_describe(event, settings.zone)}"


def _describe(event: Event, zone: tzinfo) -> str:
    if event.sync is not None:
        return describe_sync(event.sync, zone)
    dispatch = event.dispatch
    assert dispatch is not None
    text = format_headline(dispatch)
    if event.name in {"created", "updated"}:
        run = dispatch.next_run_after(event.time) if dispatch.active else None
        if dispatch.running_at(event.time):
            text += f" until {_until(dispatch, event, zone)}"
        elif run is not None:
            text += f" from {format_near(run, event.time, zone)}"
        elif not dispatch.active and event.previous is None:
            text += " inactive"
    elif event.name == "runs":
        text += f" until {_until(dispatch, event, zone)}"
    if event.previous is not None:
        changed = differences(event.previous, dispatch, zone)
        return text + "".join(f"  {name}: {old} -> {new}" for name, old, new in changed)
    if event.name in {"created", "updated", "runs", "pulse"} and dispatch.payload:
        text += f"  {payload_json(dispatch)}"
    return text


def _until(dispatch: Dispatch, event: Event, zone: tzinfo) -> str:
    until = dispatch.until_at(event.time) or dispatch.until
    return "further notice" if until is None else format_near(until, event.time, zone)


def describe_sync(state: SyncState, zone: tzinfo) -> str:
    """Return the connection state of a dispatcher, in words."""
    if state.error is not None:
        again = ""
        if state.next_try is not None:
            next_try = format_moment(state.next_try.replace(microsecond=0), zone)
            again = f"; next try at {next_try[11:]}"
        return printable(f"disconnected: {explain(state.error)}{again}")
    since = state.since.replace(microsecond=0)
    return f"{state.phase.value} since {format_near(since, clock.now(), zone)}"
