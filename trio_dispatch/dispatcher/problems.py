"""Tells of dispatches that never run because their rules make no sense."""

from __future__ import annotations

import logging

from ..model.dispatch import Dispatch

log = logging.getLogger("trio_dispatch.dispatcher")


class Problems:
    """Logs what is wrong with a dispatch, once."""

    def __init__(self, microgrid_id: int) -> None:
        self._microgrid_id = microgrid_id
        self._told: dict[int, str] = {}

    def look_at(self, dispatch: Dispatch) -> None:
        """A dispatch is new, or its content has changed."""
        problem = None if dispatch.recurrence is None else dispatch.recurrence.problem
        if problem is None:
            self.forget(dispatch)
        elif self._told.get(dispatch.id) != problem:
            self._told[dispatch.id] = problem
            log.warning(
                "microgrid %d, dispatch %d never runs: %s", self._microgrid_id, dispatch.id, problem
            )

    def forget(self, dispatch: Dispatch) -> None:
        """A dispatch is gone."""
        self._told.pop(dispatch.id, None)
