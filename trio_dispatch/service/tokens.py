"""Page tokens: base64 of a checksum and JSON."""

from __future__ import annotations

import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

__all__ = ["TOKEN_FIELD", "decode_token", "encode_token"]

TOKEN_FIELD: Final = "pagination_params.page_token"  # noqa: S105 - the name of a field
_MAX_LENGTH: Final = 512 * 1024


def encode_token(content: list[object]) -> str:
    """Return the token with a content."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return urlsafe_b64encode(zlib.crc32(body).to_bytes(4, "big") + body).decode().rstrip("=")


def decode_token(token: str) -> object:
    """Return the content of a token.

    Raises:
      ValueError: `encode_token` never made it.
    """
    if len(token) > _MAX_LENGTH:
        raise ValueError("too long")
    raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    checksum, body = raw[:4], raw[4:]
    if zlib.crc32(body).to_bytes(4, "big") != checksum:
        raise ValueError("altered")
    try:
        content: object = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return content
