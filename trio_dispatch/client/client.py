"""Typed calls to a dispatch service."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import betterproto2

from .. import clock
from ..api import wire
from ..api.codec import DOMAIN
from ..api.signing import request_metadata
from ..api.wire import PaginationParams
from ..errors import DispatchError
from ..grpc import Cardinality, Channel, open_channel
from ..model.dispatch import Dispatch
from ..model.recurrence.rule import RecurrenceRule
from ..model.target import Target
from ..model.undecodable import Undecodable
from ..model.validation import check_id
from ._requests import UNSET, SortBy, Unset, create_request, list_request, update_request
from .stream import DispatchStream, StreamEvent, translated

__all__ = ["DispatchClient", "DispatchStream", "Page", "SortBy", "StreamEvent", "open_client"]

_SERVICE = "/frequenz.api.dispatch.v1.MicrogridDispatchService/"
_R = TypeVar("_R", bound=betterproto2.Message)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list; iterate over it for its dispatches.

    Attributes:
      dispatches: The dispatches of the page, in the order of the list.
      undecodable: What else was on it, and makes no sense.
      total: How many dispatches the whole list has, over all of its pages.
    """

    dispatches: tuple[Dispatch, ...]
    undecodable: tuple[Undecodable, ...]
    total: int

    def __iter__(self) -> Iterator[Dispatch]:
        return iter(self.dispatches)

    def __len__(self) -> int:
        return len(self.dispatches)


@asynccontextmanager
async def open_client(
    server_url: str | None = None,
    *,
    key: str | None = None,
    sign_secret: str | None = None,
    channel: Channel | None = None,
    call_timeout: float = 60.0,
) -> AsyncIterator[DispatchClient]:
    """Open a client for a dispatch service, with a connection of its own.

    It connects at the first call, and anew at the first call after the connection was lost.  What
    is not given is taken from the environment.

    Args:
      server_url: ``grpc://host[:port][?param=value&...]``; else `DISPATCH_API_URL`.
      key: The key that every request carries; else `DISPATCH_API_AUTH_KEY`, then
        `DISPATCH_API_KEY`.
      sign_secret: If there is one, requests are signed with it; else `DISPATCH_API_SIGN_SECRET`.
      channel: Use this channel, which stays the caller's, in place of a URL.
      call_timeout: How many seconds each call that is not a stream may take.

    Raises:
      ValueError: no URL or no key is to be found, or the URL or the key makes no sense.
    """
    found_key = _setting(key, "key", "DISPATCH_API_AUTH_KEY", "DISPATCH_API_KEY")
    secret = sign_secret or os.environ.get("DISPATCH_API_SIGN_SECRET") or None
    if channel is not None:
        if server_url is not None:
            raise ValueError(f"both a channel and the server_url {server_url!r} were given")
        yield DispatchClient(channel, key=found_key, sign_secret=secret, call_timeout=call_timeout)
        return
    url = _setting(server_url, "server_url", "DISPATCH_API_URL")
    async with open_channel(url) as own:
        yield DispatchClient(own, key=found_key, sign_secret=secret, call_timeout=call_timeout)


def _setting(value: str | None, name: str, *variables: str) -> str:
    for found in (value, *map(os.environ.get, variables)):
        if found:
            return found
    raise ValueError(f"no {name}: give it, or set {' or '.join(variables)} in the environment")


class DispatchClient:
    """Calls to a dispatch service, see `open_client`.

    Every call is a checkpoint and can be cancelled, which also ends it at the service.  A call that
    fails raises a `ServiceError`; whether the service did what it was asked is then unknown, unless
    the status says that it was refused.

    Args:
      channel: A channel to the service; `call_timeout`, in seconds, applies to each call on it.

    Raises:
      ValueError: the key is not printable ASCII.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        key: str,
        sign_secret: str | None = None,
        call_timeout: float = 60.0,
    ) -> None:
        # A file that the key was read from has often left a newline at its end.
        if not (key.isascii() and key.isprintable()):
            raise ValueError(
                "the key has a newline or something else in it that is not printable ASCII"
            )
        self._channel = channel
        self._key = key
        self._secret = sign_secret
        self._timeout = call_timeout

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
        """Iterate over the pages of the dispatches that pass every filter that is given.

        Args:
          targets: Any of these targets.
          ids: Any of these ids.
          active, dry_run, recurring: Only those that are so, or that are not.
          start_from, start_to: With a start time in this interval, the end not included.
          end_from, end_to: Likewise for the end of the last occurrence; what has no end passes
            unless there is an `end_to`.
          update_from, update_to: Likewise for the time of the last update.
          queries: Any of these: ``#4`` is the id 4, anything else a part of the type.
          sort_by: The newest `create_time` first, unless given.
          page_size: How many a page has at the most; the service has a default.

        Raises:
          ServiceError: a page could not be had.
          ValueError: an argument makes no sense.
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
        while True:
            response = await self._call(
                "ListMicrogridDispatches",
                request,
                wire.ListMicrogridDispatchesResponse,
                f"microgrid {microgrid_id}: list",
            )
            info = response.pagination_info
            found: list[Any] = response.dispatches
            yield Page(
                tuple(item for item in found if isinstance(item, Dispatch)),
                tuple(item for item in found if isinstance(item, Undecodable)),
                0 if info is None else info.total_items,
            )
            if info is None or not info.next_page_token:
                return
            request.pagination_params = PaginationParams(page_token=info.next_page_token)

    async def get(self, microgrid_id: int, dispatch_id: int) -> Dispatch:
        """One dispatch.

        Raises:
          ServiceError: with the status `NOT_FOUND`, if there is none with this id.
        """
        check_id("microgrid_id", microgrid_id)
        check_id("dispatch_id", dispatch_id)
        what = f"microgrid {microgrid_id}, dispatch {dispatch_id}: get"
        response = await self._call(
            "GetMicrogridDispatch",
            wire.GetMicrogridDispatchRequest(microgrid_id=microgrid_id, dispatch_id=dispatch_id),
            wire.GetMicrogridDispatchResponse,
            what,
        )
        return _decoded(response.dispatch, what)

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
        """Create a dispatch; the service gives it its id.

        Args:
          start_time: With ``"NOW"`` the service puts in its own time, cut to the second.
          duration: Whole seconds; None for ever.

        Raises:
          ServiceError: the service refused it.
          ValueError: an argument makes no sense.
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
        response = await self._call(
            "CreateMicrogridDispatch",
            request,
            wire.CreateMicrogridDispatchResponse,
            what,
        )
        return _decoded(response.dispatch, what)

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
        """Change what is given of a dispatch, and leave the rest.

        Args:
          duration: With None it runs for ever.
          recurrence: With None it no longer recurs; otherwise the whole rule is replaced.

        Raises:
          ServiceError: the service refused the change, or has no dispatch with this id.
          ValueError: an argument makes no sense, or there is none.
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
        response = await self._call(
            "UpdateMicrogridDispatch",
            request,
            wire.UpdateMicrogridDispatchResponse,
            what,
        )
        return _decoded(response.dispatch, what)

    async def delete(self, microgrid_id: int, dispatch_id: int) -> None:
        """Delete a dispatch for good.

        Raises:
          ServiceError: with the status `NOT_FOUND`, if there is none with this id.
        """
        check_id("microgrid_id", microgrid_id)
        check_id("dispatch_id", dispatch_id)
        await self._call(
            "DeleteMicrogridDispatch",
            wire.DeleteMicrogridDispatchRequest(microgrid_id=microgrid_id, dispatch_id=dispatch_id),
            wire.DeleteMicrogridDispatchResponse,
            f"microgrid {microgrid_id}, dispatch {dispatch_id}: delete",
        )

    @asynccontextmanager
    async def stream(self, microgrid_id: int) -> AsyncIterator[DispatchStream]:
        """Open the stream of a microgrid's changes: ``async with client.stream(1) as events``.

        When the block is entered the request has been sent.

        Raises:
          ServiceError: the stream could not be opened; iterating raises it when the stream fails.
        """
        check_id("microgrid_id", microgrid_id)
        what = f"microgrid {microgrid_id}: stream"
        method = "StreamMicrogridDispatches"
        async with self._channel.request(
            _SERVICE + method,
            Cardinality.UNARY_STREAM,
            wire.StreamMicrogridDispatchesRequest,
            wire.StreamMicrogridDispatchesResponse,
            codec=DOMAIN,
            metadata=self._metadata(method),
        ) as call:
            request = wire.StreamMicrogridDispatchesRequest(microgrid_id=microgrid_id)
            with translated(what):
                await call.send_message(request, end=True)
            yield DispatchStream(call, what)

    async def _call(
        self, method: str, request: betterproto2.Message, response_type: type[_R], what: str
    ) -> _R:
        with translated(what):
            async with self._channel.request(
                _SERVICE + method,
                Cardinality.UNARY_UNARY,
                type(request),
                response_type,
                codec=DOMAIN,
                timeout=self._timeout,
                metadata=self._metadata(method),
            ) as call:
                await call.send_message(request, end=True)
                response: _R | None = await call.recv_message()
        assert response is not None
        return response

    def _metadata(self, method: str) -> dict[str, str]:
        return request_metadata(self._key, self._secret, method, clock.now())


def _decoded(dispatch: Any, what: str) -> Dispatch:
    """The dispatch of a response.

    Raises:
      DispatchError: it has none that makes sense.
    """
    if isinstance(dispatch, Dispatch):
        return dispatch
    reason = dispatch.reason if isinstance(dispatch, Undecodable) else "the answer has no dispatch"
    raise DispatchError(f"{what}: the service did it, but {reason}")
