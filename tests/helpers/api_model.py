"""A simple model of the API: what a dispatch service must do, in lists and dictionaries."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from trio_dispatch import clock
from trio_dispatch.api import wire
from trio_dispatch.api.codec import time_from_nanos, time_to_nanos
from trio_dispatch.api.wire import Interval, Struct, Value
from trio_dispatch.model.events import EventKind

Update = wire.UpdateMicrogridDispatchRequestDispatchUpdate
RuleUpdate = wire.UpdateMicrogridDispatchRequestDispatchUpdateRecurrenceRuleUpdate
SECOND = 10**9

TYPES = ["CHARGE", "CHARGE_FAST", "charge", "ü#4"]
TARGETS = [(1,), (2, 3), (3, 2)]


@dataclass
class Entry:
    """A dispatch of the model."""

    id: int
    microgrid_id: int
    type: str
    target: tuple[int, ...]
    active: bool
    dry_run: bool
    start: int
    duration: int | None
    payload: int | None
    # Frequency and interval; the recurrences of this model have no end.
    rule: tuple[int, int]
    created: int
    updated: int

    @property
    def end(self) -> int | None:
        if self.duration is None or self.rule[0]:
            return None
        return self.start + self.duration * SECOND

    def key(self, sort_field: int) -> tuple[int, int]:
        value = {1: self.start, 3: self.updated}.get(sort_field, self.created)
        return value, self.id


@dataclass
class Filter:
    """A filter for the service and the model."""

    active: bool | None = None
    dry_run: bool | None = None
    recurring: bool | None = None
    queries: tuple[str, ...] = ()
    targets: tuple[tuple[int, ...], ...] = ()
    ids: tuple[int, ...] = ()
    # Seconds since the start of the virtual clock.
    starts: tuple[int | None, int | None] | None = None
    ends: tuple[int | None, int | None] | None = None
    updated: tuple[int | None, int | None] | None = None

    def passes(self, entry: Entry) -> bool:
        return all(
            (
                self.active is None or entry.active == self.active,
                self.dry_run is None or entry.dry_run == self.dry_run,
                self.recurring is None or bool(entry.rule[0]) == self.recurring,
                not self.queries or any(self._answers(q, entry) for q in self.queries),
                not self.targets or set(entry.target) in map(set, self.targets),
                not self.ids or entry.id in self.ids,
                self._within(self.starts, entry.start),
                self._within(self.ends, entry.end),
                self._within(self.updated, entry.updated),
            )
        )

    @staticmethod
    def _answers(query: str, entry: Entry) -> bool:
        if query[:1] == "#" and query[1:].isdigit():
            return entry.id == int(query[1:])
        return query in entry.type

    @staticmethod
    def _within(bounds: tuple[int | None, int | None] | None, moment: int | None) -> bool:
        low, high = bounds or (None, None)
        if moment is None:
            return high is None
        return (low is None or at(low) <= moment) and (high is None or moment < at(high))

    def message(self) -> wire.DispatchFilter:
        def interval(bounds: tuple[int | None, int | None] | None) -> Interval | None:
            if bounds is None:
                return None
            low, high = bounds
            return Interval(
                start_time=None if low is None else time_from_nanos(at(low)),
                end_time=None if high is None else time_from_nanos(at(high)),
            )

        return wire.DispatchFilter(
            is_active=self.active,
            is_dry_run=self.dry_run,
            is_recurring=self.recurring,
            queries=[*self.queries],
            targets=[target(ids) for ids in self.targets],
            dispatch_ids=[*self.ids],
            start_time_interval=interval(self.starts),
            end_time_interval=interval(self.ends),
            update_time_interval=interval(self.updated),
        )


def at(seconds: int) -> int:
    return time_to_nanos(clock.VIRTUAL_START) + seconds * SECOND


def target(ids: tuple[int, ...]) -> wire.TargetComponents:
    return wire.TargetComponents(component_ids=wire.TargetComponentsIdSet(ids=[*ids]))


def payload_of(number: int | None) -> Struct | None:
    return None if number is None else Struct(fields={"n": Value(number_value=number)})


def is_valid_rule(rule: tuple[int, int]) -> bool:
    """Whether a frequency and an interval make a valid rule."""
    return rule == (0, 0) or 1 <= rule[1] <= 10_000


def update_message(changes: dict[str, int | None], now: int) -> Update:
    """Return the update message for the paths of a mask."""
    update = Update()
    for path, number in changes.items():
        if number is None:
            continue
        match path:
            case "is_active":
                update.is_active = number % 2 == 0
            case "duration":
                update.duration = number
            case "start_time":
                update.start_time = time_from_nanos(now + number * SECOND)
            case "target":
                update.target = target(TARGETS[number % len(TARGETS)])
            case "payload":
                update.payload = payload_of(number)
            case "recurrence.freq":
                update.recurrence = update.recurrence or RuleUpdate()
                update.recurrence.freq = wire.RecurrenceRuleFrequency(number % 7)
            case "recurrence.interval":
                update.recurrence = update.recurrence or RuleUpdate()
                update.recurrence.interval = number
    return update


def updated_entry(entry: Entry, changes: dict[str, int | None], now: int) -> Entry | None:
    """Return a dispatch after an update; None if the update is invalid."""
    new = replace(entry, updated=max(now, entry.updated + 1))
    freq, interval = entry.rule
    for path, number in changes.items():
        match path:
            case "is_active":
                new.active = number is not None and number % 2 == 0
            case "duration":
                new.duration = number
            case "payload":
                new.payload = number
            case "start_time" | "target" if number is None:
                return None
            case "start_time":
                assert number is not None
                new.start = now + number * SECOND
            case "target":
                assert number is not None
                new.target = TARGETS[number % len(TARGETS)]
            case "recurrence.freq":
                freq = (number or 0) % 7
            case "recurrence.interval":
                interval = number or 0
            case "recurrence":
                freq = interval = 0
    if any(path.startswith("recurrence") for path in changes) and not is_valid_rule(
        (freq, interval)
    ):
        return None
    new.rule = freq, interval
    return new


@dataclass
class Walk:
    """A list that is being read page by page."""

    microgrid_id: int
    filter: Filter
    sort: tuple[int, int]
    size: int
    order: list[int]
    total: int
    token: str


@dataclass
class Model:
    entries: dict[int, Entry] = field(default_factory=dict)
    last_id: int = 0
    events: list[tuple[EventKind, int, int]] = field(default_factory=list)
    walks: list[Walk] = field(default_factory=list)
