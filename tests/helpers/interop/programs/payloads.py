"""Messages of all sizes.  It imports nothing, so both environments can use it."""

from __future__ import annotations

SIZES = [0, 1, 5, 16_379, 16_384, 65_530, 65_536, 1_000_000, 16 * 2**20]
ROOM = 17 * 2**20
"""The maximum message size that these messages need."""

CCORE_ROOM = {
    "grpc.max_receive_message_length": ROOM,
    "grpc.max_send_message_length": ROOM,
}
"""The same as options of C-core."""


def some_bytes(size: int) -> bytes:
    """Return bytes that vary and are reproducible."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]
