"""The base of the exceptions of this library."""

from __future__ import annotations

__all__ = ["DispatchError"]


class DispatchError(Exception):
    """The base of every exception of this package."""
