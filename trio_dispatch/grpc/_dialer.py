"""Opening a transport to a server: an address, or a function, and TLS on top."""

from __future__ import annotations

import random
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import trio

from ._tls import handshake, prepare_context

Connector: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]
"""Opens a new stream to the server; called for each connection of a channel."""

# How long a TCP connection may take while other addresses have not been tried.
_NEXT_ADDRESS_AFTER = 2.0


@dataclass
class Dialer:
    """Finds the ways to a server: one connector, or one for each address of a host.

    Args:
      connector: Used instead of `host` and `port` if given.
      context: For TLS; None for plain text.
      authority: The server's name in requests.
      hostname: The server's name in its certificate.
    """

    connector: Connector | None
    host: str
    port: int
    context: ssl.SSLContext | None
    authority: str
    hostname: str
    #: Addresses that failed last time are tried last.
    _failed: set[Any] = field(default_factory=set)
    #: The number of open connections to each address.
    _open: Counter[Any] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.scheme = "http" if self.context is None else "https"
        if self.context is not None:
            prepare_context(self.context)

    async def candidates(self) -> list[Candidate]:
        """The ways to the server, in the order in which to try them.

        A host name is resolved anew each time.  The addresses with the fewest connections come
        first, in random order, which spreads connections evenly over all of them; those which
        failed last time come last.

        Raises:
          OSError: the name cannot be resolved.
        """
        if self.connector is not None:
            return [Candidate(self, self.connector, None)]
        found = await trio.socket.getaddrinfo(self.host, self.port, type=trio.socket.SOCK_STREAM)
        random.shuffle(found)
        self._failed &= {entry[4] for entry in found}
        found.sort(key=lambda entry: (entry[4] in self._failed, self._open[entry[4]]))
        return [
            Candidate(self, partial(_connect_tcp, entry, last=entry is found[-1]), entry[4])
            for entry in found
        ]

    def failed(self, candidate: Candidate) -> None:
        """No connection to this address could be made."""
        self._failed.add(candidate.address)

    def opened(self, candidate: Candidate) -> None:
        """A connection to this address was made."""
        self._failed.discard(candidate.address)
        self._open[candidate.address] += 1

    def closed(self, candidate: Candidate) -> None:
        """A connection to this address has ended."""
        self._open[candidate.address] -= 1
        if not self._open[candidate.address]:
            del self._open[candidate.address]


@dataclass(frozen=True)
class Candidate:
    """One way to a server."""

    dialer: Dialer
    connector: Connector
    address: Any
    """As `socket.getaddrinfo` gives it, None for a connector."""

    def __str__(self) -> str:
        return self.dialer.authority if self.address is None else str(self.address[0])

    async def dial(self) -> trio.abc.Stream:
        """Open a stream to the server, TLS included.

        Raises:
          OSError: the server does not answer, or does not agree to HTTP/2 over TLS.
          Exception: whatever a connector raises.
        """
        stream = await self.connector()
        dialer = self.dialer
        if dialer.context is None:
            return stream
        tls = trio.SSLStream(
            stream, dialer.context, server_hostname=dialer.hostname, https_compatible=True
        )
        try:
            await handshake(tls, who=dialer.authority)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return tls


async def _connect_tcp(entry: Any, *, last: bool) -> trio.abc.Stream:
    family, kind, protocol, _, address = entry
    sock = trio.socket.socket(family, kind, protocol)
    try:
        with trio.move_on_after(float("inf") if last else _NEXT_ADDRESS_AFTER) as scope:
            await sock.connect(address)
        if scope.cancelled_caught:
            raise TimeoutError(f"no TCP connection within {_NEXT_ADDRESS_AFTER:g} s")
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)
