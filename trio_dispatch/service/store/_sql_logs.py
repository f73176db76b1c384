"""The SQL of runs and changes: lists, reports, and the removal of old entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from heapq import merge
from typing import Any, TypeAlias, TypeVar

import sqlalchemy as sa

from ...model.dispatchers import DispatcherInfo
from ._schema import changes, dispatchers, reporters, run_counters, runs
from ._statements import ManyRows
from .logs import ChangeFilter, ChangeRow, Entry, LogPage, LogQuery, RunFilter, log_page
from .queries import PageBuilder
from .retention import TRIMMED_AT_ONCE, Retention
from .runs import (
    REMEMBERED_REPORTERS,
    Delivery,
    Reporter,
    RunCounters,
    RunKey,
    RunRow,
    ToldStatus,
    check_room,
    dispatcher_of,
    fold,
)

__all__ = [
    "changes_page",
    "list_dispatchers",
    "note_statuses",
    "oldest_change",
    "remove_changes",
    "remove_runs",
    "report",
    "runs_page",
    "trim",
]

_CHANGE = [changes.c[name] for name in ChangeRow.__dataclass_fields__]
_RUN = [runs.c[name] for name in RunRow.__dataclass_fields__]
_KEYS_AT_ONCE = 500

_Select: TypeAlias = "sa.Select[*tuple[Any, ...]]"
_F = TypeVar("_F", RunFilter, ChangeFilter)


# Lists.


def runs_page(connection: sa.Connection, query: LogQuery[RunFilter]) -> LogPage[RunFilter]:
    """Read one page of runs."""
    selects = _selects(runs, _RUN, runs.c.start_time, runs.c.number, query)
    return _page(connection, query, selects, lambda columns: RunRow(*columns))


def changes_page(connection: sa.Connection, query: LogQuery[ChangeFilter]) -> LogPage[ChangeFilter]:
    """Read one page of changes."""
    selects = _selects(changes, _CHANGE, changes.c.time, changes.c.sequence, query)
    return _page(connection, query, selects, lambda columns: ChangeRow(*columns))


def _page(
    connection: sa.Connection,
    query: LogQuery[_F],
    selects: Sequence[_Select],
    row_of: Callable[[Sequence[Any]], Entry],
) -> LogPage[_F]:
    builder = PageBuilder(query.page_size)
    with ExitStack() as stack:
        results = [stack.enter_context(connection.execute(select)) for select in selects]
        entries = merge(
            *(map(row_of, result) for result in results),
            key=lambda entry: entry.place,
            reverse=True,
        )
        for entry in entries:
            if not builder.add(*entry.place, entry.message):
                break
    return log_page(query, builder)


def _selects(
    table: sa.Table,
    columns: Sequence[sa.ColumnElement[Any]],
    time: sa.Column[int],
    number: sa.Column[int],
    query: LogQuery[_F],
) -> list[_Select]:
    """Return statements that together select the entries of a page, each in order.

    There is one for each value of the most selective column that the filter restricts.  So each
    reads an index that has the order of the list, and none has to sort.
    """
    rest = query.filter.columns()
    conditions = [table.c.microgrid_id == query.microgrid_id]
    within = query.filter.within
    if within is not None and within.start is not None:
        conditions.append(time >= within.start)
    if within is not None and within.end is not None:
        conditions.append(time < within.end)
    if query.after is not None:
        last = zip(query.after, (time.type, number.type), strict=True)
        after = sa.tuple_(*(sa.literal(value, type_) for value, type_ in last))
        conditions.append(sa.tuple_(time, number) < after)
    name, values = next(iter(rest.items()), ("", ()))
    # A function keeps SQLite from choosing the index of another column.
    conditions += [
        sa.func.coalesce(table.c[other], sa.null()).in_(wanted)
        for other, wanted in rest.items()
        if other != name
    ]
    select = (
        sa.select(*columns)
        .where(*conditions)
        .order_by(time.desc(), number.desc())
        .limit(query.page_size + 1)
    )
    return [select.where(table.c[name] == value) for value in values] if name else [select]


def list_dispatchers(
    connection: sa.Connection, microgrid_id: int | None
) -> dict[int, list[DispatcherInfo]]:
    """Return the dispatchers that have reported to a microgrid, or to any, by name."""
    d = dispatchers.c
    select = sa.select(
        d.microgrid_id, d.name, d.version, d.first_report, d.last_report, d.lost, d.status
    ).order_by(d.microgrid_id, d.name)
    if microgrid_id is not None:
        select = select.where(d.microgrid_id == microgrid_id)
    found: defaultdict[int, list[DispatcherInfo]] = defaultdict(list)
    for id_, *row in connection.execute(select):
        found[id_].append(dispatcher_of(row))
    return found


# Reports.


def note_statuses(connection: sa.Connection, told: Sequence[ToldStatus]) -> None:
    """Store the status of dispatchers."""
    _NOTE_STATUS.execute(connection, told)


_NOTE_STATUS = ManyRows(
    dispatchers.update()
    .where(
        dispatchers.c.microgrid_id == sa.bindparam("of"),
        dispatchers.c.name == sa.bindparam("dispatcher"),
    )
    .values(
        last_report=sa.func.max(dispatchers.c.last_report, sa.bindparam("time")),
        status=sa.bindparam("told"),
    ),
    of="microgrid_id",
    told="status",
)


def report(connection: sa.Connection, delivery: Delivery) -> tuple[int, list[RunRow]]:
    """Store reports; return the last one's sequence number, and the runs that have changed.

    Raises:
      InvalidRequestError: too many dispatchers report to the microgrid.
    """
    reporter = _find_reporter(connection, delivery)
    found = _find_runs(connection, delivery, delivery.keys_after(reporter.last_sequence))
    before = RunCounters(*connection.execute(_COUNTERS).one())
    rows = fold(delivery, reporter.last_sequence, found, before)
    after = reporter.after(delivery)
    # First what may raise: other deliveries share the transaction.
    _note_dispatcher(connection, delivery, after.lost - reporter.lost)
    _note_reporter(connection, delivery, after)
    if rows:
        columns = [asdict(row) | {"reported": delivery.now} for row in rows]
        # A run keeps its number.
        connection.execute(_PUT_RUNS, columns)
        connection.execute(_SET_COUNTERS, asdict(before.after(rows)))
    return after.last_sequence, rows


def _find_runs(
    connection: sa.Connection, delivery: Delivery, keys: Collection[RunKey]
) -> dict[RunKey, RunRow]:
    occurrences = sorted({(id_, start) for _, id_, start, _, _ in keys})
    found = {}
    for begin in range(0, len(occurrences), _KEYS_AT_ONCE):
        some = occurrences[begin : begin + _KEYS_AT_ONCE]
        values = {"microgrid": delivery.microgrid_id, "occurrences": some}
        for columns in connection.execute(_FIND_RUNS, values):
            row = RunRow(*columns)
            if row.key in keys:
                found[row.key] = row
    return found


def _values(delivery: Delivery) -> dict[str, object]:
    return {
        "microgrid": delivery.microgrid_id,
        "of": delivery.dispatcher,
        "reporter": delivery.reporter,
        "now": delivery.now,
        "told": delivery.version,
    }


def _find_reporter(connection: sa.Connection, delivery: Delivery) -> Reporter:
    found = connection.execute(_FIND_REPORTER, _values(delivery)).one_or_none()
    return Reporter() if found is None else Reporter(*found)


def _note_reporter(connection: sa.Connection, delivery: Delivery, reporter: Reporter) -> None:
    """Remember a reporter, and forget those that have not reported for longest."""
    values = _values(delivery)
    row = {
        "microgrid_id": delivery.microgrid_id,
        "dispatcher": delivery.dispatcher,
        "name": delivery.reporter,
        "turn": connection.scalar(_NEXT_TURN, values),
        **asdict(reporter),
    }
    connection.execute(_PUT_REPORTER, row)
    connection.execute(_FORGET_REPORTERS, values)


def _note_dispatcher(connection: sa.Connection, delivery: Delivery, newly_lost: int) -> None:
    values = _values(delivery)
    known = connection.execute(_NOTE_DISPATCHER, values | {"newly_lost": newly_lost})
    if known.rowcount:
        return
    check_room(delivery, connection.scalars(_COUNT_DISPATCHERS, values).one())
    row = {
        "microgrid_id": delivery.microgrid_id,
        "name": delivery.dispatcher,
        "version": delivery.version,
        "first_report": delivery.now,
        "last_report": delivery.now,
        "lost": newly_lost,
    }
    connection.execute(_ADD_DISPATCHER, row)


# Built once: a statement of SQLAlchemy takes long to build, and is freed only by the garbage
# collector.
_OF_DISPATCHER = [
    reporters.c.microgrid_id == sa.bindparam("microgrid"),
    reporters.c.dispatcher == sa.bindparam("of"),
]
_IN_MICROGRID = dispatchers.c.microgrid_id == sa.bindparam("microgrid")
_COUNTERS = sa.select(run_counters)
_SET_COUNTERS = run_counters.update()
_PUT_RUNS = runs.insert().prefix_with("OR REPLACE")
_FIND_RUNS = sa.select(*_RUN).where(
    runs.c.microgrid_id == sa.bindparam("microgrid"),
    sa.tuple_(runs.c.dispatch_id, runs.c.start_time).in_(
        sa.bindparam("occurrences", expanding=True)
    ),
)
_FIND_REPORTER = sa.select(reporters.c.last_sequence, reporters.c.lost).where(
    *_OF_DISPATCHER, reporters.c.name == sa.bindparam("reporter")
)
_NEXT_TURN = sa.select(sa.func.coalesce(sa.func.max(reporters.c.turn), 0) + 1).where(
    *_OF_DISPATCHER
)
_PUT_REPORTER = reporters.insert().prefix_with("OR REPLACE")
_FORGET_REPORTERS = reporters.delete().where(
    *_OF_DISPATCHER,
    reporters.c.name.not_in(
        sa.select(reporters.c.name)
        .where(*_OF_DISPATCHER)
        .order_by(reporters.c.turn.desc())
        .limit(REMEMBERED_REPORTERS)
    ),
)
_NOTE_DISPATCHER = (
    dispatchers.update()
    .where(_IN_MICROGRID, dispatchers.c.name == sa.bindparam("of"))
    .values(
        last_report=sa.bindparam("now"),
        lost=dispatchers.c.lost + sa.bindparam("newly_lost"),
        # An unknown version does not replace a known one.
        version=sa.func.coalesce(sa.func.nullif(sa.bindparam("told"), ""), dispatchers.c.version),
    )
)
_COUNT_DISPATCHERS = sa.select(sa.func.count()).select_from(dispatchers).where(_IN_MICROGRID)
_ADD_DISPATCHER = dispatchers.insert()


# Old entries.


def trim(connection: sa.Connection, retention: Retention, now: int) -> int:
    """Remove some of what is no longer to be kept; return how many entries that were."""
    last_number, _ = connection.execute(sa.select(run_counters)).one()
    last_sequence = connection.scalar(sa.select(sa.func.max(changes.c.sequence))) or 0
    return (
        _remove(connection, runs, runs.c.number <= last_number - retention.runs)
        + remove_runs(connection, before=retention.oldest_run(now))
        + _remove(connection, changes, changes.c.sequence <= last_sequence - retention.changes)
        + remove_changes(connection, before=retention.oldest_change(now))
    )


def remove_runs(connection: sa.Connection, *, before: int) -> int:
    """Remove some runs that have ended and whose last report is older; return their number.

    Dispatchers that have not reported since are forgotten, too.
    """
    d, r = dispatchers.c, reporters.c
    of_dispatcher = sa.select(d.name).where(
        d.microgrid_id == r.microgrid_id, d.name == r.dispatcher, d.last_report < before
    )
    connection.execute(reporters.delete().where(of_dispatcher.exists()))
    connection.execute(dispatchers.delete().where(d.last_report < before))
    # As in the index, which has only those that have ended.
    ended: sa.ColumnElement[bool] = sa.literal_column("state <> 1")
    return _remove(connection, runs, ended, runs.c.reported < before, order=runs.c.reported)


def oldest_change(connection: sa.Connection) -> int | None:
    """Return the time of the oldest change, None if there is no change."""
    first = sa.select(changes.c.time).order_by(changes.c.sequence).limit(1)
    return connection.scalars(first).one_or_none()


def remove_changes(connection: sa.Connection, *, before: int) -> int:
    """Remove some changes that are older; return their number."""
    # They are numbered in the order of their times, unless the clock was set back.
    first = sa.select(changes.c.sequence).order_by(changes.c.sequence).limit(TRIMMED_AT_ONCE)
    return connection.execute(
        changes.delete().where(changes.c.sequence.in_(first), changes.c.time < before)
    ).rowcount


def _remove(
    connection: sa.Connection,
    table: sa.Table,
    *conditions: sa.ColumnElement[bool],
    order: sa.Column[int] | None = None,
) -> int:
    [number] = table.primary_key.columns
    some = (
        sa.select(number)
        .where(*conditions)
        .order_by(number if order is None else order)
        .limit(TRIMMED_AT_ONCE)
    )
    return connection.execute(table.delete().where(number.in_(some))).rowcount
