"""The tasks of actors: each waits for its turn, runs its actor, and is seen out.

Theory of operation.  A *life* is one task: from when its actor is to run until the actor has come
to its end, or was cancelled and is gone.  Between these two it is *leaving*: it has time for a last
command.  While it has, nothing else is to act on the same components:

- what has the same identity waits until it is gone, however long that takes;
- what has an overlapping target waits until it is gone or its grace is over.

An actor that fails is run again in the same life, unless it is to run only once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Hashable, Iterator

import trio
from trio_util import wait_any

from ..concurrency.backoff import Backoff
from .overlaps import Overlaps
from .run import ActorRun

log = logging.getLogger("trio_dispatch.actors")

Actor = Callable[[ActorRun], Awaitable[object]]
"""What acts on a run, until it returns or is cancelled."""

# What ends at the very end of its grace takes some steps to be gone, but no time to speak of.
_STEPS = 0.1
# What stays is not told of more often than this.
_TELL_EVERY = 1.0


class Life:
    """One task of an actor.

    Args:
      identity: What it is for; no two lives with one identity act at the same time.
      actor: What is run.
      run: What the actor is told.
      exited: Called when it is over, whatever has ended it.
      task: How its task is named.
    """

    def __init__(
        self,
        identity: Hashable,
        actor: Actor,
        run: ActorRun,
        *,
        exited: Callable[[Life], None],
        task: str,
    ) -> None:
        self.identity = identity
        self.actor = actor
        self.run = run
        self.exited = exited
        self.task = task
        self.scope = trio.CancelScope()
        self.gone = trio.Event()


Leaving = Overlaps[Life]
"""The lives that are leaving, by what they act on."""


class Lives:
    """All lives in a nursery.

    Args:
      leaving: Shared with all others who act on the same components.
      restart: Whether an error of an actor is logged, and the actor run again; otherwise it is
        raised out of the nursery.
    """

    def __init__(self, nursery: trio.Nursery, leaving: Leaving, *, restart: bool) -> None:
        self._nursery = nursery
        self._restart = restart
        self._all: dict[Hashable, dict[Life, None]] = {}
        self._leaving = leaving

    def begin(self, life: Life) -> None:
        """Run an actor when its turn has come."""
        self._all.setdefault(life.identity, {})[life] = None
        self._nursery.start_soon(self._live, life, name=life.task)

    def begin_cleanup(self, life: Life) -> None:
        """Run an actor at once, all of it as a cleanup for which others have to wait."""
        self._all.setdefault(life.identity, {})[life] = None
        self._nursery.start_soon(self._clean_up, life, name=life.task)
        self._leave(life)

    def cancel(self, life: Life) -> None:
        """End a life; it has its grace for a last command.  Idempotent."""
        if life not in self._leaving and not life.gone.is_set():
            life.scope.cancel()
            self._leave(life)

    def cancel_all(self) -> None:
        """End every life."""
        for life in [life for lives in self._all.values() for life in lives]:
            self.cancel(life)

    def _leave(self, life: Life) -> None:
        life.run._cancelled_at = trio.current_time()
        self._leaving.add(life, life.run._shown[0].target)
        self._nursery.start_soon(self._see_out, life, name=f"end of {life.task}")

    def _exit(self, life: Life) -> None:
        lives = self._all[life.identity]
        del lives[life]
        if not lives:
            del self._all[life.identity]
        self._leaving.discard(life)
        life.gone.set()
        life.exited(life)

    async def _live(self, life: Life) -> None:
        try:
            with life.scope:
                await self._wait_for_turn(life)
                await self._act(life)
        finally:
            self._exit(life)

    async def _clean_up(self, life: Life) -> None:
        try:
            with life.run.cleanup():
                error = await self._call(life)
                if error is not None:
                    log.error("%s: failed", life.run._about, exc_info=error)
        finally:
            self._exit(life)

    async def _see_out(self, life: Life) -> None:
        """Tell of a life that does not end, until it does."""
        began = trio.current_time()
        delay = life.run._grace + _STEPS
        with trio.CancelScope(shield=True):
            while True:
                with trio.move_on_after(delay):
                    await life.gone.wait()
                    return
                log.warning(
                    "%s: still there, %.0f s after it was cancelled",
                    life.run._about,
                    trio.current_time() - began,
                )
                delay = max(life.run._grace, _TELL_EVERY)

    async def _wait_for_turn(self, life: Life) -> None:
        given_up: set[Life] = set()
        while True:
            # What was stopped while it waited is not to begin.
            await trio.lowlevel.checkpoint_if_cancelled()
            rival = next((each for each in self._rivals(life) if each not in given_up), None)
            if rival is None:
                return
            kin = self._all[life.identity]
            patience = math.inf if rival in kin else rival.run._deadline()
            with trio.move_on_at(patience) as waiting:
                await wait_any(rival.gone.wait, life.run._changed.wait)
            if waiting.cancelled_caught:
                given_up.add(rival)
                log.warning(
                    "%s: started, although the grace of what was stopped on its target is over "
                    "and it is still there: %s",
                    life.run._about,
                    rival.run._about,
                )

    def _rivals(self, life: Life) -> Iterator[Life]:
        """Who has to leave before an actor may start."""
        kin = self._all[life.identity]
        for other in kin:
            if other is not life:
                yield other
        for other in self._leaving.with_target(life.run._shown[0].target):
            if other not in kin:
                yield other

    async def _act(self, life: Life) -> None:
        """Run the actor until it has come to its end, again whenever it fails."""
        run = life.run
        backoff = Backoff()
        while True:
            run._unseen_start = False
            began = trio.current_time()
            error = await self._call(life)
            if error is None:
                # If it has not even looked at a further start, it is not done with that.
                if not run._unseen_start:
                    return
                continue
            if run._once or life in self._leaving:
                log.error("%s: failed", run._about, exc_info=error)
                return
            delay = backoff.delay(trio.current_time() - began)
            log.error("%s: failed; it is run again in %.1f s", run._about, delay, exc_info=error)
            await trio.sleep(delay)

    async def _call(self, life: Life) -> Exception | None:
        """Run the actor once; returns the error that it failed with, if it is not raised."""
        try:
            result = life.actor(life.run)
            if isinstance(result, Awaitable):
                await result
        except Exception as exc:
            if not self._restart:
                raise
            return exc
        except BaseExceptionGroup as group:
            # It was cancelled or interrupted, and there were errors in its cleanup.
            errors, rest = group.split(Exception)
            if not self._restart or errors is None or rest is None:
                raise
            log.exception("%s: failed", life.run._about, exc_info=errors)
            raise rest from None
        if not isinstance(result, Awaitable):
            raise ValueError(
                f"{life.run._about}: this is not an async function: it returned {result!r}"
            )
        return None
