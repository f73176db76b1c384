"""Keeps the mirror in sync with the service: the streaming task, and the confirming task.

Theory of operation.  While there is contact, one task follows the stream of changes, see `streams`,
and another one confirms that the mirror agrees with the service: first by a list of everything,
then by a small probe every `probe_interval`, by a list every `resync_interval`, and by a list at
once when something is unclear.  A stream that is open and silent looks like one without news.  So
when a probe disagrees, and the stream does not explain that within a moment, everything is listed.
What that list finds, the stream should have delivered: the stream is stale, and is replaced.

When the stream ends, or nothing can be confirmed, contact is lost, and both tasks start again after
a pause.  Before the first list was read, a failure that is permanent is raised; later nothing is.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import trio
from trio_util import AsyncValue, wait_any

from .. import clock
from ..client.errors import ServiceError
from ..concurrency.backoff import Backoff
from ..concurrency.nursery import open_service_nursery
from ..errors import DispatchError
from ..model.dispatch import Dispatch
from ..model.events import EventKind, LifecycleEvent, StreamEvent
from ..model.undecodable import Undecodable
from .mirror import Mirror
from .probe import Changes, Comparison
from .state import SyncPhase, SyncState
from .streams import HEALTHY, Lifetimes, Streams
from .turns import Turns

if TYPE_CHECKING:
    from ..client.client import DispatchClient

__all__ = ["Synchronizer"]

log = logging.getLogger("trio_dispatch.dispatcher.sync")

# So that no page blocks other tasks for more than a few milliseconds.
_PAGE_SIZE = 100
_IDS_AT_ONCE = 250
# How long a stream has to explain what a probe or a list has found, in seconds.
_EXPLANATION_TIMEOUT = 2.0
# A list that takes longer than this many seconds does not keep other dispatchers waiting.
_TURN_TIMEOUT = 5.0
# The pause after a permanent failure, in seconds.
_PERMANENT_DELAY = 60.0
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


class Synchronizer:
    """Keeps a mirror in sync with the service.

    Args:
      announce: Takes lifecycle events, and the ids of expired dispatches.
      turns: Shared by the dispatchers of a channel, see `turns_of`.
      probe_interval: How often a small call confirms that the stream misses nothing.
      resync_interval: How often everything is listed again.
      history: What ended longer ago than this is not asked for.
      resilient: Whether something is known already: then a permanent failure is waited out like any
        other, and `run` does not wait for the first list.

    Attributes:
      state: The state of the connection.
      undecodable: The number of dispatches that could not be decoded.
      probes: The number of probes.
      stale_streams: The number of streams that did not deliver every change.
      reconnects: How often contact was lost and regained.
      last_event: When the stream delivered its last event, in UTC.
    """

    def __init__(
        self,
        client: DispatchClient,
        microgrid_id: int,
        mirror: Mirror,
        announce: Callable[[Sequence[LifecycleEvent], Iterable[int]], None],
        *,
        turns: Turns,
        probe_interval: timedelta,
        resync_interval: timedelta,
        history: timedelta,
        resilient: bool = False,
    ) -> None:
        self._client = client
        self._microgrid_id = microgrid_id
        self._mirror = mirror
        self._announce = announce
        self._turns = turns
        self._probe_interval = probe_interval.total_seconds()
        self._resync_interval = resync_interval.total_seconds()
        self._history = history
        self._resilient = resilient
        self._synced = trio.Event()
        self._list_wanted = trio.Event()
        self._probe_wanted = trio.Event()
        self._changed = trio.Event()
        self._changes = Changes()
        self._comparison: Comparison | None = None
        self._lifetimes = Lifetimes()
        self._streams: Streams
        # Whether what a list finds should have come on the stream.
        self._is_stream_accountable = False
        self._can_probe = True
        # Whether probes come at other times than those of the other dispatchers on the channel, all
        # of which are live at nearly the same time after an outage.
        self._is_spread = False
        self._was_short = False  # the last list
        self._asked_at = 0.0  # when the last list or probe was sent, in Trio's time
        self._last_error: str | None = None
        self._live_since: float | None = None
        self.undecodable = self.probes = self.stale_streams = self.reconnects = 0
        self.last_event: datetime | None = None
        now = clock.now()
        self.state: AsyncValue[SyncState] = AsyncValue(
            SyncState(SyncPhase.CONNECTING, now, offline_since=now)
        )

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep in sync until cancelled; started when the first whole list has been read.

        Raises:
          DispatchError: before that, a permanent failure.
        """
        async with open_service_nursery() as nursery:
            nursery.start_soon(self._keep_contact)
            if not self._resilient:
                await self._synced.wait()
            task_status.started()

    async def _keep_contact(self) -> None:
        backoff = Backoff(HEALTHY)
        while True:
            self._enter(SyncPhase.CONNECTING)
            self._live_since = None
            try:
                await self._contact()
            except* DispatchError as group:
                error = _gravest(group)
            healthy_for = 0.0
            if self._live_since is not None:
                healthy_for = trio.current_time() - self._live_since
            await self._pause(error, backoff.delay(healthy_for))

    async def _contact(self) -> None:
        """Follow the stream and confirm what is known, until the stream ends.

        Raises:
          DispatchError: it has ended, or could not be opened.
        """
        async with open_service_nursery() as nursery:
            await nursery.start(self._take_turn)
            self._streams = Streams(
                self._client,
                self._microgrid_id,
                self._lifetimes,
                take=self._take,
                replaced=self._stream_was_replaced,
            )
            self._is_stream_accountable = False
            self._is_spread = False
            await nursery.start(self._streams.run)
            await self._keep_confirmed()

    async def _take_turn(self, task_status: trio.TaskStatus[None]) -> None:
        """Wait for a turn, and keep it until everything was listed, at most for some seconds."""
        async with self._turns.turn():
            task_status.started()
            with trio.move_on_after(_TURN_TIMEOUT):
                await self.state.wait_value(lambda state: state.phase is SyncPhase.LIVE)

    # The stream.

    def _take(self, event: StreamEvent) -> None:
        self.last_event = clock.now()
        dispatch = event.dispatch
        if event.kind is EventKind.DELETED and dispatch.id is not None:
            events = self._mirror.deleted(dispatch)
        else:
            events = self._mirror.changed(dispatch)
            if isinstance(dispatch, Undecodable):
                self._report([dispatch], "on the stream")
                # The list may have what the event was about.
                self._is_stream_accountable = False
                self._list_wanted.set()
        self._changes.add(events)
        self._pass_on(events)

    def _stream_was_replaced(self) -> None:
        # What was on its way on the old stream is lost.
        self._is_stream_accountable = False
        self._probe_wanted.set()

    def _pass_on(self, events: Sequence[LifecycleEvent], expired: Iterable[int] = ()) -> None:
        self._announce(events, expired)
        if self._comparison is not None:
            self._comparison.add(events)
        self._changed.set()
        self._changed = trio.Event()

    # Confirming.

    async def _keep_confirmed(self) -> None:
        """Confirm what is known, now and ever again."""
        backoff = Backoff()
        pace = Backoff()
        # A service that does not answer a stream request before it has an event may begin to watch
        # only after the list was read.
        is_watching = self._streams.has_started
        is_unclear = False
        while True:
            if self.state.value.phase is not SyncPhase.LIVE:
                self._enter(SyncPhase.SYNCING)
            self._list_wanted = trio.Event()
            began = self._asked_at = trio.current_time()
            try:
                await self._list()
                # If the stream was refused at the same time, the list is no contact.
                await trio.lowlevel.checkpoint()
                if self._streams.has_ended:
                    await trio.sleep_forever()  # until the nursery of the stream is cancelled
                self._confirm()
                if is_unclear:
                    await self._check_probe()
                if is_watching:
                    self._is_stream_accountable = not self._list_wanted.is_set()
                else:
                    await self._streams.wait_started()
                    is_watching = True
                    self._probe_wanted.set()
                is_unclear = await self._wait_until_unclear(pace, began)
            except DispatchError as exc:
                await self._pause(exc, backoff.delay())
                continue
            backoff = Backoff()

    async def _wait_until_unclear(self, pace: Backoff, began: float) -> bool:
        """Wait until a list is due; returns whether a probe disagrees, or is of no use.

        Args:
          pace: What keeps calling for lists must not cause lists without a pause.
          began: When the last list began.
        """
        list_at = began + self._resync_interval * random.uniform(0.9, 1.1)  # noqa: S311
        while True:
            # What the service has changed since it was asked is at most so old when it is noticed.
            least = 0.9 if self._is_spread else 0.1
            probe_at = self._asked_at + self._probe_interval * random.uniform(least, 1)  # noqa: S311
            with trio.move_on_at(min(probe_at, list_at)):
                await wait_any(self._list_wanted.wait, self._probe_wanted.wait)
            if self._list_wanted.is_set():
                await trio.sleep(pace.delay(trio.current_time() - began))
                return False
            if trio.current_time() >= list_at:
                return False
            self._is_spread |= trio.current_time() >= probe_at
            self._probe_wanted = trio.Event()
            if not (self._can_probe and await self._probe()):
                return True
            self._confirm()
            self._is_stream_accountable = True

    async def _check_probe(self) -> None:
        """Find out whether a probe agrees after a list; otherwise lists are the only proof."""
        could_probe, self._can_probe = self._can_probe, await self._probe()
        if could_probe and not self._can_probe:
            log.info(
                "microgrid %d: the service gives no usable total or order; everything is listed "
                "every %g s",
                self._microgrid_id,
                self._probe_interval,
            )

    async def _probe(self) -> bool:
        """Ask for the last updates and the total; returns whether the mirror agrees.

        A difference that the stream explains within a moment does not count.
        """
        assert self._mirror.bound is not None
        self.probes += 1
        self._asked_at = trio.current_time()
        comparison = self._comparison = Comparison(self._mirror)
        size = self._changes.probe_size
        last_updates: list[Dispatch | Undecodable] = []
        try:
            pages = self._client.list(
                self._microgrid_id,
                end_from=self._mirror.bound,
                sort_by="update_time",
                page_size=min(size, _PAGE_SIZE),
            )
            async with aclosing(pages):
                async for page in pages:
                    total = page.total
                    last_updates += [*page.dispatches, *page.undecodable]
                    if len(last_updates) >= size:
                        break
            if total is None:
                return False
            agrees = await self._wait_until(lambda: comparison.explains(total, last_updates))
        finally:
            self._comparison = None
        # What came meanwhile may have pushed an older update off the page.
        if agrees and comparison.is_quiet:
            self._changes.clear()
        return agrees

    async def _wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition of the mirror; returns whether the stream has brought it about."""
        with trio.move_on_after(_EXPLANATION_TIMEOUT):
            while not condition():
                await self._changed.wait()
        return condition()

    def _confirm(self) -> None:
        self._enter(SyncPhase.LIVE)
        self.state.value.confirmed_at = clock.now()
        self._synced.set()

    async def _list(self) -> None:
        """Read the list, and ask for what it misses."""
        now = clock.now()
        bound = now - min(self._history, now - _BEGINNING)
        self._mirror.begin_list(bound)
        self._changes.clear()
        pages = self._client.list(self._microgrid_id, end_from=bound, page_size=_PAGE_SIZE)
        async with aclosing(pages):
            async for page in pages:
                self._report(page.undecodable, "in the list")
                events = self._mirror.page([*page.dispatches, *page.undecodable], page.total)
                if self._live_since is not None:
                    self._changes.add(events)
                self._pass_on(events)
        listed = self._mirror.end_list()
        self._pass_on((), listed.expired)
        for begin in range(0, len(listed.missing), _IDS_AT_ONCE):
            await self._confirm_deletions(listed.missing[begin : begin + _IDS_AT_ONCE])
        # The deletion that made it skip a row may still be on its way.  If the service counts
        # wrongly, every list looks short: reading it again once is enough.
        if listed.doubtful or (listed.short and not self._was_short):
            self._list_wanted.set()
        self._was_short = listed.short
        if self._is_stream_accountable:
            await self._check_stream()

    async def _confirm_deletions(self, missing: Sequence[int]) -> None:
        found: list[Dispatch | Undecodable] = []
        pages = self._client.list(self._microgrid_id, ids=missing, page_size=_PAGE_SIZE)
        async with aclosing(pages):
            async for page in pages:
                found += [*page.dispatches, *page.undecodable]
        self._pass_on(self._mirror.confirm(missing, found))

    async def _check_stream(self) -> None:
        """Replace the stream if it did not deliver what the list has found."""
        if await self._wait_until(lambda: not self._mirror.unreported):
            return
        self.stale_streams += 1
        ids = sorted(self._mirror.unreported)
        log.warning(
            "microgrid %d: the stream is open and did not report changes of %d dispatch%s (%s); "
            "it is replaced",
            self._microgrid_id,
            len(ids),
            "" if len(ids) == 1 else "es",
            ", ".join(map(str, ids[:5])) + (", ..." if len(ids) > 5 else ""),
        )
        self._is_stream_accountable = False
        self._streams.replace()

    # The state.

    def _report(self, undecodable: Iterable[Undecodable], where: str) -> None:
        for item in undecodable:
            self.undecodable += 1
            name = "a dispatch" if item.id is None else f"dispatch {item.id}"
            log.warning(
                "microgrid %d: %s %s cannot be decoded: %s",
                self._microgrid_id,
                name,
                where,
                item.reason,
            )

    async def _pause(self, error: DispatchError, delay: float) -> None:
        """Wait after a failure, unless it is permanent and nothing is known yet."""
        is_permanent = isinstance(error, ServiceError) and error.permanent
        if is_permanent:
            if not self._synced.is_set() and not self._resilient:
                raise error
            delay = _PERMANENT_DELAY
        # The same error again and again is logged once, and an outage once for the channel.
        is_news = str(error) != self._last_error
        if is_news and not is_permanent:
            kind = error.status.name if isinstance(error, ServiceError) else type(error).__name__
            is_news = self._turns.is_news(kind)
        level = logging.WARNING if is_news else logging.DEBUG
        self._last_error = str(error)
        log.log(level, "%s; the next attempt is in %.1f s", error, delay)
        self._enter(SyncPhase.WAITING, error, clock.now() + timedelta(seconds=delay))
        await trio.sleep(delay)

    def _enter(
        self,
        phase: SyncPhase,
        error: DispatchError | None = None,
        next_try: datetime | None = None,
    ) -> None:
        old = self.state.value
        now = clock.now()
        offline_since = old.offline_since
        if phase is SyncPhase.LIVE:
            if self._live_since is None:
                self._live_since = trio.current_time()
            if offline_since is not None:
                self._turns.has_contact()
            if offline_since is not None and old.confirmed_at is not None:
                self.reconnects += 1
                log.info("microgrid %d: reconnected and resynchronised", self._microgrid_id)
            self._last_error = offline_since = None
        elif phase is SyncPhase.WAITING and offline_since is None:
            offline_since = now
        if old.phase is not phase or phase is SyncPhase.WAITING:
            self.state.value = replace(
                old,
                phase=phase,
                since=now,
                offline_since=offline_since,
                error=error,
                next_try=next_try,
            )


def _gravest(group: BaseExceptionGroup[DispatchError]) -> DispatchError:
    """Of the errors of the stream and of a list, which may fail together, a permanent one."""
    errors = [
        _gravest(exc) if isinstance(exc, BaseExceptionGroup) else exc for exc in group.exceptions
    ]
    permanent = (exc for exc in errors if isinstance(exc, ServiceError) and exc.permanent)
    return next(permanent, errors[0])
