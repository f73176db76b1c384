"""The statements for runs and for the log of changes in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from .._columns import from_signed, nanos_of_text, text_of_nanos, to_signed
from ..logs import ChangeFilter, LogQuery, RunFilter
from ..runs import RunRow
from .sql import Conditions, Statement, bounded, storable

__all__ = ["changes_page", "run_columns", "run_row", "runs_page"]

_FILTERED: Final = {
    "dispatch_id": "bigint",
    "component_id": "bigint",
    "state": "integer",
    "type": "text",
    "dispatcher": "text",
    "key_name": "text",
}
"""The columns by which lists filter, and their types."""

_CHANGE: Final = "microgrid_id, sequence, time, event, dispatch_id, key_name, peer, old, new"
_CHANGE_SIZE: Final = "coalesce(octet_length(old), 0) + coalesce(octet_length(new), 0)"
_RUN: Final = (
    "microgrid_id, number, revision, dispatcher, dispatch_id, start_time, actor, component_id, "
    "type, state, message"
)

# Lists.


def changes_page(query: LogQuery[ChangeFilter]) -> Statement:
    """Select the changes of a page, and one more."""
    conditions = Conditions()
    if query.filter.within is not None:
        start, end = query.filter.within.start, query.filter.within.end
        if start is not None:
            conditions.add("time >= %s", start)
        if end is not None:
            conditions.add("time < %s", end)
    if query.after is not None:
        conditions.add("(time, sequence) < (%s, %s)", *query.after)
    order = "ORDER BY time DESC, sequence DESC"
    text, values = _page("changes", _CHANGE, order, conditions, query)
    return bounded(text, order, columns=_CHANGE, size=_CHANGE_SIZE), values


def runs_page(query: LogQuery[RunFilter]) -> Statement:
    """Select the runs of a page, and one more."""
    conditions = Conditions()
    if query.filter.within is not None:
        start, end = query.filter.within.start, query.filter.within.end
        if start is not None:
            conditions.add("start_time >= %s", text_of_nanos(start))
        if end is not None:
            conditions.add("start_time < %s", text_of_nanos(end))
    if query.after is not None:
        time, number = query.after
        conditions.add("(start_time, number) < (%s, %s)", text_of_nanos(time), number)
    order = "ORDER BY start_time DESC, number DESC"
    text, values = _page("runs", _RUN, order, conditions, query)
    return bounded(text, order, columns=_RUN, size="octet_length(message)"), values


def _page(
    table: str,
    columns: str,
    order: str,
    conditions: Conditions,
    query: LogQuery[RunFilter] | LogQuery[ChangeFilter],
) -> Statement:
    """Select in order what passes the conditions and the filter.

    Each value of the most selective column that the filter restricts is looked up by itself, in an
    index that has the order of the list.
    """
    conditions.add("microgrid_id = %s", to_signed(query.microgrid_id))
    limit = query.page_size + 1
    selective: list[object] = []
    source = ""
    for name, wanted in query.filter.columns().items():
        type_ = _FILTERED[name]
        if selective:
            conditions.add(f"{table}.{name} = ANY(%s::{type_}[])", _values(wanted))
        else:
            selective.append(_values(wanted))
            source = f"unnest(%s::{type_}[]) AS wanted (value)"
            conditions.add(f"{table}.{name} = wanted.value")
    text = f"SELECT {columns} FROM {table} WHERE {conditions.text} {order} LIMIT %s"  # noqa: S608
    values = [*conditions.values, limit]
    if selective:
        text = f"SELECT found.* FROM {source}, LATERAL ({text}) AS found {order} LIMIT %s"  # noqa: S608
        values = [*selective, *values, limit]
    return text, values


def _values(wanted: Collection[int] | Collection[str]) -> list[object]:
    return [storable(value) if isinstance(value, str) else to_signed(value) for value in wanted]


# Reports.

LOCK_COUNTERS = "SELECT last_number, revision FROM run_counters WHERE microgrid_id = %s FOR UPDATE"
ADD_COUNTERS = "INSERT INTO run_counters VALUES (%s, 0, 0) ON CONFLICT DO NOTHING"
SET_COUNTERS = "UPDATE run_counters SET last_number = %s, revision = %s WHERE microgrid_id = %s"
REVISION = "SELECT revision FROM run_counters WHERE microgrid_id = %s"
NOTIFY_AND_COMMIT = "NOTIFY trio_dispatch_runs; COMMIT"
REPORTER = """
    SELECT last_sequence, lost FROM reporters
    WHERE microgrid_id = %s AND dispatcher = %s AND name = %s
"""
NOTE_REPORTER = """
    INSERT INTO reporters
    SELECT %(microgrid_id)s, %(dispatcher)s, %(name)s, %(last_sequence)s, %(lost)s,
           coalesce(max(turn), 0) + 1
    FROM reporters WHERE microgrid_id = %(microgrid_id)s AND dispatcher = %(dispatcher)s
    ON CONFLICT (microgrid_id, dispatcher, name) DO UPDATE
    SET last_sequence = excluded.last_sequence, lost = excluded.lost, turn = excluded.turn
"""
FORGET_REPORTERS = """
    DELETE FROM reporters WHERE microgrid_id = %(microgrid_id)s AND dispatcher = %(dispatcher)s
    AND name NOT IN (
        SELECT name FROM reporters
        WHERE microgrid_id = %(microgrid_id)s AND dispatcher = %(dispatcher)s
        ORDER BY turn DESC LIMIT %(kept)s
    )
"""
DISPATCHERS = """
    SELECT microgrid_id, name, version, first_report, last_report, lost, status FROM dispatchers
    WHERE %s::bigint IS NULL OR microgrid_id = %s ORDER BY microgrid_id, name
"""
COUNT_DISPATCHERS = "SELECT count(*) FROM dispatchers WHERE microgrid_id = %s"
UPDATE_DISPATCHER = """
    UPDATE dispatchers SET last_report = %(now)s, lost = lost + %(lost)s,
           version = CASE WHEN %(version)s::text = '' THEN version ELSE %(version)s END
    WHERE microgrid_id = %(microgrid_id)s AND name = %(dispatcher)s
"""
ADD_DISPATCHER = """
    INSERT INTO dispatchers
    VALUES (%(microgrid_id)s, %(dispatcher)s, %(version)s, %(now)s, %(now)s, %(lost)s)
"""
NOTE_STATUSES = """
    UPDATE dispatchers SET last_report = greatest(last_report, told.time), status = told.status
    FROM (
        SELECT d.microgrid_id, d.name, new.time, new.status FROM dispatchers AS d
        JOIN unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bytea[])
             AS new (microgrid_id, name, time, status)
             ON d.microgrid_id = new.microgrid_id AND d.name = new.name
        ORDER BY d.microgrid_id, d.name FOR UPDATE OF d
    ) AS told WHERE dispatchers.microgrid_id = told.microgrid_id AND dispatchers.name = told.name
"""
"""Locks the rows in one order, so that replicas do not wait for each other in a circle."""

FIND_RUNS = f"""
    SELECT {_RUN} FROM runs JOIN unnest(%s::bigint[], %s::text[]) AS wanted (wanted_id, wanted_time)
         ON dispatch_id = wanted_id AND start_time = wanted_time
    WHERE microgrid_id = %s
"""  # noqa: S608
UPSERT_RUNS = f"""
    INSERT INTO runs ({_RUN}, reported)
    SELECT *, %s FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[],
                             %s::text[], %s::text[], %s::bigint[], %s::text[], %s::integer[],
                             %s::bytea[])
    ON CONFLICT (microgrid_id, number) DO UPDATE
    SET revision = excluded.revision, type = excluded.type, state = excluded.state,
        message = excluded.message, reported = excluded.reported
"""  # noqa: S608
RUNS_AFTER = """
    SELECT runs.microgrid_id, number, runs.revision, dispatcher, dispatch_id, start_time, actor,
           component_id, type, state, message
    FROM unnest(%s::bigint[], %s::bigint[]) AS after (microgrid_id, revision)
    JOIN runs ON runs.microgrid_id = after.microgrid_id AND runs.revision > after.revision
    ORDER BY runs.microgrid_id, runs.revision LIMIT %s
"""


def run_columns(row: RunRow) -> tuple[object, ...]:
    """Return the columns of a run."""
    return (
        to_signed(row.microgrid_id),
        row.number,
        row.revision,
        storable(row.dispatcher),
        to_signed(row.dispatch_id),
        text_of_nanos(row.start_time),
        storable(row.actor),
        None if row.component_id is None else to_signed(row.component_id),
        storable(row.type),
        row.state,
        row.message,
    )


def run_row(columns: Sequence[object]) -> RunRow:
    """Undo `run_columns`."""
    match columns:
        case (
            int(microgrid_id),
            int(number),
            int(revision),
            str(dispatcher),
            int(dispatch_id),
            str(start_time),
            str(actor),
            int() | None as component_id,
            str(type_),
            int(state),
            bytes(message),
        ):
            return RunRow(
                number,
                revision,
                from_signed(microgrid_id),
                dispatcher,
                from_signed(dispatch_id),
                nanos_of_text(start_time) or 0,
                actor,
                None if component_id is None else from_signed(component_id),
                type_,
                state,
                message,
            )
    raise ValueError(f"a run with columns of other types: {columns!r}")


# Old entries.  The oldest first, some at a time.

TRIM_CHANGES = """
    DELETE FROM changes USING (
        SELECT microgrid_id, sequence FROM changes
        WHERE time < %s ORDER BY time LIMIT %s
    ) AS old WHERE changes.microgrid_id = old.microgrid_id AND changes.sequence = old.sequence
"""
TRIM_RUNS = """
    DELETE FROM runs USING (
        SELECT microgrid_id, number FROM runs
        WHERE state <> 1 AND reported < %s ORDER BY reported LIMIT %s
    ) AS old WHERE runs.microgrid_id = old.microgrid_id AND runs.number = old.number
"""
OLDEST_KEPT_CHANGE = "SELECT time FROM changes ORDER BY time DESC OFFSET %s LIMIT 1"
OLDEST_KEPT_RUN = """
    SELECT reported FROM runs WHERE state <> 1 ORDER BY reported DESC OFFSET %s LIMIT 1
"""
TRIM_REPORTERS = """
    DELETE FROM reporters USING dispatchers
    WHERE dispatchers.microgrid_id = reporters.microgrid_id
          AND dispatchers.name = reporters.dispatcher AND dispatchers.last_report < %s
"""
TRIM_DISPATCHERS = "DELETE FROM dispatchers WHERE last_report < %s"
