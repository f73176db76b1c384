"""Authentication of requests: the API key, and a signature."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from datetime import datetime

NONCE_BYTES = 16


def request_metadata(
    key: str, secret: str | None, method: str, now: datetime, nonce: bytes | None = None
) -> dict[str, str]:
    """The metadata that authenticates a request: the API key and, with a secret, a signature.

    Args:
      key: The API key.
      secret: The secret that belongs to the key; None for a request without a signature.
      method: The name of the method: the last part of its path.
      now: The time of the request.
      nonce: 16 random bytes that were not used before; made here if None.
    """
    if secret is None:
        return {"key": key}
    stamp = str(int(now.timestamp()))
    noise = secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce
    text = urlsafe_b64encode(noise).decode()
    return {
        "key": key,
        "ts": stamp,
        "nonce": text,
        "sig": signature(key, secret, stamp, text, method),
    }


def signature(key: str, secret: str, stamp: str, nonce: str, method: str) -> str:
    """HMAC-SHA256 over the key, time stamp and nonce as they are sent, and the method's name."""
    message = f"{key}{stamp}{nonce}{method}".encode()
    digest = hmac.new(secret.encode(), message, hashlib.sha256).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
