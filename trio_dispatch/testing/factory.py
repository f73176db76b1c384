"""Dispatches for tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ..clock import VIRTUAL_START
from ..dispatch import Dispatch
from ..targets import TargetIds

__all__ = ["make_dispatch"]


def make_dispatch(id: int = 1, **fields: Any) -> Dispatch:
    """A dispatch of which only what matters to a test need be said.

    Without anything said it is active, has the type ``"CHARGE"`` and the target component 1, starts
    when a virtual clock does, and runs for an hour.
    """
    defaults: dict[str, Any] = {
        "type": "CHARGE",
        "start_time": VIRTUAL_START,
        "duration": timedelta(hours=1),
        "target": TargetIds(1),
        "create_time": VIRTUAL_START - timedelta(days=1),
        "update_time": VIRTUAL_START - timedelta(days=1),
    }
    return Dispatch(id=id, **(defaults | fields))
