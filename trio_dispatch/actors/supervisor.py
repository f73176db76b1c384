"""The main loop of `Dispatcher.run_actors`: turns status messages into actor tasks.

Theory of operation.  One loop takes all status messages that wait, decides which dispatches are
admitted, and folds those that run into groups.  Then it starts, updates and cancels the task of
each group that has changed.  It never waits for an actor.

A pulse belongs to no group.  A task acts on it, or one task for each component, and at most one
further pulse of the dispatch waits for each.  All are withdrawn when the dispatch is deleted or
deactivated, or gets another type.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Generic, Protocol, TypeVar

import trio

from .. import clock
from ..concurrency.broadcast import Receiver
from ..concurrency.nursery import open_service_nursery
from ..model.dispatch import Dispatch
from ..model.endings import ending_of
from ..model.runs import ReportKind
from ..model.target import TargetIds
from .admission import Admission, Admitted
from .groups import Group, Groups, Member
from .merge import ComponentIdentity
from .messages import HandedOver, moment_of, what_is_on
from .options import ActorOptions, name_of
from .registry import ActorRegistry, RunInfo
from .reporting import PutReport, ignore, report_of
from .run import ActorRun, P, RunState, Shown
from .task import ActorTask
from .task_runner import TaskRunner

__all__ = ["HandedOver", "Recorder", "serve_actors"]

Q = TypeVar("Q")

log = logging.getLogger("trio_dispatch.actors")

# The number of messages or actors after which other tasks have their turn.
_BATCH = 100


class Recorder(Protocol):
    """Records what is to be stopped if the process dies."""

    async def record(self, driven: Iterable[Dispatch]) -> None:
        """Record what actors are about to act on."""

    def touch(self) -> None:
        """An actor has finished."""


async def serve_actors(
    options: ActorOptions[P],
    statuses: Receiver[Dispatch],
    registry: ActorRegistry,
    recorder: Recorder,
    orphans: HandedOver,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Run actors for status messages, until the receiver ends, or this is cancelled or fails.

    Args:
      statuses: The status messages; nothing else receives from it.
      registry: The actor tasks of all calls.
      recorder: Records what actors act on, in case that the process dies.
      orphans: What a crashed process left running, of this type.
      task_status: Started when the actors of all that runs already have been started.
    """
    async with open_service_nursery() as nursery:
        supervisor = _Supervisor(options, nursery, registry, recorder)
        try:
            await supervisor.inherit(orphans, _queued(statuses))
            await supervisor.begin()
            task_status.started()
            with suppress(trio.EndOfChannel):
                while True:
                    await supervisor.take(await statuses.receive_batch())
                    await supervisor.begin()
        finally:
            supervisor.stop()
        nursery.cancel_scope.cancel()


@dataclass(slots=True)
class _Actor(Generic[P]):
    """The task of a group or a pulse."""

    task: ActorTask
    state: RunState[P]
    member: Member[P] | None = None  # of a group, the one that is shown
    next_pulse: Admitted[P] | None = None


@dataclass(frozen=True, slots=True)
class _Sole:
    """The identity of what shares no actor: equal to none that a strategy gives."""

    what: str
    dispatch_id: int

    def __str__(self) -> str:
        return f"{self.what} {self.dispatch_id}"


class _Supervisor(Generic[P]):
    """The actors of one call of `Dispatcher.run_actors`."""

    def __init__(
        self,
        options: ActorOptions[P],
        nursery: trio.Nursery,
        registry: ActorRegistry,
        recorder: Recorder,
    ) -> None:
        self._options = options
        self._registry = registry
        self._recorder = recorder
        self._name = name_of(options.actor)
        self._tasks = TaskRunner(nursery, registry, restart=options.on_error == "restart")
        self._admission = Admission(options, self._name)
        self._groups = Groups[P]()
        self._actors: dict[Group[P], _Actor[P]] = {}
        # By dispatch, then by identity.
        self._pulses: dict[int, dict[Hashable, _Actor[P]]] = {}
        # Since the last `begin`: the groups that may have changed, in order, and the pulses.
        self._changed: OrderedDict[Group[P], None] = OrderedDict()
        self._due: OrderedDict[int, Dispatch] = OrderedDict()
        # Since the last `begin`: what is to be recorded first.
        self._unrecorded: list[Dispatch] = []
        # What the last process left on, and no actor has been called for since.
        self._inherited: dict[int, Dispatch] = {}
        registry.add_call(self)

    def refusals(self) -> Iterable[RunInfo]:
        """What is due and refused."""
        return self._admission

    def members(self) -> Iterable[Dispatch]:
        """What actors act on, or are about to act on."""
        return (member.message for member in self._groups.members)

    async def inherit(self, orphans: HandedOver, messages: Sequence[Dispatch]) -> None:
        """Fold in the first status messages, and stop what was left on and is not to go on."""
        self._inherited = {orphan.id: orphan for orphan in orphans.going_on}
        for orphan in orphans.stopped:
            self._stop_orphan(orphan)
        await self.take(messages)
        members = {member.message.id for member in self._groups.members}
        for id_ in self._inherited.keys() - members:
            self._stop_orphan(self._inherited.pop(id_))

    async def take(self, messages: Sequence[Dispatch]) -> None:
        """Fold in status messages, and cancel what they stop."""
        number = 0
        for message in messages:
            number += 1 + self._fold_in(message)
            if number >= _BATCH:
                await trio.lowlevel.checkpoint()
                number = 0

    async def begin(self) -> None:
        """Start what has come to run, and update what has changed, after recording it."""
        number = 0
        if self._unrecorded:
            unrecorded, self._unrecorded = self._unrecorded, []
            await self._recorder.record(unrecorded)
        while self._changed or self._due:
            if self._changed:
                group, _ = self._changed.popitem(last=False)
                if not group.is_over:
                    self._update(group)
            else:
                self._begin_pulses(self._due.popitem(last=False)[1])
            number += 1
            if number % _BATCH == 0:
                await trio.lowlevel.checkpoint()

    def stop(self) -> None:
        """Cancel all actors; the nursery is about to be cancelled."""
        self._registry.discard_call(self)
        self._tasks.cancel_all()

    # Messages.

    def _fold_in(self, message: Dispatch) -> int:
        """Fold in a message; returns the number of groups that it may have changed."""
        # Without a pulse, a message about a pulse dispatch says that it was withdrawn, even if the
        # dispatch has become active again before the message was read.
        is_served = self._options.serves(message.type)
        is_withdrawn = message.deleted or not message.active or not is_served
        if is_withdrawn or (message.is_pulse and message.pulse is None):
            self._withdraw_pulses(message)
        start = None
        moment = moment_of(message)
        if is_served:
            start = message.run_at(moment)
            if message.pulse is not None:
                self._due[message.id] = message
        admitted = None
        if start is not None:
            admitted = self._admission.admit(message)
        else:
            self._admission.forget(message.id)
        if start is None or admitted is None:
            changed = self._groups.remove(message.id)
        else:
            member = Member(message, admitted.dispatch, start, admitted.payload, admitted.priority)
            self._unrecorded.append(message)
            self._registry.mark_due(moment)
            changed = self._groups.put(
                member, admitted.identities or {_Sole("dispatch", message.id)}
            )
        for group in changed:
            self._changed[group] = None
            actor = self._actors.get(group)
            if actor is None:
                continue
            if message.id not in group:
                shown = actor.state.shown
                if shown.dispatch.id == message.id:
                    ending = ending_of(shown.start, shown.until, message, moment_of(message))
                    actor.state.reports.ends(ending)
                actor.state.reports.left(message.id)
            if group.is_over:
                self._tasks.cancel(actor.task)
        orphan = self._inherited.get(message.id)
        if orphan is not None and (
            admitted is None or start is None or what_is_on(message) != what_is_on(orphan)
        ):
            self._disinherit(message, changed)
        return len(changed)

    # Orphans.

    def _disinherit(self, message: Dispatch, groups: Sequence[Group[P]]) -> None:
        """Stop what was left on if a message has changed that before any actor was called for it.

        Args:
          groups: Those that the message may have changed.
        """
        orphan = self._inherited.pop(message.id).sent_for(moment_of(message), halted=True)
        actors = ((group, self._actors.get(group)) for group in groups)
        uncalled = [group for group, actor in actors if actor is None or not actor.task.attempts]
        if groups and not uncalled:
            return
        identities = (group.identity for group in uncalled)
        components = [each.component for each in identities if isinstance(each, ComponentIdentity)]
        if components:
            orphan = orphan.with_content(TargetIds(*components), orphan.payload)
        self._stop_orphan(orphan)

    def _stop_orphan(self, orphan: Dispatch) -> None:
        """Have `on_orphan` stop what a crashed process left running."""
        self._registry.release_orphan(orphan.id)
        admitted = self._admission.admit_orphan(orphan)
        stop = self._options.on_orphan
        if admitted is None:
            return
        if stop is None:
            log.warning(
                "microgrid %d, dispatch %d was running when the last process crashed; without "
                "on_orphan nothing stops it",
                self._options.microgrid_id,
                orphan.id,
            )
            return
        name = name_of(stop)
        shown = Shown(admitted, None, admitted.start_time, None)
        task = ActorTask(
            _Sole("orphan", orphan.id),
            partial(stop, admitted),
            _state(shown, self._options, name, once=True, report=ignore),
            on_finish=lambda _: self._recorder.touch(),
            name=f"{name} for dispatch {orphan.id}",
            drives=orphan,
        )
        self._tasks.begin_cleanup(task)

    # Groups.

    def _update(self, group: Group[P]) -> None:
        """Show a group's winner to its actor, or start the actor."""
        member, started = group.winner, group.started
        group.started = False
        actor = self._actors.get(group)
        if actor is None and not started:
            return
        if actor is None or actor.member is not member:
            shown = _shown(
                group.identity, member.dispatch, member.payload, member.start, member.until
            )
            if actor is None:
                finish = partial(self._forget, group)
                actor = self._actor(group.identity, shown, finish, once=False)
                self._actors[group] = actor
                self._tasks.begin(actor.task)
            else:
                actor.state.show(shown, started=started)
            actor.member = member
            actor.task.drives = member.message
        self._registry.set_end(actor.task, group.end)

    def _forget(self, group: Group[P], _: ActorTask) -> None:
        del self._actors[group]
        self._recorder.touch()

    # Pulses.

    def _begin_pulses(self, message: Dispatch) -> None:
        admitted = self._admission.admit(message)
        if message.run_at(moment_of(message)) is None:
            self._admission.forget(message.id)
        if admitted is None:
            return
        identities: Iterable[Hashable] = [_Sole("a pulse of dispatch", message.id)]
        if admitted.identities is not None:
            components = [x for x in admitted.identities if isinstance(x, ComponentIdentity)]
            identities = components or identities
        for identity in identities:
            self._begin_pulse(identity, admitted)

    def _begin_pulse(self, identity: Hashable, pulse: Admitted[P]) -> None:
        dispatch, due = pulse.dispatch, pulse.dispatch.pulse
        assert due is not None
        self._registry.mark_due(moment_of(dispatch))
        actors = self._pulses.setdefault(dispatch.id, {})
        actor = actors.get(identity)
        if actor is None:
            shown = _shown(identity, dispatch, pulse.payload, due, due)
            actor = self._actor(identity, shown, self._next_pulse, once=True)
            actors[identity] = actor
            self._tasks.begin(actor.task)
            return
        if actor.next_pulse is not None:
            log.warning(
                "%s: the pulse of %s is dropped in favour of that of %s: an earlier one is still "
                "being acted upon",
                actor.task.about,
                actor.next_pulse.dispatch.pulse,
                due,
            )
            self._report_dropped(identity, actor.next_pulse.dispatch)
        actor.next_pulse = pulse

    def _next_pulse(self, task: ActorTask) -> None:
        id_ = task.run.shown.dispatch.id
        actors = self._pulses[id_]
        pulse = actors.pop(task.identity).next_pulse
        if not actors:
            del self._pulses[id_]
        if pulse is not None:
            self._begin_pulse(task.identity, pulse)

    def _withdraw_pulses(self, message: Dispatch) -> None:
        self._due.pop(message.id, None)
        for actor in self._pulses.get(message.id, {}).values():
            actor.next_pulse = None
            actor.state.reports.ends(
                ending_of(actor.state.shown.start, None, message, moment_of(message))
            )
            self._tasks.cancel(actor.task)

    def _report_dropped(self, identity: Hashable, pulse: Dispatch) -> None:
        due = pulse.pulse
        assert due is not None
        self._options.report(
            report_of(
                ReportKind.MISSED,
                pulse,
                due,
                clock.now(),
                actor=self._name,
                component=identity.component if isinstance(identity, ComponentIdentity) else None,
                until=due,
                error="an earlier pulse was still being acted upon",
            )
        )

    # Actor tasks.

    def _actor(
        self,
        identity: Hashable,
        shown: Shown[P],
        on_finish: Callable[[ActorTask], None],
        *,
        once: bool,
    ) -> _Actor[P]:
        state = _state(shown, self._options, self._name, once=once, report=self._options.report)
        task = ActorTask(
            identity,
            partial(self._options.actor, ActorRun(state)),
            state,
            on_finish=on_finish,
            name=f"{self._name} for {identity}",
        )
        return _Actor(task, state)


def _state(
    shown: Shown[P], options: ActorOptions[Q], name: str, *, once: bool, report: PutReport
) -> RunState[P]:
    return RunState(
        shown,
        name=name,
        microgrid_id=options.microgrid_id,
        grace=options.grace.total_seconds(),
        once=once,
        report=report,
    )


def _shown(
    identity: Hashable, dispatch: Dispatch, payload: P, start: datetime, until: datetime | None
) -> Shown[P]:
    """What the actor with an identity is shown of a run."""
    if isinstance(identity, ComponentIdentity):
        dispatch = dispatch.with_content(_only(identity.component), dispatch.payload)
    shared = None if isinstance(identity, _Sole) else identity
    return Shown(dispatch, payload, start, until, shared)


_only = lru_cache(maxsize=4096)(TargetIds)


def _queued(receiver: Receiver[Dispatch]) -> list[Dispatch]:
    messages = []
    with suppress(trio.WouldBlock, trio.EndOfChannel):
        while True:
            messages.append(receiver.receive_nowait())
    return messages
