"""The peer of our dispatch service: the same calls and transactions on grpc.aio and aiosqlite.

    python -m tests.benchmarks.peer_service FILE KEY

It runs in the environment of the benchmarks, and prints its port.  It is meant to be as fast as
this combination can be: writes that wait share a transaction (WAL, ``synchronous=FULL``) and
statements of many rows, reads have a connection of their own, and watchers share the message of an
event.  It has the tables and indexes of ours.  Writers wait for watchers that have
`LAGGING` events to read, since otherwise its memory would grow without limit.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import aiosqlite
import grpc
from frequenz.api.common.v1alpha8.pagination.pagination_info_pb2 import PaginationInfo
from frequenz.api.common.v1alpha8.streaming import event_pb2
from frequenz.api.dispatch.v1 import dispatch_pb2 as pb
from frequenz.api.dispatch.v1 import dispatch_pb2_grpc as stubs

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Row: TypeAlias = "tuple[Any, ...]"

LAGGING = 500
DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
MAX_PAYLOAD = 50_000
COLUMNS = (
    "id, microgrid_id, type, target, active, dry_run, recurring, start_time, end_time, "
    "create_time, update_time, created_sequence, updated_sequence, message"
)
START, END, CREATE, UPDATE, CREATED, UPDATED, MESSAGE = range(7, 14)
TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE dispatches (
    id INTEGER NOT NULL PRIMARY KEY, microgrid_id BIGINT NOT NULL, type TEXT NOT NULL,
    target TEXT NOT NULL, active BOOLEAN NOT NULL, dry_run BOOLEAN NOT NULL,
    recurring BOOLEAN NOT NULL, start_time BIGINT NOT NULL, end_time BIGINT,
    create_time BIGINT NOT NULL, update_time BIGINT NOT NULL, created_sequence BIGINT NOT NULL,
    updated_sequence BIGINT NOT NULL, message BLOB NOT NULL
);
CREATE INDEX by_start ON dispatches (microgrid_id, start_time, id);
CREATE INDEX by_end ON dispatches (microgrid_id, end_time);
CREATE INDEX by_create ON dispatches (microgrid_id, create_time, id);
CREATE INDEX by_update ON dispatches (microgrid_id, update_time, id);
CREATE TABLE former (
    until INTEGER NOT NULL PRIMARY KEY, id BIGINT NOT NULL, created_sequence BIGINT NOT NULL,
    updated_sequence BIGINT NOT NULL, start_time BIGINT NOT NULL, update_time BIGINT NOT NULL
);
CREATE TABLE changes (
    sequence INTEGER NOT NULL PRIMARY KEY, microgrid_id BIGINT NOT NULL, time BIGINT NOT NULL,
    event INTEGER NOT NULL, dispatch_id BIGINT NOT NULL, key_name TEXT NOT NULL,
    peer TEXT NOT NULL, old BLOB, new BLOB
);
CREATE INDEX changes_by_time ON changes (microgrid_id, time);
CREATE INDEX changes_by_dispatch ON changes (microgrid_id, dispatch_id, time);
CREATE INDEX changes_by_key ON changes (microgrid_id, key_name, time);
CREATE TABLE counters (last_id BIGINT NOT NULL, sequence BIGINT NOT NULL);
INSERT INTO counters VALUES (0, 0);
"""
INSERT = f"INSERT INTO dispatches VALUES ({', '.join('?' * 14)})"
REPLACE = f"REPLACE INTO dispatches VALUES ({', '.join('?' * 14)})"
LOG = "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
REMEMBER = "INSERT INTO former VALUES (?, ?, ?, ?, ?, ?)"


class RefusedError(Exception):
    """A request is refused with a status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def refuse(message: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, message)


class Write:
    """A write that waits for its transaction; `decide` returns the row before and after it."""

    def __init__(
        self, microgrid_id: int, reads: int | None, decide: Callable[[Row | None, int, int], Row]
    ) -> None:
        self.microgrid_id = microgrid_id
        self.reads = reads
        self.caller = ""
        self.decide = decide
        self.event = event_pb2.EVENT_UPDATED
        self.done: asyncio.Future[Row] = asyncio.get_running_loop().create_future()


class Watched:
    """A microgrid with watchers."""

    def __init__(self) -> None:
        self.watchers: set[asyncio.Queue[pb.StreamMicrogridDispatchesResponse]] = set()
        self.lagging: set[asyncio.Queue[pb.StreamMicrogridDispatchesResponse]] = set()
        self.caught_up = asyncio.Event()
        self.caught_up.set()

    def publish(self, event: pb.StreamMicrogridDispatchesResponse) -> None:
        for queue in self.watchers:
            queue.put_nowait(event)
            if queue.qsize() >= LAGGING:
                self.lagging.add(queue)
                self.caught_up.clear()

    def taken(self, queue: asyncio.Queue[pb.StreamMicrogridDispatchesResponse]) -> None:
        if self.lagging and queue.qsize() < LAGGING:
            self.lagging.discard(queue)
            if not self.lagging:
                self.caught_up.set()


class Service(stubs.MicrogridDispatchServiceServicer):  # type: ignore[misc]
    """The six calls."""

    def __init__(self, writing: aiosqlite.Connection, reading: aiosqlite.Connection) -> None:
        self._writing, self._reading = writing, reading
        self._last_id = self._sequence = 0
        self._waiting: list[Write] = []
        self._arrived = asyncio.Event()
        self._watched: defaultdict[int, Watched] = defaultdict(Watched)

    # Calls.

    async def CreateMicrogridDispatch(
        self, request: pb.CreateMicrogridDispatchRequest, context: Context
    ) -> pb.CreateMicrogridDispatchResponse:
        now, data = time.time_ns(), request.dispatch_data

        def decide(old: Row | None, id_: int, sequence: int) -> Row:
            check(data, now)
            dispatch = pb.Dispatch(data=data)
            dispatch.metadata.dispatch_id = id_
            dispatch.metadata.create_time.FromNanoseconds(now)
            return row_of(request.microgrid_id, dispatch, now, sequence, sequence)

        write = Write(request.microgrid_id, None, decide)
        write.event = event_pb2.EVENT_CREATED
        row = await self._write(write, context)
        return pb.CreateMicrogridDispatchResponse(dispatch=pb.Dispatch.FromString(row[MESSAGE]))

    async def UpdateMicrogridDispatch(
        self, request: pb.UpdateMicrogridDispatchRequest, context: Context
    ) -> pb.UpdateMicrogridDispatchResponse:
        now, paths = time.time_ns(), request.update_mask.paths

        def decide(old: Row | None, id_: int, sequence: int) -> Row:
            if not paths:
                raise refuse("update_mask must name the fields to change")
            dispatch = pb.Dispatch.FromString(found(old, request)[MESSAGE])
            for path in paths:
                dispatch.data.ClearField(path)
                if path in ("duration", "is_active", "is_dry_run"):
                    setattr(dispatch.data, path, getattr(request.update, path))
                elif request.update.HasField(path):
                    getattr(dispatch.data, path).CopyFrom(getattr(request.update, path))
            check(dispatch.data, 0)
            created = found(old, request)[CREATED]
            return row_of(request.microgrid_id, dispatch, now, created, sequence)

        row = await self._write(Write(request.microgrid_id, request.dispatch_id, decide), context)
        return pb.UpdateMicrogridDispatchResponse(dispatch=pb.Dispatch.FromString(row[MESSAGE]))

    async def DeleteMicrogridDispatch(
        self, request: pb.DeleteMicrogridDispatchRequest, context: Context
    ) -> pb.DeleteMicrogridDispatchResponse:
        write = Write(
            request.microgrid_id,
            request.dispatch_id,
            lambda old, id_, sequence: found(old, request),
        )
        write.event = event_pb2.EVENT_DELETED
        await self._write(write, context)
        return pb.DeleteMicrogridDispatchResponse(
            microgrid_id=request.microgrid_id, dispatch_id=request.dispatch_id
        )

    async def GetMicrogridDispatch(
        self, request: pb.GetMicrogridDispatchRequest, context: Context
    ) -> pb.GetMicrogridDispatchResponse:
        rows = await self._reading.execute_fetchall(
            "SELECT message FROM dispatches WHERE id = ? AND microgrid_id = ?",
            (request.dispatch_id, request.microgrid_id),
        )
        for (message,) in rows:
            return pb.GetMicrogridDispatchResponse(
                microgrid_id=request.microgrid_id, dispatch=pb.Dispatch.FromString(message)
            )
        await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such dispatch")
        raise AssertionError

    async def ListMicrogridDispatches(
        self, request: pb.ListMicrogridDispatchesRequest, context: Context
    ) -> pb.ListMicrogridDispatchesResponse:
        """Newest first, without filters: what the benchmark lists."""
        params, microgrid_id = request.pagination_params, request.microgrid_id
        size = min(params.page_size or DEFAULT_PAGE, LARGEST_PAGE)
        after = [1 << 62, 1 << 62]
        total = None
        if params.page_token:
            size, total, *after = map(int, params.page_token.split("+"))
        if total is None:
            [(total,)] = await self._reading.execute_fetchall(
                "SELECT count(*) FROM dispatches WHERE microgrid_id = ?", (microgrid_id,)
            )
        rows = list(
            await self._reading.execute_fetchall(
                "SELECT create_time, id, message FROM dispatches WHERE microgrid_id = ? "
                "AND (create_time, id) < (?, ?) ORDER BY create_time DESC, id DESC LIMIT ?",
                (microgrid_id, *after, size + 1),
            )
        )
        info = PaginationInfo(total_items=total)
        if len(rows) > size:
            info.next_page_token = f"{size}+{total}+{rows[size - 1][0]}+{rows[size - 1][1]}"
        dispatches = [pb.Dispatch.FromString(message) for _, _, message in rows[:size]]
        return pb.ListMicrogridDispatchesResponse(dispatches=dispatches, pagination_info=info)

    async def StreamMicrogridDispatches(
        self, request: pb.StreamMicrogridDispatchesRequest, context: Context
    ) -> AsyncIterator[pb.StreamMicrogridDispatchesResponse]:
        watched = self._watched[request.microgrid_id]
        queue: asyncio.Queue[pb.StreamMicrogridDispatchesResponse] = asyncio.Queue()
        watched.watchers.add(queue)
        try:
            await context.send_initial_metadata(())
            while True:
                event = await queue.get()
                watched.taken(queue)
                yield event
        finally:
            watched.watchers.discard(queue)
            while not queue.empty():
                queue.get_nowait()
            watched.taken(queue)

    # Writes.

    async def _write(self, write: Write, context: Context) -> Row:
        while (watched := self._watched.get(write.microgrid_id)) and watched.lagging:
            await watched.caught_up.wait()
        write.caller = context.peer()
        self._waiting.append(write)
        self._arrived.set()
        try:
            return await write.done
        except RefusedError as exc:
            await context.abort(exc.code, str(exc))
            raise

    async def run_writes(self) -> None:
        """Carry out all writes that wait in one transaction, then those that came meanwhile."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch, self._waiting = self._waiting, []
            await self._commit(batch)

    async def _commit(self, batch: list[Write]) -> None:
        await self._writing.execute("BEGIN IMMEDIATE")
        rows: dict[int, Row] = {}
        ids = [write.reads for write in batch if write.reads is not None]
        if ids:
            marks = ", ".join("?" * len(ids))
            for row in await self._writing.execute_fetchall(
                f"SELECT {COLUMNS} FROM dispatches WHERE id IN ({marks})", ids
            ):
                rows[row[0]] = row
        done: list[tuple[Write, Row]] = []
        created: list[Row] = []
        changed: dict[int, Row] = {}
        former: list[Row] = []
        log: list[Row] = []
        deleted: list[Row] = []
        for write in batch:
            old = None if write.reads is None else rows.get(write.reads)
            try:
                row = write.decide(old, self._last_id + 1, self._sequence + 1)
            except RefusedError as exc:
                write.done.set_exception(exc)
                continue
            self._sequence += 1
            log.append(
                (
                    *(self._sequence, write.microgrid_id, time.time_ns(), write.event, row[0]),
                    *("bench", write.caller, None if old is None else old[MESSAGE]),
                    None if write.event == event_pb2.EVENT_DELETED else row[MESSAGE],
                )
            )
            if write.reads is None:
                self._last_id += 1
                created.append(row)
            elif write.event == event_pb2.EVENT_DELETED:
                del rows[write.reads]
                changed.pop(write.reads, None)
                deleted.append((write.reads,))
            else:
                assert old is not None
                kept = (old[CREATED], old[UPDATED], old[START], old[UPDATE])
                former.append((self._sequence, write.reads, *kept))
                changed[write.reads] = rows[write.reads] = row
            done.append((write, row))
        for statement, values in (
            (INSERT, created),
            (REPLACE, list(changed.values())),
            (REMEMBER, former),
            (LOG, log),
            ("DELETE FROM dispatches WHERE id = ?", deleted),
        ):
            if values:
                await self._writing.executemany(statement, values)
        counters = (self._last_id, self._sequence)
        await self._writing.execute("UPDATE counters SET last_id = ?, sequence = ?", counters)
        await self._writing.commit()
        for write, row in done:
            watched = self._watched.get(write.microgrid_id)
            if watched is not None and watched.watchers:
                dispatch = pb.Dispatch.FromString(row[MESSAGE])
                watched.publish(
                    pb.StreamMicrogridDispatchesResponse(dispatch=dispatch, event=write.event)
                )
            if not write.done.done():
                write.done.set_result(row)


def found(row: Row | None, request: Any) -> Row:
    if row is None or row[1] != request.microgrid_id:
        raise RefusedError(grpc.StatusCode.NOT_FOUND, "there is no such dispatch")
    return row


def check(data: pb.DispatchData, now: int) -> None:
    """Check the rules of the API that every dispatch of the benchmark could break."""
    if not data.type:
        raise refuse("type is required")
    if data.start_time.ToNanoseconds() < now:
        raise refuse("start_time must not be in the past")
    if data.target.WhichOneof("components") is None:
        raise refuse("target is required")
    if data.payload.ByteSize() > MAX_PAYLOAD:
        raise refuse("payload is too long")


def row_of(microgrid_id: int, dispatch: pb.Dispatch, now: int, created: int, updated: int) -> Row:
    """Return the row of a dispatch that is changed now."""
    data, metadata = dispatch.data, dispatch.metadata
    start = data.start_time.ToNanoseconds()
    end = None
    recurring = bool(data.recurrence.freq)
    if data.HasField("duration") and not recurring:
        end = start + data.duration * 10**9
        metadata.end_time.FromNanoseconds(end)
    metadata.update_time.FromNanoseconds(now)
    return (
        metadata.dispatch_id,
        microgrid_id,
        data.type,
        ",".join(map(str, sorted(data.target.component_ids.ids))),
        data.is_active,
        data.is_dry_run,
        recurring,
        start,
        end,
        metadata.create_time.ToNanoseconds(),
        now,
        created,
        updated,
        dispatch.SerializeToString(),
    )


class Keys(grpc.aio.ServerInterceptor):
    """Refuses calls without the key."""

    def __init__(self, key: str) -> None:
        self._key = key

        async def refuse_call(request: Any, context: Context) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the key is unknown")

        self._refusal: Any = grpc.unary_unary_rpc_method_handler(refuse_call)

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        if ("key", self._key) in details.invocation_metadata:
            return await continuation(details)
        return self._refusal


async def main() -> None:
    file, key = sys.argv[1:]
    async with (
        aiosqlite.connect(file, isolation_level=None) as writing,
        aiosqlite.connect(file, isolation_level=None) as reading,
    ):
        await writing.executescript(TABLES)
        await writing.execute("PRAGMA synchronous = FULL")
        service = Service(writing, reading)
        writes = asyncio.create_task(service.run_writes())
        server = grpc.aio.server(interceptors=[Keys(key)])
        stubs.add_MicrogridDispatchServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(port, flush=True)
        await writes


if __name__ == "__main__":
    asyncio.run(main())
