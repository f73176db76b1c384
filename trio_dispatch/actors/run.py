"""What an actor sees of the dispatch that it acts on."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Generic

import trio

from .. import clock
from ..model.dispatch import Dispatch
from ..model.payload import JSON
from ..model.target import Target
from .merge import ComponentIdentity
from .reporting import ActorReports, PutReport, ignore

if TYPE_CHECKING:
    # For type checkers: without a `payload` function, the payload is a mapping.
    from typing_extensions import TypeVar

    P = TypeVar("P", default=Mapping[str, JSON])
    P_co = TypeVar("P_co", default=Mapping[str, JSON], covariant=True)
else:
    from typing import TypeVar

    P = TypeVar("P")
    P_co = TypeVar("P_co", covariant=True)

__all__ = ["ActorRun", "Changes", "P", "RunControl", "RunState", "Shown"]

log = logging.getLogger("trio_dispatch.actors")


@dataclass(frozen=True, slots=True)
class Shown(Generic[P_co]):
    """What an actor is shown at one time: a run of a dispatch, with the parsed payload."""

    dispatch: Dispatch
    payload: P_co = field(compare=False)  # equal dispatches have equal payloads
    start: datetime
    until: datetime | None
    identity: Hashable = None

    @property
    def component(self) -> int | None:
        """The component that the actor is for."""
        return self.identity.component if isinstance(self.identity, ComponentIdentity) else None


class RunControl:
    """What the task of an actor shares with the actor's `ActorRun`, whatever the payload is.

    Attributes:
      name: The actor's name.
      grace: How long a cleanup may take, in seconds.
      once: Whether what is shown never changes: it is about a pulse or an orphan.
      shown: What the actor is shown now.
      unseen_start: Whether a further start was shown that the actor has not looked at.
      stopping_since: When the actor was cancelled, in Trio's time.
      reports: Reports what the actor does.
      changed: Set, and replaced by a new event, whenever `shown` changes.
    """

    shown: Shown[object]

    def __init__(
        self, *, name: str, microgrid_id: int, grace: float, once: bool, report: PutReport
    ) -> None:
        self.name = name
        self.reports = ActorReports(report, name)
        self.grace = grace
        self.once = once
        self.unseen_start = False
        self.stopping_since: float | None = None
        self.changed = trio.Event()
        self._microgrid_id = microgrid_id

    @property
    def about(self) -> str:
        """The microgrid, the dispatch and the actor, for the log."""
        shown = self.shown
        component = "" if shown.component is None else f", component {shown.component}"
        return (
            f"microgrid {self._microgrid_id}, dispatch {shown.dispatch.id}{component}: {self.name}"
        )

    def cleanup_deadline(self) -> float:
        """When a cleanup that is entered now has to end, in Trio's time."""
        begin = trio.current_time() if self.stopping_since is None else self.stopping_since
        return begin + self.grace


class RunState(RunControl, Generic[P]):
    """The state behind an `ActorRun`: written by the actor's task, read through the run."""

    shown: Shown[P]

    def __init__(
        self,
        shown: Shown[P],
        *,
        name: str,
        microgrid_id: int,
        grace: float,
        once: bool,
        report: PutReport = ignore,
    ) -> None:
        super().__init__(
            name=name, microgrid_id=microgrid_id, grace=grace, once=once, report=report
        )
        self.shown = shown

    def show(self, shown: Shown[P], *, started: bool) -> None:
        """Replace what the actor is shown.

        Args:
          started: Whether a further occurrence has started, or a further dispatch.
        """
        self.reports.shown(shown, clock.now())
        if shown != self.shown:
            self.unseen_start |= started
            self.shown = shown
            self.changed.set()
            self.changed = trio.Event()

    def look(self) -> Shown[P]:
        """Return what is shown, to the actor."""
        self.unseen_start = False
        return self.shown


class ActorRun(Generic[P_co]):
    """The dispatch that an actor acts on, always as it is now.

    `Dispatcher.run_actors` gives it to the actor and keeps it up to date until the actor is
    cancelled.  From then on it does not change: the last command is for what the actor was last
    shown.

    With ``run_actors(..., payload=parse)`` the type of the payload is the type that ``parse``
    returns: annotate the actor's argument as ``ActorRun[Charge]``, for example.

    Attributes:
      name: The actor's name.
      changes: Iterates over the dispatch as it is now, and then over each change of it.
    """

    def __init__(self, state: RunState[P_co]) -> None:
        self._state = state
        self.changes = Changes(state)
        self.name: str = state.name

    def __repr__(self) -> str:
        return f"<ActorRun of {self._state.about}>"

    @property
    def dispatch(self) -> Dispatch:
        """The dispatch; while several share the actor, the one that drives it.

        Its target contains only the components that this actor is for, and its payload is the last
        valid one.
        """
        return self._state.look().dispatch

    @property
    def target(self) -> Target | None:
        """The components to act on.  None only if the service allows that."""
        return self.dispatch.target

    @property
    def identity(self) -> Hashable:
        """What the dispatches that share the actor have in common, see `MergeStrategy`.

        None without a strategy.
        """
        return self._state.shown.identity

    @property
    def component(self) -> int:
        """The id of the component to act on, with `MergeByComponent`.

        Raises:
          RuntimeError: the actor is not for one component.
        """
        component = self._state.look().component
        if component is None:
            raise RuntimeError(
                f"{self._state.about}: run.component needs run_actors(..., "
                "merge=MergeByComponent(components)); use run.target"
            )
        return component

    @property
    def payload(self) -> P_co:
        """The parameters: what ``run_actors(payload=...)`` returned for them.

        Without such a function, a deeply read-only mapping of JSON.
        """
        return self._state.look().payload

    @property
    def dry_run(self) -> bool:
        """Whether the actor must only pretend to act.  Needs ``run_actors(..., dry_runs=True)``."""
        return self.dispatch.dry_run

    @property
    def until(self) -> datetime | None:
        """When the run of this dispatch ends, in UTC; None if it has no end.

        While several dispatches share the actor, the actor may go on for another one.  For a pulse,
        the moment of the pulse.
        """
        return self._state.look().until

    def report(self, details: Mapping[str, object]) -> None:
        """Add details to what the service is told about this run, see `name` of `open_dispatcher`.

        ::

            run.report({"energy_kwh": 12.5, "stopped_by": "state of charge"})

        Of equal names the last value counts.  This neither waits nor fails because of the service;
        without a name the details are only checked.  When the actor has finished, nothing is added
        any more.

        Args:
          details: JSON: None, bool, finite numbers, str, and lists and mappings of these, up to
            16 KiB.

        Raises:
          ValueError: the details are not JSON, or are too long.
        """
        self._state.reports.note(details, clock.now())

    @contextmanager
    def cleanup(self) -> Iterator[trio.CancelScope]:
        """A block for a last command, which is carried out although the actor is cancelled.

        Once an actor is cancelled, Trio cancels every await in it, also in ``finally`` and
        ``except`` blocks.  This block is shielded from that for a limited time: it ends ``grace``
        after the actor was cancelled (see `Dispatcher.run_actors`), however late it is entered and
        however often.  If no cancellation came before it, because the actor returns or fails by
        itself, it ends ``grace`` after it was entered.

        When the time is over, the block is cancelled, which is logged, and left as the block of
        `trio.move_on_after` is.

        ::

            try:
                async for dispatch in run.changes:
                    await battery.set_power(dispatch.payload["power_kw"])
            finally:
                with run.cleanup():
                    await battery.set_power(0)
        """
        state = self._state
        with trio.CancelScope(deadline=state.cleanup_deadline(), shield=True) as scope:
            yield scope
        if scope.cancelled_caught:
            log.warning("%s: the cleanup was cancelled after %g s", state.about, state.grace)


class Changes(AsyncIterable[Dispatch]):
    """The changes of an `ActorRun`: ``async for dispatch in run.changes``.

    Each loop first gets the dispatch as it is, and then the dispatch after each change.  If several
    changes come while the body of the loop is busy, it gets only the last: never an old state, and
    always the newest.  A change is another dispatch, another content, or another `until`.

    A loop over a run does not end by itself: the actor is cancelled when the run ends.  A loop over
    a pulse ends after the pulse.
    """

    def __init__(self, state: RunControl) -> None:
        self._state = state

    def __aiter__(self) -> AsyncIterator[Dispatch]:
        return _ChangesFrom(self._state)


class _ChangesFrom(AsyncIterator[Dispatch]):
    """One loop over the changes.  Cancelling it loses no change."""

    def __init__(self, state: RunControl) -> None:
        self._state = state
        self._seen: Shown[object] | None = None

    async def __anext__(self) -> Dispatch:
        state = self._state
        if state.once or state.shown is not self._seen:
            await trio.lowlevel.checkpoint()
        while state.shown is self._seen or state.shown == self._seen:
            if state.once:
                raise StopAsyncIteration
            await state.changed.wait()
        self._seen = state.shown
        state.unseen_start = False
        return state.shown.dispatch
