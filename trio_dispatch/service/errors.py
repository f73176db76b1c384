"""What a dispatch service refuses, and what its store cannot do."""

from __future__ import annotations

from ..errors import DispatchError

__all__ = [
    "InvalidRequestError",
    "NotFoundError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
]


class InvalidRequestError(DispatchError, ValueError):
    """A request breaks a rule of the API.

    Attributes:
      field: The field of the request, say ``"dispatch_data.type"``.
      rule: What it has to be.
    """

    def __init__(self, field: str, rule: str) -> None:
        self.field = field
        self.rule = rule
        super().__init__(f"{field}: {rule}")


class NotFoundError(DispatchError, LookupError):
    """A microgrid has no dispatch with this id, whether or not another one has."""

    def __init__(self, microgrid_id: int, dispatch_id: int) -> None:
        super().__init__(f"microgrid {microgrid_id} has no dispatch {dispatch_id}")


class StoreError(DispatchError):
    """A store cannot be opened, or cannot do what it was asked to."""


class StoreUnavailableError(StoreError):
    """A store cannot work now: it is locked by someone else, closed, or its disk fails it.

    What was asked for was not done; once the cause is gone the store works again.
    """


class StoreFullError(StoreError):
    """A store has no room: nothing was changed, and what it has is still there."""


class StoreCorruptError(StoreError):
    """The file of a store has been damaged."""
