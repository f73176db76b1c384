"""A strict codec for betterproto2 messages.

betterproto2's own parser accepts truncated messages, replaces the first part of a message that was
sent in pieces by the second, and spends most of its time looking up fields.  Here a decoder and an
encoder are compiled for each message class at its first use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast

from grpclib.encoding.base import CodecBase

from ._decoder import compile_decoder
from ._encoder import compile_encoder
from ._google import google_decoder, google_encoder, is_google
from ._wire_format import Decode, DecodeError, Encode, EncodeError, limit_elements

__all__ = ["DecodeError", "EncodeError", "MessageCodec", "limit_elements"]

_M = TypeVar("_M")
_F = TypeVar("_F")


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
        self._decoders = _Compiled(
            {cls: _on_slice(hook) for cls, hook in (decoders or {}).items()}, self._compile_decoder
        )
        self._encoders = _Compiled(encoders or {}, self._compile_encoder)
        self._hooked = frozenset({**(decoders or {}), **self._builders}), frozenset(encoders or ())

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
        if unwrap and cls not in self._hooked[0]:
            return _unwrapping(decode, cls)
        return decode

    def encoder(self, cls: type, *, unwrap: bool = False) -> Encode:
        """The encoder of a class; with `unwrap`, from the Python type that betterproto2 shows."""
        encode = self._encoders.get(cls)
        if unwrap and cls not in self._hooked[1]:
            return _wrapping(encode, cls)
        return encode

    def _compile_decoder(self, cls: type, decoders: dict[type, Decode]) -> Decode:
        if is_google(cls):
            return google_decoder(cls)
        return compile_decoder(cls, decoders, self.decoder, self._builders.get(cls))

    def _compile_encoder(self, cls: type, encoders: dict[type, Encode]) -> Encode:
        if is_google(cls):
            return google_encoder(cls)
        return compile_encoder(cls, encoders, self.encoder)


class _Compiled(Generic[_F]):
    """The functions of message classes, each compiled at its first use with those it needs.

    A function refers to others by name, itself perhaps among them: another thread must not find one
    before these names exist.  So they are published when all are complete.

    Args:
      known: The functions of some classes.
      compile: Compiles the function of a class, after entering it in a dictionary under its class;
        it asks this object for others.
    """

    def __init__(
        self, known: Mapping[type, _F], compile: Callable[[type, dict[type, _F]], _F]
    ) -> None:
        self._complete = dict(known)
        self._incomplete: dict[type, _F] = {}
        self._lock = threading.RLock()
        self._compile = compile

    def get(self, cls: type) -> _F:
        """Return the function of a class."""
        function = self._complete.get(cls)
        if function is None:
            with self._lock:
                function = self._complete.get(cls) or self._incomplete.get(cls)
                if function is None:
                    function = self._add(cls)
        return function

    def _add(self, cls: type) -> _F:
        outermost = not self._incomplete
        try:
            function = self._incomplete[cls] = self._compile(cls, self._incomplete)
            if outermost:
                self._complete.update(self._incomplete)
            return function
        finally:
            if outermost:
                self._incomplete.clear()


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
