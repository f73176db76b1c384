"""What has to change at a service, so that it has what a plan wants.

No I/O, no clock.  `match` pairs what is wanted with what is present, and returns the calls that
make the difference; carrying them out, in this order, is up to the caller.  After all of them have
succeeded, the same question has an empty answer.

A start that has passed cannot be set any more.  So what counts of a wanted dispatch that began in
the past is what it does from now on: it is created from its next occurrence on, and a present
dispatch that began at another time but does the same from now on is left alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from ...model.content import DispatchContent
from ...model.dispatch import Dispatch
from ...model.recurrence.rule import RecurrenceRule
from ...model.times import time_to_nanos

__all__ = [
    "Change",
    "Create",
    "Delete",
    "Known",
    "Matching",
    "Update",
    "Wanted",
    "differing",
    "is_over",
    "match",
]

_FIELDS = ("start_time", "duration", "target", "active", "payload", "recurrence")
"""What an update can change; `type` and `dry_run` stay as they are."""

_SOON = timedelta(seconds=5)
"""A dispatch without end that should run already is moved to start after this time."""


class Known(NamedTuple):
    """A dispatch of a service, recognised for good: a service may use an id again.

    Attributes:
      id: Its id.
      created: When the service created it, in nanoseconds since 1970.
    """

    id: int
    created: int

    @classmethod
    def of(cls, dispatch: Dispatch) -> Known:
        return cls(dispatch.id, time_to_nanos(dispatch.create_time))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A dispatch that is to exist.

    Attributes:
      place: Where it is wanted, for messages: ``plan.csv:3``.
      dispatch: Its content.
      label: What it is remembered by; None if it has neither a name nor an id.
      id, created: Its id, and the second since 1970 in which it was created, if the plan says so.
      known: The dispatch that it was before.
    """

    place: str
    dispatch: Dispatch
    label: str | None = None
    id: int | None = None
    created: int | None = None
    known: Known | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """Create a dispatch; with `at_once` it starts when the service gets the request."""

    wanted: Wanted
    content: Dispatch
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """Change fields of a dispatch."""

    wanted: Wanted
    before: Dispatch
    values: Mapping[str, Any]

    @property
    def after(self) -> Dispatch:
        """The dispatch after the change."""
        return replace(self.before, **self.values)


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a dispatch."""

    before: Dispatch


Change: TypeAlias = Create | Update | Delete


@dataclass(slots=True)
class Matching:
    """What `match` found.

    Attributes:
      changes: What has to be done, in order.
      pairs: What is wanted and present, in the order of the plan.
      same: How many of these are as wanted.
      extra: What is present and not wanted.
      over: What is wanted, is not present, and has nothing to do any more.
    """

    changes: list[Change] = field(default_factory=list)
    pairs: list[tuple[Wanted, Dispatch]] = field(default_factory=list)
    same: int = 0
    extra: list[Dispatch] = field(default_factory=list)
    over: list[Wanted] = field(default_factory=list)


def match(
    wanted: Sequence[Wanted],
    present: Iterable[Dispatch],
    *,
    now: datetime,
    own: Iterable[Known] = (),
    prune: bool = False,
) -> Matching:
    """Return what has to change.

    What is wanted is one of those present that has its type and is a dry run or not like it: the
    one with its id; one of equal content that was the plan's before; the one that it was before;
    any of equal content; at last one with the same target that was the plan's and is no longer
    wanted, or with `prune` any.  What matches nothing is created.
    Equal ones are counted: two that are wanted are two dispatches.

    Updates and creations come first, in the order of the plan, and deletions last.

    Args:
      present: All dispatches of the plan's scope, and those that it knows.
      now: The present moment, in UTC.
      own: The dispatches that were the plan's before, those that `wanted` knows included.
      prune: Whether to delete what is present and not wanted.
    """
    pairs: dict[int, Dispatch] = {}
    free = {dispatch.id: dispatch for dispatch in sorted(present, key=lambda each: each.id)}
    aheads = [_from(each.dispatch, now) for each in wanted]
    own = {Known.of(each) for each in free.values()} & {*own}
    ours = {known.id for known in own}

    def open_ones() -> list[int]:
        return [index for index in range(len(wanted)) if index not in pairs]

    def pair(index: int, id_: int) -> None:
        pairs[index] = free.pop(id_)

    def pair_by(
        key: Callable[[Dispatch], Hashable], ids: Collection[int], indices: Sequence[int]
    ) -> None:
        """Pair those with equal keys, preferably with what they were before."""
        found: defaultdict[Hashable, list[int]] = defaultdict(list)
        for id_ in free:
            if id_ in ids:
                found[key(free[id_])].append(id_)
        for index in indices:
            known = wanted[index].known
            if candidates := found.get(key(wanted[index].dispatch)):
                own_id = known.id if known and known.id in candidates else candidates[0]
                candidates.remove(own_id)
                pair(index, own_id)

    def fits(index: int, id_: int) -> bool:
        content, other = wanted[index].dispatch, free[id_]
        if (content.type, content.dry_run) != (other.type, other.dry_run):
            return False
        # A start that has passed cannot be set.
        return aheads[index] is not None or not _moved(content, other)

    def known_id(index: int) -> int | None:
        """The dispatch that it was before, if that is there and can become it."""
        known = wanted[index].known
        if known is None or known not in own or known.id not in free:
            return None
        return known.id if fits(index, known.id) else None

    def content_ahead(dispatch: Dispatch) -> Hashable:
        return _content(_from(dispatch, now) or dispatch)

    # What an entry has become counts more than an id, which a service may give to another one.
    known_ids = [known_id(index) for index in range(len(wanted))]
    taken = {*known_ids}
    for index, each in enumerate(wanted):
        if each.id is None or known_ids[index] is not None or each.id in taken:
            continue
        if each.id in free and fits(index, each.id):
            created = Known.of(free[each.id]).created // 1_000_000_000
            if each.created is None or each.created == created:
                pair(index, each.id)
    pair_by(_content, ours, open_ones())
    for index in open_ones():
        if (id_ := known_id(index)) is not None:
            pair(index, id_)
    pair_by(_content, free.keys(), open_ones())
    begun = [index for index in open_ones() if wanted[index].dispatch.start_time < now]
    if begun:
        pair_by(content_ahead, free.keys(), [index for index in begun if aheads[index]])
    # What is over is left as it is.
    leftover = {id_ for id_ in free if (prune or id_ in ours) and not is_over(free[id_], now)}
    for key in (_place_and_start, _place):
        pair_by(key, leftover, [index for index in open_ones() if aheads[index]])

    result = Matching()
    for index, each in enumerate(wanted):
        found = pairs.get(index)
        ahead = aheads[index]
        if found is not None:
            result.pairs.append((each, found))
            values = _needed(each.dispatch, found, now)
            if values:
                result.changes.append(Update(each, found, values))
            else:
                result.same += 1
        elif ahead is None:
            result.over.append(each)
        else:
            begun_ = each.dispatch.start_time < now
            content = ahead if begun_ else each.dispatch
            result.changes.append(Create(each, content, begun_ and content.duration is None))
    result.extra = [*free.values()]
    if prune:
        result.changes += map(Delete, result.extra)
    return result


# Comparing contents.


def differing(want: Dispatch, have: Dispatch) -> dict[str, Any]:
    """Return the fields that an update can change and that differ, and the wanted values."""
    return {name: getattr(want, name) for name in _FIELDS if _key(name, want) != _key(name, have)}


def _needed(want: Dispatch, have: Dispatch, now: datetime) -> dict[str, Any]:
    """The fields of a present dispatch to change, and their values."""
    values = differing(want, have)
    if "start_time" not in values or want.start_time >= now:
        return values
    del values["start_time"]
    # A rule may count from its start, which is another one here.
    values.pop("recurrence", None)
    ahead, theirs = _from(want, now), _from(have, now)
    assert ahead is not None, "`match` pairs it only with one of the same start"
    if theirs is None or _key("recurrence", ahead) != _key("recurrence", theirs):
        values["recurrence"] = ahead.recurrence
    after = _from(replace(have, **values), now)
    if after is None or _when(after) != _when(ahead):
        values |= {"start_time": ahead.start_time, "recurrence": ahead.recurrence}
    return {
        name: value
        for name, value in values.items()
        if name == "start_time" or _key(name, have) != _key(name, replace(have, **{name: value}))
    }


def _from(dispatch: Dispatch, now: datetime) -> Dispatch | None:
    """What starts of a dispatch from a moment on, as a dispatch; None if nothing does."""
    if dispatch.duration is None:
        soon = now.replace(microsecond=0) + _SOON
        return dispatch if dispatch.start_time > soon else replace(dispatch, start_time=soon)
    ahead = DispatchContent.of(dispatch).starting_at(now)
    return None if ahead is None else ahead.with_id(dispatch.id)


def is_over(dispatch: Dispatch, now: datetime) -> bool:
    """Whether a dispatch does not run any more."""
    if _from(dispatch, now) is not None:
        return False
    end = dispatch.last_end()
    return end is None or end <= now


def _moved(want: Dispatch, have: Dispatch) -> bool:
    return _key("start_time", want) != _key("start_time", have)


def _key(name: str, dispatch: Dispatch) -> Hashable:
    """A field, equal for values that mean the same."""
    if name == "start_time":
        return time_to_nanos(dispatch.start_time)
    if name == "recurrence":
        return _rule_key(dispatch.recurrence)
    return getattr(dispatch, name)  # type: ignore[no-any-return]


def _rule_key(rule: RecurrenceRule | None) -> Hashable:
    if rule is None or not rule.frequency:
        return None
    end = rule.end_criteria
    lists = (rule.byminutes, rule.byhours, rule.byweekdays, rule.bymonthdays, rule.bymonths)
    return (
        int(rule.frequency),
        rule.interval,
        None if end is None else (end.count, end.until and time_to_nanos(end.until)),
        *(tuple(sorted(set(map(int, values)))) for values in lists),
    )


def _when(dispatch: Dispatch) -> Hashable:
    return _key("start_time", dispatch), _key("recurrence", dispatch)


def _content(dispatch: Dispatch) -> Hashable:
    return (dispatch.type, dispatch.dry_run, *(_key(name, dispatch) for name in _FIELDS))


def _place(dispatch: Dispatch) -> Hashable:
    return dispatch.type, dispatch.dry_run, dispatch.target


def _place_and_start(dispatch: Dispatch) -> Hashable:
    return *_place(dispatch), _key("start_time", dispatch)  # type: ignore[misc]
