"""The peer of our dispatch service on PostgreSQL: creates and events, on grpc.aio and asyncpg.

    python -m tests.benchmarks.peer_postgres URL KEY

Like `peer_service`, it is meant to be as fast as this combination can be: writes that wait share a
transaction and statements of many rows.  The transaction is that of ours: it locks the rows of the
microgrids, takes ids from a sequence, adds to the log of changes, and notifies other services.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import asyncpg
import grpc
from frequenz.api.common.v1alpha8.streaming import event_pb2
from frequenz.api.dispatch.v1 import dispatch_pb2 as pb
from frequenz.api.dispatch.v1 import dispatch_pb2_grpc as stubs

from tests.benchmarks.peer_service import MESSAGE, Keys, RefusedError, Row, Service, Write

TABLES = """
CREATE SEQUENCE dispatch_ids;
CREATE TABLE microgrids (id BIGINT PRIMARY KEY, sequence BIGINT NOT NULL) WITH (fillfactor = 50);
CREATE TABLE dispatches (
    id BIGINT PRIMARY KEY, microgrid_id BIGINT NOT NULL, type TEXT NOT NULL, target TEXT NOT NULL,
    active BOOLEAN NOT NULL, dry_run BOOLEAN NOT NULL, recurring BOOLEAN NOT NULL,
    start_time BIGINT NOT NULL, end_time BIGINT, create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL, created_sequence BIGINT NOT NULL,
    updated_sequence BIGINT NOT NULL, message BYTEA NOT NULL
);
CREATE INDEX by_start ON dispatches (microgrid_id, start_time, id);
CREATE INDEX by_end ON dispatches (microgrid_id, end_time);
CREATE INDEX by_create ON dispatches (microgrid_id, create_time, id);
CREATE INDEX by_update ON dispatches (microgrid_id, update_time, id);
CREATE TABLE changes (
    microgrid_id BIGINT NOT NULL, sequence BIGINT NOT NULL, time BIGINT NOT NULL,
    event INTEGER NOT NULL, dispatch_id BIGINT NOT NULL, key_name TEXT NOT NULL,
    peer TEXT NOT NULL, old BYTEA, new BYTEA, PRIMARY KEY (microgrid_id, sequence)
);
CREATE INDEX changes_by_age ON changes (time);
CREATE INDEX changes_by_time ON changes (microgrid_id, time, sequence);
CREATE INDEX changes_by_dispatch ON changes (microgrid_id, dispatch_id, time, sequence);
CREATE INDEX changes_by_key ON changes (microgrid_id, key_name, time, sequence);
"""
ADD_MICROGRIDS = "INSERT INTO microgrids SELECT unnest($1::bigint[]), 0 ON CONFLICT DO NOTHING"
LOCK = "SELECT id, sequence FROM microgrids WHERE id = ANY($1) ORDER BY id FOR UPDATE"
NEW_IDS = "SELECT nextval('dispatch_ids') FROM generate_series(1, $1)"
INSERT = """
    INSERT INTO dispatches
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::boolean[],
                         $6::boolean[], $7::boolean[], $8::bigint[], $9::bigint[], $10::bigint[],
                         $11::bigint[], $12::bigint[], $13::bigint[], $14::bytea[])
"""
LOG = """
    INSERT INTO changes
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::bigint[],
                         $6::text[], $7::text[], $8::bytea[], $9::bytea[])
"""
SET_SEQUENCES = """
    UPDATE microgrids SET sequence = new.sequence
    FROM unnest($1::bigint[], $2::bigint[]) AS new (id, sequence) WHERE microgrids.id = new.id
"""


class PostgresService(Service):
    """Creates and streams; the other calls are not there."""

    def __init__(self, connection: Any) -> None:
        super().__init__(None, None)
        self._connection = connection

    async def _commit(self, batch: list[Write]) -> None:
        connection = self._connection
        done: list[tuple[Write, Row]] = []
        log: list[Row] = []
        async with connection.transaction():
            wanted = sorted({write.microgrid_id for write in batch})
            sequences = dict(await connection.fetch(LOCK, wanted))
            if len(sequences) < len(wanted):
                await connection.execute(ADD_MICROGRIDS, wanted)
                sequences = dict(await connection.fetch(LOCK, wanted))
            ids = [row[0] for row in await connection.fetch(NEW_IDS, len(batch))]
            for write, id_ in zip(batch, ids, strict=True):
                sequence = sequences[write.microgrid_id] + 1
                try:
                    row = write.decide(None, id_, sequence)
                except RefusedError as exc:
                    write.done.set_exception(exc)
                    continue
                sequences[write.microgrid_id] = sequence
                now = time.time_ns()
                change = (write.microgrid_id, sequence, now, event_pb2.EVENT_CREATED, id_)
                log.append((*change, "bench", write.caller, None, row[MESSAGE]))
                done.append((write, row))
            if done:
                await connection.execute(INSERT, *columns([row for _, row in done]))
                await connection.execute(LOG, *columns(log))
                await connection.execute(SET_SEQUENCES, [*sequences], [*sequences.values()])
                await connection.execute("NOTIFY changes")
        for write, row in done:
            watched = self._watched.get(write.microgrid_id)
            if watched is not None and watched.watchers:
                dispatch = pb.Dispatch.FromString(row[MESSAGE])
                watched.publish(
                    pb.StreamMicrogridDispatchesResponse(dispatch=dispatch, event=write.event)
                )
            if not write.done.done():
                write.done.set_result(row)


def columns(rows: list[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


async def main() -> None:
    url, key = sys.argv[1:]
    connection = await asyncpg.connect(url)
    await connection.execute(TABLES)
    service = PostgresService(connection)
    writes = asyncio.create_task(service.run_writes())
    server = grpc.aio.server(interceptors=[Keys(key)])
    stubs.add_MicrogridDispatchServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await writes


if __name__ == "__main__":
    asyncio.run(main())
