"""Dispatches for tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from .. import clock
from ..clock import VIRTUAL_START
from ..model.dispatch import Dispatch
from ..model.recurrence.rule import RecurrenceRule
from ..model.target import Target, TargetIds

__all__ = ["make_dispatch"]


class _Fields(TypedDict, total=False):
    type: str
    start_time: datetime
    duration: timedelta | None
    target: Target | None
    active: bool
    dry_run: bool
    payload: Mapping[str, Any]
    recurrence: RecurrenceRule | None
    create_time: datetime
    update_time: datetime
    end_time: datetime | None
    deleted: bool


def make_dispatch(id: int = 1, **fields: Unpack[_Fields]) -> Dispatch:
    """A dispatch of which only what matters to a test need be said.

    What is not said: it is active, has the type ``"CHARGE"`` and the target component 1, starts
    when the virtual clock does (what it was last set to, or `trio_dispatch.clock.VIRTUAL_START`),
    runs for an hour, and was created a day before that.

    Ids are not counted up: tests name the dispatches that they tell apart, and two without a name
    are the same one, which `LocalService.put` replaces.

    Args:
      id: What the service calls it.
      fields: The fields of `trio_dispatch.Dispatch`.

    Raises:
      ValueError: a field makes no sense.
      TypeError: there is no such field.
    """
    start = _virtual_start()
    told = start - timedelta(days=1)
    defaults: _Fields = {
        "type": "CHARGE",
        "start_time": start,
        "duration": timedelta(hours=1),
        "target": TargetIds(1),
        "create_time": told,
        "update_time": told,
    }
    return Dispatch(id=id, **(defaults | fields))


def _virtual_start() -> datetime:
    try:
        return clock.virtual_clock().start
    except RuntimeError:  # there is none here, say in a module that a test imports
        return VIRTUAL_START
