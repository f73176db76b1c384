"""Which dispatches run together: folds status messages into groups with the same identity.

Theory of operation.  Knows neither I/O, tasks nor a clock.  A group is one run of an actor: it
comes to be when the first dispatch of its identity starts, and is over when the last of its members
stops; the next one of that identity is another group.  A group shows the member whose occurrence
started last, of several the one with the highest id.

Each message says of one dispatch what holds now: it runs, since some occurrence, or it does not.

====================================  ==============================================================
the dispatch                          what it means
====================================  ==============================================================
runs, and is a member nowhere         it joins the group of its identity
runs, and is a member of that group   it may have changed, or a further occurrence may have started
runs, and is a member of another      it leaves that one, and joins the group of its identity
does not run, or has another type     it leaves the group that it is a member of
====================================  ==============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime

from ..model.dispatch import Dispatch

# Given as an identity: of none that runs.
NOBODY = object()


@dataclass(frozen=True, slots=True)
class Member:
    """A dispatch that runs, and the occurrence from which it does."""

    dispatch: Dispatch
    start: datetime

    @property
    def until(self) -> datetime | None:
        """When it ends, if it does."""
        return self.dispatch.end_of(self.start)


class Group:
    """The dispatches that share an actor, from the first start to the last stop.

    Attributes:
      identity: What they have in common.
      members: Those that run, by id; empty when the group is over.
      started: Whether a dispatch has joined, or a further occurrence of one has started, since this
        was last set to False.
    """

    __slots__ = ("identity", "members", "started")

    def __init__(self, identity: Hashable) -> None:
        self.identity = identity
        self.members: dict[int, Member] = {}
        self.started = False

    @property
    def shown(self) -> Member:
        """The member whose occurrence started last, of several the one with the highest id."""
        return max(self.members.values(), key=lambda each: (each.start, each.dispatch.id))


class Groups:
    """The groups of all dispatches of a type.

    Args:
      type: The type; whatever has another one does not run.
      identify: Gives the identity of a dispatch, or `NOBODY`.
    """

    def __init__(self, type: str, identify: Callable[[Dispatch], Hashable]) -> None:
        self._type = type
        self._identify = identify
        self._groups: dict[Hashable, Group] = {}
        self._group_of: dict[int, Group] = {}

    def take(self, message: Dispatch) -> list[Group]:
        """Fold in a status message; returns the groups that it may have changed."""
        start = message.run_at(message._now()) if message.type == self._type else None
        identity = NOBODY if start is None else self._identify(message)
        concerned = []
        old = self._group_of.get(message.id)
        if old is not None and (identity is NOBODY or identity != old.identity):
            self._leave(old, message.id)
            concerned.append(old)
        if start is not None and identity is not NOBODY:
            concerned.append(self._put(identity, message, start))
        return concerned

    def _leave(self, group: Group, id_: int) -> None:
        del self._group_of[id_]
        del group.members[id_]
        if not group.members:
            del self._groups[group.identity]

    def _put(self, identity: Hashable, message: Dispatch, start: datetime) -> Group:
        group = self._groups.get(identity)
        if group is None:
            group = self._groups[identity] = Group(identity)
        known = group.members.get(message.id)
        if known is None or _is_further(known, message, start):
            group.started = True
        self._group_of[message.id] = group
        group.members[message.id] = Member(message, start)
        return group


def _is_further(known: Member, message: Dispatch, start: datetime) -> bool:
    """Whether a further occurrence has started, rather than the one that runs been moved."""
    if start <= known.start:
        return False
    if message.sent_at == start:
        return True
    # Sent for an update, which may have come with the start.
    old = known.dispatch
    return (message.start_time, message.duration, message.recurrence) == (
        old.start_time,
        old.duration,
        old.recurrence,
    )
