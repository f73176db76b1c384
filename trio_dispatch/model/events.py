"""What a dispatcher tells: what happened to a dispatch, and what it is to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from .dispatch import Dispatch

__all__ = ["Created", "Deleted", "LifecycleEvent", "MissedRun", "Updated"]


@dataclass(frozen=True, slots=True)
class Created:
    """A dispatch has come to be known."""

    dispatch: Dispatch


@dataclass(frozen=True, slots=True)
class Updated:
    """The content of a dispatch has changed; this is the new one.

    Attributes:
      previous: The content that was told last, to compare with; None if it is no longer known.
        Two events are equal if their dispatches are.
    """

    dispatch: Dispatch
    previous: Dispatch | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Deleted:
    """A dispatch is gone; this is the last that was known of it, with `deleted` set."""

    dispatch: Dispatch
    # As in `Updated`, for when it comes again.
    _previous: Dispatch | None = field(default=None, compare=False, repr=False)


LifecycleEvent = Created | Updated | Deleted
"""What a dispatcher's lifecycle channel carries."""


@dataclass(frozen=True, slots=True)
class MissedRun:
    """A run that was not announced, since it was due longer than `catch_up` ago."""

    dispatch: Dispatch
    start: datetime
