"""Messages of all sizes, for both sides of a call; it needs nothing that only one side has."""

from __future__ import annotations

SIZES = [0, 1, 5, 16_379, 16_384, 65_530, 65_536, 1_000_000, 16 * 2**20]
ROOM = 17 * 2**20
"""So long may messages be where these are sent."""

CCORE_ROOM = {
    "grpc.max_receive_message_length": ROOM,
    "grpc.max_send_message_length": ROOM,
}
"""The same in C-core's options."""


def some_bytes(size: int) -> bytes:
    """Neither all the same nor at random."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]
