"""A strict codec for betterproto2 messages.

betterproto2's own parser accepts truncated messages, replaces the first part of a message that was
sent in pieces by the second, and spends most of its time looking up fields.  Here a decoder and an
encoder are compiled for each message class at its first use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from grpclib.encoding.base import CodecBase

from ._decoder import compile_decoder
from ._encoder import compile_encoder
from ._google import google_decoder, google_encoder, is_google
from ._wire_format import Decode, DecodeError, Encode, EncodeError, limit_elements

__all__ = ["DecodeError", "EncodeError", "MessageCodec", "limit_elements"]

_M = TypeVar("_M")


class MessageCodec(CodecBase):
    """A strict codec for any betterproto2 message, for a channel or a server.

    It also takes messages of google.protobuf, which encode and decode themselves.

    Args:
      decoders: By message class, functions that decode the bytes of such a message, wherever it
        occurs, to something else.  They raise `DecodeError` for invalid bytes.
      builders: By message class, functions that are called with the fields by name, in place of
        the class.  Fields that were not sent have their defaults; unknown fields are dropped.
      encoders: By message class, functions that encode what stands for such a message.
    """

    __content_subtype__ = "proto"

    def __init__(
        self,
        *,
        decoders: Mapping[type, Callable[[bytes], Any]] | None = None,
        builders: Mapping[type, Callable[..., Any]] | None = None,
        encoders: Mapping[type, Callable[[Any], bytes]] | None = None,
    ) -> None:
        self._builders = dict(builders or {})
        self._decoders: dict[type, Decode] = {}
        self._incomplete: dict[type, Decode] = {}
        self._compiling = threading.RLock()
        self._encoders: dict[type, Encode] = dict(encoders or {})
        self._hooked = frozenset({**(decoders or {}), **self._builders}), frozenset(encoders or ())
        for cls, hook in (decoders or {}).items():
            self._decoders[cls] = _on_slice(hook)

    def encode(self, message: Any, message_type: Any) -> bytes:
        """Encode a message.

        Raises:
          TypeError: the message is not of that type.
          EncodeError: a value does not fit into its field.
        """
        if message_type not in self._hooked[1] and not isinstance(message, message_type):
            raise TypeError(f"expected a {message_type.__name__}, got {message!r}")
        return self.encoder(message_type)(message)

    def decode(self, data: bytes, message_type: type[_M]) -> _M:
        """Decode a message.

        Raises:
          DecodeError: the bytes are not a valid message of that type.
        """
        return cast(_M, self.decoder(message_type)(data, 0, len(data), 0))

    def decoder(self, cls: type, *, unwrap: bool = False) -> Decode:
        """The decoder of a class; with `unwrap`, to the Python type that betterproto2 shows."""
        decode = self._decoders.get(cls)
        if decode is None:
            with self._compiling:
                decode = self._compile_decoder(cls)
        if unwrap and cls not in self._hooked[0]:
            return _unwrapping(decode, cls)
        return decode

    def _compile_decoder(self, cls: type) -> Decode:
        """Compile a decoder and those it needs, and publish them when all are complete.

        A decoder refers to others by name, itself perhaps among them: another thread must not find
        one before these names exist.
        """
        if cls in self._incomplete:
            return self._incomplete[cls]
        if cls in self._decoders:
            return self._decoders[cls]
        if is_google(cls):
            self._decoders[cls] = google_decoder(cls)
            return self._decoders[cls]
        outermost = not self._incomplete
        try:
            decode = compile_decoder(cls, self._incomplete, self.decoder, self._builders.get(cls))
            if outermost:
                self._decoders.update(self._incomplete)
            return decode
        finally:
            if outermost:
                self._incomplete.clear()

    def encoder(self, cls: type, *, unwrap: bool = False) -> Encode:
        """The encoder of a class; with `unwrap`, from the Python type that betterproto2 shows."""
        encode = self._encoders.get(cls)
        if encode is None and is_google(cls):
            encode = self._encoders[cls] = google_encoder(cls)
        if encode is None:
            encode = compile_encoder(cls, self._encoders, self.encoder)
        if unwrap and cls not in self._hooked[1]:
            return _wrapping(encode, cls)
        return encode


def _on_slice(hook: Callable[[bytes], Any]) -> Decode:
    def decode(data: bytes, pos: int, end: int, depth: int) -> Any:
        return hook(data[pos:end])

    return decode


def _unwrapping(inner: Decode, cls: type) -> Decode:
    def decode(data: bytes, pos: int, end: int, depth: int) -> Any:
        message = inner(data, pos, end, depth)
        try:
            return message.to_wrapped()
        except (ValueError, OverflowError) as exc:
            raise DecodeError(f"{message!r} has no Python value: {exc}") from exc

    return decode


def _wrapping(inner: Encode, cls: Any) -> Encode:
    def encode(value: Any) -> bytes:
        return inner(cls.from_wrapped(value))

    return encode
