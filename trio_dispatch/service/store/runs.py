"""Runs as a store keeps them, and what reports make of them.

`fold` is pure and the same for every store: a store fetches what it needs, lets it decide, and
writes the result down, all in one transaction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ...api.codec import time_to_nanos
from ...api.dispatchers import decode_status
from ...api.runs import decode_run, encode_run
from ...model.dispatchers import DispatcherInfo
from ...model.runs import RunReport, apply_report
from ...model.times import time_from_nanos
from ..errors import InvalidRequestError
from .logs import LogPage, LogQuery, Place, RunFilter
from .watchers import Watchers

__all__ = [
    "REMEMBERED_REPORTERS",
    "Delivery",
    "Reporter",
    "RunCounters",
    "RunKey",
    "RunRow",
    "RunStore",
    "ToldStatus",
    "check_room",
    "dispatcher_of",
    "fold",
]

MAX_DISPATCHERS: Final = 1000
"""This many dispatchers can report to a microgrid."""

REMEMBERED_REPORTERS: Final = 20
"""The queues of a dispatcher whose last reports are remembered: those that reported last."""

RunKey: TypeAlias = tuple[str, int, int, str, int | None]
"""The dispatcher, the dispatch, the occurrence in nanoseconds, the actor and the component."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as a store keeps it: its message, and the columns that lists filter and sort by.

    Attributes:
      number: The number of the run, in the order of the first reports.
      revision: The number of the last change of a run in the store; each change has a higher one.
      start_time: The occurrence, in nanoseconds since 1970.
      state: The number of the state in the API.
      message: The encoded `Run` message.
    """

    number: int
    revision: int
    microgrid_id: int
    dispatcher: str
    dispatch_id: int
    start_time: int
    actor: str
    component_id: int | None
    type: str
    state: int
    message: bytes

    @property
    def place(self) -> Place:
        """Its place in a list."""
        return self.start_time, self.number

    @property
    def key(self) -> RunKey:
        """What identifies it in its microgrid."""
        return self.dispatcher, self.dispatch_id, self.start_time, self.actor, self.component_id


@dataclass(frozen=True, slots=True)
class Delivery:
    """Reports of a dispatcher.

    Attributes:
      reporter: The identity of the dispatcher's queue of reports.
      lost: How many reports of this queue were lost so far.
      now: When they were received, in nanoseconds since 1970.
    """

    microgrid_id: int
    dispatcher: str
    reporter: str
    reports: Sequence[RunReport]
    lost: int
    version: str
    now: int

    def keys_after(self, sequence: int) -> set[RunKey]:
        """Return the keys of the runs that later reports are about."""
        return {
            _key(self.dispatcher, report) for report in self.reports if report.sequence > sequence
        }


@dataclass(frozen=True, slots=True)
class ToldStatus:
    """The status of a dispatcher.

    Attributes:
      time: When it was received, in nanoseconds since 1970.
      status: The encoded `DispatcherStatus` message.
    """

    microgrid_id: int
    dispatcher: str
    time: int
    status: bytes

    @property
    def name(self) -> tuple[int, str]:
        """What identifies the dispatcher."""
        return self.microgrid_id, self.dispatcher


@dataclass(frozen=True, slots=True)
class Reporter:
    """What a store knows of a dispatcher's queue of reports.

    Attributes:
      last_sequence: The sequence number of the last report that is stored.
      lost: How many of its reports were lost.
    """

    last_sequence: int = 0
    lost: int = 0

    def after(self, delivery: Delivery) -> Reporter:
        """Return the same after further reports."""
        last = max([self.last_sequence, *(report.sequence for report in delivery.reports)])
        return Reporter(last, max(self.lost, delivery.lost))


@dataclass(frozen=True, slots=True)
class RunCounters:
    """What a store counts beyond the runs that it has at present.

    Attributes:
      last_number: The highest number that was ever given.
      revision: The number of changes of runs so far.
    """

    last_number: int = 0
    revision: int = 0

    def after(self, rows: Sequence[RunRow]) -> RunCounters:
        """Return the counters after these runs were stored."""
        return RunCounters(
            max([self.last_number, *(row.number for row in rows)]), self.revision + len(rows)
        )


def fold(
    delivery: Delivery, last_sequence: int, found: Mapping[RunKey, RunRow], counters: RunCounters
) -> list[RunRow]:
    """Return the runs that a delivery changes or adds, each once.

    Args:
      last_sequence: The reporter's last report that is stored already.
      found: The runs that exist, of `delivery.keys_after(last_sequence)`.
    """
    runs = {key: decode_run(row.message) for key, row in found.items()}
    changed = {}
    for report in delivery.reports:
        if report.sequence > last_sequence:
            key = _key(delivery.dispatcher, report)
            run = apply_report(runs.get(key), report, dispatcher=delivery.dispatcher)
            runs[key] = changed[key] = run
    number = counters.last_number
    rows = []
    for revision, (key, run) in enumerate(changed.items(), counters.revision + 1):
        old = found.get(key)
        if old is None:
            number += 1
        rows.append(
            RunRow(
                number if old is None else old.number,
                revision,
                delivery.microgrid_id,
                *key,
                run.type,
                run.state.value,
                encode_run(run),
            )
        )
    return rows


def check_room(delivery: Delivery, count: int) -> None:
    """Check that a further dispatcher may report to the microgrid.

    Raises:
      InvalidRequestError: `count` dispatchers are too many.
    """
    if count >= MAX_DISPATCHERS:
        raise InvalidRequestError(
            "dispatcher",
            f"is new, but {count} dispatchers have reported to microgrid "
            f"{delivery.microgrid_id} already",
        )


def dispatcher_of(columns: Sequence[Any]) -> DispatcherInfo:
    """Return a dispatcher from its columns: name, version, times, losses, and status."""
    name, version, first, last, lost, status = columns
    return DispatcherInfo(
        name,
        version,
        time_from_nanos(first),
        time_from_nanos(last),
        lost,
        None if status is None else decode_status(status),
    )


def _key(dispatcher: str, report: RunReport) -> RunKey:
    return (
        dispatcher,
        report.dispatch_id,
        time_to_nanos(report.start_time),
        report.actor,
        report.component,
    )


class RunStore(ABC):
    """Keeps the runs that dispatchers report, and announces every change of one to watchers.

    Every async method is a checkpoint.  A report that is cancelled may still take effect.

    Every method may raise `StoreUnavailableError`, `StoreFullError` or `StoreCorruptError`.

    Attributes:
      watchers: The watchers of the runs of all microgrids.
    """

    watchers: Watchers[RunRow]

    @abstractmethod
    async def report(self, delivery: Delivery) -> int:
        """Store reports; return the sequence number of the reporter's last one that is stored.

        Reports up to that of an earlier call are ignored.  When this returns, the reports are as
        durable as the store can make them, and published to the watchers.
        """

    @abstractmethod
    async def list(self, query: LogQuery[RunFilter]) -> LogPage[RunFilter]:
        """Return one page of a list.

        Raises:
          StoreBusyError: it would take too long.
        """

    @abstractmethod
    async def note_statuses(self, told: Sequence[ToldStatus]) -> None:
        """Store the status of dispatchers, at most one of each, in one transaction.

        A dispatcher that has not reported before is ignored.
        """

    @abstractmethod
    async def list_dispatchers(
        self, microgrid_id: int | None = None
    ) -> Mapping[int, Sequence[DispatcherInfo]]:
        """Return the dispatchers that have reported to a microgrid, or to any, by name.

        `DispatcherInfo.offline_since` is not set.
        """

    async def dispatchers(self, microgrid_id: int) -> Sequence[DispatcherInfo]:
        """Return the dispatchers that have reported to a microgrid, by name."""
        return (await self.list_dispatchers(microgrid_id)).get(microgrid_id, ())
