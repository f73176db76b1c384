"""Pages of dispatches as bytes, to keep dispatches outside of the service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..api.replies import Page
    from ..model.dispatch import Dispatch

__all__ = ["decode_page", "encode_page"]

# The messages of the API are imported with the first page: a dispatcher without a cache has none.


def decode_page(data: bytes) -> Page:
    """Decode a page, or several that were concatenated.

    Raises:
      DecodeError: the bytes are not a page.
    """
    from ..api import replies  # noqa: PLC0415

    return replies.decode_page(data)


def encode_page(dispatches: Iterable[Dispatch]) -> bytes:
    """Encode dispatches as a page.  Pages may be concatenated to a longer one."""
    from ..api import replies  # noqa: PLC0415

    return replies.encode_page(dispatches)
