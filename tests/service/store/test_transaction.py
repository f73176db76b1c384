"""Writes that share a transaction: they leave the tables as if each had its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.service import NOW, data
from trio_dispatch.api import wire
from trio_dispatch.service.store import _schema, edits
from trio_dispatch.service.store._sqlite_files import raw_connection
from trio_dispatch.service.store._transaction import find_all, read_batch, write_batch
from trio_dispatch.service.store.edits import Edit
from trio_dispatch.service.store.rows import Change
from trio_dispatch.service.store.write_queue import Write

IDS = st.integers(1, 6)


def lengthen(content: wire.DispatchData) -> wire.DispatchData:
    content.duration = (content.duration or 0) + 1
    return content


def put(microgrid_id: int, dispatch_id: int) -> Edit:
    metadata = wire.DispatchMetadata(dispatch_id=dispatch_id)
    return edits.put(microgrid_id, wire.Dispatch(metadata=metadata, data=data()), now=NOW)


EDITS = st.one_of(
    st.builds(lambda: edits.create(1, data(), now=NOW)),
    st.builds(lambda id_: edits.update(1, id_, lengthen, now=NOW), IDS),
    st.builds(lambda id_: edits.delete(1, id_, now=NOW), IDS),
    st.builds(put, st.integers(1, 2), IDS),
)


@contextmanager
def database() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        _schema.prepare(connection, Path("memory"))
        yield connection
    engine.dispose()


def carry_out(connection: sa.Connection, wanted: list[Edit]) -> list[list[Change]]:
    """Carry out edits in one transaction; the changes of each."""
    writes = [Write.of(edit) for edit in wanted]
    batch = read_batch(connection, [id_ for edit in wanted for id_ in edit.reads])
    before = batch.counters
    for write in writes:
        write.attempt(batch)
    write_batch(connection, batch, before)
    return [[*write.changes] for write in writes]


def content(connection: sa.Connection) -> list[list[sa.Row[tuple[object, ...]]]]:
    tables = (_schema.dispatches, _schema.former, _schema.counters)
    return [[*connection.execute(sa.select(table).order_by(sa.text("1")))] for table in tables]


@given(st.lists(EDITS, max_size=12))
def test_a_shared_transaction_is_equal_to_many(wanted: list[Edit]) -> None:
    with database() as shared, database() as separate:
        changes = carry_out(shared, wanted)
        assert changes == [carry_out(separate, [edit])[0] for edit in wanted]
        assert content(shared) == content(separate)


def test_a_transaction_reads_each_dispatch_once() -> None:
    statements: list[str] = []
    with database() as connection:
        raw_connection(connection).set_trace_callback(statements.append)
        creations = [edits.create(1, data(), now=NOW) for _ in range(100)]
        updates = [edits.update(1, id_, lengthen, now=NOW) for id_ in (3, 3, 4)]
        carry_out(connection, [*creations, *updates])
        assert len(find_all(connection, range(1, 101))) == 100
    # The dispatches, the counters and, at the end, what the test itself looks up.
    assert len([each for each in statements if each.startswith("SELECT")]) == 3
