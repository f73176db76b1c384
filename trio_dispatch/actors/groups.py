"""Which dispatches share an actor: groups of running dispatches with an identity in common.

Theory of operation.  Pure: no I/O, no tasks, no clock.  A group is one run of an actor.  It begins
when the first dispatch with its identity starts, and is over when its last member stops; the next
group with that identity is another group.  Of its members, the winner of the arbitration drives
the actor.

A dispatch may be a member of several groups.  Each status message says what holds now:

=======================================  ===========================================================
the dispatch                             consequence
=======================================  ===========================================================
runs, with an identity that it had not   it joins the group of that identity
runs, with an identity that it had       its membership is updated
runs, without an identity that it had    it leaves the group of that identity
does not run                             it leaves all groups
=======================================  ===========================================================
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable
from datetime import datetime
from typing import Generic

from ..model.arbitration import rank
from ..model.dispatch import Dispatch
from .run import P


class Member(Generic[P]):
    """A dispatch that runs.  Immutable.

    Attributes:
      message: The status message.
      dispatch: The same as actors are shown it: with the last valid payload, and a target that
        contains only components of this process.
      start: The occurrence since which it runs.
      until: When its run ends; None if it has no end.
      rank: Its rank in the arbitration.
    """

    __slots__ = ("dispatch", "message", "payload", "rank", "start", "until")

    def __init__(
        self,
        message: Dispatch,
        dispatch: Dispatch,
        start: datetime,
        payload: P,
        priority: float = 0.0,
    ) -> None:
        self.message = message
        self.dispatch = dispatch
        self.start = start
        self.payload = payload
        self.until = dispatch.end_of(start)
        self.rank = rank(self, priority)


class Group(Generic[P]):
    """The dispatches that share an actor, from the first start to the last stop.

    Attributes:
      identity: What they have in common.
      started: Whether a dispatch has joined, or a further occurrence of one has started, since this
        was last set to False.
    """

    __slots__ = ("_ends", "_members", "_ranks", "identity", "started")

    def __init__(self, identity: Hashable) -> None:
        self.identity = identity
        self.started = False
        self._members: dict[int, Member[P]] = {}
        # Sorted.  A message changes one member of many, so nothing is searched for linearly.
        self._ranks: list[tuple[float, datetime, int]] = []
        self._ends: list[datetime] = []

    def __contains__(self, id_: int) -> bool:
        return id_ in self._members

    @property
    def is_over(self) -> bool:
        """Whether no member is left."""
        return not self._members

    @property
    def winner(self) -> Member[P]:
        """The member that drives the actor."""
        return self._members[self._ranks[-1][-1]]

    @property
    def end(self) -> datetime | None:
        """When the last of the present members stops; None if one has no end."""
        return self._ends[-1] if len(self._ends) == len(self._members) else None

    def put(self, member: Member[P]) -> None:
        """Add a member, or replace the one for the same dispatch."""
        id_ = member.dispatch.id
        known = self._members.get(id_)
        self.started |= known is None or _is_further(known, member)
        if known is not None:
            self.remove(id_)
        self._members[id_] = member
        insort(self._ranks, member.rank)
        if member.until is not None:
            insort(self._ends, member.until)

    def remove(self, id_: int) -> None:
        """Remove a member."""
        member = self._members.pop(id_)
        del self._ranks[bisect_left(self._ranks, member.rank)]
        if member.until is not None:
            del self._ends[bisect_left(self._ends, member.until)]


class Groups(Generic[P]):
    """All groups."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, Group[P]] = {}
        self._groups_of: dict[int, dict[Hashable, Group[P]]] = {}
        self._members: dict[int, Member[P]] = {}

    @property
    def members(self) -> Iterable[Member[P]]:
        """Every member of a group, once."""
        return self._members.values()

    def put(self, member: Member[P], identities: Iterable[Hashable]) -> list[Group[P]]:
        """A dispatch runs; returns the groups that this may have changed."""
        id_ = member.dispatch.id
        old = self._groups_of.get(id_, {})
        new = {
            identity: self._groups.get(identity) or Group[P](identity) for identity in identities
        }
        left = [group for identity, group in old.items() if identity not in new]
        for group in left:
            self._leave(group, id_)
        for identity, group in new.items():
            group.put(member)
            self._groups[identity] = group
        self._groups_of[id_] = new
        self._members[id_] = member
        return [*left, *new.values()]

    def remove(self, id_: int) -> list[Group[P]]:
        """A dispatch does not run; returns the groups that it has left."""
        self._members.pop(id_, None)
        left = list(self._groups_of.pop(id_, {}).values())
        for group in left:
            self._leave(group, id_)
        return left

    def _leave(self, group: Group[P], id_: int) -> None:
        group.remove(id_)
        if group.is_over:
            del self._groups[group.identity]


def _is_further(known: Member[P], new: Member[P]) -> bool:
    """Whether a further occurrence has started, as opposed to the present run having been moved."""
    if new.start <= known.start:
        return False
    if new.dispatch.sent_at == new.start:
        return True
    # The message was sent for an update, which may have replaced the message of the start.
    return _schedule(new.dispatch) == _schedule(known.dispatch)


def _schedule(dispatch: Dispatch) -> tuple[object, ...]:
    return dispatch.start_time, dispatch.duration, dispatch.recurrence
