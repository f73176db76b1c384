"""What an actor knows of the run that it acts on."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import trio

from ..model.dispatch import Dispatch
from ..model.target import Target

__all__ = ["ActorRun", "Changes"]

log = logging.getLogger("trio_dispatch.actors")


class ActorRun:
    """What an actor is to do now: the dispatch that it acts on, as it is at present.

    Given to an actor by `Dispatcher.run_actors`, and kept up to date while it runs.  From its
    cancellation on it stays as it is: a last command is for what the actor was last told of.

    Attributes:
      name: The actor's name.
      changes: Iterates over the dispatch as it is now, and then each time that it has changed.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        until: datetime | None,
        *,
        name: str,
        microgrid_id: int,
        grace: float,
        once: bool,
    ) -> None:
        self.changes = Changes(self)
        self.name = name
        self._microgrid_id = microgrid_id
        self._grace = grace
        self._once = once  # it does not change
        self._shown = dispatch, until
        self._cancelled_at: float | None = None  # in Trio's time
        # Whether a further start was shown that the actor cannot have seen.
        self._unseen_start = False
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<ActorRun of {self._about}>"

    @property
    def dispatch(self) -> Dispatch:
        """The dispatch; while several share the actor, the one that started last."""
        self._unseen_start = False
        return self._shown[0]

    @property
    def target(self) -> Target | None:
        """The components to act on.  None only from a service that demands none."""
        return self.dispatch.target

    @property
    def payload(self) -> Mapping[str, Any]:
        """What else there is to know: a deeply read-only mapping of JSON."""
        return self.dispatch.payload

    @property
    def dry_run(self) -> bool:
        """Whether it is only to be rehearsed."""
        return self.dispatch.dry_run

    @property
    def until(self) -> datetime | None:
        """When the run of this dispatch ends, in UTC; None if it does not.

        While several dispatches share the actor, it may go on for another.  Of a pulse, the pulse.
        """
        self._unseen_start = False
        return self._shown[1]

    @contextmanager
    def cleanup(self) -> Iterator[trio.CancelScope]:
        """A block that is carried out even though the actor is cancelled: for a last command.

        Once an actor is cancelled, Trio cancels every await in it again, in ``finally`` and
        ``except`` blocks too.  This block is shielded from that, for so long as `run_actors` was
        told: it ends ``grace`` after the cancellation of the actor, however late it is entered and
        however often.  Entered before any cancellation, say by an actor that has come to its own
        end or has failed, it ends ``grace`` after it was entered.

        When its time is up, what is in it is cancelled, which is logged, and the block is left as
        that of `trio.move_on_after`.

        ::

            try:
                async for dispatch in run.changes:
                    await battery.set_power(dispatch.payload["power_kw"])
            finally:
                with run.cleanup():
                    await battery.set_power(0)
        """
        with trio.CancelScope(deadline=self._deadline(), shield=True) as scope:
            yield scope
        if scope.cancelled_caught:
            log.warning("%s: its cleanup was cancelled after %g s", self._about, self._grace)

    @property
    def _about(self) -> str:
        """What it is about, for the log."""
        return f"microgrid {self._microgrid_id}, dispatch {self._shown[0].id}: {self.name}"

    def _deadline(self) -> float:
        """When a cleanup that is entered now has to be done."""
        begin = trio.current_time() if self._cancelled_at is None else self._cancelled_at
        return begin + self._grace

    def _show(self, dispatch: Dispatch, until: datetime | None, *, started: bool) -> None:
        """Tell the actor what it is to do from now on."""
        if (dispatch, until) != self._shown:
            self._unseen_start |= started
            self._shown = dispatch, until
            self._changed.set()
            self._changed = trio.Event()


class Changes(AsyncIterable[Dispatch]):
    """The changes of an `ActorRun`: ``async for dispatch in run.changes``.

    Each loop gets the dispatch as it is when it begins, and then what has become of it, once for
    every change, or for several at once if the loop's body takes longer: never an old state, and
    always the last one.  A change is another dispatch, another content, or another `until`.

    The loop over a run does not end: the actor is cancelled when the run does.  That over a pulse
    ends after the pulse.
    """

    def __init__(self, run: ActorRun) -> None:
        self._run = run

    def __aiter__(self) -> AsyncIterator[Dispatch]:
        return _ChangesFrom(self._run)


class _ChangesFrom(AsyncIterator[Dispatch]):
    """A loop of its own.  Cancelling it loses no change."""

    def __init__(self, run: ActorRun) -> None:
        self._run = run
        self._seen: tuple[Dispatch, datetime | None] | None = None

    async def __anext__(self) -> Dispatch:
        await trio.lowlevel.checkpoint()
        while self._run._shown == self._seen:
            if self._run._once:
                raise StopAsyncIteration
            await self._run._changed.wait()
        self._seen = self._run._shown
        return self._run.dispatch
