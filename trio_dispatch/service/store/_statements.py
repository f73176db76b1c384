"""Statements that are compiled once and carried out by the driver.

SQLAlchemy takes several times as long as SQLite to insert a row or to look one up.  So the
statements that make up most of the work are only compiled by SQLAlchemy, from the same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from ._sqlite_files import raw_connection

__all__ = ["ManyRows", "decoder_of"]

_Convert: TypeAlias = Callable[[Any], Any]

_DIALECT = sqlite.dialect(paramstyle="qmark")


class ManyRows:
    """A statement that is carried out for any number of rows.

    Args:
      attributes: The attributes of a row for parameters that have other names.
    """

    def __init__(self, statement: sa.Insert | sa.Update | sa.Delete, **attributes: str) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self._sql = str(compiled)
        self._parameters: list[tuple[str, _Convert | None]] = [
            (
                attributes.get(name, name),
                compiled.binds[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT),
            )
            for name in compiled.positiontup or ()
        ]

    def execute(self, connection: sa.Connection, rows: Iterable[object]) -> None:
        """Carry the statement out within the connection's transaction."""
        parameters = self._parameters
        values = [
            [
                convert(getattr(row, name)) if convert else getattr(row, name)
                for name, convert in parameters
            ]
            for row in rows
        ]
        if values:
            raw_connection(connection).executemany(self._sql, values)


def decoder_of(columns: Iterable[sa.Column[Any]]) -> Callable[[Iterable[Any]], list[Any]]:
    """Return a function that decodes what the driver returns for these columns."""
    converts: list[_Convert | None] = [
        column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for column in columns
    ]

    def decode(values: Iterable[Any]) -> list[Any]:
        return [
            convert(value) if convert else value
            for convert, value in zip(converts, values, strict=True)
        ]

    return decode
