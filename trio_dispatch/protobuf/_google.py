"""Messages of google.protobuf, which is not imported here: their classes know what to do."""

from __future__ import annotations

from typing import Any

import betterproto2

from ._wire_format import Decode, DecodeError, Encode, EncodeError


def is_google(cls: type) -> bool:
    """Whether a class is one of google.protobuf's messages."""
    return hasattr(cls, "FromString") and not issubclass(cls, betterproto2.Message)


def google_decoder(cls: Any) -> Decode:
    """The decoder of a class; it does not count elements."""

    def decode(data: bytes, pos: int, end: int, depth: int) -> Any:
        try:
            return cls.FromString(data[pos:end])
        except Exception as exc:
            raise DecodeError(f"not a valid {cls.__name__}: {exc}") from exc

    return decode


def google_encoder(cls: Any) -> Encode:
    """The encoder of a class."""

    def encode(message: Any) -> bytes:
        try:
            data: bytes = message.SerializeToString()
        except Exception as exc:
            raise EncodeError(f"the {cls.__name__} cannot be encoded: {exc}") from exc
        return data

    return encode
