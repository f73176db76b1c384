"""Metadata on the wire: HTTP/2 headers, with base64 where a name ends in `-bin`."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias, cast

from grpclib.metadata import _Metadata as Metadata
from grpclib.metadata import decode_grpc_message, encode_grpc_message, encode_metadata
from multidict import MultiDict

__all__ = [
    "Headers",
    "Metadata",
    "MetadataLike",
    "decode_binary",
    "decode_grpc_message",
    "decode_metadata",
    "encode_binary",
    "encode_grpc_message",
    "encode_metadata",
    "text_headers",
]

Value: TypeAlias = str | bytes
MetadataLike: TypeAlias = Mapping[str, Value] | Collection[tuple[str, Value]]
Headers: TypeAlias = list[tuple[str, str]]

_NOT_METADATA = frozenset({"te", "content-type", "user-agent"})


def decode_metadata(headers: Headers) -> Metadata:
    """The application's part of the headers.

    A binary value that is not base64 is left out: it carries nothing, and must not fail a call.
    """
    metadata = cast(Metadata, MultiDict())
    for name, value in headers:
        if name.startswith((":", "grpc-")) or name in _NOT_METADATA:
            continue
        if not name.endswith("-bin"):
            metadata.add(name, value)
            continue
        # Several values under one name may have been joined on the way.
        for part in value.split(","):
            decoded = decode_binary(part)
            if decoded is not None:
                metadata.add(name, decoded)
    return metadata


def text_headers(headers: list[Any]) -> Headers:
    """The headers of an event of h2 as text.

    Every byte is a character of Latin-1, so this cannot fail.
    """
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def encode_binary(value: bytes) -> str:
    return b64encode(value).rstrip(b"=").decode("ascii")


def decode_binary(value: str) -> bytes | None:
    """The bytes of a base64 value, padded or not; None if it is not base64."""
    value = value.strip().rstrip("=")
    try:
        return b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
