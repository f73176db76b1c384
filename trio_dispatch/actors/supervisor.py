"""Actors: an async function that runs while a dispatch does, in a task of its own.

Theory of operation.  One task takes the status messages and folds them into groups, see `_groups`;
it starts, tells and cancels the actor of each, see `_lives`, but never waits for one.  All messages
that wait are taken at once, and those of the same moment are waited for: what stops is cancelled
before what starts is begun, so that a start can wait for the last command of a stop.

Pulses belong to no group: for each dispatch there is a pulse that is acted upon, and one that
waits.  That a pulse is withdrawn, because its dispatch was deleted or deactivated, is no status: it
is learned from the lifecycle events, which are followed from the first pulse on.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, TypeVar

import trio

from ..concurrency.broadcast import Broadcast, Receiver
from ..concurrency.nursery import open_service_nursery
from ..model.dispatch import Dispatch
from ..model.events import Deleted, LifecycleEvent
from .groups import NOBODY, Group, Groups
from .merge import MergeStrategy
from .pending_orphans import Unattended
from .run import ActorRun, Changes
from .tasks import Actor, Leaving, Life, Lives

__all__ = [
    "Actor",
    "ActorOptions",
    "ActorRun",
    "Changes",
    "OnOrphan",
    "serve_actors",
]

log = logging.getLogger("trio_dispatch.actors")

M = TypeVar("M")

# So many messages or actors are dealt with before other tasks have their turn.
_AT_ONCE = 100

OnOrphan = Callable[[Dispatch], Awaitable[object]]
"""What stops what a process that died has left running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorOptions:
    """How actors are to be run, see `Dispatcher.run_actors`.

    Raises:
      ValueError: one makes no sense.
    """

    type: str
    actor: Actor
    merge: MergeStrategy | None
    grace: timedelta
    on_error: Literal["restart", "raise"]
    on_orphan: OnOrphan | None
    microgrid_id: int

    def __post_init__(self) -> None:
        if not callable(self.actor):
            raise ValueError(f"actor {self.actor!r} is not an async function of an ActorRun")
        if self.on_orphan is not None and not callable(self.on_orphan):
            raise ValueError(f"on_orphan {self.on_orphan!r} is not an async function of a Dispatch")
        if self.merge is not None and (
            isinstance(self.merge, type) or not hasattr(self.merge, "identity")
        ):
            raise ValueError(
                f"merge {self.merge!r} is not a merge strategy: give None, MergeByType(), "
                "MergeByTypeTarget(), or an object with a method identity(dispatch)"
            )
        if self.grace < timedelta():
            raise ValueError(f"grace {self.grace} is negative")
        if self.on_error not in {"restart", "raise"}:
            raise ValueError(f"on_error {self.on_error!r} is neither 'restart' nor 'raise'")


async def serve_actors(
    options: ActorOptions,
    statuses: Receiver[Dispatch],
    events: Broadcast[LifecycleEvent],
    *,
    orphans: Iterable[Dispatch],
    unattended: Unattended,
    caught_up: Callable[[], Awaitable[None]],
    task_status: trio.TaskStatus[None],
) -> None:
    """Run actors for what a receiver tells, until it ends, or this is cancelled, or an actor fails.

    Args:
      statuses: Where the messages come from; nobody else receives from it.
      events: Tells which dispatches are withdrawn.
      orphans: What the last process has left running, of this type.
      unattended: Of all types what nobody has seen to yet; and the actors that are being stopped,
        those of other calls among them.
      caught_up: Returns when all that is due has been told.
      task_status: Told when the actors of what runs already have been started.
    """
    async with open_service_nursery() as nursery:
        actors = _Actors(options, nursery, events, unattended.leaving)
        try:
            for orphan in orphans:
                actors.adopt(orphan)
                unattended.release(orphan.id)
            await actors.take(_waiting(statuses))
            await actors.begin()
            task_status.started()
            with suppress(trio.EndOfChannel):
                while True:
                    await actors.take(await statuses.receive_batch())
                    # A start of this very moment may have been told before a stop of it.
                    await caught_up()
                    await actors.take(_waiting(statuses))
                    await actors.begin()
        finally:
            actors.stop()
        nursery.cancel_scope.cancel()


class _Actors:
    """The actors of one call of `Dispatcher.run_actors`."""

    def __init__(
        self,
        options: ActorOptions,
        nursery: trio.Nursery,
        events: Broadcast[LifecycleEvent],
        leaving: Leaving,
    ) -> None:
        self._options = options
        self._nursery = nursery
        self._lives = Lives(nursery, leaving, restart=options.on_error == "restart")
        self._groups = Groups(options.type, self._identify)
        self._life_of: dict[Group, Life] = {}
        # For each dispatch whose pulse is acted upon, that life, and the pulse that waits.
        self._pulses: dict[int, tuple[Life, Dispatch | None]] = {}
        # Since the last `begin`: the groups that may have changed, in order, and the pulses.
        self._changed: OrderedDict[Group, None] = OrderedDict()
        self._due: OrderedDict[int, Dispatch] = OrderedDict()
        self._events = events
        self._withdrawals: Receiver[LifecycleEvent] | None = None

    async def take(self, messages: Sequence[Dispatch]) -> None:
        """Fold in messages, and cancel what they stop."""
        # At once: from now on, a withdrawal no longer shows in the message.
        for message in messages:
            if message.pulse is not None and message.type == self._options.type:
                self._hear_of_withdrawals()
                self._due[message.id] = message
        for number, message in enumerate(messages, 1):
            for group in self._groups.take(message):
                self._changed[group] = None
                if not group.members and group in self._life_of:
                    self._lives.cancel(self._life_of[group])
            if number % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    async def begin(self) -> None:
        """Start what has come to run, and tell what has changed."""
        number = 0
        while self._changed or self._due:
            if self._changed:
                group, _ = self._changed.popitem(last=False)
                if group.members:
                    self._show(group)
            else:
                self._pulse(self._due.popitem(last=False)[1])
            number += 1
            if number % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    def adopt(self, orphan: Dispatch) -> None:
        """Have somebody stop what another process has left running."""
        stop = self._options.on_orphan
        if stop is None:
            log.warning(
                "microgrid %d, dispatch %d ran when the last process died, and there is no "
                "on_orphan to stop it",
                self._options.microgrid_id,
                orphan.id,
            )
            return

        async def tend(_: ActorRun) -> None:
            assert stop is not None
            await stop(orphan)

        run = self._run(stop, orphan, None, once=True)
        identity = _Own("orphan", orphan.id)
        task = f"{run.name} for dispatch {orphan.id}"
        self._lives.begin_cleanup(Life(identity, tend, run, task=task, exited=lambda _: None))

    def stop(self) -> None:
        """Cancel all actors; the nursery is about to be cancelled."""
        self._lives.cancel_all()

    # Groups.

    def _identify(self, dispatch: Dispatch) -> Hashable:
        merge = self._options.merge
        if merge is None:
            return dispatch.id
        try:
            identity = merge.identity(dispatch)
            hash(identity)
        except Exception:
            if self._options.on_error == "raise":
                raise
            log.exception(
                "microgrid %d, dispatch %d is not run: %r gives it no identity",
                self._options.microgrid_id,
                dispatch.id,
                merge,
            )
            return NOBODY
        return identity

    def _show(self, group: Group) -> None:
        member, started = group.shown, group.started
        group.started = False
        life = self._life_of.get(group)
        if life is not None:
            life.run._show(member.dispatch, member.until, started=started)
        elif started:
            run = self._run(self._options.actor, member.dispatch, member.until, once=False)
            whose = "dispatch " if self._options.merge is None else ""
            life = Life(
                group.identity,
                self._options.actor,
                run,
                task=f"{run.name} for {whose}{group.identity}",
                exited=partial(self._forget, group),
            )
            self._life_of[group] = life
            self._lives.begin(life)

    def _forget(self, group: Group, _: Life) -> None:
        del self._life_of[group]

    # Pulses.

    def _pulse(self, message: Dispatch) -> None:
        if message.id not in self._pulses:
            run = self._run(self._options.actor, message, message.pulse, once=True)
            life = Life(
                _Own("pulse", message.id),
                self._options.actor,
                run,
                task=f"{run.name} for a pulse of dispatch {message.id}",
                exited=self._next_pulse,
            )
            self._pulses[message.id] = life, None
            self._lives.begin(life)
            return
        life, waiting = self._pulses[message.id]
        self._pulses[message.id] = life, message
        if waiting is not None:
            log.warning(
                "%s: the pulse of %s is dropped for that of %s: an earlier one is still acted upon",
                life.run._about,
                waiting.pulse,
                message.pulse,
            )

    def _next_pulse(self, life: Life) -> None:
        _, waiting = self._pulses.pop(life.run._shown[0].id)
        if waiting is not None:
            self._pulse(waiting)

    def _hear_of_withdrawals(self) -> None:
        """Learn of all that was withdrawn until now, and from now on."""
        if self._withdrawals is not None:
            for event in _waiting(self._withdrawals):
                self._withdraw(event)
            return
        with suppress(trio.ClosedResourceError):  # The dispatcher was closed meanwhile.
            self._withdrawals = self._events._follow()
            self._nursery.start_soon(self._withdraw_pulses, self._withdrawals)

    async def _withdraw_pulses(self, events: Receiver[LifecycleEvent]) -> None:
        with events:
            async for event in events:
                self._withdraw(event)

    def _withdraw(self, event: LifecycleEvent) -> None:
        dispatch = event.dispatch
        if dispatch.active and not isinstance(event, Deleted):
            return
        self._due.pop(dispatch.id, None)
        if dispatch.id in self._pulses:
            life, _ = self._pulses[dispatch.id]
            self._pulses[dispatch.id] = life, None
            self._lives.cancel(life)

    def _run(
        self,
        function: Callable[..., object],
        dispatch: Dispatch,
        until: datetime | None,
        *,
        once: bool,
    ) -> ActorRun:
        return ActorRun(
            dispatch,
            until,
            name=_name_of(function),
            microgrid_id=self._options.microgrid_id,
            grace=self._options.grace.total_seconds(),
            once=once,
        )


@dataclass(frozen=True, slots=True)
class _Own:
    """The identity of what belongs to no group: equal to none that a strategy gives."""

    what: str
    dispatch_id: int


def _waiting(receiver: Receiver[M]) -> list[M]:
    messages = []
    with suppress(trio.WouldBlock, trio.EndOfChannel):
        while True:
            messages.append(receiver.receive_nowait())
    return messages


def _name_of(function: Callable[..., object]) -> str:
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
