"""Lists as SQL: what `listing.Where` and `listing.Query` mean in a database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ._schema import dispatches, former
from .listing import Query, SortKey, Span, Where

__all__ = ["count_of", "page_of"]

_d = dispatches.c
_f = former.c
_Condition = sa.ColumnElement[bool]


def count_of(query: Query) -> sa.Select[Any]:
    """How many dispatches pass the filter."""
    return sa.select(sa.func.count()).select_from(dispatches).where(*_passing(query))


def page_of(query: Query, edge: int) -> Any:
    """Sort key, id and message of what follows the end of the page before, in order.

    One row more than the page may have: so it is known whether there is a next page.
    """
    column = _d[query.key.value]
    since = _d.born if query.key is SortKey.CREATED else _d.changed
    present = sa.select(column.label("place"), _d.id.label("id"), _d.message).where(
        *_passing(query), *_beyond(column, query)
    )
    if query.edge is None:
        # The first page: nothing has happened since the walk's edge.
        return _ordered(present, column, _d.id, query)
    present = present.where(since <= edge)
    if query.key is SortKey.CREATED:
        return _ordered(present, column, _d.id, query)
    moved = _moved(query, edge)
    both: sa.CompoundSelect[Any] = sa.union_all(present, moved)
    columns = both.selected_columns
    return _ordered(both, columns.place, columns.id, query)


def _moved(query: Query, edge: int) -> sa.Select[Any]:
    """What has been changed since the walk's edge, by its place at the edge."""
    column = _f[query.key.value]
    return (
        sa.select(column.label("place"), _f.id.label("id"), _d.message)
        .select_from(former.join(dispatches, sa.and_(_d.id == _f.id, _d.born == _f.born)))
        .where(_f.until > edge, _f.changed <= edge)
        .where(*_passing(query), *_beyond(column, query, former))
    )


def _ordered(select: Any, place: Any, id_: Any, query: Query) -> Any:
    order = (place.desc(), id_.desc()) if query.descending else (place, id_)
    return select.order_by(*order).limit(query.size + 1)


def _beyond(column: Any, query: Query, table: sa.Table = dispatches) -> list[_Condition]:
    if query.after is None:
        return []
    # Not compared as pairs: SQLite then looks only at the first of the two in its index.
    place, id_ = query.after
    if query.descending:
        return [column <= place, sa.or_(column < place, table.c.id < id_)]
    return [column >= place, sa.or_(column > place, table.c.id > id_)]


def _passing(query: Query) -> list[_Condition]:
    where = query.where
    # Who names ids has them looked up, not the whole microgrid read for them; SQLite would not see
    # which of the two is less.
    few = where.ids is not None or (where.asked_ids is not None and not where.asked_types)
    microgrid_id = sa.func.coalesce(_d.microgrid_id, 0) if few else _d.microgrid_id
    conditions: list[_Condition] = [microgrid_id == query.microgrid_id]
    for column, value in (
        (_d.active, where.active),
        (_d.dry_run, where.dry_run),
        (_d.recurring, where.recurring),
    ):
        if value is not None:
            conditions.append(column.is_(value))
    if where.targets is not None:
        conditions.append(_d.target.in_(where.targets))
    for column, span in (
        (_d.starts, where.starts),
        (_d.ends, where.ends),
        (_d.updated, where.updated),
    ):
        conditions += _within(column, span)
    if where.ids is not None:
        conditions.append(_d.id.in_(where.ids))
    conditions += _answering(where)
    return conditions


def _within(column: Any, span: Span | None) -> list[_Condition]:
    # What never ends comes after every moment, and so passes exactly what it should.
    if span is None:
        return []
    conditions = []
    if span.low is not None:
        conditions.append(column >= span.low)
    if span.high is not None:
        conditions.append(column < span.high)
    return conditions


def _answering(where: Where) -> list[_Condition]:
    if where.asked_ids is None:
        return []
    # Not LIKE, which takes capitals and small letters for the same.
    parts = [sa.func.instr(_d.type, text) > 0 for text in where.asked_types]
    return [sa.or_(_d.id.in_(where.asked_ids), *parts)]
