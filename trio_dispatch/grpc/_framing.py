"""gRPC's framing: a flag, a length and a payload; sans-IO."""

from __future__ import annotations

import struct
import zlib

from grpclib.const import Status
from grpclib.exceptions import GRPCError

_PREFIX = struct.Struct(">BI")
# Asks zlib for the header and trailer of gzip.
_GZIP_WINDOW = 16 + zlib.MAX_WBITS

ACCEPTED_ENCODINGS = ("identity", "gzip")


def frame_message(payload: bytes) -> bytes:
    """The message as it travels, uncompressed."""
    return _PREFIX.pack(0, len(payload)) + payload


class MessageBuffer:
    """The bytes that have come on a stream, taken out message by message.

    `ready` is true when `take` has something to say: a message, or the error of a message that is
    longer than `limit`, which is known as soon as its first five bytes have come.
    """

    def __init__(self, limit: int) -> None:
        self.encoding = "identity"
        self.ready = False
        self._limit = limit
        self._data = bytearray()
        self._compressed = 0
        self._length: int | None = None

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        self._data += data
        self._look()

    def take(self) -> bytes:
        """The next message.

        Raises:
          GRPCError: it is too long (RESOURCE_EXHAUSTED), or cannot be uncompressed (INTERNAL).
            What comes on this stream from now on makes no sense any more.
        """
        assert self.ready
        assert self._length is not None
        if self._length > self._limit:
            raise _too_long(self._length, self._limit)
        end = _PREFIX.size + self._length
        with memoryview(self._data) as view:
            payload = bytes(view[_PREFIX.size : end])
        del self._data[:end]
        compressed = self._compressed
        self._length = None
        self._look()
        return self._uncompressed(payload) if compressed else payload

    def clear(self) -> None:
        self._data.clear()
        self._length = None
        self.ready = False

    def _look(self) -> None:
        """Find out whether the next message is there."""
        if self._length is None:
            if len(self._data) < _PREFIX.size:
                self.ready = False
                return
            self._compressed, self._length = _PREFIX.unpack_from(self._data)
        self.ready = len(self._data) >= _PREFIX.size + self._length or self._length > self._limit

    def _uncompressed(self, payload: bytes) -> bytes:
        if self.encoding == "gzip":
            inflate = zlib.decompressobj(_GZIP_WINDOW)
            try:
                message = inflate.decompress(payload, self._limit + 1)
            except zlib.error as exc:
                raise GRPCError(Status.INTERNAL, f"a message is not gzip: {exc}") from exc
            if len(message) > self._limit:
                raise _too_long(len(message), self._limit)
            if not inflate.eof:
                raise GRPCError(Status.INTERNAL, "a message is cut off gzip")
            return message
        raise GRPCError(
            Status.INTERNAL, f"a message is compressed, but its grpc-encoding is {self.encoding}"
        )


def _too_long(length: int, limit: int) -> GRPCError:
    return GRPCError(
        Status.RESOURCE_EXHAUSTED,
        f"a message of {length} bytes or more was received, the limit is {limit}",
    )
