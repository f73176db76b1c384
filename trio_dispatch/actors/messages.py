"""Status messages, as actors need them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime

from .. import clock
from ..model.dispatch import Dispatch


def moment_of(message: Dispatch) -> datetime:
    """Return the moment at which a message is evaluated: now, but not before it was sent for."""
    now = clock.now()
    return now if message.sent_at is None else max(now, message.sent_at)


def what_is_on(dispatch: Dispatch) -> Hashable:
    """Return what has to be stopped for a dispatch: the same for contents with the same target."""
    return dispatch.id, dispatch.type, dispatch.target, dispatch.dry_run


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What a crashed process left running.

    Attributes:
      stopped: What has to be stopped, since it runs no more or has changed.
      going_on: What actors acted on, and still runs.
    """

    stopped: list[Dispatch]
    going_on: list[Dispatch]
