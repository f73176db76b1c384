"""Live copies of microgrids: one for each key and microgrid, shared by all its pages."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Final

import trio

from .. import clock
from ..client.client import DispatchClient
from ..client.errors import ServiceError
from ..concurrency.backoff import Backoff
from ..concurrency.nursery import open_service_nursery
from ..dispatcher.channels import merge_events
from ..dispatcher.mirror import Mirror
from ..dispatcher.sync import Synchronizer
from ..dispatcher.turns import turns_of
from ..errors import DispatchError
from ..grpc import Channel, Status
from ..model.dispatch import Dispatch
from ..model.events import Created, Deleted, LifecycleEvent, Updated
from ..model.runs import ReportedRun
from ..model.undecodable import Undecodable
from ..text.records import format_json_time
from ..text.runs import run_record
from .errors import PageError, page_error_of
from .feed import Feed
from .plans import Plans
from .records import page_record, sync_record
from .sessions import Credentials
from .statuses import Statuses

__all__ = ["View", "Views", "open_views"]

log = logging.getLogger("trio_dispatch.web")

PAUSE: Final = 0.2
"""The seconds for which changes are collected into one message."""

_IDLE: Final = 60.0
_OPENING: Final = 10.0
_MOST_VIEWS: Final = 50
_MOST_CHANGES: Final = 500
"""More changes at once are not sent one by one: the page loads everything again."""

_HISTORY: Final = timedelta(days=400)
_PROBE_INTERVAL: Final = timedelta(seconds=30)
_RESYNC_INTERVAL: Final = timedelta(minutes=5)
_REFUSED: Final = {Status.UNAUTHENTICATED, Status.PERMISSION_DENIED}


class View:
    """A live copy of a microgrid, as one key sees it.

    Attributes:
      feed: The messages for the pages.
      plans: The plans that its pages have asked for.
      revision: Grows with every change, also of runs.
      records_runs: Whether the service keeps runs.
      closed: Set when the view has ended.
      error: Why it ended; None if nobody used it any more.
    """

    def __init__(self, channel: Channel, credentials: Credentials, microgrid_id: int) -> None:
        self.microgrid_id = microgrid_id
        self.feed = Feed()
        self.revision = 0
        self.records_runs = True
        self.closed = trio.Event()
        self.error: PageError | None = None
        self.plans = Plans(lambda: self.revision)
        self._client = DispatchClient(channel, key=credentials.key, sign_secret=credentials.secret)
        self._mirror = Mirror()
        self._statuses = Statuses(self._take_status)
        self._synchronizer = Synchronizer(
            self._client,
            microgrid_id,
            self._mirror,
            self._take_events,
            turns=turns_of(channel),
            probe_interval=_PROBE_INTERVAL,
            resync_interval=_RESYNC_INTERVAL,
            history=_HISTORY,
        )
        self._opened = trio.Event()
        self._readers = 0
        self._used = trio.CancelScope(deadline=trio.current_time() + _OPENING + _IDLE)
        self._changed = trio.Event()
        self._pending = _Pending()

    @property
    def dispatches(self) -> list[Dispatch]:
        """The known dispatches, by id."""
        known = self._mirror.dispatches
        return [known[id_] for id_ in sorted(known)]

    async def wait_open(self) -> None:
        """Wait until everything is known.

        Raises:
          PageError: the service refuses the key, or could not be reached in time.
        """
        self._keep()
        with trio.move_on_after(_OPENING):
            await self._opened.wait()
        if self.error is not None:
            raise self.error
        if not self._opened.is_set() or self.closed.is_set():
            raise PageError(503, "unavailable", "the service cannot be reached", retry_after=2)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep the view open within the block."""
        self._readers += 1
        self._keep()
        try:
            yield
        finally:
            self._readers -= 1
            self._keep()

    def _keep(self) -> None:
        """Keep the view open for a while, or as long as it has readers."""
        self._used.deadline = math.inf if self._readers else trio.current_time() + _IDLE

    @property
    def deadline(self) -> float:
        """When the view closes unless it is used; infinite while pages read it."""
        return self._used.deadline

    def close(self) -> None:
        """End the view."""
        self._used.cancel()

    async def run(self) -> None:
        """Follow the microgrid until the service refuses the key or no page is left."""
        try:
            with self._used:
                await self._run()
        except* ServiceError as group:
            self.error = _first_error(group)
        except* DispatchError as other:
            self.error = PageError(503, "unavailable", str(other.exceptions[0]), retry_after=2)
        except* Exception:
            # The service in this process goes on without its page.
            log.exception("the view of microgrid %d has failed", self.microgrid_id)
            self.error = PageError(500, "internal", "the server made an error, see its log")
        finally:
            self.closed.set()
            self._opened.set()

    async def _run(self) -> None:
        async with open_service_nursery() as nursery:
            await nursery.start(self._synchronizer.run)
            # What exists already is no news.
            self._pending, self._changed = _Pending(), trio.Event()
            nursery.start_soon(self._statuses.run)
            nursery.start_soon(self._follow_runs)
            nursery.start_soon(self._follow_sync, self.sync())
            nursery.start_soon(self._send)
            self._opened.set()

    # What happens is collected, and sent at intervals.

    def _note(self) -> None:
        self.revision += 1
        self._changed.set()

    def _take_events(self, events: Sequence[LifecycleEvent], expired: Iterable[int]) -> None:
        for event in events:
            self._pending.add_event(event)
            self._note()
        self._statuses.apply(events, expired)

    def _take_status(self, dispatch: Dispatch) -> None:
        self._pending.statuses[dispatch.id] = dispatch
        self._note()

    async def _follow_runs(self) -> None:
        backoff, again = Backoff(), False
        while self.records_runs:
            began = trio.current_time()
            try:
                async with (
                    self._client.stream_runs(self.microgrid_id) as runs,
                    trio.open_nursery() as nursery,
                ):
                    if again:
                        nursery.start_soon(self._reload_when_started, runs.started)
                    again = True
                    async for run in runs:
                        if not isinstance(run, Undecodable):
                            self._pending.add_run(run)
                            self._note()
                    nursery.cancel_scope.cancel()
            except* ServiceError as group:
                if any(each.status is Status.UNIMPLEMENTED for each in _errors(group)):
                    self.records_runs = False
                    self._note()
            await trio.sleep(backoff.delay(trio.current_time() - began))

    async def _reload_when_started(self, started: trio.Event) -> None:
        await started.wait()
        self._pending.reload_runs = True
        self._note()

    async def _follow_sync(self, shown: dict[str, Any]) -> None:
        async for state in self._synchronizer.state.eventual_values():
            if isinstance(state.error, ServiceError) and state.error.status in _REFUSED:
                self.error = PageError(401, "login_required", "the service does not accept the key")
                self.close()
            record = sync_record(state)
            if record != shown:
                shown = record
                self.feed.put("sync", record)

    async def _send(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            pending, self._pending = self._pending, _Pending()
            if len(pending) > _MOST_CHANGES:
                self.feed.put("reset", {"version": self.feed.last + 1})
            else:
                self.feed.put("changes", {"version": self.feed.last + 1, **pending.content()})
            await trio.sleep(PAUSE)

    def sync(self) -> dict[str, Any]:
        """Return the state of the connection to the service."""
        return sync_record(self._synchronizer.state.value)


class _Pending:
    """What has happened since the last message: of each dispatch and run the newest."""

    def __init__(self) -> None:
        self.events: dict[int, LifecycleEvent] = {}
        self.statuses: dict[int, Dispatch] = {}
        self.runs: dict[tuple[Any, ...], ReportedRun] = {}
        self.reload_runs = False

    def __len__(self) -> int:
        return len(self.events) + len(self.statuses) + len(self.runs)

    def add_event(self, event: LifecycleEvent) -> None:
        """Take an event, merged with the one before about the same dispatch."""
        id_ = event.dispatch.id
        older = self.events.pop(id_, None)
        merged = event if older is None else merge_events(older, event)
        if merged is not None:
            self.events[id_] = merged

    def add_run(self, run: ReportedRun) -> None:
        key = (run.dispatcher, run.dispatch_id, run.start_time, run.actor, run.component)
        self.runs[key] = run

    def content(self) -> dict[str, Any]:
        now = clock.now()
        return {
            "created": [page_record(e.dispatch, now) for e in self._of(Created)],
            "updated": [page_record(e.dispatch, now) for e in self._of(Updated)],
            "deleted": [e.dispatch.id for e in self._of(Deleted)],
            "status": [
                {
                    "id": each.id,
                    "running": each.running_at(now),
                    "until": format_json_time(each.until_at(now)),
                    "pulse": format_json_time(each.pulse),
                }
                for each in self.statuses.values()
            ],
            "runs": [run_record(run) for run in self.runs.values()],
            "dispatchers": bool(self.runs) or self.reload_runs,
            "reload_runs": self.reload_runs,
        }

    def _of(self, kind: type[LifecycleEvent]) -> Iterator[LifecycleEvent]:
        return (event for event in self.events.values() if isinstance(event, kind))


def _errors(group: BaseExceptionGroup[ServiceError]) -> Iterator[ServiceError]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _errors(each)
        else:
            yield each


def _first_error(group: BaseExceptionGroup[ServiceError]) -> PageError:
    return page_error_of(next(_errors(group)))


class Views:
    """The views that pages use now.

    Args:
      nursery: The views run in it.
      channel: A channel to the service.
    """

    def __init__(self, nursery: trio.Nursery, channel: Channel) -> None:
        self._nursery = nursery
        self.channel = channel
        self._open: dict[tuple[Credentials, int], View] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def get(self, credentials: Credentials, microgrid_id: int) -> View:
        """Return the view of a microgrid, opening it if necessary.

        Raises:
          PageError: the service refuses the key or cannot be reached, or too many views are open.
        """
        view = self._open.get((credentials, microgrid_id))
        if view is None:
            if len(self._open) >= _MOST_VIEWS:
                self._close_unread()
            view = self._open[credentials, microgrid_id] = View(
                self.channel, credentials, microgrid_id
            )
            self._nursery.start_soon(self._run, view, (credentials, microgrid_id))
        await view.wait_open()
        return view

    def _close_unread(self) -> None:
        """Close the view that no page reads and that was not used for the longest time."""
        key = min(self._open, key=lambda key: self._open[key].deadline)
        if self._open[key].deadline == math.inf:
            raise PageError(503, "unavailable", "too many pages are open", retry_after=10)
        self._open.pop(key).close()

    async def _run(self, view: View, key: tuple[Credentials, int]) -> None:
        try:
            await view.run()
        finally:
            if self._open.get(key) is view:
                del self._open[key]


@asynccontextmanager
async def open_views(channel: Channel) -> AsyncIterator[Views]:
    """Open the views of an application; leaving the block closes them."""
    async with trio.open_nursery() as nursery:
        yield Views(nursery, channel)
        nursery.cancel_scope.cancel()
