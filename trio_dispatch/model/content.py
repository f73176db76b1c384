"""What a dispatch says, without what its service adds: what a call to create one takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from .dispatch import Dispatch
from .payload import EMPTY, JSON
from .recurrence.rule import EndCriteria, RecurrenceRule
from .target import Target
from .validation import utc

__all__ = ["DispatchContent", "Skipped", "skip_occurrence"]

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchContent:
    """The content of a dispatch, without id, create, update and end time.  An immutable value.

    The fields are the arguments of `DispatchClient.create`, checked and converted as in `Dispatch`.

    Raises:
      ValueError: a field is invalid; the message names it.
    """

    type: str
    start_time: datetime
    duration: timedelta | None
    target: Target | None
    active: bool = True
    dry_run: bool = False
    payload: Mapping[str, JSON] = EMPTY
    recurrence: RecurrenceRule | None = None

    def __post_init__(self) -> None:
        checked = self.with_id(0)
        object.__setattr__(self, "start_time", checked.start_time)
        object.__setattr__(self, "payload", checked.payload)

    @classmethod
    def of(cls, dispatch: Dispatch) -> Self:
        """Return the content of a dispatch."""
        return cls(
            type=dispatch.type,
            start_time=dispatch.start_time,
            duration=dispatch.duration,
            target=dispatch.target,
            active=dispatch.active,
            dry_run=dispatch.dry_run,
            payload=dispatch.payload,
            recurrence=dispatch.recurrence,
        )

    def with_id(self, id: int) -> Dispatch:
        """Return a dispatch with this content, to ask when it runs."""
        return Dispatch(
            id=id,
            type=self.type,
            start_time=self.start_time,
            duration=self.duration,
            target=self.target,
            active=self.active,
            dry_run=self.dry_run,
            payload=self.payload,
            recurrence=self.recurrence,
        )

    def starting_at(self, moment: datetime) -> Self | None:
        """Return the content with only the occurrences at or after a moment; None if none remain.

        The start is the first of these occurrences, and `count` is reduced by those before it.
        The service refuses to create a dispatch that starts in the past: this is what can be
        created in its place.

        Raises:
          ValueError: the moment is naive.
        """
        first = self.with_id(0).first_after(utc(moment, "moment"), inclusive=True)
        if first is None or first == self.start_time:
            return None if first is None else self
        rule = self.recurrence
        end = None if rule is None else rule.end_criteria
        if rule is not None and end is not None and end.count is not None:
            left = end.count - _number_before(rule, self.start_time, first)
            rule = replace(rule, end_criteria=EndCriteria(count=left))
        return replace(self, start_time=first, recurrence=rule)

    def same_from(self, other: DispatchContent, moment: datetime) -> bool:
        """Whether two contents mean the same from a moment on.

        They do if their next occurrences, the rules from there on, and all other fields are equal.
        Their occurrences before the moment may differ.  So a dispatch that was created after its
        schedule had begun, and therefore starts later, still matches the schedule.

        Raises:
          ValueError: the moment is naive.
        """
        mine, others = self.starting_at(moment), other.starting_at(moment)
        if mine is None or others is None:
            return mine is others and _without_times(self) == _without_times(other)
        return _sorted(mine) == _sorted(others)


class Skipped(NamedTuple):
    """The dispatches that replace one whose occurrence is skipped, see `skip_occurrence`.

    Attributes:
      original: The dispatch's new content; only `start_time` and `recurrence` can differ from its
        present one.  None if nothing remains of it: it is to be deleted.
      continuation: A further dispatch, to be created; None if no other is needed.
    """

    original: DispatchContent | None
    continuation: DispatchContent | None


def skip_occurrence(dispatch: Dispatch, occurrence: datetime) -> Skipped:
    """Return the dispatches that together have all occurrences of a dispatch but one.

    The original ends with the occurrence before, whose run is not cut short.  The continuation
    starts with the occurrence after, and has what remains of a `count`.  An occurrence at the
    beginning or at the end needs no continuation.

    Args:
      occurrence: In any time zone.  The run of an occurrence that has begun is stopped.

    Raises:
      ValueError: it is naive, or not an occurrence of the dispatch; the message names those next
        to it.
    """
    moment = utc(occurrence, "occurrence")
    before = dispatch.last_start(moment - _INSTANT)
    after = dispatch.first_after(moment)
    if dispatch.last_start(moment) != moment:
        near = [_iso(each) for each in (before, after) if each is not None]
        nearest = f"the nearest {'are' if len(near) > 1 else 'is'} {' and '.join(near)}"
        raise ValueError(
            f"{_iso(moment)} is not an occurrence of dispatch {dispatch.id}"
            f"{f': {nearest}' if near else ', which has none'}"
        )
    content = DispatchContent.of(dispatch)
    following = None if after is None else content.starting_at(after)
    rule = dispatch.effective_recurrence
    if before is None or rule is None:
        return Skipped(following, None)
    ended = replace(rule, end_criteria=EndCriteria(until=before))
    return Skipped(replace(content, recurrence=ended), following)


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _number_before(rule: RecurrenceRule, start: datetime, moment: datetime) -> int:
    ended = replace(rule, end_criteria=EndCriteria(until=moment - _INSTANT))
    return ended.count(start) or 0


def _sorted(content: DispatchContent) -> DispatchContent:
    """Return the content with each list of its rule sorted and without repetitions."""
    rule = content.recurrence
    if rule is None or rule.problem is not None:
        return content
    plain = replace(
        rule,
        byminutes=tuple(sorted(set(rule.byminutes))),
        byhours=tuple(sorted(set(rule.byhours))),
        byweekdays=tuple(sorted(set(rule.byweekdays))),
        bymonthdays=tuple(sorted(set(rule.bymonthdays))),
        bymonths=tuple(sorted(set(rule.bymonths))),
    )
    return replace(content, recurrence=plain)


def _without_times(content: DispatchContent) -> tuple[object, ...]:
    return (
        content.type, content.duration, content.target, content.active, content.dry_run,
        content.payload,
    )  # fmt: skip
