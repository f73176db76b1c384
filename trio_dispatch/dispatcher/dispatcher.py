"""The dispatcher: tells of a microgrid's dispatches, as they change and as they are due."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

import trio

from .. import clock
from ..actors.merge import MergeStrategy
from ..actors.options import Actor, ActorOptions, OnOrphan, parser, unparsed
from ..actors.registry import ActorRegistry, RunInfo
from ..actors.run import P
from ..actors.supervisor import serve_actors
from ..client.client import Channel, DispatchClient, open_client
from ..concurrency.broadcast import Broadcast
from ..concurrency.nursery import open_service_nursery
from ..concurrency.observable import Observable
from ..model.arbitration import PlannedInterval, Priority, equal_priority, plan
from ..model.dispatch import Dispatch
from ..model.events import Created, Deleted, LifecycleEvent, MissedRun
from ..model.expansion import Components
from ..model.target import TargetIds
from ..model.validation import check_id
from .agenda import Agenda
from .cache import CacheKeeper, Known, recall
from .channels import lifecycle_channel, missed_channel, status_channel
from .mirror import Mirror
from .notices import Notice, NoticeKind
from .orphans import Orphans
from .problems import Problems
from .statistics import DispatcherStatistics
from .sync import Synchronizer, SyncPhase, SyncState
from .undelivered_pulses import UnheardPulses

__all__ = ["Dispatcher", "DispatcherStatistics", "open_dispatcher"]

log = logging.getLogger("trio_dispatch.dispatcher")

# So many transitions are dealt with before other tasks have their turn.
_TRANSITIONS_AT_ONCE = 100


@asynccontextmanager
async def open_dispatcher(
    microgrid_id: int,
    *,
    server_url: str | None = None,
    key: str | None = None,
    sign_secret: str | None = None,
    channel: Channel | None = None,
    call_timeout: timedelta = timedelta(seconds=60),
    cache: str | PathLike[str] | None = None,
    resync_interval: timedelta = timedelta(minutes=5),
    catch_up: timedelta = timedelta(seconds=60),
    max_offline: timedelta | None = None,
    history: timedelta = timedelta(hours=1),
) -> AsyncIterator[Dispatcher]:
    """Follow the dispatches of a microgrid: ``async with open_dispatcher(...) as dispatcher``.

    When the block is entered, everything that exists is known, or what the cache knew of it.
    Without a cache, a service that is merely away is waited for; later, when it goes away, the
    schedule goes on with what was last known.  When the block is left, for whatever reason, all
    tasks have ended and every receiver ends.  When it is cancelled, the body is unwound first, with
    the dispatcher still at work in its ``finally`` blocks.

    Args:
      microgrid_id: Whose dispatches.
      server_url, key, sign_secret, channel, call_timeout: How to reach the service, see
        `open_client`.
      cache: A file in which the last known dispatches are kept, and which of them were announced
        as running, so that a start needs no service.  What ran when the process died and runs no
        more is told to every status receiver as stopped.  A file that cannot be used is set aside.
      resync_interval: How often everything is listed again, in case something was lost.
      catch_up: A start, a pulse or a whole run is announced up to so much late; what is later was
        missed.
      max_offline: After so long without the service all runs are stopped, until it is back; never,
        by default.
      history: What has ended longer ago than this need not be known.

    Raises:
      ServiceError: nothing is cached, and the service refused the first sync: the key is wrong, the
        microgrid is not the key's, this is no dispatch service; or its certificate does not verify.
      DispatchError: the cache is there and cannot be read, or its folder is not there.
      ValueError: an argument makes no sense.
    """
    spans = {
        "resync_interval": resync_interval,
        "catch_up": catch_up,
        "max_offline": max_offline,
        "history": history,
    }
    for name, span in spans.items():
        if span is not None and span < timedelta():
            raise ValueError(f"{name} {span} is negative")
    if not resync_interval:
        raise ValueError("resync_interval 0:00:00 would list without a pause: give more")
    check_id("microgrid_id", microgrid_id)
    path = None if cache is None else Path(cache)
    known = None if path is None else await recall(path, microgrid_id)
    async with open_client(
        server_url, key=key, sign_secret=sign_secret, channel=channel, call_timeout=call_timeout
    ) as client:
        dispatcher = Dispatcher(
            client,
            microgrid_id,
            resync_interval=resync_interval,
            catch_up=catch_up,
            history=history,
            known=known,
            cache=path,
        )
        if known is not None:
            await dispatcher._recall(known)
        try:
            async with open_service_nursery() as nursery:
                nursery.start_soon(dispatcher._keep_time)
                if dispatcher._cache is not None:
                    nursery.start_soon(dispatcher._cache.run)
                if max_offline is not None:
                    nursery.start_soon(dispatcher._limit_offline, max_offline)
                await nursery.start(dispatcher._synchronizer.run)
                yield dispatcher
                nursery.cancel_scope.cancel()
        finally:
            dispatcher._close()


class Dispatcher:
    """Tells of a microgrid's dispatches, see `open_dispatcher`.

    Attributes:
      running_status_change: A message whenever a dispatch is due, ends, or changes while it
        runs.  A new receiver first gets every dispatch that runs.
      lifecycle_events: A message whenever a dispatch is created, updated or deleted.  A new
        receiver first gets `Created` for every dispatch that is known, by id.
      missed_runs: A message for every run that was due too long ago to be announced.
      dispatches: All that is known and neither deleted nor retired, by id; live and read-only.
      client: The client that it uses, for calls of one's own.
      sync_state: How it stands to its service.
    """

    def __init__(
        self,
        client: DispatchClient,
        microgrid_id: int,
        *,
        resync_interval: timedelta,
        catch_up: timedelta,
        history: timedelta,
        known: Known | None = None,
        cache: Path | None = None,
    ) -> None:
        self.client = client
        self.microgrid_id = microgrid_id
        self._mirror = Mirror(known.dispatches if known else ())
        self._agenda = Agenda(catch_up)
        self._synchronizer = Synchronizer(
            client,
            microgrid_id,
            self._mirror,
            self._apply,
            resync_interval=resync_interval,
            history=history,
            resilient=known is not None,
        )
        self._nap = trio.CancelScope()
        self._announced = self._missed = 0
        self._lateness = self._worst_lateness = 0.0
        self.dispatches: Mapping[int, Dispatch] = self._mirror.dispatches
        self.sync_state: Observable[SyncState] = self._synchronizer.state
        self.lifecycle_events: Broadcast[LifecycleEvent] = lifecycle_channel(self._existing)
        self.running_status_change: Broadcast[Dispatch] = status_channel(self._statuses)
        self.missed_runs: Broadcast[MissedRun] = missed_channel()
        self._orphans = Orphans()
        self._unheard = UnheardPulses(catch_up)
        self._actors = ActorRegistry()
        self._problems = Problems(microgrid_id)
        self._cache = None if cache is None else CacheKeeper(cache, microgrid_id, self._to_stop)

    def statistics(self) -> DispatcherStatistics:
        """What this dispatcher has done so far."""
        return DispatcherStatistics(
            dispatches=len(self.dispatches),
            announced=self._announced,
            missed=self._missed,
            undecodable=self._synchronizer.undecodable,
            lateness=self._lateness,
            worst_lateness=self._worst_lateness,
        )

    @property
    def runs(self) -> tuple[RunInfo, ...]:
        """What the actors of `run_actors` act on now, and what is due and refused, by dispatch."""
        return self._actors.runs()

    def plan(
        self,
        component: int,
        begin: datetime,
        end: datetime,
        *,
        type: str | None = None,
        components: Components | None = None,
        priority: Priority = equal_priority,
        dry_runs: bool = False,
    ) -> Iterator[PlannedInterval]:
        """Return when which of the known dispatches drives a component, in order.

        Later changes of the dispatches do not change the plan.

        Args:
          component: The id of the component.
          begin: The plan's begin, itself included.
          end: Its end, itself not included.
          type: Only dispatches of this type take part; None for all.
          components: What the components are, to resolve targets by category, as for
            `MergeByComponent`.  With None, only targets by id count.
          priority: Returns the priority of a dispatch, as for `run_actors`.
          dry_runs: Whether dry runs take part.

        Raises:
          ValueError: the component's id is invalid, or a time is naive.
        """
        return plan(
            self.dispatches.values(),
            component,
            begin,
            end,
            type=type,
            components=components,
            priority=priority,
            dry_runs=dry_runs,
        )

    @overload
    async def run_actors(
        self,
        type: str,
        actor: Actor,
        *,
        targets: TargetIds | None = None,
        dry_runs: bool = False,
        merge: MergeStrategy | None = None,
        priority: Priority = equal_priority,
        grace: timedelta = timedelta(seconds=10),
        on_error: Literal["restart", "raise"] = "restart",
        on_orphan: OnOrphan | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None: ...

    @overload
    async def run_actors(
        self,
        type: str,
        actor: Actor[P],
        *,
        payload: Callable[[dict[str, Any]], P],
        on_invalid: Literal["keep", "stop"] = "keep",
        targets: TargetIds | None = None,
        dry_runs: bool = False,
        merge: MergeStrategy | None = None,
        priority: Priority = equal_priority,
        grace: timedelta = timedelta(seconds=10),
        on_error: Literal["restart", "raise"] = "restart",
        on_orphan: OnOrphan | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None: ...

    async def run_actors(
        self,
        type: str,
        actor: Actor[Any],
        *,
        payload: Callable[[dict[str, Any]], Any] | None = None,
        on_invalid: Literal["keep", "stop"] = "keep",
        targets: TargetIds | None = None,
        dry_runs: bool = False,
        merge: MergeStrategy | None = None,
        priority: Priority = equal_priority,
        grace: timedelta = timedelta(seconds=10),
        on_error: Literal["restart", "raise"] = "restart",
        on_orphan: OnOrphan | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run an async function for each dispatch of a type while it runs, until cancelled.

        ``await actor(run)`` is called when a dispatch starts, is shown changes through ``run``, an
        `ActorRun`, and is cancelled when the dispatch stops, for whatever reason.  It then has
        `grace` for a last command, see `ActorRun.cleanup`.  If it takes longer, that is logged
        again and again, and the same dispatch or group starts no other actor before it has
        returned.  An actor that starts on components on which another one is being stopped waits
        until that one has returned or its grace is over, whatever their types; a target by category
        may mean any component.

        An actor that returns is done: the next occurrence calls it again, an update does not.  An
        actor that raises is logged, and is called again while the run lasts, after a random pause
        of up to 0.5 s, which doubles up to 60 s and starts again from 0.5 s after a minute without
        an error.  `runs` shows what runs and what failed.

        A pulse calls the actor once, which acts until it returns.  A further pulse of the same
        dispatch waits for that; of several, only the newest.  The actor is cancelled only if the
        dispatch is deleted or deactivated, or this call is cancelled.  With `MergeByComponent` a
        pulse calls one actor for each component, and is dropped where a run drives the component.

        Returns when the dispatcher is closed.  If cancelled, it cancels all actors, with their
        grace.

        Args:
          type: The type of the dispatches.
          actor: The async function.
          payload: Parses the payload: takes a dict, returns the value of `ActorRun.payload`, and
            raises an exception if the dict is invalid.  A dispatch with an invalid payload is
            not run.  By default `ActorRun.payload` is the mapping.
          on_invalid: What an update to an invalid payload does while the dispatch runs: ``"keep"``
            the last valid payload, or ``"stop"`` the run.  Either is logged.
          targets: The components that this process controls; the actor is shown no others, and
            dispatches for none of them are not run.  By default, all.
          dry_runs: Whether the actor is called for dry runs: then it must look at
            `ActorRun.dry_run`.  By default they are logged and not run.
          merge: Which dispatches share an actor, for example `MergeByComponent`; None for none.
            Such an actor runs from the first start to the last stop.
          priority: Which of the dispatches that share an actor it is shown: the one with the
            highest priority, then the latest start, then the highest id.
          grace: How long an actor may take after it was cancelled.
          on_error: ``"raise"`` lets an actor's error out of this call, which cancels all actors,
            instead of calling the actor again.
          on_orphan: Called once with each dispatch that was running when the last process crashed
            and runs no more, see the `cache` of `open_dispatcher`, to stop what it left on.  Like
            an actor, it is shown no dry runs and only the components of this process.  It has
            `grace`.
          task_status: For `trio.Nursery.start`: started when the actors of all dispatches that run
            already have been started.

        Raises:
          ValueError: an argument is invalid; the message names it.
          trio.ClosedResourceError: the dispatcher has been closed.
        """
        options = ActorOptions(
            microgrid_id=self.microgrid_id,
            type=type,
            actor=actor,
            parse=unparsed if payload is None else parser(payload),
            on_invalid=on_invalid,
            targets=targets,
            dry_runs=dry_runs,
            merge=merge,
            priority=priority,
            grace=grace,
            on_error=on_error,
            on_orphan=on_orphan,
        )
        with self.running_status_change.new_receiver(type=type) as statuses:
            await serve_actors(
                options,
                statuses,
                self._actors,
                orphans=self._orphans.hand_over(type),
                task_status=task_status,
            )

    async def _keep_time(self) -> None:
        """The scheduler task: announces what is due, sleeps until the next, or until woken."""
        while True:
            now = clock.now()
            notices = self._agenda.advance(now, _TRANSITIONS_AT_ONCE)
            self._announce(notices, now)
            due = self._agenda.next_due
            if due is not None and due <= now:
                await trio.lowlevel.checkpoint()
                continue
            with trio.CancelScope() as self._nap:
                await clock.sleep_towards(due)

    async def _limit_offline(self, limit: timedelta) -> None:
        """Stops all runs when the service has been away for too long."""

        def is_live(state: SyncState) -> bool:
            return state.phase is SyncPhase.LIVE

        while True:
            away = limit.total_seconds()
            await self._synchronizer.state.wait_value(
                lambda state: not is_live(state), held_for=away
            )
            what = "microgrid %d: without the service for %s; all runs are stopped"
            log.error(what, self.microgrid_id, limit)
            self._announce(self._agenda.suspend(clock.now()), None)
            await self.sync_state.wait_value(is_live)
            self._agenda.resume(clock.now())
            self._nap.cancel()

    async def _recall(self, known: Known) -> None:
        """Take up what an earlier process knew."""
        now = clock.now()
        notices: list[Notice] = []
        for number, dispatch in enumerate(known.dispatches):
            if number % _TRANSITIONS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if self._cache is not None:
                self._cache.put(dispatch)
            notices += self._agenda.upsert(dispatch, now, dealt_with=known.saved)
        notices.sort(key=lambda notice: notice.order)
        self._announce(notices, None)
        # Only now: what was announced just now was announced to nobody.
        self._orphans.inherit(known.left_running(), now)
        self._actors.add_orphans(self._orphans.stopped, self.microgrid_id)

    def _to_stop(self) -> list[int]:
        """What is to be stopped, should this process die."""
        return sorted({*self._agenda.running_ids(), *self._orphans.untold})

    def _existing(self, type: str | None) -> Iterator[Created]:
        """What a new lifecycle receiver starts with."""
        known = (each for each in self.dispatches.values() if type in {None, each.type})
        return map(Created, sorted(known, key=attrgetter("id")))

    def _statuses(self, type: str | None) -> Iterator[Dispatch]:
        """What a new status receiver starts with."""
        for message in (*self._orphans.stopped, *self._agenda.running()):
            if self._orphans.told(message, type) and self._cache is not None:
                self._cache.touch()
            yield message
        yield from self._unheard.take(type, clock.now())

    def _apply(self, events: Sequence[LifecycleEvent], retired: Iterable[int]) -> None:
        """Tell of what has happened, and of what that changes now; no checkpoint in between."""
        now = clock.now()
        notices: list[Notice] = []
        for event in events:
            self.lifecycle_events.publish(event)
            dispatch = event.dispatch
            if self._cache is not None:
                self._cache.put(dispatch)
            if isinstance(event, Deleted):
                self._problems.forget(dispatch)
                notices += self._agenda.remove(dispatch, now)
            else:
                self._problems.look_at(dispatch)
                notices += self._agenda.upsert(dispatch, now)
        for id_ in retired:
            self._agenda.forget(id_)
            if self._cache is not None:
                self._cache.drop(id_)
        notices.sort(key=lambda notice: notice.order)
        self._announce(notices, None)
        self._nap.cancel()

    def _announce(self, notices: Sequence[Notice], scheduled: datetime | None) -> None:
        if notices and self._cache is not None:
            self._cache.touch()
        for notice in notices:
            message = notice.message
            if isinstance(message, MissedRun):
                self._missed += 1
                log.warning(
                    "microgrid %d, dispatch %d: the run of %s was missed",
                    self.microgrid_id,
                    message.dispatch.id,
                    message.start,
                )
                self.missed_runs.publish(message)
                continue
            if message.deleted or not message.active:
                self._unheard.withdraw(message)
            if notice.kind is NoticeKind.AMEND:
                self.running_status_change.amend(message)
            else:
                self._announced += 1
                heard = self.running_status_change.publish(message)
                self._orphans.announced(message, notice.kind, heard=heard)
                if message.pulse is not None and not heard:
                    self._unheard.put(message, clock.now())
                if scheduled is not None:
                    self._lateness = (scheduled - notice.moment).total_seconds()
                    self._worst_lateness = max(self._worst_lateness, self._lateness)

    def _close(self) -> None:
        self.lifecycle_events.close()
        self.running_status_change.close()
        self.missed_runs.close()
