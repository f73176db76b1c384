"""The tables of a store in PostgreSQL, and their migrations."""

from __future__ import annotations

from typing import Final

from ...errors import StoreError
from .connection import TrioConnection

__all__ = ["prepare"]

_LOCK: Final = int.from_bytes(b"tdsp", "big")
"""The advisory lock under which the tables are set up."""

# Times are texts that sort as the times do, and unsigned numbers are kept as signed ones, see
# `_columns`.  Texts compare by their bytes, whatever the locale of the database.
_TABLES = """
CREATE SEQUENCE dispatch_ids;

CREATE TABLE microgrids (
    id bigint PRIMARY KEY,
    sequence bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE dispatches (
    id bigint PRIMARY KEY,
    microgrid_id bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    active boolean NOT NULL,
    dry_run boolean NOT NULL,
    recurring boolean NOT NULL,
    start_time text COLLATE "C" NOT NULL,
    end_time text COLLATE "C" NOT NULL,
    create_time text COLLATE "C" NOT NULL,
    update_time text COLLATE "C" NOT NULL,
    created_sequence bigint NOT NULL,
    updated_sequence bigint NOT NULL,
    message bytea NOT NULL
);
CREATE INDEX dispatches_by_start_time ON dispatches (microgrid_id, start_time, id);
CREATE INDEX dispatches_by_end_time ON dispatches (microgrid_id, end_time);
CREATE INDEX dispatches_by_create_time ON dispatches (microgrid_id, create_time, id);
CREATE INDEX dispatches_by_update_time ON dispatches (microgrid_id, update_time, id);

CREATE TABLE former (
    microgrid_id bigint NOT NULL,
    until bigint NOT NULL,
    id bigint NOT NULL,
    created_sequence bigint NOT NULL,
    updated_sequence bigint NOT NULL,
    start_time text COLLATE "C" NOT NULL,
    update_time text COLLATE "C" NOT NULL,
    PRIMARY KEY (microgrid_id, until)
);

CREATE TABLE changes (
    microgrid_id bigint NOT NULL,
    sequence bigint NOT NULL,
    time bigint NOT NULL,
    event integer NOT NULL,
    dispatch_id bigint NOT NULL,
    key_name text COLLATE "C" NOT NULL,
    peer text COLLATE "C" NOT NULL,
    old bytea,
    new bytea,
    PRIMARY KEY (microgrid_id, sequence)
);
CREATE INDEX changes_by_age ON changes (time);
CREATE INDEX changes_by_time ON changes (microgrid_id, time, sequence);
CREATE INDEX changes_by_dispatch ON changes (microgrid_id, dispatch_id, time, sequence);
CREATE INDEX changes_by_key ON changes (microgrid_id, key_name, time, sequence);

CREATE TABLE runs (
    microgrid_id bigint NOT NULL,
    number bigint NOT NULL,
    revision bigint NOT NULL,
    dispatcher text COLLATE "C" NOT NULL,
    dispatch_id bigint NOT NULL,
    start_time text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    component_id bigint,
    type text COLLATE "C" NOT NULL,
    state integer NOT NULL,
    message bytea NOT NULL,
    reported bigint NOT NULL,
    PRIMARY KEY (microgrid_id, number)
);
CREATE UNIQUE INDEX runs_by_revision ON runs (microgrid_id, revision);
CREATE INDEX runs_by_start_time ON runs (microgrid_id, start_time, number);
CREATE INDEX runs_by_dispatch ON runs (microgrid_id, dispatch_id, start_time, number);
CREATE INDEX runs_by_component ON runs (microgrid_id, component_id, start_time, number);
CREATE INDEX runs_by_state ON runs (microgrid_id, state, start_time, number);
CREATE INDEX runs_by_type ON runs (microgrid_id, type, start_time, number);
CREATE INDEX runs_by_dispatcher ON runs (microgrid_id, dispatcher, start_time, number);
CREATE INDEX runs_by_report ON runs (reported) WHERE state <> 1;

CREATE TABLE run_counters (
    microgrid_id bigint PRIMARY KEY,
    last_number bigint NOT NULL,
    revision bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE dispatchers (
    microgrid_id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    first_report bigint NOT NULL,
    last_report bigint NOT NULL,
    lost bigint NOT NULL,
    PRIMARY KEY (microgrid_id, name)
);

CREATE TABLE reporters (
    microgrid_id bigint NOT NULL,
    dispatcher text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    last_sequence bigint NOT NULL,
    lost bigint NOT NULL,
    turn bigint NOT NULL,
    PRIMARY KEY (microgrid_id, dispatcher, name)
);

CREATE TABLE stamps (
    key bytea PRIMARY KEY,
    second bigint NOT NULL
);

CREATE TABLE nonces (
    key bytea NOT NULL,
    nonce bytea NOT NULL,
    second bigint NOT NULL,
    PRIMARY KEY (key, nonce)
);
CREATE INDEX nonces_by_second ON nonces (second);
"""

_STATUS = "ALTER TABLE dispatchers ADD COLUMN status bytea"

_MIGRATIONS: Final = (_TABLES, _STATUS)
"""What takes a database from each version of the schema to the next; a new one needs all."""


async def prepare(connection: TrioConnection) -> None:
    """Set the tables up, or migrate older ones.  Services that start together take turns.

    Raises:
      StoreError: the tables are of a newer version of this package.
      psycopg.Error: the database cannot be read or written.
    """
    # A schema that is up to date needs no right to write, and so can be opened on a standby.
    version = await _version(connection)
    _check(version)
    if version == len(_MIGRATIONS):
        return
    await connection.execute("BEGIN")
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS trio_dispatch_schema (version integer NOT NULL)"
    )
    version = await _read_version(connection)
    _check(version)
    if version == 0:
        await connection.execute("INSERT INTO trio_dispatch_schema VALUES (0)")
    for statements in _MIGRATIONS[version:]:
        await connection.execute(statements)
    await connection.execute("UPDATE trio_dispatch_schema SET version = %s", [len(_MIGRATIONS)])
    await connection.execute("COMMIT")


async def _version(connection: TrioConnection) -> int:
    known = await connection.execute("SELECT to_regclass('trio_dispatch_schema') IS NOT NULL")
    if await known.fetchone() == (False,):
        return 0
    return await _read_version(connection)


async def _read_version(connection: TrioConnection) -> int:
    cursor = await connection.execute("SELECT version FROM trio_dispatch_schema")
    [version] = await cursor.fetchone() or [0]
    return int(version)


def _check(version: int) -> None:
    if version > len(_MIGRATIONS):
        raise StoreError(
            "the database was written by a newer version of trio-dispatch: its schema has version "
            f"{version}, but this version supports only those up to {len(_MIGRATIONS)}"
        )
