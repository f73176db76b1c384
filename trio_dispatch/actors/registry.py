"""The actor tasks of a dispatcher, of all types, and which of them others have to wait for.

Theory of operation.  While a task is being stopped, others must not start on the same components.
The status channel delivers the starts of an instant before its stops, so a task whose end has come
counts as if it were already being stopped.  Such tasks are *ending*; they are kept in an index by
their targets, and those that act in another one.  `mark_due` is called with the moment of each
start before it is begun.  A task whose end moves later by an update is no longer ending.

What a crashed process left running (a pending orphan) is in the same index, until it is handed over
to an `on_orphan` function or its time is over.
"""

from __future__ import annotations

import heapq
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import trio

from ..model.dispatch import Dispatch
from ..model.formatting import format_ranges
from ..model.target import Target, TargetIds
from .target_index import TargetIndex
from .task import ActorTask, TaskState

__all__ = ["ActorRegistry", "Call", "Ending", "RunInfo"]

log = logging.getLogger("trio_dispatch.actors")

# Seconds for which starts wait until a pending orphan is handed over.
_ORPHAN_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class RunInfo:
    """An actor at work, or a dispatch that is due and refused; see `Dispatcher.runs`.

    Attributes:
      dispatch: The dispatch; while several share the actor, the one that drives it.
      component: The component's id, with `MergeByComponent`.
      actor: The actor's name.
      state: The state of the actor's task; None if the dispatch is refused.
      since: When the task was made, or when the dispatch was refused, in UTC.
      attempts: How often the actor was called; more than once if it failed.
      error: The last error of the actor, or the error for which the payload is invalid.
      refusal: Why no actor is run for the dispatch; None if one is.
    """

    dispatch: Dispatch
    component: int | None
    actor: str
    state: TaskState | None
    since: datetime
    attempts: int = 0
    error: Exception | None = None
    refusal: str | None = None


class Call(Protocol):
    """A call of `Dispatcher.run_actors`."""

    def refusals(self) -> Iterable[RunInfo]:
        """What is due and refused."""

    def members(self) -> Iterable[Dispatch]:
        """What its actors act on, or are about to act on."""


class Ending(Protocol):
    """Something whose end others on the same components wait for."""

    news: trio.Event

    @property
    def about(self) -> str: ...

    def deadline(self) -> float: ...

    def __hash__(self) -> int: ...


class _PendingOrphan:
    """A dispatch that a crashed process left running, and that nothing has stopped yet."""

    def __init__(self, orphan: Dispatch, microgrid_id: int) -> None:
        self.about = (
            f"microgrid {microgrid_id}, dispatch {orphan.id}, left running by the last process"
        )
        self.news = trio.Event()
        self._deadline = trio.current_time() + _ORPHAN_PATIENCE

    @property
    def is_expired(self) -> bool:
        return trio.current_time() >= self._deadline

    def deadline(self) -> float:
        return self._deadline


class ActorRegistry:
    """All actor tasks of a dispatcher.

    Attributes:
      attempts: How often actors were called, by the type of the dispatch.
      failures: How often they failed.
    """

    def __init__(self) -> None:
        self._tasks: dict[ActorTask, None] = {}
        self._acting: TargetIndex[ActorTask] = TargetIndex()
        self._ending: TargetIndex[Ending] = TargetIndex()
        self._orphans: dict[int, _PendingOrphan] = {}
        # When tasks end, as a heap; an item is stale if its task has finished or another end.
        self._ends: list[tuple[datetime, int, ActorTask]] = []
        self._pushed = 0
        self._calls: dict[Call, None] = {}
        self.attempts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def runs(self) -> tuple[RunInfo, ...]:
        """Return what actors act on now, and what is refused."""
        infos = [_info_of(task) for task in self._tasks]
        for call in self._calls:
            infos += call.refusals()
        return tuple(sorted(infos, key=lambda info: (info.dispatch.id, info.component or 0)))

    def driven(self) -> Iterator[Dispatch]:
        """Yield what actors act on, as they were given it, until they have finished."""
        for call in self._calls:
            yield from call.members()
        yield from (task.drives for task in self._tasks if task.drives is not None)

    def add_call(self, call: Call) -> None:
        """Include what a call says in `runs` and `driven`."""
        self._calls[call] = None

    def discard_call(self, call: Call) -> None:
        """Undo `add_call`, although its tasks may go on for their grace."""
        self._calls.pop(call, None)

    # Tasks.

    def add(self, task: ActorTask) -> None:
        """Add a new task."""
        self._tasks[task] = None

    def discard(self, task: ActorTask) -> None:
        """Remove a task that has finished."""
        self._tasks.pop(task, None)
        self._acting.discard(task)
        self._ending.discard(task)

    def set_end(self, task: ActorTask, end: datetime | None) -> None:
        """Set when a task is due to be stopped, and take note of the target that it has now."""
        if end != task.end:
            task.end = end
            if end is not None:
                self._push(end, task)
            if task.due_since is not None:
                task.due_since = None
                self._ending.discard(task)
                task.tell()
        if task in self._ending:
            self._ending.add(task, task.run.shown.dispatch.target)
        if task in self._acting and self._acting.target_of(task) != task.run.shown.dispatch.target:
            self.set_acting(task)

    def set_acting(self, task: ActorTask) -> None:
        """A task acts, or acts on another target; warns if another one acts on the same components.

        A dry run moves nothing, and a target by category may mean any components.
        """
        shown = task.run.shown.dispatch
        if shown.dry_run:
            return
        self._acting.add(task, shown.target)
        if not isinstance(shown.target, TargetIds):
            return
        for other in self._acting.with_target(shown.target):
            target = other.run.shown.dispatch.target
            if other is task or other.is_ending or not isinstance(target, TargetIds):
                continue
            log.warning(
                "%s and %s act on the same components at the same time (%s); give all types that "
                "act on them to one run_actors, with merge=MergeByComponent(components)",
                other.about,
                task.about,
                format_ranges(shown.target & target),
            )

    def set_stopping(self, task: ActorTask) -> None:
        """A task has been cancelled."""
        self._acting.discard(task)
        self._ending.add(task, task.run.shown.dispatch.target)

    def mark_due(self, moment: datetime) -> None:
        """Something starts at a moment: what ends by then is about to be stopped."""
        while self._ends and self._ends[0][0] <= moment:
            end, _, task = heapq.heappop(self._ends)
            if self._is_live(end, task) and not task.is_ending:
                task.due_since = trio.current_time()
                self._ending.add(task, task.run.shown.dispatch.target)
                task.tell()

    def ending(self, target: Target | None) -> Iterator[Ending]:
        """Yield what is being stopped, or about to be, on components of a target."""
        for id_ in [id_ for id_, orphan in self._orphans.items() if orphan.is_expired]:
            self.release_orphan(id_)
        return self._ending.with_target(target)

    def _push(self, end: datetime, task: ActorTask) -> None:
        self._pushed += 1
        heapq.heappush(self._ends, (end, self._pushed, task))
        if len(self._ends) > 2 * len(self._tasks) + 64:
            self._ends = [item for item in self._ends if self._is_live(item[0], item[2])]
            heapq.heapify(self._ends)

    def _is_live(self, end: datetime, task: ActorTask) -> bool:
        return task.end == end and task.state is not TaskState.FINISHED

    # Pending orphans.

    def add_orphans(self, orphans: Iterable[Dispatch], microgrid_id: int) -> None:
        """Have starts on the same components wait until these are handed over."""
        for orphan in orphans:
            pending = self._orphans[orphan.id] = _PendingOrphan(orphan, microgrid_id)
            self._ending.add(pending, orphan.target)

    def release_orphan(self, id_: int) -> None:
        """An orphan was handed over, or will not be."""
        pending = self._orphans.pop(id_, None)
        if pending is not None:
            self._ending.discard(pending)
            pending.news.set()


def _info_of(task: ActorTask) -> RunInfo:
    shown = task.run.shown
    return RunInfo(
        shown.dispatch,
        shown.component,
        task.run.name,
        task.state,
        task.since,
        task.attempts,
        task.error,
    )
