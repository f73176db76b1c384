"""Calls of one service, with credentials and a timeout."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol, TypeVar

import betterproto2

from ..api.codec import WIRE
from ..api.wire import PaginationParams
from ..errors import DispatchError
from ..grpc import Cardinality, Channel, ClientStream, DecodeError, GRPCError, Status
from .credentials import Credentials
from .errors import ServiceError

__all__ = ["Calls", "service_errors"]

# A service may give pages on which nothing passes the filter; not without end.
_MAX_EMPTY_PAGES: Final = 1000

_Request = TypeVar("_Request", bound=betterproto2.Message)
_T = TypeVar("_T")


class _Page(Protocol):
    @property
    def next_token(self) -> str: ...

    def __len__(self) -> int: ...

    @property
    def undecodable(self) -> tuple[object, ...]: ...


class _ListRequest(Protocol):
    pagination_params: PaginationParams | None


_P = TypeVar("_P", bound=_Page)


class Calls:
    """Makes calls on a channel.

    Args:
      channel: A channel to the service.
      credentials: Authenticate each call.
      timeout: How many seconds each call may take that is not a stream.
    """

    def __init__(self, channel: Channel, credentials: Credentials, timeout: float) -> None:
        self._channel = channel
        self._credentials = credentials
        self._timeout = timeout

    def __repr__(self) -> str:
        return repr(self._channel)

    async def unary(
        self,
        path: str,
        request: betterproto2.Message,
        decode: Callable[[bytes], _T],
        what: str,
        not_found: str | None = None,
    ) -> _T:
        """Send a request, and decode the reply.

        Args:
          path: ``/package.Service/Method``.
          what: The call and its subject, with which the text of an error begins.
          not_found: The text of the error for the status `NOT_FOUND`.

        Raises:
          ServiceError: the call failed.
          ValueError: protobuf cannot express a value of the request.
        """
        # Encoded here, so that a value that protobuf cannot express is the caller's ValueError.
        data = WIRE.encode(request, type(request))
        with service_errors(what, not_found):
            async with self._channel.request(
                path,
                Cardinality.UNARY_UNARY,
                bytes,
                bytes,
                codec=WIRE,
                timeout=self._timeout,
                metadata=self._metadata(path),
            ) as call:
                await call.send_message(data, end=True)
                reply = await call.recv_message()
            assert reply is not None
            return decode(reply)

    async def pages(
        self, request: _ListRequest, read: Callable[[], Awaitable[_P]], what: str
    ) -> AsyncGenerator[_P, None]:
        """Yield the pages of a list.

        Args:
          request: The request for the first page, which becomes that for the next ones.
          read: Reads the page that the request asks for.
          what: The list, with which the text of an error begins.

        Raises:
          DispatchError: the pages of the service do not end.
        """
        tokens: set[str] = set()
        empty = 0
        while True:
            page = await read()
            yield page
            if not page.next_token:
                return
            if page.next_token in tokens:
                raise DispatchError(f"{what}: page {len(tokens) + 1} has the token of another page")
            tokens.add(page.next_token)
            empty = 0 if len(page) or page.undecodable else empty + 1
            if empty == _MAX_EMPTY_PAGES:
                raise DispatchError(f"{what}: {empty} empty pages in a row, and still no last page")
            request.pagination_params = PaginationParams(page_token=page.next_token)

    @asynccontextmanager
    async def stream(
        self, path: str, request: _Request, what: str
    ) -> AsyncIterator[ClientStream[_Request, bytes]]:
        """Open a call that the service answers with a stream, and send the request.

        Raises:
          ServiceError: the stream could not be opened.
        """
        async with self._channel.request(
            path,
            Cardinality.UNARY_STREAM,
            type(request),
            bytes,
            codec=WIRE,
            metadata=self._metadata(path),
        ) as call:
            with service_errors(what):
                await call.send_message(request, end=True)
            yield call

    def _metadata(self, path: str) -> dict[str, str]:
        return self._credentials.metadata(path.rpartition("/")[2])


@contextmanager
def service_errors(what: str, not_found: str | None = None) -> Iterator[None]:
    """Turn the failure of a call into a `ServiceError`.

    Args:
      what: The call and its subject, with which the text of the error begins.
      not_found: The text of the error for the status `NOT_FOUND`, if that can only mean one thing.
    """
    try:
        yield
    except GRPCError as exc:
        if not_found is not None and exc.status is Status.NOT_FOUND:
            raise ServiceError(not_found, exc) from exc
        details = f": {exc.message}" if exc.message else ""
        raise ServiceError(f"{what}: {exc.status.name}{details}", exc) from exc
    except DecodeError as exc:
        error = GRPCError(Status.INTERNAL, f"the reply cannot be decoded: {exc}")
        raise ServiceError(f"{what}: {error.message}", error) from exc
