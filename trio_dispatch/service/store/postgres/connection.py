"""Connections to PostgreSQL that wait on Trio.

psycopg does its work in generators that yield whenever they would wait for the socket; only what
drives them depends on the event loop.  `TrioConnection` drives them on Trio, and replaces the lock
of a connection by one of Trio.  Nothing else of psycopg is touched, no asyncio loop runs, and
threads are used only to resolve names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Final, TypeVar

import psycopg
import trio
from psycopg import pq
from psycopg.conninfo import conninfo_attempts, make_conninfo
from psycopg.generators import notifies
from psycopg.rows import TupleRow
from psycopg.waiting import Ready, Wait

from .... import clock

__all__ = ["TrioConnection", "connect"]

CONNECT_TIMEOUT: Final = 10.0
"""How many seconds a connection to one address may take."""

CANCEL_TIMEOUT: Final = 5.0
"""A statement that is cancelled gets this many seconds to end at the server."""

_R = TypeVar("_R")


class TrioConnection(psycopg.AsyncConnection[TupleRow]):
    """A connection of psycopg on Trio, see `connect`.

    Everything of `psycopg.AsyncConnection` works except for `connect`, `notifies` and
    `cancel_safe`: use `connect`, `wait_for_notifications` and
    cancellation.  Every call is a checkpoint.

    When a call is cancelled, the server is asked to cancel the statement, and its answer is
    awaited, shielded and for `CANCEL_TIMEOUT` seconds at most; then the connection is closed.  So a
    connection never has a statement under way that nobody waits for.
    """

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        super().__init__(pgconn)
        self.lock = trio.Lock()  # type: ignore[assignment]

    async def wait(  # type: ignore[override]
        self, gen: Generator[Wait, Ready | int, _R], interval: float = 0.0
    ) -> _R:
        """Drive a generator of psycopg until it returns."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with clock.held_still():
            try:
                return await _drive(gen, self.pgconn.socket)
            except trio.Cancelled:
                with trio.move_on_after(CANCEL_TIMEOUT, shield=True) as scope:
                    await self._cancel_statement(gen)
                if scope.cancelled_caught:
                    await self.close()
                raise

    async def _cancel_statement(self, gen: Generator[Wait, Ready | int, object]) -> None:
        """Cancel the statement under way, and wait until the server has answered."""
        try:
            if self._should_cancel():
                await _drive_connection(self._cancel_gen())
            await _drive(gen, self.pgconn.socket, resumed=True)
        except (psycopg.Error, OSError):
            # Usually the answer is that it was cancelled.  If not, the connection is of no use.
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                await self.close()

    async def wait_for_notifications(self) -> set[str]:
        """Wait for notifications; return their channels.  Virtual time goes on meanwhile.

        Raises:
          psycopg.OperationalError: the connection was lost.
        """
        while True:
            await trio.lowlevel.wait_readable(self.pgconn.socket)
            if found := await _drive(notifies(self.pgconn), self.pgconn.socket):
                return {notification.relname.decode() for notification in found}


async def connect(conninfo: str) -> TrioConnection:
    """Connect to a server; several addresses of a name are tried in order.

    Transactions are begun explicitly: the connection is in psycopg's autocommit mode.

    Args:
      conninfo: A URL ``postgresql://...``, or any connection string of libpq.

    Raises:
      psycopg.OperationalError: no address accepts a connection.
      psycopg.ProgrammingError: the connection string is invalid.
    """
    with clock.held_still():
        # Names are resolved in a thread, since the library would block.
        params = psycopg.conninfo.conninfo_to_dict(conninfo)
        attempts = await clock.run_in_thread(conninfo_attempts, params, abandon_on_cancel=True)
        failure: psycopg.Error | None = None
        for attempt in attempts:
            try:
                with trio.fail_after(CONNECT_TIMEOUT):
                    connection = await _drive_connection(
                        TrioConnection._connect_gen(make_conninfo("", **attempt))
                    )
            except trio.TooSlowError:
                failure = psycopg.errors.ConnectionTimeout(
                    f"no connection within {CONNECT_TIMEOUT:g} seconds"
                )
            except psycopg.OperationalError as exc:
                failure = exc
            else:
                connection._autocommit = True
                return connection
        assert failure is not None
        raise failure


async def _drive(
    gen: Generator[Wait, Ready | int, _R], descriptor: int, *, resumed: bool = False
) -> _R:
    """Drive a generator that waits for the socket of one connection.

    Args:
      resumed: Whether the generator has begun before and was left while it waited.
    """
    try:
        wanted = gen.send(Ready.NONE) if resumed else next(gen)
        while True:
            wanted = gen.send(await _wait_for(descriptor, wanted))
    except StopIteration as done:
        result: _R = done.value
        return result


async def _drive_connection(gen: Generator[tuple[int, Wait], Ready | int, _R]) -> _R:
    """Drive a generator that says itself which socket it waits for."""
    try:
        descriptor, wanted = next(gen)
        while True:
            descriptor, wanted = gen.send(await _wait_for(descriptor, wanted))
    except StopIteration as done:
        result: _R = done.value
        return result


async def _wait_for(descriptor: int, wanted: Wait) -> Ready:
    """Wait until a socket can be read or written, whichever is wanted."""
    if wanted == Wait.R:
        await trio.lowlevel.wait_readable(descriptor)
        return Ready.R
    if wanted == Wait.W:
        await trio.lowlevel.wait_writable(descriptor)
        return Ready.W
    ready: list[Ready] = []

    async def note(wait: Callable[[int], Awaitable[None]], kind: Ready) -> None:
        await wait(descriptor)
        ready.append(kind)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(note, trio.lowlevel.wait_readable, Ready.R)
        nursery.start_soon(note, trio.lowlevel.wait_writable, Ready.W)
    return Ready.RW if len(ready) == 2 else ready[0]
