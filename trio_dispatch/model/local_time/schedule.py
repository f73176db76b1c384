"""Schedules in local time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from zoneinfo import ZoneInfo

from ..content import DispatchContent
from ..payload import EMPTY, JSON
from ..recurrence.rule import Frequency, RecurrenceRule
from ..target import Target
from ..validation import shown, utc
from .clocks import load_zone, resolve
from .free_days import FreeDays, check_region
from .pieces import LATEST, LocalRule, Piece, find_pieces

__all__ = ["LocalSchedule"]

_DAYS = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSchedule:
    """What some components have to do, and when in local time.  An immutable value.

    The API knows only UTC.  So a schedule is expanded into dispatches in UTC, each of which is
    valid between two changes of the clocks::

        noon = LocalSchedule(
            timezone="Europe/Berlin",
            start=datetime(2027, 1, 1, 12),
            duration=timedelta(minutes=90),
            recurrence=RecurrenceRule(Frequency.DAILY),
            type="CHARGE",
            target=TargetIds(1, 2, 3),
        )
        noon.dispatches(now, now + timedelta(days=365))  # three dispatches

    *Times that do not exist or exist twice* are resolved by :rfc:`5545`, section 3.3.5.  A time
    that clocks skip is read with the offset before the gap: 02:30 becomes 03:30 on the day on which
    clocks go from 02:00 to 03:00.  A time that clocks show twice means the first of the two.  Two
    times that become the same moment are one occurrence.

    *A duration is elapsed time.*  A run of 90 minutes takes 90 minutes on every day.

    *Hourly and minutely rules count elapsed time*: "every hour" means every 60 minutes, even when
    clocks change.  Their lists, such as `byhours`, refer to the time that clocks show, so an hour
    that is repeated matches twice, and an hour that is skipped does not match.

    Args:
      timezone: The name of a zone in the IANA database.
      start: The first time at which it may start, without a time zone, in whole seconds.
      duration: How long each occurrence runs; None for ever from the start, without recurrence.
      recurrence: In local time.  Its `count` counts occurrences before exceptions are removed; its
        `until` is a moment.
      except_: Days on which it does not start: local dates.
      holidays: The region whose public holidays are excepted, too, such as ``DE``, or ``DE-BE``
        for a part of the country.  Needs the package `holidays`.
      type, target, active, dry_run, payload: As in `Dispatch`.

    Raises:
      ValueError: an argument is invalid; the message names it, its value, and what would be right.
    """

    timezone: str
    start: datetime
    duration: timedelta | None
    type: str
    target: Target
    recurrence: RecurrenceRule | None = None
    except_: Collection[date] = ()
    holidays: str | None = None
    active: bool = True
    dry_run: bool = False
    payload: Mapping[str, JSON] = EMPTY

    def __post_init__(self) -> None:
        load_zone(self.timezone)
        start = self.start
        if not isinstance(start, datetime):
            raise ValueError(f"start {shown(start)} is not a datetime")
        if start.tzinfo is not None:
            raise ValueError(
                f"start {start.isoformat()} has a time zone: give what the clocks of "
                f"{self.timezone} show, without one"
            )
        if start.microsecond or not 2 <= start.year <= 9997:
            raise ValueError(
                f"start {start.isoformat()} is not a whole second within years 2 to 9997"
            )
        object.__setattr__(self, "except_", _days(self.except_))
        if self.holidays is not None:
            check_region(self.holidays)
        checked = self._content(Piece(start.replace(tzinfo=UTC), None, self.recurrence))
        if checked.target is None:
            raise ValueError("target None is not a TargetIds or TargetCategories")
        if self.recurrence is not None and self.recurrence.problem is not None:
            raise ValueError(f"recurrence is invalid: {self.recurrence.problem}")
        object.__setattr__(self, "payload", checked.payload)

    def dispatches(self, from_: datetime, to: datetime) -> list[DispatchContent]:
        """Return the dispatches in UTC that have a run or a pulse in a time range, in order.

        Each dispatch is returned as a whole: from the change of the clocks or the exception before
        its first occurrence, or from the schedule's start, to the next change or exception.  So the
        first may begin before `from_`, and the last end after `to`, and another time range gives
        equal dispatches for what is in both.

        It costs as much as there are changes of the clocks and exceptions in the time range,
        however many occurrences there are.

        Args:
          from_: In any time zone.
          to: Not included.

        Raises:
          ValueError: a moment is naive, `to` is not later than `from_`, or the holidays of a year
            are not known.
        """
        begin, end = utc(from_, "from_"), utc(to, "to")
        if begin >= end:
            raise ValueError(f"to {to.isoformat()} is not later than from_ {from_.isoformat()}")
        zone = load_zone(self.timezone)
        found = [
            self._content(piece)
            for piece in self._pieces(zone, begin, end)
            if piece.first < end and self._lasts_until(piece, begin)
        ]
        return sorted(found, key=attrgetter("start_time"))

    def _pieces(self, zone: ZoneInfo, begin: datetime, end: datetime) -> Iterable[Piece]:
        rule = self.recurrence
        start = self.start.replace(tzinfo=UTC, fold=0)
        free = FreeDays(tuple(self.except_), self.holidays)
        if rule is None or self.duration is None or rule.frequency == Frequency.UNSPECIFIED:
            if start.date() in free:
                return ()
            moment = resolve(start, zone)
            return (Piece(moment, None if self.duration is None else moment, None),)
        # A run that goes on in the time range can have begun before it.
        earliest = start - _DAYS
        if begin - earliest > self.duration:
            earliest = begin - self.duration
        return find_pieces(LocalRule(rule, start, zone, free), earliest, min(end, LATEST))

    def _lasts_until(self, piece: Piece, moment: datetime) -> bool:
        """Whether a piece has a run or a pulse at or after a moment."""
        if piece.last is None or self.duration is None:
            return True
        try:
            over = piece.last + self.duration
        except OverflowError:
            return True
        return over > moment or piece.last >= moment

    def _content(self, piece: Piece) -> DispatchContent:
        return DispatchContent(
            type=self.type,
            start_time=piece.first,
            duration=self.duration,
            target=self.target,
            active=self.active,
            dry_run=self.dry_run,
            payload=self.payload,
            recurrence=piece.rule,
        )


def _days(days: object) -> tuple[date, ...]:
    if not isinstance(days, Iterable) or isinstance(days, str | bytes):
        raise ValueError(f"except_ {shown(days)} is not a collection of dates")
    found = tuple(days)
    for day in found:
        if not isinstance(day, date) or isinstance(day, datetime):
            raise ValueError(f"except_ has {shown(day)}, which is not a date")
    return tuple(sorted(set(found)))
