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
    """Make a dispatch from the fields that matter to a test.

    By default it is active, has the type ``"CHARGE"`` and the target component 1, starts at the
    start of the virtual clock (`VirtualClock.start`), runs for an hour, and was created a day
    before it starts.

    Ids are not counted up: give each dispatch an id.  `LocalService.put` replaces a dispatch with
    the same id.

    Args:
      id: The dispatch's id.
      fields: Other fields of `trio_dispatch.Dispatch`.

    Raises:
      ValueError: the value of a field is invalid.
      TypeError: a field is unknown.
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
    except RuntimeError:  # outside of a Trio run with a MockClock
        return VIRTUAL_START
