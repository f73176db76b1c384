"""The connections of a channel: made when calls need them, closed when they are idle."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import trio
from grpclib.const import Status

from ..concurrency.backoff import Backoff
from ._client_connection import ClientConnection
from ._dialer import Candidate, Dialer
from ._metadata import Headers
from ._status import Failure
from ._stream import HTTP2Stream, wake_all

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 100
# A connection that is not needed is closed after this many seconds without a call.
_IDLE_TIMEOUT = 30.0
# A call that waits for a free stream gives up when so many attempts to connect have failed.
_MAX_ATTEMPTS = 2


class _ConnectBackoff(Backoff):
    FIRST, MOST = 0.25, 15.0


class ConnectionPool:
    """Gives each new call a stream on a connection that has room for it.

    There is one connection, unless its server limits the streams of a connection and that limit is
    reached: then further ones are made, one at a time, up to `MAX_CONNECTIONS`.  Calls that find no
    room wait for a stream to end or for the next connection, whichever comes first.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        dialer: Dialer,
        *,
        max_message_size: int,
        connect_timeout: float,
        keepalive_interval: float,
        keepalive_timeout: float,
    ) -> None:
        self.dialer = dialer
        #: The open connections, oldest first: new calls take the first that has room.
        self.connections: dict[ClientConnection, None] = {}
        self.connections_made = 0
        self.attempts_failed = 0
        self.last_error: str | None = None
        self._nursery = nursery
        self._max_message_size = max_message_size
        self._connect_timeout = connect_timeout
        self._keepalive_interval = keepalive_interval
        self._keepalive_timeout = keepalive_timeout
        self._waiting = trio.lowlevel.ParkingLot()
        self._connecting = False
        self._closed = False
        self._failure: Failure | None = None
        self._backoff = _ConnectBackoff()
        self._not_before = float("-inf")
        self._bytes_sent = 0
        self._bytes_received = 0

    @property
    def usable(self) -> bool:
        """Whether there is a connection that takes new calls."""
        return any(connection.usable for connection in self.connections)

    @property
    def bytes_sent(self) -> int:
        return self._bytes_sent + sum(c.bytes_sent for c in self.connections)

    @property
    def bytes_received(self) -> int:
        return self._bytes_received + sum(c.bytes_received for c in self.connections)

    def close(self) -> None:
        """End all calls with CANCELLED, and take no more."""
        self._closed = True
        for connection in tuple(self.connections):
            connection.close(_closed())
        wake_all(self._waiting)

    def open_stream_nowait(self, headers: Callable[[], Headers]) -> HTTP2Stream | None:
        """Queue a request's headers on a connection that has room for another stream, if any.

        The caller flushes them.
        """
        for connection in self.connections:
            if connection.admits_stream:
                return connection.open_stream(headers())
        return None

    async def open_stream(self, headers: Callable[[], Headers]) -> HTTP2Stream:
        """Queue a request's headers as soon as a connection has room for another stream.

        The caller flushes them.  A checkpoint only if none has room; cancelled then, nothing is
        sent.

        Raises:
          GRPCError: no connection could be made, or the channel is closed.
        """
        attempts = self.attempts_failed
        while True:
            if self._closed:
                raise _closed().error()
            stream = self.open_stream_nowait(headers)
            if stream is not None:
                return stream
            failed = self.attempts_failed - attempts
            if failed >= (_MAX_ATTEMPTS if self.usable else 1):
                assert self._failure is not None
                raise self._failure.error()
            if not self._connecting and len(self.connections) < MAX_CONNECTIONS:
                self._connecting = True
                self._nursery.start_soon(self._connect)
            await self._waiting.park()

    # Connecting.

    async def _connect(self) -> None:
        """Try to connect, then serve the connection until it ends."""
        await trio.sleep_until(self._not_before)
        if self._closed:
            return
        deadline = trio.current_time() + self._connect_timeout
        errors: list[tuple[str, Exception]] = []
        candidates: list[Candidate] = []
        try:
            with trio.move_on_at(deadline) as scope:
                candidates = await self.dialer.candidates()
            if scope.cancelled_caught:
                raise TimeoutError(f"the name was not resolved within {self._connect_timeout:g} s")
        except Exception as exc:  # noqa: BLE001 - a name may be wrong in many ways
            errors.append(("", exc))
        for candidate in candidates:
            error = await self._try(candidate, deadline)
            if error is None:
                return
            self.dialer.failed(candidate)
            errors.append((f"{candidate}: " if len(candidates) > 1 else "", error))
        self._attempt_failed(errors)

    async def _try(self, candidate: Candidate, deadline: float) -> Exception | None:
        """Connect to this address and serve the connection; why it could not be made, if so."""
        stream: trio.abc.Stream | None = None
        try:
            with trio.CancelScope(deadline=deadline):
                stream = await candidate.dial()
        except Exception as exc:  # noqa: BLE001 - the calls get what the connector raises
            return exc
        if stream is None:
            return TimeoutError(f"no answer within {self._connect_timeout:g} s")
        made = False

        def ready(connection: ClientConnection) -> None:
            nonlocal made
            made = True
            self.dialer.opened(candidate)
            self._connected(connection)

        connection = ClientConnection(
            stream,
            on_ready=ready,
            on_room=self._room,
            on_idle=self._close_if_spare,
            on_too_many_pings=self._ping_less,
            idle_timeout=_IDLE_TIMEOUT,
            max_message_size=self._max_message_size,
            handshake_timeout=max(0.0, deadline - trio.current_time()),
            keepalive_interval=self._keepalive_interval,
            keepalive_timeout=self._keepalive_timeout,
        )
        try:
            await connection.run()
        finally:
            self.connections.pop(connection, None)
            if made:
                self.dialer.closed(candidate)
            self._bytes_sent += connection.bytes_sent
            self._bytes_received += connection.bytes_received
            wake_all(self._waiting)
        assert connection.failure is not None
        log.debug("%s: connection ended: %s", self.dialer.authority, connection.failure.message)
        return None if made else ConnectionError(connection.failure.message)

    def _connected(self, connection: ClientConnection) -> None:
        full = [other for other in self.connections if other.usable]
        if full:
            limit = max(other.max_streams for other in full)
            log.log(
                logging.WARNING if len(self.connections) == 1 else logging.DEBUG,
                "%s allows %d streams at a time on a connection, and all are in use:"
                " opened connection %d",
                self.dialer.authority,
                limit,
                len(self.connections) + 1,
            )
        else:
            log.debug("%s: connected", self.dialer.authority)
        self.connections[connection] = None
        self.connections_made += 1
        self.last_error = None
        self._connecting = False
        self._backoff = _ConnectBackoff()
        wake_all(self._waiting)

    def _attempt_failed(self, errors: list[tuple[str, Exception]]) -> None:
        self._connecting = False
        if self._closed:
            return
        self._not_before = trio.current_time() + self._backoff.delay()
        self.attempts_failed += 1
        reasons = "; ".join(f"{where}{_reason(exc)}" for where, exc in errors)
        self.last_error = f"cannot connect to {self.dialer.authority}: {reasons}"
        log.debug("%s", self.last_error)  # the calls that fail report it
        self._failure = Failure(Status.UNAVAILABLE, self.last_error, errors[-1][1])
        wake_all(self._waiting)

    # What connections report.

    def _room(self, connection: ClientConnection) -> None:
        """A connection may have room for more streams."""
        if self._waiting and connection.admits_stream:
            free = connection.max_streams - len(connection.streams)
            self._waiting.unpark(count=min(free, len(self._waiting)))

    def _close_if_spare(self, connection: ClientConnection) -> None:
        """An idle connection is kept only if it is the last one that takes calls."""
        if any(other.usable for other in self.connections if other is not connection):
            connection.drain(0)

    def _ping_less(self) -> None:
        self._keepalive_interval *= 2
        log.warning(
            "%s finds the keepalive pings too frequent: now one is sent every %g s",
            self.dialer.authority,
            self._keepalive_interval,
        )


def _reason(exc: Exception) -> str:
    """Return the text of an error without the address that Trio adds, which the message has."""
    if isinstance(exc, ConnectionError) and exc.errno:
        return os.strerror(exc.errno)
    return str(exc)


def _closed() -> Failure:
    return Failure(Status.CANCELLED, "the channel is closed")
