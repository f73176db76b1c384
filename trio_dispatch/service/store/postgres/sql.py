"""The statements of a store in PostgreSQL.

Each has a fixed text for each kind of query, so the server prepares it once for each connection:
lists of values are arrays, and many rows are written as arrays of their columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from ....api import wire
from ....api.codec import WIRE
from ....api.wire import Event
from .._columns import from_signed, nanos_of_text, text_of_nanos, to_signed
from ..batch import FormerKeys
from ..logs import ChangeRow
from ..queries import MAX_PAGE_BYTES, SEARCHED_CHARACTERS, Query, SortKey, TimeRange
from ..rows import Author, Change, Row, row_of_message

Statement = tuple[str, list[object]]

_TYPES: Final = {
    "id": "bigint",
    "microgrid_id": "bigint",
    "type": "text",
    "target": "text",
    "active": "boolean",
    "dry_run": "boolean",
    "recurring": "boolean",
    "start_time": "text",
    "end_time": "text",
    "create_time": "text",
    "update_time": "text",
    "created_sequence": "bigint",
    "updated_sequence": "bigint",
    "message": "bytea",
}
"""The columns of a dispatch, which are the fields of a `Row`."""

_NAMES = ", ".join(_TYPES)
_ARRAYS = ", ".join(f"%s::{type_}[]" for type_ in _TYPES.values())
_SETS = ", ".join(f"{name} = new.{name}" for name in _TYPES if name != "id")

FIND_ALL = f"SELECT {_NAMES} FROM dispatches WHERE id = ANY(%s)"  # noqa: S608 - constants
INSERT = f"INSERT INTO dispatches ({_NAMES}) SELECT * FROM unnest({_ARRAYS})"  # noqa: S608
REPLACE = (
    f"UPDATE dispatches AS old SET {_SETS} "  # noqa: S608
    f"FROM unnest({_ARRAYS}) AS new ({_NAMES}) WHERE old.id = new.id"
)
STATISTICS = """
    SELECT (SELECT count(*) FROM dispatches), (SELECT min(time) FROM changes),
           pg_database_size(current_database())
"""
REMOVE = "DELETE FROM dispatches WHERE id = ANY(%s)"
INSERT_FORMER = """
    INSERT INTO former
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                         %s::text[], %s::text[])
"""
FORGET_FORMER = """
    DELETE FROM former USING unnest(%s::bigint[], %s::bigint[]) AS old (microgrid_id, until)
    WHERE former.microgrid_id = old.microgrid_id AND former.until <= old.until
"""
INSERT_CHANGES = """
    INSERT INTO changes (microgrid_id, sequence, time, event, dispatch_id, key_name, peer, old, new)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::integer[], %s::bigint[],
                         %s::text[], %s::text[], %s::bytea[], %s::bytea[])
"""
ADD_MICROGRIDS = "INSERT INTO microgrids SELECT unnest(%s::bigint[]), 0 ON CONFLICT DO NOTHING"
# In the order of the ids, so that replicas never wait for each other in a circle.
LOCK_MICROGRIDS = "SELECT id, sequence FROM microgrids WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
SEQUENCE = "SELECT sequence FROM microgrids WHERE id = %s"
SET_SEQUENCES = """
    UPDATE microgrids SET sequence = new.sequence
    FROM unnest(%s::bigint[], %s::bigint[]) AS new (id, sequence) WHERE microgrids.id = new.id
"""
NEW_IDS = "SELECT nextval('dispatch_ids') FROM generate_series(1, %s)"
RAISE_IDS = "SELECT setval('dispatch_ids', %s) FROM dispatch_ids WHERE last_value < %s"
STAMP = "SELECT second FROM stamps WHERE key = %s"
RAISE_STAMP = """
    INSERT INTO stamps VALUES (%s, %s)
    ON CONFLICT (key) DO UPDATE SET second = greatest(stamps.second, excluded.second)
"""
# Stamps are there after a migration from SQLite: earlier signatures may have been used there.
USE_NONCE = """
    INSERT INTO nonces SELECT %s, %s, %s
    WHERE NOT EXISTS (SELECT FROM stamps WHERE key = %s AND second >= %s)
    ON CONFLICT DO NOTHING
"""
FORGET_NONCES = "DELETE FROM nonces WHERE second < %s"
NOTIFY_AND_COMMIT = "NOTIFY trio_dispatch_changes; COMMIT"
CHANGES_AFTER = """
    SELECT changes.microgrid_id, changes.sequence, changes.time, changes.event,
           changes.dispatch_id, changes.key_name, changes.peer, changes.old, changes.new
    FROM unnest(%s::bigint[], %s::bigint[]) AS after (microgrid_id, sequence)
    JOIN changes ON changes.microgrid_id = after.microgrid_id
         AND changes.sequence > after.sequence
    ORDER BY changes.microgrid_id, changes.sequence LIMIT %s
"""


# Rows.


def columns_of(row: Row) -> tuple[object, ...]:
    """Return the columns of a row."""
    return (
        to_signed(row.id),
        to_signed(row.microgrid_id),
        storable(row.type),
        row.target,
        row.active,
        row.dry_run,
        row.recurring,
        text_of_nanos(row.start_time),
        text_of_nanos(row.end_time),
        text_of_nanos(row.create_time),
        text_of_nanos(row.update_time),
        row.created_sequence,
        row.updated_sequence,
        row.message,
    )


def storable(text: str) -> str:
    """Return a text without NUL, which PostgreSQL does not keep.

    It is only for lists, which search in it: messages are kept as they are.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def row_of_columns(columns: Sequence[object]) -> Row:
    """Undo `columns_of`.

    Raises:
      ValueError: the columns are damaged.
    """
    match columns:
        case (
            int(id_),
            int(microgrid_id),
            str(type_),
            str(target),
            bool(active),
            bool(dry_run),
            bool(recurring),
            str(start_time),
            str(end_time),
            str(create_time),
            str(update_time),
            int(created_sequence),
            int(updated_sequence),
            bytes(message),
        ):
            return Row(
                id=from_signed(id_),
                microgrid_id=from_signed(microgrid_id),
                type=type_,
                target=target,
                active=active,
                dry_run=dry_run,
                recurring=recurring,
                start_time=nanos_of_text(start_time) or 0,
                end_time=nanos_of_text(end_time),
                create_time=nanos_of_text(create_time) or 0,
                update_time=nanos_of_text(update_time) or 0,
                created_sequence=created_sequence,
                updated_sequence=updated_sequence,
                message=message,
            )
    raise ValueError(f"a row with columns of other types: {columns!r}")


def former_columns(keys: FormerKeys) -> tuple[object, ...]:
    """Return the columns of former sort keys."""
    return (
        to_signed(keys.microgrid_id),
        keys.until,
        to_signed(keys.id),
        keys.created_sequence,
        keys.updated_sequence,
        text_of_nanos(keys.start_time),
        text_of_nanos(keys.update_time),
    )


def change_columns(change: Change) -> tuple[object, ...]:
    """Return the columns of a change."""
    row = ChangeRow.of(change)
    return (
        to_signed(row.microgrid_id),
        row.sequence,
        row.time,
        row.event,
        to_signed(row.dispatch_id),
        storable(row.key_name),
        storable(row.peer),
        row.old,
        row.new,
    )


def change_row(columns: Sequence[object]) -> ChangeRow:
    """Undo `change_columns`."""
    match columns:
        case (
            int(microgrid_id),
            int(sequence),
            int(time),
            int(event),
            int(dispatch_id),
            str(key_name),
            str(peer),
            bytes() | None as old,
            bytes() | None as new,
        ):
            return ChangeRow(
                sequence,
                from_signed(microgrid_id),
                time,
                event,
                from_signed(dispatch_id),
                key_name,
                peer,
                old,
                new,
            )
    raise ValueError(f"a change with columns of other types: {columns!r}")


def change_of_columns(columns: Sequence[object]) -> Change:
    """Return a change for watchers."""
    logged = change_row(columns)
    message = logged.new if logged.new is not None else logged.old
    assert message is not None
    row = row_of_message(
        logged.microgrid_id,
        WIRE.decode(message, wire.Dispatch),
        created_sequence=0,
        updated_sequence=logged.sequence,
    )
    # As its author sent it, with what this version does not know.
    row = replace(row, message=message)
    author = Author(logged.key_name, logged.peer)
    return Change(Event(logged.event), logged.sequence, logged.time, author, row)


def transposed(rows: Sequence[tuple[object, ...]]) -> list[object]:
    """Return the columns of rows as lists."""
    return [list(column) for column in zip(*rows, strict=True)]


# Lists.


def count_of(query: Query) -> Statement:
    """Count the dispatches that pass the filter."""
    conditions = Conditions()
    _filter(query, conditions)
    return f"SELECT count(*) FROM dispatches WHERE {conditions.text}", conditions.values  # noqa: S608


def pages_of(query: Query, snapshot: int) -> Iterator[Statement]:
    """Select sort key, id and message of what follows `query.after`, in order.

    All that follows has the same key and another id, or another key: one statement for each, since
    each reads one range of an index.  A statement selects one row more than the page may have, but
    not much more bytes than it may have: the rows that follow might be large.
    """
    after = query.after
    if after is None:
        yield _page(query, snapshot, None, same_key=False)
    else:
        yield _page(query, snapshot, after, same_key=True)
        yield _page(query, snapshot, after, same_key=False)


def page_row(columns: Sequence[object]) -> tuple[int, int, bytes]:
    """Return key, id and message of a row that `pages_of` selects."""
    match columns:
        case (str(key), int(id_), bytes(message)):
            return nanos_of_text(key) or 0, from_signed(id_), message
    raise ValueError(f"a row with columns of other types: {columns!r}")


def _page(
    query: Query, snapshot: int, after: tuple[int, int] | None, *, same_key: bool
) -> Statement:
    key = query.sort_key.value
    direction, sign = ("DESC", "<") if query.descending else ("ASC", ">")
    conditions = Conditions()
    _filter(query, conditions)
    _follow(conditions, f"dispatches.{key}", "dispatches.id", after, sign, same_key=same_key)
    by_create_time = query.sort_key is SortKey.CREATE_TIME
    if query.snapshot is not None:
        sequence = "created_sequence" if by_create_time else "updated_sequence"
        conditions.add(f"dispatches.{sequence} <= %s", snapshot)
    order = f"ORDER BY key {direction}, id {direction}"
    limit = query.page_size + 1
    text = f"""
        (SELECT dispatches.{key} AS key, dispatches.id AS id, dispatches.message AS message
         FROM dispatches WHERE {conditions.text} {order} LIMIT %s)
    """  # noqa: S608 - made of constants
    values = [*conditions.values, limit]
    if query.snapshot is not None and not by_create_time:
        moved = Conditions()
        moved.add("former.microgrid_id = %s", to_signed(query.microgrid_id))
        moved.add("former.until > %s", snapshot)
        moved.add("former.updated_sequence <= %s", snapshot)
        _filter(query, moved)
        _follow(moved, f"former.{key}", "former.id", after, sign, same_key=same_key)
        text += f"""
            UNION ALL
            (SELECT former.{key} AS key, former.id AS id, dispatches.message AS message
             FROM former JOIN dispatches ON dispatches.id = former.id
                  AND dispatches.created_sequence = former.created_sequence
             WHERE {moved.text} {order} LIMIT %s)
        """  # noqa: S608
        values += [*moved.values, limit]
    text = f"SELECT * FROM ({text}) AS parts {order} LIMIT %s"  # noqa: S608
    text = bounded(text, order, columns="key, id, message", size="octet_length(message)")
    return text, [*values, limit]


def bounded(text: str, order: str, *, columns: str, size: str) -> str:
    """Return a statement that selects only about as many rows as have the bytes of a page.

    It selects the row by which the page exceeds `MAX_PAGE_BYTES`, and one more.

    Args:
      text: The statement that selects the rows, in order.
      size: The bytes of a row.
    """
    return f"""
        SELECT {columns} FROM (
            SELECT *, sum({size}) OVER (
                {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING
            ) AS bytes
            FROM ({text}) AS found
        ) AS measured
        WHERE bytes IS NULL OR bytes <= {MAX_PAGE_BYTES} {order}
    """  # noqa: S608


def _follow(
    conditions: Conditions,
    key: str,
    id_: str,
    after: tuple[int, int] | None,
    sign: str,
    *,
    same_key: bool,
) -> None:
    """Add the conditions for what follows a place, with the same key or with another one."""
    if after is None:
        return
    last_key, last_id = after
    if same_key:
        conditions.add(f"{key} = %s", text_of_nanos(last_key))
        conditions.add(f"{id_} {sign} %s", to_signed(last_id))
    else:
        conditions.add(f"{key} {sign} %s", text_of_nanos(last_key))


class Conditions:
    """Conditions that all have to hold, and the values in them."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self.values: list[object] = []

    @property
    def text(self) -> str:
        return " AND ".join(self._texts)

    def add(self, text: str, *values: object) -> None:
        self._texts.append(text)
        self.values += values


def _filter(query: Query, conditions: Conditions) -> None:
    wanted = query.filter
    conditions.add("dispatches.microgrid_id = %s", to_signed(query.microgrid_id))
    for column, flag in (
        ("active", wanted.active),
        ("dry_run", wanted.dry_run),
        ("recurring", wanted.recurring),
    ):
        if flag is not None:
            conditions.add(f"dispatches.{column} = %s", flag)
    if wanted.targets is not None:
        conditions.add("dispatches.target = ANY(%s)", [*wanted.targets])
    for column, time_range in (
        ("start_time", wanted.start_time),
        ("end_time", wanted.end_time),
        ("update_time", wanted.update_time),
    ):
        if time_range is not None:
            _within(f"dispatches.{column}", time_range, conditions)
    if wanted.ids is not None:
        conditions.add("dispatches.id = ANY(%s::bigint[])", [*map(to_signed, wanted.ids)])
    if wanted.queried_ids is not None:
        conditions.add(
            "(dispatches.id = ANY(%s::bigint[]) OR EXISTS (SELECT FROM unnest(%s::text[]) AS query"
            f" WHERE strpos(substr(dispatches.type, 1, {SEARCHED_CHARACTERS}), query) > 0))",
            [*map(to_signed, wanted.queried_ids)],
            [*map(storable, wanted.queried_types)],
        )


def _within(column: str, time_range: TimeRange, conditions: Conditions) -> None:
    # A missing end sorts after every time, and so passes exactly the ranges without an end.
    if time_range.start is not None:
        conditions.add(f"{column} >= %s", text_of_nanos(time_range.start))
    if time_range.end is not None:
        conditions.add(f"{column} < %s", text_of_nanos(time_range.end))
