"""``watch``: what happens, as it happens."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click
import trio

from .. import clock
from ..dispatcher.sync import SyncPhase, SyncState
from ..model.dispatch import RunningState
from ..model.events import Created, Deleted, LifecycleEvent, MissedRun, Updated
from . import _stdout as stdout
from ._options import Command, shared_options
from ._records import json_time, record_of, state_of
from ._run import run
from ._settings import Settings
from ._show import dump, headline
from ._times import format_moment, format_near

if TYPE_CHECKING:
    from ..dispatcher.dispatcher import Dispatcher
    from ..model.dispatch import Dispatch

__all__ = ["Event", "News", "TextLine", "following", "sync_text", "watch", "watch_command"]

_NAMES = {Created: "created", Updated: "updated", Deleted: "deleted"}
_STYLES = {
    "runs": "bold green",
    "pulse": "bold green",
    "stops": "bold",
    "deleted": "red",
    "missed": "bold red",
    "sync": "yellow",
}


@click.command("watch", cls=Command)
@shared_options
@click.option("--type", metavar="TYPE", help="Only dispatches of this type.")
@click.option("--screen", is_flag=True, help="Fill the terminal with what runs now and what next.")
def watch_command(settings: Settings, type: str | None, screen: bool) -> None:
    """Follow dispatches: a line whenever one is created, updated or deleted, starts or stops.

    It begins with what runs now; with --json, with everything there is.  Without the service it
    goes on with what it last knew, and says so.  Ctrl-C ends it.
    """
    if screen and settings.json:
        raise click.UsageError("--screen and --json contradict each other")
    if screen and not sys.stdout.isatty():
        raise click.UsageError("--screen needs a terminal")
    if screen:
        from ._screen import watch_screen  # noqa: PLC0415

        run(watch_screen, settings, type, verbose=settings.verbose)
    else:
        run(watch, settings, type, verbose=settings.verbose)


class Event:
    """Something that happened.

    Attributes:
      name: What: known, created, updated, deleted, runs, stops, pulse, missed or sync.
      dispatch: The dispatch it is about.
      sync: How the dispatcher stands to its service, if it is about that.
    """

    def __init__(
        self, name: str, dispatch: Dispatch | None = None, sync: SyncState | None = None
    ) -> None:
        self.name = name
        self.dispatch = dispatch
        self.sync = sync
        self.time = clock.now()
        # What exists comes before what runs, where both became known together.
        self.rank = 1 if name in {"runs", "stops", "pulse", "missed"} else 0


async def watch(
    settings: Settings,
    type: str | None = None,
    write: Callable[[str], Awaitable[None]] | None = None,
) -> None:
    """Print what happens until cancelled.

    Args:
      type: Only about dispatches of this type.
      write: Takes the lines; stdout, by default.

    Raises:
      BrokenPipeError: whoever read stdout has gone.
      ServiceError: the service refused the first list.
    """
    put = stdout.write if write is None else write
    async with following(settings, type) as (dispatcher, waiting), trio.open_nursery() as nursery:
        if write is None:
            nursery.start_soon(stdout.end_with_reader)
        if not settings.json:
            number = len(dispatcher.dispatches)
            some = "1 dispatch" if number == 1 else f"{number:,} dispatches"
            await put(f"following microgrid {settings.microgrid}, which has {some}\n")
        line = _json_line if settings.json else TextLine(settings)
        news = News()
        while True:
            await waiting.wanted.wait()
            await trio.lowlevel.checkpoint()  # what belongs together comes together
            events = waiting.take()
            if not settings.json:
                events = [event for event in events if news(event)]
            if events:
                await put("".join(f"{line(event)}\n" for event in events))


class News:
    """Tells what is worth a line: not what there was, nor the same error at every try."""

    def __init__(self) -> None:
        self._error = ""

    def __call__(self, event: Event) -> bool:
        if event.sync is None:
            return event.name != "known"
        before, self._error = self._error, str(event.sync.error or "")
        return not self._error or self._error != before


class Waiting:
    """The events that have not been shown yet."""

    def __init__(self) -> None:
        self.wanted = trio.Event()
        self._events: list[Event] = []

    def put(self, event: Event) -> None:
        self._events.append(event)
        self.wanted.set()

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        self.wanted = trio.Event()
        return sorted(events, key=lambda event: event.rank)


@asynccontextmanager
async def following(
    settings: Settings, type: str | None
) -> AsyncIterator[tuple[Dispatcher, Waiting]]:
    """Open a dispatcher and gather what it tells."""
    waiting = Waiting()
    async with settings.dispatcher() as dispatcher, trio.open_nursery() as nursery:
        if not settings.verbose:
            # From here on it is told as an event.
            nursery.start_soon(_keep_quiet)
        nursery.start_soon(_follow_lifecycle, dispatcher, type, waiting)
        nursery.start_soon(_follow_status, dispatcher, type, waiting)
        nursery.start_soon(_follow_missed, dispatcher, type, waiting)
        nursery.start_soon(_follow_sync, dispatcher, waiting)
        yield dispatcher, waiting
        nursery.cancel_scope.cancel()


async def _keep_quiet() -> None:
    """Have the library log nothing, until cancelled."""
    log = logging.getLogger("trio_dispatch")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        await trio.sleep_forever()
    finally:
        log.setLevel(level)


async def _follow_lifecycle(dispatcher: Dispatcher, type: str | None, waiting: Waiting) -> None:
    with dispatcher.lifecycle_events.new_receiver(type=type, limit=10_000) as events:
        for _ in range(events.statistics().waiting):
            waiting.put(Event("known", events.receive_nowait().dispatch))
        async for event in events:
            waiting.put(_lifecycle_event(event))


def _lifecycle_event(event: LifecycleEvent) -> Event:
    return Event(next(_NAMES[kind] for kind in _NAMES if isinstance(event, kind)), event.dispatch)


async def _follow_status(dispatcher: Dispatcher, type: str | None, waiting: Waiting) -> None:
    with dispatcher.running_status_change.new_receiver(type=type) as statuses:
        async for dispatch in statuses:
            if dispatch.pulse is not None:
                name = "pulse"
            elif dispatch.running(type) is RunningState.RUNNING:
                name = "runs"
            else:
                name = "stops"
            waiting.put(Event(name, dispatch))


async def _follow_missed(dispatcher: Dispatcher, type: str | None, waiting: Waiting) -> None:
    with dispatcher.missed_runs.new_receiver(type=type) as runs:
        async for missed in runs:
            waiting.put(_missed_event(missed))


def _missed_event(missed: MissedRun) -> Event:
    return Event("missed", missed.dispatch)


async def _follow_sync(dispatcher: Dispatcher, waiting: Waiting) -> None:
    async for state in dispatcher.sync_state.eventual_values():
        if state.phase in {SyncPhase.LIVE, SyncPhase.WAITING}:
            waiting.put(Event("sync", sync=state))


# Lines.


def _json_line(event: Event) -> str:
    record: dict[str, Any] = {"time": json_time(event.time), "event": event.name}
    if event.sync is not None:
        error = event.sync.error
        record |= {
            "phase": event.sync.phase.value,
            "error": None if error is None else str(error),
            "next_try": json_time(event.sync.next_try),
        }
    if event.dispatch is not None:
        record["dispatch"] = record_of(event.dispatch) | state_of(event.dispatch, event.time)
    return dump(record)


class TextLine:
    """Makes a line for people of an event."""

    def __init__(self, settings: Settings) -> None:
        self._zone = settings.zone
        self._console = settings.console()

    def __call__(self, event: Event) -> str:
        from rich.text import Text  # noqa: PLC0415

        moment = event.time.replace(microsecond=0).astimezone(self._zone)
        text = Text(f"{moment:%H:%M:%S}  ", "dim")
        text.append(f"{event.name:<8}", _STYLES.get(event.name, "cyan")).append(
            f"  {self._say(event)}"
        )
        with self._console.capture() as captured:
            self._console.print(text, soft_wrap=True, end="")
        return captured.get()

    def _say(self, event: Event) -> str:
        if event.sync is not None:
            return sync_text(event.sync, self._zone)
        dispatch = event.dispatch
        assert dispatch is not None
        text = headline(dispatch)
        if event.name in {"created", "updated"}:
            run_ = dispatch.next_run_after(event.time) if dispatch.active else None
            if dispatch.running_at(event.time):
                text += f" until {self._until(dispatch, event)}"
            elif run_ is not None:
                text += f" from {format_near(run_, event.time, self._zone)}"
            elif not dispatch.active:
                text += " inactive"
        elif event.name == "runs":
            text += f" until {self._until(dispatch, event)}"
        if event.name in {"created", "updated", "runs", "pulse"} and dispatch.payload:
            text += f"  {dump(record_of(dispatch)['payload'])}"
        return text

    def _until(self, dispatch: Dispatch, event: Event) -> str:
        until = dispatch.until_at(event.time) or dispatch.until
        return "further notice" if until is None else format_near(until, event.time, self._zone)


def sync_text(state: SyncState, zone: Any) -> str:
    """How a dispatcher stands to its service."""
    if state.phase is SyncPhase.WAITING:
        again = (
            ""
            if state.next_try is None
            else (
                f"; next try at {format_moment(state.next_try.replace(microsecond=0), zone)[11:]}"
            )
        )
        return f"without the service: {state.error}{again}"
    since = state.since.replace(microsecond=0)
    return f"{state.phase.value} since {format_near(since, clock.now(), zone)}"
