"""A dispatch: what some components of a microgrid have to do, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import Enum
from operator import attrgetter
from typing import NamedTuple, Self

from .. import clock
from .payload import EMPTY, JSON, Payload
from .recurrence.rule import Frequency, RecurrenceRule
from .target import Target, TargetCategories, TargetIds
from .times import nanos_of
from .validation import check_duration, check_id, check_text, shown, utc

__all__ = ["Dispatch", "RunningState"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PULSE = timedelta()


class RunningState(Enum):
    """What a dispatch asks of an actor, see `Dispatch.running`."""

    RUNNING = "running"
    """It runs: start, or reconfigure."""

    STOPPED = "stopped"
    """It does not run: stop, if you run for it."""

    DIFFERENT_TYPE = "different type"
    """It is for actors of another type: ignore it."""


class _Sent(NamedTuple):
    """What a status message adds to a dispatch, see `Dispatch.sent_for`."""

    moment: datetime
    pulse: datetime | None
    halted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """What some components of a microgrid have to do, and when.  An immutable value.

    The *occurrences* of a dispatch are the moments at which it starts: `start_time` alone, or with
    a `recurrence` the moments that the rule gives.  From each it runs for `duration`, the end not
    included.  If the duration is None it runs from `start_time` on for ever, and the recurrence is
    ignored.  With a duration of zero it is a *pulse*: it never runs, and each occurrence is one
    message.

    All times are aware datetimes, which are converted to UTC.  Two dispatches are equal if their
    contents are, `update_time` to the nanosecond.  A status message also knows the moment that it
    was sent for, and its `pulse`: these are not compared, and `dataclasses.replace` drops them.

    Attributes:
      id: Given by the service, 0 to 2**64 - 1.
      type: What is to be done; each actor acts on dispatches of one type.
      start_time: The first moment at which it may start.
      duration: How long each occurrence runs, in whole seconds; None for ever.
      target: The components it is for.  None only from a service that requires no target.
      active: Whether it runs at all.
      dry_run: Whether it is a rehearsal: actors must not move hardware for it.
      payload: Further parameters for the actor: a deeply read-only mapping of JSON.
      recurrence: How it recurs; None if it does not.
      create_time: When the service created it.
      update_time: When its content last changed.
      end_time: When its last occurrence ends, according to the service; None if there is no last.
      deleted: Whether it was deleted.

    Raises:
      ValueError: a field is invalid; the message names the field, its value, and what would be
        right.
    """

    id: int
    type: str
    start_time: datetime
    duration: timedelta | None
    target: Target | None
    active: bool = True
    dry_run: bool = False
    payload: Mapping[str, JSON] = EMPTY
    recurrence: RecurrenceRule | None = None
    create_time: datetime = _EPOCH
    update_time: datetime = _EPOCH
    end_time: datetime | None = None
    deleted: bool = False
    _sent: _Sent | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        def keep(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        check_id("id", self.id)
        check_text("type", self.type)
        if not isinstance(self.target, TargetIds | TargetCategories | None):
            raise ValueError(
                f"target {shown(self.target)} is not a TargetIds, TargetCategories or None"
            )
        if self.duration is not None:
            check_duration(self.duration)
        for name in ("start_time", "create_time", "update_time"):
            keep(name, utc(getattr(self, name), name))
        if self.end_time is not None:
            keep("end_time", utc(self.end_time, "end_time"))
        if not isinstance(self.payload, Payload):
            keep("payload", Payload(self.payload))
        if not isinstance(self.recurrence, RecurrenceRule | None):
            raise ValueError(f"recurrence {shown(self.recurrence)} is not a RecurrenceRule or None")

    @classmethod
    def unchecked(
        cls,
        *,
        id: int,
        type: str,
        start_time: datetime,
        duration: timedelta | None,
        target: Target | None,
        active: bool,
        dry_run: bool,
        payload: Payload,
        recurrence: RecurrenceRule | None,
        create_time: datetime,
        update_time: datetime,
        end_time: datetime | None,
    ) -> Self:
        """Return the dispatch with these fields, ten times as fast as with the checks.

        For a decoder, which has checked them.  Its rule may be invalid.
        """
        self = object.__new__(cls)
        put = object.__setattr__
        put(self, "id", id)
        put(self, "type", type)
        put(self, "start_time", start_time)
        put(self, "duration", duration)
        put(self, "target", target)
        put(self, "active", active)
        put(self, "dry_run", dry_run)
        put(self, "payload", payload)
        put(self, "recurrence", recurrence)
        put(self, "create_time", create_time)
        put(self, "update_time", update_time)
        put(self, "end_time", end_time)
        put(self, "deleted", False)
        put(self, "_sent", None)
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dispatch):
            return NotImplemented
        # Datetimes compare to the microsecond.  A service may update twice within one.
        return _content(self) == _content(other) and nanos_of(self.update_time) == nanos_of(
            other.update_time
        )

    def __hash__(self) -> int:
        return hash((self.id, self.update_time))

    # By the wall clock of the Trio run.

    def running(self, type: str | None = None) -> RunningState:
        """Return what the dispatch means now for an actor of a type; with None, of any type.

        A status message is evaluated for the later of now and the moment that it was sent for: a
        message that says "start" says so even if the clock has been stepped back since.
        """
        if type is not None and type != self.type:
            return RunningState.DIFFERENT_TYPE
        if self.pulse is not None or self.running_at(self._now()):
            return RunningState.RUNNING
        return RunningState.STOPPED

    @property
    def until(self) -> datetime | None:
        """When the present run ends; None if it does not run, or runs for ever.

        The end may lie after the next occurrence.  For a message about a pulse it is the pulse.
        """
        return self.until_at(self._now()) or self.pulse

    @property
    def next_run(self) -> datetime | None:
        """The first occurrence from now on, see `next_run_after`."""
        return self.next_run_after(self._now())

    def missed_runs(self, since: datetime) -> Iterator[datetime]:
        """Return the occurrences after `since` whose runs are over by now, in order.

        Raises:
          ValueError: `since` is naive.
        """
        return self._over_by(self._now(), utc(since, "since"))

    # At a given moment.

    def running_at(self, moment: datetime) -> bool:
        """Whether it runs at a moment: it is active, and its latest occurrence is not over yet.

        Raises:
          ValueError: the moment is naive.
        """
        return self.run_at(utc(moment, "moment")) is not None

    def until_at(self, moment: datetime) -> datetime | None:
        """Return when the run at a moment ends; None if it does not run then, or runs for ever.

        Raises:
          ValueError: the moment is naive.
        """
        start = self.run_at(utc(moment, "moment"))
        return None if start is None else self.end_of(start)

    def next_run_after(self, moment: datetime) -> datetime | None:
        """Return the first occurrence at or after a moment; None if none follows.

        Occurrences do not depend on whether the dispatch is active.

        Raises:
          ValueError: the moment is naive.
        """
        return self.first_after(utc(moment, "moment"), inclusive=True)

    # At a given moment that is in UTC already.

    def run_at(self, moment: datetime) -> datetime | None:
        """Return the occurrence whose run includes a moment in UTC; None if it does not run."""
        if not self.active or self.deleted or self.halted:
            return None
        start = self.last_start(moment)
        if start is None:
            return None
        end = self.end_of(start)
        return start if end is None or moment < end else None

    def last_start(self, moment: datetime) -> datetime | None:
        """Return the latest occurrence at or before a moment in UTC."""
        rule = self.effective_recurrence
        if rule is not None:
            return rule.last_before(self.start_time, moment, inclusive=True)
        return self.start_time if self.start_time <= moment and self._occurs() else None

    def first_after(self, moment: datetime, *, inclusive: bool = False) -> datetime | None:
        """Return the first occurrence after a moment in UTC, or at it if `inclusive`."""
        rule = self.effective_recurrence
        if rule is not None:
            return rule.next_after(self.start_time, moment, inclusive=inclusive)
        if not self._occurs():
            return None
        ahead = self.start_time >= moment if inclusive else self.start_time > moment
        return self.start_time if ahead else None

    def end_of(self, start: datetime) -> datetime | None:
        """Return when the run that began at an occurrence ends.

        None if it has no duration, or would end after year 9999.
        """
        try:
            return None if self.duration is None else start + self.duration
        except OverflowError:
            return None

    def last_end(self) -> datetime | None:
        """Return when the run of the last occurrence ends; None if there is no last, or no end."""
        rule = self.effective_recurrence
        if rule is None:
            last = self.start_time if self._occurs() else None
        else:
            last = rule.last(self.start_time)
        return None if last is None else self.end_of(last)

    @property
    def effective_recurrence(self) -> RecurrenceRule | None:
        """The rule that gives the occurrences; None if `start_time` alone does.

        A rule has no effect without a duration or with an unspecified frequency.
        """
        rule = self.recurrence
        if rule is None or self.duration is None or rule.frequency == Frequency.UNSPECIFIED:
            return None
        return rule

    @property
    def is_pulse(self) -> bool:
        """Whether its occurrences are pulses: messages without a run."""
        return self.duration == _PULSE

    def newer_than(self, other: Dispatch) -> bool:
        """Whether this content was updated after the other, compared in nanoseconds."""
        mine, others = self.update_time, other.update_time
        return mine > others or (mine == others and nanos_of(mine) > nanos_of(others))

    # Status messages.

    def sent_for(
        self, moment: datetime, *, pulse: datetime | None = None, halted: bool = False
    ) -> Dispatch:
        """Return the status message about this dispatch for a moment.

        Args:
          moment: In UTC.  The message is never evaluated at an earlier one.
          pulse: The occurrence that the message is about, if it is about a pulse.
          halted: Whether it must not run, although its schedule says so.
        """
        message = object.__new__(Dispatch)
        # Through the slots, since the class is frozen; this takes half as long as by name.
        for put, value in zip(_SETTERS, _content(self), strict=True):
            put(message, value)
        _set_sent(message, _Sent(moment, pulse, halted))
        return message

    def with_content(self, target: Target | None, payload: Mapping[str, JSON]) -> Dispatch:
        """Return the same dispatch or status message with the content of another one.

        Args:
          target, payload: Of a dispatch: they are not checked.
        """
        changed = object.__new__(Dispatch)
        put = object.__setattr__
        for name in _CONTENT:
            put(changed, name, getattr(self, name))
        put(changed, "target", target)
        put(changed, "payload", payload)
        put(changed, "_sent", self._sent)
        return changed

    @property
    def sent_at(self) -> datetime | None:
        """The moment that this status message was sent for; None if this is no status message."""
        return None if self._sent is None else self._sent.moment

    @property
    def pulse(self) -> datetime | None:
        """The occurrence that this status message is about, if it is about a pulse."""
        return None if self._sent is None else self._sent.pulse

    @property
    def halted(self) -> bool:
        """Whether this status message stops a run although the schedule says that it goes on."""
        return self._sent is not None and self._sent.halted

    def _now(self) -> datetime:
        now = clock.now()
        return now if self._sent is None else max(now, self._sent.moment)

    def _over_by(self, now: datetime, since: datetime) -> Iterator[datetime]:
        start = self.first_after(since)
        while start is not None and (end := self.end_of(start)) is not None and end <= now:
            yield start
            start = self.first_after(start)

    def _occurs(self) -> bool:
        return self.recurrence is None or self.recurrence.problem is None


_CONTENT = tuple(each.name for each in fields(Dispatch) if each.compare)
_content = attrgetter(*_CONTENT)
_SETTERS = tuple(vars(Dispatch)[name].__set__ for name in _CONTENT)
_set_sent = vars(Dispatch)["_sent"].__set__
