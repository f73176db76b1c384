"""The base class of the library's exceptions."""

from __future__ import annotations

__all__ = ["DispatchError"]


class DispatchError(Exception):
    """The base class of every exception of this library."""
