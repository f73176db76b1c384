"""Status messages, as actors need them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from datetime import datetime

from .. import clock
from ..model.dispatch import Dispatch
from ..model.payload import JSON
from ..model.target import Target


def moment_of(message: Dispatch) -> datetime:
    """Return the moment at which a message is evaluated: now, but not before it was sent for."""
    now = clock.now()
    return now if message.sent_at is None else max(now, message.sent_at)


def what_is_on(dispatch: Dispatch) -> Hashable:
    """Return what has to be stopped for a dispatch: the same for contents with the same target."""
    return dispatch.id, dispatch.type, dispatch.target, dispatch.dry_run


def with_content(message: Dispatch, target: Target | None, payload: Mapping[str, JSON]) -> Dispatch:
    """Return the same status message with another target and payload."""
    changed = replace(message, target=target, payload=payload)
    if message.sent_at is None:
        return changed
    return changed.sent_for(message.sent_at, pulse=message.pulse)
