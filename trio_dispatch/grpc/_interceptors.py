"""Interceptors of calls on the client."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, TypeAlias, TypeVar

from multidict import MultiDict

from ._client_stream import ClientStream

S = TypeVar("S")
R = TypeVar("R")

Proceed: TypeAlias = Callable[[], Awaitable[None]]
ClientInterceptor: TypeAlias = Callable[[ClientStream[Any, Any], Proceed], Awaitable[None]]

_PAUSE: Final = object()


class InterceptedStream(ClientStream[S, R], Generic[S, R]):
    """A call whose block is run by interceptors, the first one outermost.

    They run in the task of the caller: to their `proceed()` when the block is entered, and from
    there to their ends when it is left.
    """

    _running: Coroutine[Any, Any, None]

    def __init__(
        self, interceptors: Sequence[ClientInterceptor], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        # A copy: the caller's own is not changed.
        self._request_metadata = MultiDict(self._request_metadata or {})
        self._interceptors = interceptors

    async def __aenter__(self) -> ClientStream[S, R]:
        self._running = self._intercept(0)
        if await _run(self._running):
            raise RuntimeError("an interceptor has returned without having called proceed()")
        return await super().__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        error = exc_val
        try:
            await super().__aexit__(exc_type, exc_val, exc_tb)
        except BaseException as exc:  # noqa: BLE001 - goes on below
            error = exc
        traceback = None if error is None else error.__traceback__
        try:
            if not await _run(self._running, error):
                self._running.close()
                raise RuntimeError("an interceptor has called proceed() twice")
        except BaseException as exc:
            if exc is not error:
                raise
            exc.__traceback__ = traceback
        if error is not None and error is not exc_val:
            raise error

    async def _intercept(self, index: int) -> None:
        """Pass the call through the interceptors from this one on; then pause for the block."""
        if index == len(self._interceptors):
            await _pause()
        else:
            await self._interceptors[index](self, lambda: self._intercept(index + 1))


@types.coroutine
def _pause() -> Generator[object, None, None]:
    yield _PAUSE


@types.coroutine
def _run(
    coroutine: Coroutine[Any, Any, None], error: BaseException | None = None
) -> Generator[Any, Any, bool]:
    """Run a coroutine to its next pause, or to its end; whether it has ended.

    Args:
      error: Raised in the coroutine where it has paused.
    """
    step: Callable[[], Any]
    step = partial(coroutine.send, None) if error is None else partial(coroutine.throw, error)
    while True:
        try:
            trap = step()
        except StopIteration:
            return True
        if trap is _PAUSE:
            return False
        # Everything else is for Trio.
        try:
            value = yield trap
        except BaseException as exc:  # noqa: BLE001 - goes on in the coroutine
            step = partial(coroutine.throw, exc)
        else:
            step = partial(coroutine.send, value)
