"""A small pool of connections to PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
import trio
from psycopg import pq

from .connection import TrioConnection, connect

__all__ = ["Pool"]

LIFETIME: Final = 1800.0
"""A connection is replaced after this many seconds, so that load spreads after a failover."""

IDLE_CHECK: Final = 10.0
"""A connection that was idle for this many seconds is tested before it is used again."""

_ROLLBACK_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Idle:
    connection: TrioConnection
    opened_at: float
    idle_since: float


class Pool:
    """Hands out connections, of which there are at most a given number at a time.

    A connection that comes back within a transaction is rolled back first.  A broken one, or one
    with a statement under way, is closed.

    Args:
      conninfo: The connection string.
      size: How many connections there are at most; further tasks wait.
    """

    def __init__(self, conninfo: str, *, size: int) -> None:
        self._conninfo = conninfo
        self._limit = trio.Semaphore(size)
        self._idle: list[_Idle] = []
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[TrioConnection]:
        """A connection for the time of the block.  It is in autocommit mode.

        Raises:
          psycopg.OperationalError: no connection can be opened.
        """
        async with self._limit:
            idle = await self._take()
            try:
                yield idle.connection
            finally:
                await self._put_back(idle)

    async def close(self) -> None:
        """Close what is idle now, and the other connections when they come back."""
        self._closed = True
        await self.close_idle()

    async def close_idle(self) -> None:
        """Close what is idle: after a lost connection, the others are probably lost as well."""
        while self._idle:
            await self._idle.pop().connection.close()

    async def _take(self) -> _Idle:
        while self._idle:
            # The last one, so that those that are not needed grow old.
            idle = self._idle.pop()
            now = trio.current_time()
            if now - idle.opened_at > LIFETIME or idle.connection.closed:
                await idle.connection.close()
            elif now - idle.idle_since < IDLE_CHECK or await _works(idle.connection):
                return idle
        return _Idle(await connect(self._conninfo), trio.current_time(), 0.0)

    async def _put_back(self, idle: _Idle) -> None:
        connection = idle.connection
        with trio.move_on_after(_ROLLBACK_TIMEOUT, shield=True):
            if connection.info.transaction_status in _IN_TRANSACTION:
                try:
                    await connection.execute("ROLLBACK")
                except psycopg.Error:
                    await connection.close()
        if self._closed or connection.info.transaction_status != pq.TransactionStatus.IDLE:
            with trio.CancelScope(shield=True):
                await connection.close()
        else:
            self._idle.append(_Idle(connection, idle.opened_at, trio.current_time()))


_IN_TRANSACTION = {pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR}


async def _works(connection: TrioConnection) -> bool:
    """Whether a connection that was idle is still of use; else it is closed."""
    try:
        await connection.execute("")
    except psycopg.Error:
        await connection.close()
        return False
    except BaseException:
        with trio.CancelScope(shield=True):
            await connection.close()
        raise
    return True
