"""Errors of a dispatch service and of its store."""

from __future__ import annotations

from ..errors import DispatchError

__all__ = [
    "InvalidRequestError",
    "NotFoundError",
    "StoreBusyError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "WatcherTooSlowError",
    "copy_of",
]


class InvalidRequestError(DispatchError, ValueError):
    """A request breaks a rule of the API.

    Attributes:
      field: The field of the request, for example ``"dispatch_data.type"``.
      rule: What the field must be.
    """

    def __init__(self, field: str, rule: str) -> None:
        self.field = field
        self.rule = rule
        super().__init__(f"{field} {rule}")


class NotFoundError(DispatchError, LookupError):
    """A microgrid has no dispatch with this id; another microgrid may have one."""

    def __init__(self, microgrid_id: int, dispatch_id: int) -> None:
        super().__init__(f"microgrid {microgrid_id} has no dispatch {dispatch_id}")


class StoreError(DispatchError):
    """A store cannot be opened, or an operation on it failed."""


class StoreUnavailableError(StoreError):
    """A store cannot work at the moment: it is locked, closed, or its disk fails.

    The operation had no effect, unless the message says otherwise.  The store works again once the
    cause is gone.
    """


class StoreBusyError(StoreError):
    """A list took too long and was stopped; a simpler filter may be quick enough."""


class StoreFullError(StoreError):
    """A store has no room left: nothing was changed, and its dispatches are still there."""


class StoreCorruptError(StoreError):
    """The file of a store is damaged."""


class WatcherTooSlowError(DispatchError):
    """A watcher was disconnected because too many changes were waiting for it."""


def copy_of(error: DispatchError) -> DispatchError:
    """Return an equal error: each task that fails has to raise one of its own."""
    fresh = type(error)(*error.args)
    fresh.__cause__ = error.__cause__
    return fresh
