"""A plan: the dispatches that a file wants to exist, and the scope that it speaks for."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from ...api.codec import dispatch_to_wire
from ...model.dispatch import Dispatch
from ...model.local_time.clocks import load_zone
from ...model.local_time.schedule import LocalSchedule
from ...model.times import time_to_nanos
from ...service.errors import InvalidRequestError
from ...service.rules import new_data
from ...text.durations import parse_duration
from ...text.files import FileFormat, InvalidFileError, read_each, read_file
from ...text.records import COMPUTED, FIELDS, read_record, unknown_key
from ...text.sheets import Row
from .matching import Change, Create, Delete, Wanted
from .memory import Memory

__all__ = ["AHEAD", "Entry", "Plan", "check_changes", "parse_ahead", "read_plan"]

AHEAD = timedelta(days=366)
"""For how long ahead local times are expanded by default."""

_LOCAL = ("timezone", "except", "holidays")
KEYS = (*FIELDS, *COMPUTED, "name", *_LOCAL)
"""The keys of an entry."""

_HEADING = ("microgrid", "types", "ahead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of a plan.

    Attributes:
      place: Where it is: ``plan.csv:3``.
      name: Its name, if it has one.
      id, created: See `Wanted`.
      content: What it says; a schedule becomes several dispatches.
    """

    place: str
    name: str | None
    id: int | None
    created: int | None
    content: Dispatch | LocalSchedule

    @property
    def type(self) -> str:
        return self.content.type

    def wanted(self, memory: Memory, begin: datetime, end: datetime) -> Iterator[Wanted]:
        """Yield the dispatches that are to exist, see `Plan.wanted`."""
        if isinstance(self.content, Dispatch):
            label = self.name if self.name is not None or self.id is None else f"#{self.id}"
            yield Wanted(
                place=self.place,
                dispatch=self.content,
                label=label,
                id=self.id,
                created=self.created,
                known=memory.entries.get(label or ""),
            )
            return
        labels: set[str] = set()
        for piece in self.content.dispatches(begin, end):
            label = None
            if self.name is not None:
                # The date stays when the time of day is edited.
                label = f"{self.name} from {piece.start_time:%Y-%m-%d}"
                if label in labels:
                    label = f"{self.name} from {piece.start_time:%Y-%m-%dT%H:%M:%SZ}"
                labels.add(label)
            yield Wanted(
                place=self.place,
                dispatch=piece.with_id(0),
                label=label,
                known=memory.entries.get(label or ""),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan.

    Attributes:
      name: The name of its file.
      microgrid: The microgrid that it is for, if it says so.
      types: The types that it speaks for.
      ahead: For how long ahead local times are expanded, if it says so.
      entries: What is to exist.
    """

    name: str
    microgrid: int | None
    types: frozenset[str]
    ahead: timedelta | None
    entries: Sequence[Entry]

    def wanted(self, memory: Memory, begin: datetime, end: datetime) -> list[Wanted]:
        """Return the dispatches that are to exist.

        Args:
          begin, end: Local times are expanded into the dispatches that run in this time range, each
            as a whole.

        Raises:
          InvalidFileError: the holidays of a year are not known.
        """
        found: list[Wanted] = []
        for each in self.entries:
            try:
                found += each.wanted(memory, begin, end)
            except ValueError as exc:
                raise InvalidFileError([f"{each.place}: {exc}"]) from None
        return found


def read_plan(
    text: str, format: FileFormat, name: str, *, zone: tzinfo, types: Collection[str] = ()
) -> Plan:
    """Return the plan in a text.

    Args:
      name: The name of its file, for messages.
      zone: The zone of times that name none.
      types: Further types that it speaks for.

    Raises:
      InvalidFileError: values are invalid; the message names them all, and their places.
    """
    file = read_file(text, format, name, KEYS)
    problems: list[str] = []
    heading = _Heading(file.heading, problems, name)
    entries: list[Entry] = []
    try:
        entries = read_each(
            name, file.rows, lambda row, where: _entry(row, where, zone, heading.types)
        )
    except InvalidFileError as exc:
        problems += exc.problems
    for what in ("name", "id"):
        problems += _find_repeated(what, entries)
    if problems:
        raise InvalidFileError(problems)
    named = heading.types or {each.type for each in entries}
    return Plan(
        name=name,
        microgrid=heading.microgrid,
        types=frozenset({*named, *types}),
        ahead=heading.ahead,
        entries=entries,
    )


class _Heading:
    """What a file says besides its dispatches; what is wrong is added to the problems."""

    def __init__(self, content: Mapping[str, Any], problems: list[str], name: str) -> None:
        self.microgrid: int | None = None
        self.types: frozenset[str] | None = None
        self.ahead: timedelta | None = None
        for key, value in content.items():
            try:
                match key, value:
                    case "microgrid", int() if not isinstance(value, bool) and value >= 0:
                        self.microgrid = value
                    case "microgrid", _:
                        raise ValueError(f"{value!r} is not an id: use microgrid = 1")
                    case "types", [*types] if all(isinstance(each, str) for each in types):
                        self.types = frozenset(types)
                    case "types", _:
                        raise ValueError(
                            f'{value!r} is not a list of types: use types = ["CHARGE"]'
                        )
                    case "ahead", str():
                        self.ahead = parse_ahead(value)
                    case "ahead", _:
                        raise ValueError(f'{value!r} is not a duration: use ahead = "1y"')
                    case _:
                        raise ValueError(unknown_key(key, (*_HEADING, "dispatch")))
            except ValueError as exc:
                problems.append(f"{name}: {key}: {exc}")


def parse_ahead(text: str) -> timedelta:
    """Return how long ahead a text means; a year has 366 days.

    Raises:
      ValueError: it is not a duration, or not positive.
    """
    number = text.strip().lower().removesuffix("s").removesuffix("year").removesuffix("y").strip()
    years = number if number != text.strip() and number.isascii() and number.isdigit() else ""
    try:
        length = timedelta(days=366 * int(years[:4])) if years else parse_duration(text)
    except ValueError:
        length = None
    if not length:
        raise ValueError(f"{text!r} is not a time ahead: use 1y, 26w or 90d")
    return length


def _entry(row: Row, where: str, zone: tzinfo, types: Collection[str] | None) -> Entry:
    record = row.record
    name, local = None, {}
    if isinstance(record, dict):
        record = {key: value for key, value in record.items() if key != "id" or value}
        name = record.pop("name", None)
        if name is not None and (not isinstance(name, str) or not name.strip()):
            row.problems["name"] = f"{name!r} is not a name: use a word such as noon"
        local = {key: record.pop(key) for key in _LOCAL if record.get(key) is not None}
        zone = _local_zone(row, local, record) or zone
        if record.get("type") == "":
            row.problems["type"] = "'' is not a type: use a word such as CHARGE"
    dispatch = read_record(record, zone=zone)
    if types is not None and dispatch.type not in types:
        row.problems["type"] = (
            f"{dispatch.type!r} is not one of the types of the plan, {', '.join(sorted(types))}"
        )
    return Entry(
        place=where,
        name=name,
        id=dispatch.id or None,
        created=int(dispatch.create_time.timestamp()) if "create_time" in record else None,
        content=_schedule(row, dispatch, zone, local) if "timezone" in local else dispatch,
    )


# Local times.


def _local_zone(
    row: Row, local: Mapping[str, object], record: Mapping[str, object]
) -> tzinfo | None:
    """Return the zone of an entry in local time; what is wrong is added to the problems."""
    if "timezone" not in local:
        for key in local:
            row.problems[key] = 'needs a timezone, such as "Europe/Berlin", in the same entry'
        return None
    if "id" in record:
        row.problems["id"] = (
            f"{record['id']!r} is one dispatch, but local times become several: give a name instead"
        )
    try:
        return load_zone(str(local["timezone"]))
    except ValueError as exc:
        row.problems["timezone"] = str(exc).removeprefix("timezone ")
        return None


def _schedule(
    row: Row, dispatch: Dispatch, zone: tzinfo, local: Mapping[str, object]
) -> Dispatch | LocalSchedule:
    holidays = local.get("holidays")
    try:
        return LocalSchedule(
            timezone=str(local["timezone"]),
            start=dispatch.start_time.astimezone(zone).replace(tzinfo=None, fold=0),
            duration=dispatch.duration,
            type=dispatch.type,
            target=dispatch.target,  # type: ignore[arg-type]  # it refuses None
            recurrence=dispatch.recurrence,
            except_=_dates(local.get("except", [])),
            holidays=None if holidays is None else str(holidays),
            active=dispatch.active,
            dry_run=dispatch.dry_run,
            payload=dispatch.payload,
        )
    except ValueError as exc:
        field, _, text = str(exc).partition(" ")
        key = {"start": "start_time", "except_": "except"}.get(field.rstrip(":"), field.rstrip(":"))
        row.problems.setdefault(key if key in KEYS else "", text if key in KEYS else str(exc))
        return dispatch


def _dates(value: object) -> list[date]:
    items = re.split(r"[,;\s]+", value.strip()) if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError(f"except {value!r} is not a list of dates such as 2026-12-24")
    try:
        return [date.fromisoformat(str(item)) for item in items]
    except ValueError:
        raise ValueError(f"except {value!r} is not a list of dates such as 2026-12-24") from None


def _find_repeated(what: str, entries: Iterable[Entry]) -> Iterator[str]:
    """Yield a line about each name, or id, that several entries have."""
    places: dict[object, str] = {}
    for each in entries:
        value = getattr(each, what)
        if value is None:
            continue
        if value in places:
            yield f"{each.place}: {what}: {value!r} is given twice, first at {places[value]}"
        places.setdefault(value, each.place)


# What the API allows.


def check_changes(changes: Iterable[Change], now: datetime) -> list[str]:
    """Return a line about each change that the rules of the API do not allow.

    A service may have further rules.
    """
    problems = []
    for change in changes:
        if isinstance(change, Delete):
            continue
        if isinstance(change, Create):
            after, names, at_once = change.content, {*FIELDS}, change.at_once
        else:
            # What an update leaves alone is not checked.
            after, names = change.after, {*change.values}
            at_once = "start_time" not in names
        data = dispatch_to_wire(after).data
        try:
            new_data(data, start_immediately=at_once, now=time_to_nanos(now))
        except InvalidRequestError as exc:
            name = exc.field.removeprefix("dispatch_data.")
            if name.partition(".")[0] in names:
                problems.append(f"{change.wanted.place}: {name}: {exc.rule}")
    return problems
