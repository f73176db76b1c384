"""The API key and the secret with which a client authenticates its requests."""

from __future__ import annotations

from .. import clock
from ..api.signing import request_metadata

__all__ = ["Credentials"]


class Credentials:
    """Makes the metadata of requests.

    Args:
      key: The API key, if any.
      secret: The secret with which requests are signed, if any.

    Raises:
      ValueError: the key or the secret cannot be sent, or there is a secret without a key.
    """

    def __init__(self, key: str | None, secret: str | None) -> None:
        # No message shows the value.  A key that was read from a file often ends with a newline.
        if key is not None and not (isinstance(key, str) and key.isascii() and key.isprintable()):
            raise ValueError(
                "the API key contains a newline or another character that is not printable ASCII"
            )
        if key is not None and key != key.strip():
            raise ValueError("the API key begins or ends with a space")
        if secret is not None and key is None:
            raise ValueError("sign_secret was given without a key: signed requests need both")
        try:
            (secret or "").encode()
        except UnicodeEncodeError:
            raise ValueError("sign_secret contains a lone surrogate, not Unicode text") from None
        self._key = key
        self._secret = secret

    def metadata(self, method: str) -> dict[str, str]:
        """Return the metadata of a request that is sent now."""
        if self._key is None:
            return {}
        return request_metadata(self._key, self._secret, method, clock.now())
