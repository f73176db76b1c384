"""Keeps a mirror of what exists at a dispatch service: the streaming task."""

from __future__ import annotations

import logging
import random
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

import trio
from trio_util import AsyncValue

from .. import clock
from ..client.client import DispatchClient, DispatchStream, EventKind, StreamEvent
from ..client.errors import ServiceError
from ..concurrency.backoff import Backoff
from ..concurrency.nursery import open_service_nursery
from ..errors import DispatchError
from ..grpc import Status
from ..model.dispatch import Dispatch
from ..model.events import LifecycleEvent
from ..model.undecodable import Undecodable
from .mirror import Mirror

__all__ = ["SyncPhase", "SyncState", "Synchronizer"]

log = logging.getLogger("trio_dispatch.dispatcher.sync")

# So that no page holds up other tasks for more than some milliseconds.
_PAGE_SIZE = 100
_IDS_AT_ONCE = 250
# How long the answer to the stream request is waited for before the list is read once more.
_METADATA_TIMEOUT = 5.0
_REFUSAL_DELAY = 60.0
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)

# Waiting does not mend these.
_REFUSALS = {
    Status.UNAUTHENTICATED,
    Status.PERMISSION_DENIED,
    Status.UNIMPLEMENTED,
    Status.INVALID_ARGUMENT,
}


class SyncPhase(Enum):
    """How a dispatcher stands to its service."""

    CONNECTING = "connecting"
    """The stream of changes is being opened."""

    SYNCING = "syncing"
    """The stream is open; what exists is being listed."""

    LIVE = "live"
    """All is known, and every change comes as it happens."""

    WAITING = "waiting"
    """Something failed; the schedule goes on with what was last known."""


@dataclass(frozen=True, slots=True)
class SyncState:
    """How a dispatcher stands to its service.

    Attributes:
      phase: What it does about it.
      since: Since when, in UTC.
      error: While waiting, what went wrong.
      next_try: While waiting, when it is tried again, in UTC.
    """

    phase: SyncPhase
    since: datetime
    error: DispatchError | None = None
    next_try: datetime | None = None


class Synchronizer:
    """Opens the stream, lists, folds both into the mirror, and begins anew when either fails.

    Args:
      apply: Takes what has happened, and the ids that have been retired.
      resync_interval: How often the list is read again while the stream goes on.
      history: What has ended longer ago than this is not asked for.
      resilient: Whether something is known already: a refusal is then waited out like any other
        failure, and `run` does not wait for the first sync.
    """

    def __init__(
        self,
        client: DispatchClient,
        microgrid_id: int,
        mirror: Mirror,
        apply: Callable[[Sequence[LifecycleEvent], Iterable[int]], None],
        *,
        resync_interval: timedelta,
        history: timedelta,
        resilient: bool = False,
    ) -> None:
        self._client = client
        self._microgrid_id = microgrid_id
        self._mirror = mirror
        self._apply = apply
        self._resync_interval = resync_interval.total_seconds()
        self._history = history
        self._resilient = resilient
        self._synced = trio.Event()
        self._list_wanted = trio.Event()
        self._last_error: str | None = None
        self._live_since: float | None = None
        self.undecodable = 0
        self.state: AsyncValue[SyncState] = AsyncValue(SyncState(SyncPhase.CONNECTING, clock.now()))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The streaming task; started when the first whole list has been read.

        Raises:
          DispatchError: before that, the service refused what is asked of it.
        """
        async with open_service_nursery() as nursery:
            nursery.start_soon(self._follow_for_ever)
            if not self._resilient:
                await self._synced.wait()
            task_status.started()

    async def _follow_for_ever(self) -> None:
        backoff = Backoff()
        while True:
            self._enter(SyncPhase.CONNECTING)
            self._live_since = None
            try:
                await self._follow()
                error = DispatchError(
                    f"microgrid {self._microgrid_id}: the service ended the stream"
                )
            except* DispatchError as group:
                error = _gravest(group)
            healthy_for = 0.0
            if self._live_since is not None:
                healthy_for = trio.current_time() - self._live_since
            await self._pause(error, backoff.delay(healthy_for))

    async def _follow(self) -> None:
        """Open the stream, and take what comes until it ends."""
        async with (
            self._client.stream(self._microgrid_id) as stream,
            open_service_nursery() as nursery,
        ):
            nursery.start_soon(self._keep_listing, stream)
            async for event in stream:
                self._take(event)
            nursery.cancel_scope.cancel()

    def _take(self, event: StreamEvent) -> None:
        dispatch = event.dispatch
        if event.kind is EventKind.DELETED and dispatch.id is not None:
            self._apply(self._mirror.deleted(dispatch), ())
        elif isinstance(dispatch, Dispatch):
            self._apply(self._mirror.changed(dispatch), ())
        else:
            self._report([dispatch], "on the stream")
            self._list_wanted.set()

    async def _keep_listing(self, stream: DispatchStream) -> None:
        """List what exists, now and ever again."""
        backoff = Backoff()
        pace = Backoff()
        # A server that does not answer before its first event may begin to watch only after the
        # list was read.
        once_more = not stream.started.is_set()
        while True:
            if self.state.value.phase is not SyncPhase.LIVE:
                self._enter(SyncPhase.SYNCING)
            self._list_wanted = trio.Event()
            began = trio.current_time()
            try:
                await self._list()
            except DispatchError as exc:
                await self._pause(exc, backoff.delay())
                continue
            backoff = Backoff()
            self._enter(SyncPhase.LIVE)
            self._synced.set()
            if once_more:
                once_more = False
                with trio.move_on_after(_METADATA_TIMEOUT):
                    await stream.started.wait()
                continue
            with trio.move_on_after(self._resync_interval * random.uniform(0.9, 1.1)):  # noqa: S311
                await self._list_wanted.wait()
                # What keeps calling for lists is not to make us list without a pause.
                await trio.sleep(pace.delay(trio.current_time() - began))

    async def _list(self) -> None:
        """Read the list, and ask for what it misses."""
        now = clock.now()
        bound = now - min(self._history, now - _BEGINNING)
        self._mirror.begin_list(bound)
        pages = self._client.list(self._microgrid_id, end_from=bound, page_size=_PAGE_SIZE)
        async with aclosing(pages):
            async for page in pages:
                self._report(page.undecodable, "in the list")
                self._apply(self._mirror.page([*page.dispatches, *page.undecodable]), ())
        listed = self._mirror.end_list()
        self._apply((), listed.retired)
        for begin in range(0, len(listed.missing), _IDS_AT_ONCE):
            await self._confirm(listed.missing[begin : begin + _IDS_AT_ONCE])
        if listed.doubtful:
            self._list_wanted.set()

    async def _confirm(self, missing: Sequence[int]) -> None:
        found: list[Dispatch | Undecodable] = []
        pages = self._client.list(self._microgrid_id, ids=missing, page_size=_PAGE_SIZE)
        async with aclosing(pages):
            async for page in pages:
                found += [*page.dispatches, *page.undecodable]
        self._apply(self._mirror.confirm(missing, found), ())

    def _report(self, undecodable: Iterable[Undecodable], where: str) -> None:
        for item in undecodable:
            self.undecodable += 1
            name = "a dispatch" if item.id is None else f"dispatch {item.id}"
            log.warning(
                "microgrid %d: %s %s makes no sense: %s",
                self._microgrid_id,
                name,
                where,
                item.reason,
            )

    async def _pause(self, error: DispatchError, delay: float) -> None:
        """Wait after a failure, unless waiting cannot mend it and nothing is known yet."""
        if is_refusal(error):
            if not self._synced.is_set() and not self._resilient:
                raise error
            delay = _REFUSAL_DELAY
        # The same again and again is no news.
        level = logging.DEBUG if str(error) == self._last_error else logging.WARNING
        self._last_error = str(error)
        log.log(level, "%s; the next try is in %.1f s", error, delay)
        now = clock.now()
        self.state.value = SyncState(SyncPhase.WAITING, now, error, now + timedelta(seconds=delay))
        await trio.sleep(delay)

    def _enter(self, phase: SyncPhase) -> None:
        if phase is SyncPhase.LIVE and self._live_since is None:
            self._live_since = trio.current_time()
        if phase is SyncPhase.LIVE and self._last_error is not None:
            log.info("microgrid %d: all is known again", self._microgrid_id)
            self._last_error = None
        if self.state.value.phase is not phase:
            self.state.value = SyncState(phase, clock.now())


def _gravest(group: BaseExceptionGroup[DispatchError]) -> DispatchError:
    """Of the errors of the stream and of the list, which may fail at the same time, a refusal."""
    errors = [
        _gravest(exc) if isinstance(exc, BaseExceptionGroup) else exc for exc in group.exceptions
    ]
    return next(filter(is_refusal, errors), errors[0])


def is_refusal(error: BaseException | None) -> bool:
    """Whether waiting cannot mend an error: a refusal, or a certificate that does not verify."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        if isinstance(error, ServiceError) and error.status in _REFUSALS:
            return True
        error = error.__cause__
    return False
