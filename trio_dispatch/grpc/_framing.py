"""gRPC's framing: a flag, a length and a payload; sans-IO."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, cast

from grpclib.const import Status
from grpclib.exceptions import GRPCError

_PREFIX = struct.Struct(">BI")
# A shorter message is kept with others: as an object of its own it would take several times its
# size, which the limits of memory do not count.
_MIN_WHOLE = 64
# Asks zlib for the header and trailer of gzip.
_GZIP_WINDOW = 16 + zlib.MAX_WBITS

ACCEPTED_ENCODINGS = ("identity", "gzip")
Compression: TypeAlias = Literal["identity", "gzip"]

# A shorter message hardly becomes shorter still: its headers weigh more.
_MIN_COMPRESSED = 1024
# Longer messages are compressed in a thread: this takes a few milliseconds.
COMPRESSED_AT_ONCE = 64 * 1024


def frame_message(payload: bytes) -> bytes:
    """The message as it is sent, uncompressed."""
    return _PREFIX.pack(0, len(payload)) + payload


@dataclass(frozen=True, slots=True)
class FramedMessages:
    """Messages as they are sent, uncompressed; the same bytes may be sent on many calls."""

    data: bytes
    count: int


def frame_messages(payloads: Sequence[bytes]) -> FramedMessages:
    """Frame messages that are encoded already, for `ServerStream.send_framed`."""
    return FramedMessages(b"".join(map(frame_message, payloads)), len(payloads))


def frame_compressed(payload: bytes) -> bytes:
    """The message as it is sent, compressed with gzip if that makes it shorter."""
    if len(payload) >= _MIN_COMPRESSED:
        deflate = zlib.compressobj(wbits=_GZIP_WINDOW)
        compressed = deflate.compress(payload) + deflate.flush()
        if len(compressed) < len(payload):
            return _PREFIX.pack(1, len(compressed)) + compressed
    return frame_message(payload)


def check_compression(compression: str) -> Compression:
    """Check the name of a compression.

    Raises:
      ValueError: it is unknown.
    """
    if compression not in ACCEPTED_ENCODINGS:
        raise ValueError(f"unknown compression {compression!r}, expected 'gzip' or 'identity'")
    return cast(Compression, compression)


class Message(NamedTuple):
    """A message as it was received."""

    payload: bytes
    encoding: str | None
    """How it is compressed, None if it is not."""
    limit: int

    def content(self) -> bytes:
        """The bytes of the message, decompressed.

        Raises:
          GRPCError: it is too long (RESOURCE_EXHAUSTED), or cannot be decompressed (INTERNAL).
        """
        if self.encoding is None:
            return self.payload
        if self.encoding != "gzip":
            raise GRPCError(
                Status.INTERNAL,
                f"a message is compressed, but its grpc-encoding is {self.encoding}",
            )
        inflate = zlib.decompressobj(_GZIP_WINDOW)
        try:
            content = inflate.decompress(self.payload, self.limit + 1)
        except zlib.error as exc:
            raise GRPCError(Status.INTERNAL, f"a message is not valid gzip: {exc}") from exc
        if (size := len(content)) > self.limit:
            # The traceback of the error would keep it until the call has ended.
            del content
            raise _too_long(size, self.limit)
        if not inflate.eof:
            raise GRPCError(Status.INTERNAL, "a gzip message is truncated")
        return content


class MessageBuffer:
    """The bytes received on a stream, taken out message by message.

    Attributes:
      encoding: The stream's `grpc-encoding`.
      limit: The greatest length of a message, compressed or not.
      ready: Whether `take` can be called: a message is complete, or known to exceed the limit,
        which its first five bytes tell.
      size: The number of bytes that wait here.
    """

    def __init__(self, limit: int) -> None:
        self.encoding = "identity"
        self.ready = False
        self.size = 0
        self._limit = limit
        # Messages that came as one piece, before everything in `_data`: the usual case, in which
        # there is nothing to put together and to take apart.
        self._whole: deque[bytes] = deque()
        self._data = bytearray()
        self._compressed = 0
        self._length: int | None = None

    @property
    def limit(self) -> int:
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._parse_prefix()

    @property
    def next_size(self) -> int:
        """The size of the message that has begun, as far as it is known."""
        return _PREFIX.size if self._length is None else _PREFIX.size + self._length

    def feed(self, data: bytes) -> None:
        size = len(data)
        self.size += size
        if (
            size >= _MIN_WHOLE
            and not self._data
            and _PREFIX.unpack_from(data)[1] == size - _PREFIX.size
        ):
            self._whole.append(data)
            self.ready = True
        else:
            self._data += data
            self._parse_prefix()

    def take(self) -> Message:
        """The next message.

        Raises:
          GRPCError: the message is too long (RESOURCE_EXHAUSTED).  Nothing more can be read from
            this stream then.
        """
        assert self.ready
        if self._whole:
            data = self._whole.popleft()
            compressed = data[0]
            payload = data[_PREFIX.size :]
            if len(payload) > self._limit:
                raise _too_long(len(payload), self._limit)
        else:
            assert self._length is not None
            if self._length > self._limit:
                raise _too_long(self._length, self._limit)
            compressed = self._compressed
            end = _PREFIX.size + self._length
            with memoryview(self._data) as view:
                payload = bytes(view[_PREFIX.size : end])
            del self._data[:end]
            self._length = None
        self.size -= _PREFIX.size + len(payload)
        if not self._whole:
            self._parse_prefix()
        return Message(payload, self.encoding if compressed else None, self._limit)

    def clear(self) -> None:
        self._whole.clear()
        self._data.clear()
        self._length = None
        self.size = 0
        self.ready = False

    def _parse_prefix(self) -> None:
        if self._length is None:
            if len(self._data) < _PREFIX.size:
                self.ready = bool(self._whole)
                return
            self._compressed, self._length = _PREFIX.unpack_from(self._data)
        self.ready = (
            bool(self._whole)
            or len(self._data) >= _PREFIX.size + self._length
            or self._length > self._limit
        )


def _too_long(length: int, limit: int) -> GRPCError:
    return GRPCError(
        Status.RESOURCE_EXHAUSTED,
        f"a message of {length} bytes or more was received, the limit is {limit}",
    )
