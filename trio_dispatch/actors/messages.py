"""Status messages, as actors need them."""

from __future__ import annotations

from collections.abc import Hashable
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
