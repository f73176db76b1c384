"""Runs actor tasks in a nursery: each waits for its turn, calls its actor, and is stopped.

Theory of operation.  While an actor is being stopped it may still send a last command.  Until then
nothing else may act on the same components:

- a task with the same identity waits until the earlier one has finished, however long that takes;
- a task with an overlapping target waits until the other one has finished or its grace is over.

An actor that fails is called again by the same task, unless it acts on a pulse or an orphan.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Hashable, Iterator

import trio
from trio_util import wait_any

from .. import clock
from ..concurrency.backoff import Backoff
from .registry import ActorRegistry, Ending
from .reporting import COMPLETED, SHUTDOWN
from .task import ActorTask, TaskState

log = logging.getLogger("trio_dispatch.actors")

# An actor that returns at the very end of its grace needs a few steps, though next to no time.
_STEPS = 0.1
# An actor that does not stop is not reported more often than this, in seconds.
_REPORT_INTERVAL = 1.0


class TaskRunner:
    """The actor tasks in one nursery.

    Args:
      registry: The actor tasks of all nurseries of the dispatcher.
      restart: Whether an error of an actor is logged and the actor called again; otherwise the
        error is raised out of the nursery.
    """

    def __init__(self, nursery: trio.Nursery, registry: ActorRegistry, *, restart: bool) -> None:
        self._nursery = nursery
        self._registry = registry
        self._restart = restart
        # By identity, in the order in which they were begun.
        self._tasks: dict[Hashable, dict[ActorTask, None]] = {}

    def begin(self, task: ActorTask) -> None:
        """Call an actor as soon as it may act."""
        self._add(task)
        self._nursery.start_soon(self._run, task, name=task.name)

    def begin_cleanup(self, task: ActorTask) -> None:
        """Call an actor at once; all it does is a cleanup, for which others have to wait."""
        self._add(task)
        self._nursery.start_soon(self._clean_up, task, name=task.name)
        self._set_stopping(task)

    def cancel(self, task: ActorTask) -> None:
        """Stop a task; its actor has its grace for a last command.  Idempotent."""
        if task.state in {TaskState.WAITING, TaskState.RUNNING}:
            task.scope.cancel()
            self._set_stopping(task)

    def cancel_all(self) -> None:
        """Stop every task."""
        for task in [task for tasks in self._tasks.values() for task in tasks]:
            task.run.reports.ends(SHUTDOWN)
            self.cancel(task)

    def _add(self, task: ActorTask) -> None:
        self._tasks.setdefault(task.identity, {})[task] = None
        self._registry.add(task)

    def _set_stopping(self, task: ActorTask) -> None:
        task.run.stopping_since = trio.current_time()
        task.move_to(TaskState.STOPPING)
        self._registry.set_stopping(task)
        self._nursery.start_soon(self._watch_stop, task, name=f"stop of {task.name}")

    def _finish(self, task: ActorTask) -> None:
        same = self._tasks[task.identity]
        del same[task]
        if not same:
            del self._tasks[task.identity]
        self._registry.discard(task)
        task.run.reports.finished(clock.now())
        task.move_to(TaskState.FINISHED)
        task.on_finish(task)

    async def _run(self, task: ActorTask) -> None:
        try:
            with task.scope:
                if await self._wait_for_turn(task):
                    task.move_to(TaskState.RUNNING)
                    self._registry.set_acting(task)
                    await self._act(task)
        finally:
            self._finish(task)

    async def _clean_up(self, task: ActorTask) -> None:
        try:
            with trio.CancelScope(deadline=task.run.cleanup_deadline(), shield=True) as scope:
                error = await self._call(task)
                if error is not None:
                    log.error("%s: failed", task.about, exc_info=error)
            if scope.cancelled_caught:
                log.warning("%s: cancelled after %g s", task.about, task.run.grace)
        finally:
            self._finish(task)

    async def _watch_stop(self, task: ActorTask) -> None:
        """Report a task that does not finish after its grace, until it does."""
        began = trio.current_time()
        delay = task.run.grace + _STEPS
        with trio.CancelScope(shield=True):
            while task.state is not TaskState.FINISHED:
                with trio.move_on_after(delay) as timeout:
                    await task.news.wait()
                if timeout.cancelled_caught:
                    log.warning(
                        "%s: still running, %.0f s after it was cancelled",
                        task.about,
                        trio.current_time() - began,
                    )
                    delay = max(task.run.grace, _REPORT_INTERVAL)

    async def _wait_for_turn(self, task: ActorTask) -> bool:
        """Wait until an actor may act; returns False if it must not act at all."""
        given_up: set[Ending] = set()
        while True:
            # A task that was cancelled while it waited must not begin.
            await trio.lowlevel.checkpoint_if_cancelled()
            same = next(self._earlier(task), None)
            if same is not None and task.run.once and not (same.run.once or same.is_ending):
                log.warning("%s: dropped: this component is driven by %s", task.about, same.about)
                task.run.reports.dropped(task.run.shown, clock.now(), f"driven by {same.about}")
                return False
            rival = same or next(
                (each for each in self._rivals(task) if each not in given_up), None
            )
            if rival is None:
                return True
            patience = math.inf if same is not None else rival.deadline()
            with trio.move_on_at(patience) as timeout:
                await wait_any(rival.news.wait, task.run.changed.wait)
            if timeout.cancelled_caught:
                given_up.add(rival)
                log.warning(
                    "%s: started, although an actor on the same components has not stopped in "
                    "time: %s",
                    task.about,
                    rival.about,
                )

    def _earlier(self, task: ActorTask) -> Iterator[ActorTask]:
        """The tasks with the same identity that were begun before."""
        for other in self._tasks[task.identity]:
            if other is task:
                return
            yield other

    def _rivals(self, task: ActorTask) -> Iterator[Ending]:
        """What is being stopped on the same components."""
        same = self._tasks[task.identity]
        for other in self._registry.ending(task.run.shown.dispatch.target):
            if other not in same:
                yield other

    async def _act(self, task: ActorTask) -> None:
        """Call the actor until it returns, again whenever it fails."""
        run = task.run
        backoff = Backoff()
        while True:
            run.unseen_start = False
            began = trio.current_time()
            error = await self._call(task)
            if error is None:
                # An actor that has not even looked at a further start is not done with it.
                if not run.unseen_start:
                    run.reports.ends(COMPLETED)
                    return
                continue
            if run.once or task.state is TaskState.STOPPING:
                log.error("%s: failed", task.about, exc_info=error)
                return
            delay = backoff.delay(trio.current_time() - began)
            log.error("%s: failed; next attempt in %.1f s", task.about, delay, exc_info=error)
            await trio.sleep(delay)

    async def _call(self, task: ActorTask) -> Exception | None:
        """Call the actor once; returns the error that it failed with, unless that is raised."""
        task.attempts += 1
        shown = task.run.shown
        self._registry.attempts[shown.dispatch.type] += 1
        task.run.reports.called(shown, clock.now())
        try:
            result = task.call()
            if isinstance(result, Awaitable):
                await result
        except Exception as exc:
            task.error = exc
            self._note_failure(task, exc)
            if not self._restart:
                raise
            return exc
        except BaseExceptionGroup as group:
            # The actor was cancelled or interrupted, and its cleanup failed as well.
            errors, rest = group.split(Exception)
            if errors is not None:
                self._note_failure(task, errors)
            if not self._restart or errors is None or rest is None:
                raise
            log.exception("%s: failed", task.about, exc_info=errors)
            raise rest from None
        if not isinstance(result, Awaitable):
            error = ValueError(f"{task.about}: not an async function: it returned {result!r}")
            self._note_failure(task, error)
            raise error
        return None

    def _note_failure(self, task: ActorTask, error: BaseException) -> None:
        self._registry.failures[task.run.shown.dispatch.type] += 1
        task.run.reports.failed(error, clock.now())
