"""What a server puts up with from one client."""

from __future__ import annotations

from dataclasses import dataclass

import trio

# A burst may be as large as what so many seconds allow.
_BURST = 5.0


@dataclass(frozen=True)
class Limits:
    """What a client may do on one connection before the server ends it.

    A rate is a number per second, which may be exceeded in bursts of five seconds' worth.  The
    defaults are far above what a gRPC client has reason to do.
    """

    concurrent_streams: int = 100
    """Calls at a time.  More are refused one by one, which clients that wait their turn do not
    see; a client that goes on regardless is counted as if it reset them."""
    header_list_size: int = 16 * 1024
    """Bytes of headers in one request, as HTTP/2 counts them."""
    resets: float = 200.0
    """Calls that are reset, by the client or because of it (CVE-2023-44487)."""
    pings: float = 20.0
    settings: float = 5.0
    empty_frames: float = 100.0
    """Frames that cost work and carry nothing: empty DATA, PRIORITY, unknown ones."""
    handshake_timeout: float = 10.0
    """Seconds for TLS and for HTTP/2's preface."""


class Allowance:
    """How often something may still happen, by Trio's clock."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = rate * _BURST
        self._left = self._most
        self._since = trio.current_time()

    def spend(self) -> bool:
        """Count one; whether that was still allowed."""
        self._left -= 1
        if self._left >= 0:
            return True
        now = trio.current_time()
        self._left = min(self._most, self._left + (now - self._since) * self._rate)
        self._since = now
        return self._left >= 0
