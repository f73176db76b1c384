"""Limits on the clients of a server."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field

MIB = 2**20
# File descriptors that are kept for other purposes than connections.
_RESERVED_DESCRIPTORS = 64
_MAX_CONNECTIONS = 10_000


def _connections_by_descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return max(1, min(_MAX_CONNECTIONS, soft - _RESERVED_DESCRIPTORS))


@dataclass(frozen=True)
class Limits:
    """Limits on the clients of a server.

    A connection that exceeds one of its own is ended with ENHANCE_YOUR_CALM.  A rate is a number
    per second; bursts of five seconds' worth are allowed.  The defaults are far above what a gRPC
    client does.
    """

    connections: int = field(default_factory=_connections_by_descriptors)
    """Connections at a time; further ones are closed at once.  By default the process's limit of
    file descriptors, less 64 that are kept in reserve, and at most 10,000."""
    connections_per_address: int = 1000
    """Connections at a time from one IP address."""
    concurrent_streams: int = 100
    """Calls at a time on one connection.  Further ones are refused one by one, which clients that
    wait their turn do not notice; those of a client that goes on regardless count as resets."""
    calls: int = 6_000
    """Calls at a time on all connections.  Beyond it, a connection may make five at a time."""
    unfinished_calls: int = 1000
    """Calls at a time whose first message is not complete, on all connections.  Beyond it, a
    connection may make five calls at a time."""
    header_list_size: int = 16 * 1024
    """Bytes of headers in one request, as HTTP/2 counts them."""
    free_work: float = 20.0
    """Frames that the limits below count, a reset call as five of them, which are handled at once.
    Further ones of all connections share a tenth of the server's time, and one that waits for it
    again and again is ended."""
    resets: float = 40.0
    """Calls reset by the client, or because it broke a rule (CVE-2023-44487, CVE-2025-8671)."""
    pings: float = 20.0
    """PING frames, acknowledgements among them."""
    settings: float = 5.0
    """SETTINGS frames, acknowledgements among them, and GOAWAY frames."""
    window_updates: float = 200.0
    """WINDOW_UPDATE frames beyond three for each DATA frame that was sent to the client."""
    empty_frames: float = 100.0
    """Frames that cost work and carry nothing: empty DATA, PRIORITY, unknown ones."""
    small_frames: float = 200.0
    """DATA frames of less than 256 bytes that neither begin nor complete a message."""
    message_elements: int = 20_000
    """Items of lists and maps and unknown fields in one request message, at all levels; not counted
    in messages of google.protobuf, which take less memory for each."""
    handshake_timeout: float = 10.0
    """Seconds for TLS and for the beginning of HTTP/2."""
    message_timeout: float = 30.0
    """Seconds for one message to be received, or to be read by the client; a connection on which
    the client reads nothing at all ends after the same time."""
    unfinished_requests: int = 32 * MIB
    """Bytes of request messages longer than 64 KiB that are still being received, on all
    connections; a quarter of it on each.  Further ones wait, before their clients send them."""
    unread_replies: int = 48 * MIB
    """Bytes of messages that clients have asked for and do not read, on all connections; a quarter
    of it on each, and more while another quarter is left for others.  Calls beyond it end with
    RESOURCE_EXHAUSTED."""
