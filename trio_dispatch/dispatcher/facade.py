"""What a program sees of a dispatcher: its channels, and its actors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, overload

import trio

from .. import clock
from ..concurrency.broadcast import Broadcast, LimitedBroadcast
from ..concurrency.observable import Observable
from ..model.arbitration import PlannedInterval, Priority, equal_priority, plan
from ..model.dispatch import Dispatch
from ..model.events import LifecycleEvent, MissedRun
from ..model.expansion import Components
from ..model.target import TargetIds
from .scheduler import Scheduler
from .state import SyncState
from .statistics import DispatcherStatistics
from .sync import Synchronizer

if TYPE_CHECKING:
    from ..actors.merge import MergeStrategy
    from ..actors.options import Actor, OnOrphan
    from ..actors.registry import ActorRegistry, RunInfo
    from ..actors.run import P
    from ..client.client import DispatchClient
    from .reports.reporter import Reporter

__all__ = ["Dispatcher"]


class Dispatcher:
    """Announces the dispatches of a microgrid, see `open_dispatcher`.

    Attributes:
      microgrid_id: The microgrid.
      name: The name under which it reports; None if it does not.
      running_status_change: A message whenever a dispatch starts or stops running, or changes while
        it runs.  A new receiver first gets every running dispatch.
      lifecycle_events: A message whenever a dispatch is created, updated or deleted.  A new
        receiver first gets `Created` for every known dispatch, by id.
      missed_runs: A message for every run that was due and not announced.  A new receiver first
        gets the last one of each dispatch that no receiver has read.
      dispatches: The known dispatches that are neither deleted nor expired, by id; live and
        read-only.
      client: The client that the dispatcher uses, for other calls.
      sync_state: The state of the connection to the service.
    """

    def __init__(
        self,
        client: DispatchClient,
        microgrid_id: int,
        dispatches: Mapping[int, Dispatch],
        scheduler: Scheduler,
        synchronizer: Synchronizer,
        actors: ActorRegistry,
        reporter: Reporter | None = None,
        name: str | None = None,
    ) -> None:
        self.client = client
        self.name = name
        self.microgrid_id = microgrid_id
        self.dispatches = dispatches
        self.running_status_change: Broadcast[Dispatch] = scheduler.running_status_change
        self.lifecycle_events: LimitedBroadcast[LifecycleEvent] = scheduler.lifecycle_events
        self.missed_runs: LimitedBroadcast[MissedRun] = scheduler.missed_runs
        self.sync_state: Observable[SyncState] = synchronizer.state
        self._scheduler = scheduler
        self._synchronizer = synchronizer
        self._actors = actors
        self._reporter = reporter

    def statistics(self) -> DispatcherStatistics:
        """Return the counters of this dispatcher."""
        sync, reporter = self._synchronizer, self._reporter
        return DispatcherStatistics(
            dispatches=len(self.dispatches),
            announced=self._scheduler.announced,
            missed=self._scheduler.missed,
            undecodable=sync.undecodable,
            probes=sync.probes,
            stale_streams=sync.stale_streams,
            reconnects=sync.reconnects,
            last_event_age=None if sync.last_event is None else clock.now() - sync.last_event,
            lateness=self._scheduler.lateness.last,
            worst_lateness=self._scheduler.lateness.worst,
            lateness_histogram=self._scheduler.lateness.histogram(),
            running=self._scheduler.running,
            actor_calls=dict(self._actors.attempts),
            actor_failures=dict(self._actors.failures),
            reports_waiting=0 if reporter is None else reporter.waiting,
            reports_delivered=0 if reporter is None else reporter.delivered,
            reports_lost=0 if reporter is None else reporter.lost,
            last_delivery=None if reporter is None else reporter.last_delivery,
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
        """Return which of the known dispatches drives a component, and when, in order.

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
        type: str | Collection[str] | None,
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
        type: str | Collection[str] | None,
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
        type: str | Collection[str] | None,
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
        """Run an async function for each dispatch of some types while it runs, until cancelled.

        ``await actor(run)`` is called when a dispatch starts, is shown changes through ``run``, an
        `ActorRun`, and is cancelled when the dispatch stops, for whatever reason.  It then has
        `grace` for a last command, see `ActorRun.cleanup`.  If it takes longer, that is logged
        again and again, and the same dispatch or group starts no other actor before it has
        returned.  An actor that starts on components on which another one is being stopped waits
        until that one has returned or its grace is over, whatever their types; a target by category
        may mean any component.

        An actor that returns is finished: the next occurrence calls it again, an update does not.
        If an actor raises an exception, the error is logged, and the actor is called again while
        the run lasts, after a random pause of up to 0.5 s, which doubles up to 60 s and starts
        again from 0.5 s after a minute without an error.  `runs` shows what runs and what failed.

        A pulse calls the actor once, which acts until it returns.  A further pulse of the same
        dispatch waits for that; of several, only the newest.  The actor is cancelled only if the
        dispatch is deleted or deactivated or gets another type, or this call is cancelled.  With
        `MergeByComponent` a pulse calls one actor for each component, and is dropped where a run
        drives the component.

        Returns when the dispatcher is closed.  If cancelled, it cancels all actors, with their
        grace.

        Args:
          type: The type of the dispatches; several types, or None for all.  Types that act on the
            same components, such as one that charges and one that discharges, belong in one call
            with `MergeByComponent`: two calls do not coordinate, and would drive a component at the
            same time, which is logged as a warning.
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
            and has ended since, see the `cache` of `open_dispatcher`, to switch off what is still
            on.  Like an actor, it sees no dry runs and only the components of this process.  It has
            `grace`.
          task_status: For `trio.Nursery.start`: started when the actors of all dispatches that run
            already have been started.

        Raises:
          ValueError: an argument is invalid; the message names it.
          trio.ClosedResourceError: the dispatcher has been closed.
        """
        # Many programs only use the channels: for them, nothing of actors is imported.
        from ..actors.options import ActorOptions, parser, types_of, unparsed  # noqa: PLC0415
        from ..actors.reporting import ignore  # noqa: PLC0415
        from ..actors.supervisor import serve_actors  # noqa: PLC0415

        types = types_of(type)
        options = ActorOptions(
            microgrid_id=self.microgrid_id,
            types=types,
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
            report=ignore if self._reporter is None else self._reporter.put,
        )
        only = next(iter(types)) if types is not None and len(types) == 1 else None
        with self.running_status_change.new_receiver(type=only) as statuses:
            await serve_actors(
                options,
                statuses,
                self._actors,
                self._scheduler.cache,
                self._scheduler.orphans.hand_over(types, self.dispatches, clock.now()),
                task_status=task_status,
            )
