"""The SQL of lists: what `queries.Filter` and `queries.Query` mean in a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import sqlalchemy as sa

from ._schema import dispatches, former
from ._statements import decoder_of
from .queries import SEARCHED_CHARACTERS, Query, SortKey, TimeRange

__all__ = ["count_of", "driver_rows", "pages_of", "place_of"]

_d = dispatches.c
_f = former.c

_Condition: TypeAlias = sa.ColumnElement[bool]
_Number: TypeAlias = sa.ColumnElement[int]
_Select = TypeVar("_Select", bound=sa.GenerativeSelect)


def count_of(query: Query) -> sa.Select[int]:
    """Count the dispatches that pass the filter."""
    return sa.select(sa.func.count()).select_from(dispatches).where(*_filter(query, by_time=True))


def pages_of(
    query: Query, snapshot: int
) -> Iterator[sa.Select[int, int, bytes] | sa.CompoundSelect[int, int, bytes]]:
    """Select sort key, id and message of what follows `query.after`, in order.

    All that follows has the same key and another id, or another key: one statement for each, since
    a comparison of both at a time would look up only the key in an index.  A statement selects one
    row more than the page may have, which shows whether another page follows.
    """
    return (_rows(query, snapshot, after) for after in _alternatives(query))


def driver_rows(
    connection: sa.Connection, select: sa.Select[int, int, bytes] | sa.CompoundSelect[Any, Any, Any]
) -> list[tuple[str, int, bytes]]:
    """Return rows as the database has them: to convert them takes longer than to read them."""
    with connection.execute(select) as result:
        assert result.cursor is not None
        return [*result.cursor.fetchall()]


_decode_place = decoder_of([_d.start_time, _d.id])


def place_of(key: str, id_: int) -> tuple[int, int]:
    """Return the key and the id of a row of `driver_rows`."""
    key_in_nanos, unsigned_id = _decode_place((key, id_))
    return key_in_nanos, unsigned_id


_Alternative: TypeAlias = Callable[[_Number, _Number], list[_Condition]]


def _alternatives(query: Query) -> list[_Alternative]:
    """Return the conditions for the key and the id of what follows `query.after`."""
    if query.after is None:
        return [lambda key, id_: []]
    last_key, last_id = query.after
    if query.descending:
        return [
            lambda key, id_: [key == last_key, id_ < last_id],
            lambda key, id_: [key < last_key],
        ]
    return [
        lambda key, id_: [key == last_key, id_ > last_id],
        lambda key, id_: [key > last_key],
    ]


def _rows(
    query: Query, snapshot: int, after: _Alternative
) -> sa.Select[int, int, bytes] | sa.CompoundSelect[int, int, bytes]:
    key = _d[query.sort_key.value]
    by_create_time = query.sort_key is SortKey.CREATE_TIME
    sequence = _d.created_sequence if by_create_time else _d.updated_sequence
    unmoved = sa.select(key.label("key"), _d.id.label("id"), _d.message).where(
        *_filter(query), *after(key, _d.id)
    )
    if query.snapshot is None:
        # The first page: nothing has changed since the snapshot.
        return _ordered(unmoved, key, _d.id, query)
    unmoved = unmoved.where(sequence <= snapshot)
    if by_create_time:
        return _ordered(unmoved, key, _d.id, query)
    both = sa.union_all(unmoved, _moved(query, snapshot, after))
    columns = both.selected_columns
    return _ordered(both, columns.key, columns.id, query)


def _moved(query: Query, snapshot: int, after: _Alternative) -> sa.Select[int, int, bytes]:
    """Select the dispatches that have changed since the snapshot, by their keys of that time."""
    key = _f[query.sort_key.value]
    same = sa.and_(_d.id == _f.id, _d.created_sequence == _f.created_sequence)
    return (
        sa.select(key.label("key"), _f.id.label("id"), _d.message)
        .select_from(former.join(dispatches, same))
        .where(_f.until > snapshot, _f.updated_sequence <= snapshot)
        .where(*_filter(query), *after(key, _f.id))
    )


def _ordered(select: _Select, key: _Number, id_: _Number, query: Query) -> _Select:
    order = (key.desc(), id_.desc()) if query.descending else (key.asc(), id_.asc())
    return select.order_by(*order).limit(query.page_size + 1)


def _filter(query: Query, *, by_time: bool = False) -> list[_Condition]:
    """Return the conditions of the filter.

    Args:
      by_time: Whether the index of a time range may be used.  Pages follow the index of their
        order, and so look at each dispatch once in a whole walk; otherwise SQLite would sort all
        dispatches that pass for each page.
    """
    wanted = query.filter
    # With ids in the filter, SQLite must look them up instead of reading the whole microgrid; it
    # does not know by itself which of the two is less work.
    few = wanted.ids is not None or (wanted.queried_ids is not None and not wanted.queried_types)
    microgrid_id = sa.func.coalesce(_d.microgrid_id, 0) if few else _d.microgrid_id
    conditions: list[_Condition] = [microgrid_id == query.microgrid_id]
    for flag, value in (
        (_d.active, wanted.active),
        (_d.dry_run, wanted.dry_run),
        (_d.recurring, wanted.recurring),
    ):
        if value is not None:
            conditions.append(flag.is_(value))
    if wanted.targets is not None:
        conditions.append(_d.target.in_(wanted.targets))
    for time, time_range in (
        (_d.start_time, wanted.start_time),
        (_d.end_time, wanted.end_time),
        (_d.update_time, wanted.update_time),
    ):
        if time_range is not None:
            column = time if by_time else sa.func.coalesce(time, sa.null())
            conditions += _within(column, time_range)
    if wanted.ids is not None:
        conditions.append(_d.id.in_(wanted.ids))
    if wanted.queried_ids is not None:
        searched = sa.func.substr(_d.type, 1, SEARCHED_CHARACTERS)
        # Not LIKE, which ignores case.
        contained = [sa.func.instr(searched, text) > 0 for text in wanted.queried_types]
        conditions.append(sa.or_(_d.id.in_(wanted.queried_ids), *contained))
    return conditions


def _within(time: _Number, time_range: TimeRange) -> list[_Condition]:
    # A missing end sorts after every time, and so passes exactly the ranges without an end.
    conditions = []
    if time_range.start is not None:
        conditions.append(time >= time_range.start)
    if time_range.end is not None:
        conditions.append(time < time_range.end)
    return conditions
