"""Typed calls to a dispatch service."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from ..api import wire
from ..api.replies import Page, decode_created, decode_found, decode_page, decode_updated
from ..errors import DispatchError
from ..grpc import Channel, RetryPolicy, open_channel
from ..grpc.tracing import is_tracing, trace_client
from ..model.dispatch import Dispatch
from ..model.recurrence.rule import RecurrenceRule
from ..model.target import Target
from ..model.undecodable import Undecodable
from ..model.validation import check_id
from ._calls import Calls
from ._requests import UNSET, SortBy, Unset, create_request, list_request, update_request
from .credentials import Credentials
from .runs import READING_RUNS, RunCalls
from .stream import DispatchStream

__all__ = [
    "UNSET",
    "Channel",
    "DispatchClient",
    "DispatchStream",
    "Page",
    "SortBy",
    "Unset",
    "open_client",
    "open_service_channel",
]

_SERVICE = "/frequenz.api.dispatch.v1.MicrogridDispatchService"
# What only reads, while the service restarts, say.
_RETRY: Final = RetryPolicy(
    methods=[
        f"{_SERVICE[1:]}/ListMicrogridDispatches",
        f"{_SERVICE[1:]}/GetMicrogridDispatch",
        *READING_RUNS,
    ],
    max_attempts=3,
)
_CALL_TIMEOUT = timedelta(seconds=60)
# The service decides how long a page is.  A few long dispatches exceed the usual 4 MiB.
_MAX_MESSAGE_SIZE = 16 * 2**20


@asynccontextmanager
async def open_client(
    server_url: str | None = None,
    *,
    key: str | None = None,
    sign_secret: str | None = None,
    channel: Channel | None = None,
    call_timeout: timedelta = _CALL_TIMEOUT,
) -> AsyncIterator[DispatchClient]:
    """Open a client for a dispatch service, with its own connection.

    It connects at the first call, and again at the first call after the connection was lost.  While
    the service is unavailable, a call that only reads is made up to three times, unless requests
    are signed.
    Arguments that are not given are taken from the environment.
    If OpenTelemetry has a tracer provider, its calls are recorded as spans.

    Args:
      server_url: ``grpc://host[:port][?param=value&...]``; else `DISPATCH_API_URL`.
      key: The API key that every request carries; else `DISPATCH_API_AUTH_KEY`, `DISPATCH_API_KEY`
        or `FREQUENZ_API_KEY`; without any, requests carry no key.
      sign_secret: The secret with which requests are signed; else `DISPATCH_API_SIGN_SECRET` or
        `FREQUENZ_API_SECRET`; without any, requests are not signed.
      channel: Use this channel instead of a URL.  It is not closed when the block is left, and its
        own interceptors record spans, if any.
      call_timeout: How long each call may take that is not a stream.

    Raises:
      ValueError: an argument is invalid, or no URL is given; the message names it.
    """
    key = key or _environment("DISPATCH_API_AUTH_KEY", "DISPATCH_API_KEY", "FREQUENZ_API_KEY")
    secret = sign_secret or _environment("DISPATCH_API_SIGN_SECRET", "FREQUENZ_API_SECRET")
    if channel is not None:
        if server_url is not None:
            raise ValueError("both a channel and a server_url were given")
        yield DispatchClient(channel, key=key, sign_secret=secret, call_timeout=call_timeout)
        return
    url = server_url or _environment("DISPATCH_API_URL")
    if url is None:
        raise ValueError("no server_url: give it, or set DISPATCH_API_URL in the environment")
    async with open_service_channel(url, signed=bool(secret)) as own:
        yield DispatchClient(own, key=key, sign_secret=secret, call_timeout=call_timeout)


def open_service_channel(
    server_url: str, *, signed: bool = False
) -> AbstractAsyncContextManager[Channel]:
    """Open a channel as `open_client` does, for several clients and dispatchers to share.

    Args:
      server_url: ``grpc://host[:port][?param=value&...]``.
      signed: Whether requests are signed: then no call is repeated.

    Raises:
      ValueError: the URL is invalid.
    """
    return open_channel(
        server_url,
        max_message_size=_MAX_MESSAGE_SIZE,
        interceptors=[trace_client()] if is_tracing() else [],
        # A signature is accepted once.
        retry=None if signed else _RETRY,
    )


def _environment(*variables: str) -> str | None:
    """The first of these environment variables that is set and not empty."""
    return next(filter(None, map(os.environ.get, variables)), None)


class DispatchClient(RunCalls):
    """Calls to a dispatch service, see `open_client`.

    Every call is a checkpoint.  Cancelling a call ends it at the service, too.  A call that fails
    raises a `ServiceError`; whether the service carried it out is then unknown, unless the status
    says that it was refused.

    Args:
      channel: A channel to the service.
      key: The API key that every request carries, if any.
      sign_secret: The secret with which requests are signed, if any.
      call_timeout: How long each call may take that is not a stream.

    Raises:
      ValueError: the API key is not printable ASCII, there is a secret without a key, or the
        timeout is not a positive timedelta.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        key: str | None = None,
        sign_secret: str | None = None,
        call_timeout: timedelta = _CALL_TIMEOUT,
    ) -> None:
        if not isinstance(call_timeout, timedelta) or call_timeout <= timedelta():
            raise ValueError(f"call_timeout {call_timeout!r} is not a positive timedelta")
        super().__init__(
            Calls(channel, Credentials(key, sign_secret), call_timeout.total_seconds())
        )

    def __repr__(self) -> str:
        return f"<DispatchClient on {self._calls!r}>"

    async def list(
        self,
        microgrid_id: int,
        *,
        targets: Collection[Target] = (),
        ids: Collection[int] = (),
        active: bool | None = None,
        dry_run: bool | None = None,
        recurring: bool | None = None,
        start_from: datetime | None = None,
        start_to: datetime | None = None,
        end_from: datetime | None = None,
        end_to: datetime | None = None,
        update_from: datetime | None = None,
        update_to: datetime | None = None,
        queries: Collection[str] = (),
        sort_by: SortBy | None = None,
        descending: bool = True,
        page_size: int | None = None,
    ) -> AsyncGenerator[Page, None]:
        """Iterate over the pages of the dispatches that pass every given filter.

        Args:
          targets: Only dispatches with one of these targets.
          ids: Only dispatches with one of these ids.
          active, dry_run, recurring: Only dispatches that are so, or that are not.
          start_from, start_to: Only dispatches with a start time in this time range, the end not
            included.
          end_from, end_to: Likewise for the end of the last occurrence.  A dispatch without an end
            passes if there is no `end_to`.
          update_from, update_to: Likewise for the time of the last update.
          queries: Only dispatches that match one of these: ``#4`` matches the id 4, any other text
            is searched in the type.
          sort_by: The time by which to sort; `create_time` by default.
          descending: Whether the latest time comes first.
          page_size: How many dispatches a page has at most; by default the service decides.

        Raises:
          ServiceError: a page could not be read.
          DispatchError: the pages of the service do not end.
          ValueError: an argument is invalid; the message names it.
        """
        request = list_request(
            microgrid_id,
            targets=targets,
            ids=ids,
            active=active,
            dry_run=dry_run,
            recurring=recurring,
            start=(start_from, start_to),
            end=(end_from, end_to),
            update=(update_from, update_to),
            queries=queries,
            sort_by=sort_by,
            descending=descending,
            page_size=page_size,
        )
        what = f"microgrid {microgrid_id}: list"

        def read() -> Awaitable[Page]:
            return self._calls.unary(
                f"{_SERVICE}/ListMicrogridDispatches", request, decode_page, what
            )

        async with aclosing(self._calls.pages(request, read, what)) as pages:
            async for page in pages:
                yield page

    async def get(self, microgrid_id: int, dispatch_id: int) -> Dispatch:
        """Read one dispatch.

        Raises:
          ServiceError: with the status `NOT_FOUND` if the microgrid has no such dispatch.
          DispatchError: the dispatch cannot be decoded.
        """
        check_id("microgrid_id", microgrid_id)
        check_id("dispatch_id", dispatch_id)
        what = f"microgrid {microgrid_id}, dispatch {dispatch_id}: get"
        request = wire.GetMicrogridDispatchRequest(
            microgrid_id=microgrid_id, dispatch_id=dispatch_id
        )
        found = await self._calls.unary(
            f"{_SERVICE}/GetMicrogridDispatch",
            request,
            decode_found,
            what,
            _absent(microgrid_id, dispatch_id),
        )
        return _checked(found, dispatch_id, f"{what}: the dispatch")

    async def create(
        self,
        microgrid_id: int,
        *,
        type: str,
        start_time: datetime | Literal["NOW"],
        duration: timedelta | None,
        target: Target,
        active: bool = True,
        dry_run: bool = False,
        payload: Mapping[str, Any] | None = None,
        recurrence: RecurrenceRule | None = None,
    ) -> Dispatch:
        """Create a dispatch and return it, with the id that the service gave it.

        Args:
          start_time: With ``"NOW"``, the service's present time, truncated to the second.
          duration: How long each run lasts, in whole seconds; None for no end.

        The others are the fields of `Dispatch`.

        Raises:
          ServiceError: the service rejected the dispatch.
          DispatchError: the dispatch was created, but the reply cannot be decoded.
          ValueError: an argument is invalid; the message names it.
        """
        what = f"microgrid {microgrid_id}: create a dispatch of type {type!r}"
        request = create_request(
            microgrid_id,
            type=type,
            start_time=start_time,
            duration=duration,
            target=target,
            active=active,
            dry_run=dry_run,
            payload=payload,
            recurrence=recurrence,
        )
        created = await self._calls.unary(
            f"{_SERVICE}/CreateMicrogridDispatch", request, decode_created, what
        )
        return _checked(created, None, f"{what}: done, but the reply")

    async def update(
        self,
        microgrid_id: int,
        dispatch_id: int,
        *,
        start_time: datetime | Unset = UNSET,
        duration: timedelta | Unset | None = UNSET,
        target: Target | Unset = UNSET,
        active: bool | Unset = UNSET,
        payload: Mapping[str, Any] | Unset = UNSET,
        recurrence: RecurrenceRule | Unset | None = UNSET,
    ) -> Dispatch:
        """Change the given fields of a dispatch, and return it with its new content.

        Args:
          duration: None for no end.
          recurrence: The new rule as a whole; None for no recurrence.

        Raises:
          ServiceError: the service rejected the change, or has no such dispatch (`NOT_FOUND`).
          DispatchError: the dispatch was changed, but the reply cannot be decoded.
          ValueError: an argument is invalid, or nothing to change was given.
        """
        what = f"microgrid {microgrid_id}, dispatch {dispatch_id}: update"
        request = update_request(
            microgrid_id,
            dispatch_id,
            start_time=start_time,
            duration=duration,
            target=target,
            active=active,
            payload=payload,
            recurrence=recurrence,
        )
        updated = await self._calls.unary(
            f"{_SERVICE}/UpdateMicrogridDispatch",
            request,
            decode_updated,
            what,
            _absent(microgrid_id, dispatch_id),
        )
        return _checked(updated, dispatch_id, f"{what}: done, but the reply")

    async def delete(self, microgrid_id: int, dispatch_id: int) -> None:
        """Delete a dispatch for good.

        Raises:
          ServiceError: with the status `NOT_FOUND` if the microgrid has no such dispatch.
        """
        check_id("microgrid_id", microgrid_id)
        check_id("dispatch_id", dispatch_id)
        request = wire.DeleteMicrogridDispatchRequest(
            microgrid_id=microgrid_id, dispatch_id=dispatch_id
        )
        what = f"microgrid {microgrid_id}, dispatch {dispatch_id}: delete"
        await self._calls.unary(
            f"{_SERVICE}/DeleteMicrogridDispatch",
            request,
            bytes,
            what,
            _absent(microgrid_id, dispatch_id),
        )

    @asynccontextmanager
    async def stream(self, microgrid_id: int) -> AsyncIterator[DispatchStream]:
        """Open the stream of a microgrid's changes: ``async with client.stream(1) as events``.

        When the block is entered the request has been sent.

        Raises:
          ServiceError: the stream could not be opened; iterating raises it when the stream fails.
        """
        check_id("microgrid_id", microgrid_id)
        request = wire.StreamMicrogridDispatchesRequest(microgrid_id=microgrid_id)
        what = f"microgrid {microgrid_id}: stream"
        async with self._calls.stream(
            f"{_SERVICE}/StreamMicrogridDispatches", request, what
        ) as call:
            yield DispatchStream(call, what)


def _checked(found: Dispatch | Undecodable, dispatch_id: int | None, subject: str) -> Dispatch:
    """Return the dispatch of a reply.

    Raises:
      DispatchError: the reply has no dispatch that can be decoded, or another dispatch.
    """
    if isinstance(found, Undecodable):
        raise DispatchError(f"{subject} cannot be decoded: {found.reason}")
    if dispatch_id is not None and found.id != dispatch_id:
        raise DispatchError(f"{subject} is dispatch {found.id}")
    return found


def _absent(microgrid_id: int, dispatch_id: int) -> str:
    return f"microgrid {microgrid_id} has no dispatch {dispatch_id}"
