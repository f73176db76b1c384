"""The task of one actor, and its states."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from enum import Enum

import trio

from .. import clock
from ..model.dispatch import Dispatch
from .run import RunControl


class TaskState(Enum):
    """The state of an actor task."""

    WAITING = "waiting"
    """It waits until it may act: others are still being stopped on its components."""

    RUNNING = "running"
    """Its actor acts, or pauses after a failure until the next attempt."""

    STOPPING = "stopping"
    """It was cancelled; its actor has its grace for a last command."""

    FINISHED = "finished"
    """Its actor has returned, and nothing is left of it."""


_NEXT = {
    TaskState.WAITING: {TaskState.RUNNING, TaskState.STOPPING, TaskState.FINISHED},
    TaskState.RUNNING: {TaskState.STOPPING, TaskState.FINISHED},
    TaskState.STOPPING: {TaskState.FINISHED},
    TaskState.FINISHED: set(),
}


class ActorTask:
    """The task of an actor, from when the actor is to run until it has returned.

    Args:
      identity: What the actor is for.  Of the tasks with one identity only one acts at a time.
      call: Calls the actor.
      run: What the task shares with the actor.
      on_finish: Called when the task has finished, for whatever reason.
      name: The name of the Trio task.
      drives: The status message that is acted on, unless it is about a pulse; kept up to date.

    Attributes:
      state: See `TaskState`.
      since: When the task was made, in UTC.
      end: When it is due to be stopped; None if that is unknown.
      due_since: When its end was found to have come, in Trio's time; None if it has not.
      attempts: How often its actor was called.
      error: The last error of its actor.
      news: Set, and replaced by a new event, whenever `state`, `end` or `due_since` changes.
    """

    # A stop that is due arrives within moments; nothing waits longer than this for it, in seconds.
    OVERDUE = 10.0

    def __init__(
        self,
        identity: Hashable,
        call: Callable[[], object],
        run: RunControl,
        *,
        on_finish: Callable[[ActorTask], None],
        name: str,
        drives: Dispatch | None = None,
    ) -> None:
        self.identity = identity
        self.call = call
        self.run = run
        self.on_finish = on_finish
        self.name = name
        self.drives = drives
        self.state = TaskState.WAITING
        self.since = clock.now()
        self.end: datetime | None = None
        self.due_since: float | None = None
        self.attempts = 0
        self.error: Exception | None = None
        self.scope = trio.CancelScope()
        self.news = trio.Event()

    @property
    def about(self) -> str:
        """The microgrid, the dispatch and the actor, for the log."""
        return self.run.about

    @property
    def is_ending(self) -> bool:
        """Whether it is being stopped, or about to be."""
        return self.due_since is not None or self.state is TaskState.STOPPING

    def deadline(self) -> float:
        """Until when others wait for its end if they act on the same components, in Trio's time."""
        if self.state is TaskState.STOPPING or self.due_since is None:
            return self.run.cleanup_deadline()
        return self.due_since + self.OVERDUE

    def move_to(self, state: TaskState) -> None:
        """Make a transition of its state."""
        assert state in _NEXT[self.state], f"{self.about}: {self.state} -> {state}"
        self.state = state
        self.tell()

    def tell(self) -> None:
        """Wake those who wait for its end: something has changed."""
        self.news.set()
        self.news = trio.Event()
