"""An independent dispatch service: the official stubs on C-core gRPC, in memory.

It runs in the environment of the peers.  Every line on stdin is a command, a JSON object with the
name of a method of `Control` as "do" and its arguments; each is answered by a line on stdout.  It
ends with its stdin.

Like any C-core service it sends nothing on a stream before the first event, and like many it pages
by offset.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import grpc
from frequenz.api.common.v1alpha8.pagination.pagination_info_pb2 import PaginationInfo
from frequenz.api.common.v1alpha8.streaming import event_pb2
from frequenz.api.common.v1alpha8.types.interval_pb2 import Interval
from frequenz.api.dispatch.v1 import dispatch_pb2 as pb
from frequenz.api.dispatch.v1 import dispatch_pb2_grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

from tests.helpers.interop.programs.commands import obey

MICROGRID = 1
PAGE_SIZE = 100
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Service(dispatch_pb2_grpc.MicrogridDispatchServiceServicer):  # type: ignore[misc]
    """All six calls for one microgrid."""

    def __init__(self) -> None:
        self.rows: dict[int, pb.Dispatch] = {}
        self.last_id = 0
        self.watchers: set[asyncio.Queue[Any]] = set()
        self.calls: list[dict[str, Any]] = []
        self.cancelled = 0
        self._happened = asyncio.Event()
        # Set by the test:
        self.failures: dict[str, grpc.StatusCode] = {}
        self.delay = 0.0
        self.after_page: Callable[[], object] | None = None

    async def ListMicrogridDispatches(self, request: Any, context: Context) -> Any:
        await self._admit("ListMicrogridDispatches", request, context)
        rows = [row for row in reversed(self.rows.values()) if passes(row, request.filter)]
        if request.sort_options.sort_field == pb.SORT_FIELD_LAST_UPDATE_TIME:
            rows.sort(key=lambda row: -row.metadata.update_time.ToNanoseconds())
        offset, size = 0, request.pagination_params.page_size or PAGE_SIZE
        if request.pagination_params.page_token:
            offset, size = map(int, request.pagination_params.page_token.split("+"))
        info = PaginationInfo(total_items=len(rows))
        if offset + size < len(rows):
            info.next_page_token = f"{offset + size}+{size}"
        page = [copy_of(row) for row in rows[offset : offset + size]]
        if self.after_page is not None:
            self.after_page()
            self.after_page = None
        return pb.ListMicrogridDispatchesResponse(dispatches=page, pagination_info=info)

    async def GetMicrogridDispatch(self, request: Any, context: Context) -> Any:
        await self._admit("GetMicrogridDispatch", request, context)
        row = await self._find(request, context)
        return pb.GetMicrogridDispatchResponse(microgrid_id=MICROGRID, dispatch=row)

    async def CreateMicrogridDispatch(self, request: Any, context: Context) -> Any:
        await self._admit("CreateMicrogridDispatch", request, context)
        data = request.dispatch_data
        if request.start_immediately:
            data.start_time.FromSeconds(now().seconds)
        elif data.start_time.ToNanoseconds() < now().ToNanoseconds():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "start_time is in the past")
        return pb.CreateMicrogridDispatchResponse(dispatch=self.create(data))

    async def UpdateMicrogridDispatch(self, request: Any, context: Context) -> Any:
        await self._admit("UpdateMicrogridDispatch", request, context)
        row = await self._find(request, context)
        for path in request.update_mask.paths:
            assign(request.update, row.data, path)
        self.touch(row)
        return pb.UpdateMicrogridDispatchResponse(dispatch=row)

    async def DeleteMicrogridDispatch(self, request: Any, context: Context) -> Any:
        await self._admit("DeleteMicrogridDispatch", request, context)
        id_ = (await self._find(request, context)).metadata.dispatch_id
        self.delete(id_)
        return pb.DeleteMicrogridDispatchResponse(microgrid_id=MICROGRID, dispatch_id=id_)

    async def StreamMicrogridDispatches(self, request: Any, context: Context) -> AsyncIterator[Any]:
        await self._admit("StreamMicrogridDispatches", request, context)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.watchers.add(queue)
        self._tell_control()
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, grpc.StatusCode):
                    await context.abort(item, "requested by the test")
                yield item
        finally:
            self.watchers.discard(queue)
            self._tell_control()

    async def _admit(self, method: str, request: Any, context: Context) -> None:
        self.calls.append(
            {
                "method": method,
                "metadata": dict(context.invocation_metadata() or ()),
                "time_remaining": context.time_remaining(),
            }
        )
        self._tell_control()
        if method in self.failures:
            await context.abort(self.failures.pop(method), "requested by the test")
        if request.microgrid_id != MICROGRID:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not your microgrid")
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            self._tell_control()
            raise

    async def _find(self, request: Any, context: Context) -> pb.Dispatch:
        if request.dispatch_id not in self.rows:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no dispatch {request.dispatch_id}")
        return self.rows[request.dispatch_id]

    # Changes, which are sent to the watchers.

    def create(self, data: pb.DispatchData) -> pb.Dispatch:
        self.last_id += 1
        row = pb.Dispatch(data=data)
        row.metadata.dispatch_id = self.last_id
        row.metadata.create_time.CopyFrom(now())
        self.rows[self.last_id] = row
        self.touch(row, event_pb2.EVENT_CREATED)
        return row

    def touch(self, row: pb.Dispatch, event: int = event_pb2.EVENT_UPDATED) -> None:
        row.metadata.update_time.CopyFrom(now())
        row.metadata.ClearField("end_time")
        if row.data.HasField("duration") and not row.data.recurrence.freq:
            end = row.data.start_time.ToNanoseconds() + row.data.duration * 10**9
            row.metadata.end_time.FromNanoseconds(end)
        self._tell(row, event)

    def delete(self, dispatch_id: int) -> None:
        self._tell(self.rows.pop(dispatch_id), event_pb2.EVENT_DELETED)

    def _tell(self, row: pb.Dispatch, event: int) -> None:
        message = pb.StreamMicrogridDispatchesResponse(dispatch=row, event=event)
        for queue in self.watchers:
            queue.put_nowait(message)

    # Waiting for calls and watchers.

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._happened.wait()

    def _tell_control(self) -> None:
        self._happened.set()
        self._happened = asyncio.Event()


class Control:
    """The commands."""

    def __init__(self) -> None:
        self.service = Service()
        self.server = grpc.aio.server()

    async def serve(self, port: int = 0) -> int:
        dispatch_pb2_grpc.add_MicrogridDispatchServiceServicer_to_server(self.service, self.server)
        bound = self.server.add_insecure_port(f"127.0.0.1:{port}")
        await self.server.start()
        return bound

    async def create(self, data: dict[str, Any], count: int = 1) -> list[int]:
        message = ParseDict(data, pb.DispatchData())
        return [self.service.create(message).metadata.dispatch_id for _ in range(count)]

    async def update(self, id: int, data: dict[str, Any]) -> None:
        row = self.service.rows[id]
        ParseDict(data, row.data)
        self.service.touch(row)

    async def delete(self, id: int) -> None:
        self.service.delete(id)

    async def burst(self, count: int) -> None:
        """Update one dispatch after another, with serial numbers in the payload."""
        rows = list(self.service.rows.values())
        for serial in range(count):
            row = rows[serial % len(rows)]
            row.data.payload["serial"] = serial
            self.service.touch(row)

    async def dump(self) -> list[str]:
        return [row.SerializeToString().hex() for row in self.service.rows.values()]

    async def load(self, rows: list[str]) -> None:
        for row in map(pb.Dispatch.FromString, map(bytes.fromhex, rows)):
            self.service.rows[row.metadata.dispatch_id] = row
        self.service.last_id = max(self.service.rows, default=0)

    async def rows(self) -> dict[int, Any]:
        """Return the stored dispatches in protobuf's JSON format."""
        return {id_: MessageToDict(row) for id_, row in self.service.rows.items()}

    async def calls(self) -> list[dict[str, Any]]:
        """Return the calls since this command was last sent."""
        calls, self.service.calls = self.service.calls, []
        return calls

    async def delay(self, seconds: float) -> None:
        self.service.delay = seconds

    async def fail(self, method: str, status: str) -> None:
        """Make the next call of a method fail."""
        self.service.failures[method] = grpc.StatusCode[status]

    async def delete_after_page(self, id: int) -> None:
        """Delete a dispatch right after the next page is read."""
        self.service.after_page = lambda: self.service.delete(id)

    async def until_called(self, method: str, times: int = 1) -> None:
        calls = self.service.calls
        await self.service.until(lambda: sum(c["method"] == method for c in calls) >= times)

    async def until_cancelled(self) -> None:
        """Wait until a delayed call was cancelled."""
        await self.service.until(lambda: self.service.cancelled > 0)

    async def until_watched(self, by: int = 1) -> None:
        await self.service.until(lambda: len(self.service.watchers) == by)

    async def end_streams(self, status: str | None = None) -> None:
        """End the streams, cleanly or with a status, and wait until they have ended."""
        ending = set(self.service.watchers)
        for queue in ending:
            queue.put_nowait(status and grpc.StatusCode[status])
        await self.service.until(lambda: not ending & self.service.watchers)


def now() -> Timestamp:
    moment = Timestamp()
    moment.GetCurrentTime()
    return moment


def copy_of(row: pb.Dispatch) -> pb.Dispatch:
    copy = pb.Dispatch()
    copy.CopyFrom(row)
    return copy


def passes(row: pb.Dispatch, wanted: pb.DispatchFilter) -> bool:
    """Whether a dispatch passes every filter that is set."""
    data, meta = row.data, row.metadata
    end = meta.end_time if meta.HasField("end_time") else None
    return all(
        (
            not wanted.HasField("is_active") or data.is_active == wanted.is_active,
            not wanted.HasField("is_dry_run") or data.is_dry_run == wanted.is_dry_run,
            not wanted.HasField("is_recurring")
            or bool(data.recurrence.freq) == wanted.is_recurring,
            not wanted.targets or data.target in wanted.targets,
            not wanted.dispatch_ids or meta.dispatch_id in wanted.dispatch_ids,
            not wanted.queries or any(matches(row, query) for query in wanted.queries),
            is_within(data.start_time, wanted.start_time_interval),
            is_within(end, wanted.end_time_interval),
            is_within(meta.update_time, wanted.update_time_interval),
        )
    )


def matches(row: pb.Dispatch, query: str) -> bool:
    if query.startswith("#") and query[1:].isdecimal():
        return bool(row.metadata.dispatch_id == int(query[1:]))
    return query in str(row.data.type)


def is_within(moment: Timestamp | None, interval: Interval) -> bool:
    """Whether a time is in an interval without its end.  None is later than any time."""
    if interval.HasField("end_time") and (
        moment is None or moment.ToNanoseconds() >= interval.end_time.ToNanoseconds()
    ):
        return False
    return bool(
        not interval.HasField("start_time")
        or moment is None
        or moment.ToNanoseconds() >= interval.start_time.ToNanoseconds()
    )


def assign(source: Any, target: Any, path: str) -> None:
    """Set a field that an update's mask names, or clear it if the update does not have it."""
    *parents, name = path.split(".")
    for parent in parents:
        source, target = getattr(source, parent), getattr(target, parent)
    target.ClearField(name)
    field = source.DESCRIPTOR.fields_by_name[name]
    if field.is_repeated:
        getattr(target, name).extend(getattr(source, name))
    elif source.HasField(name):
        if field.message_type is None:
            setattr(target, name, getattr(source, name))
        else:
            getattr(target, name).CopyFrom(getattr(source, name))


if __name__ == "__main__":
    asyncio.run(obey(Control))
