"""Warnings about dispatches that never run because their recurrence rules are invalid."""

from __future__ import annotations

import logging

from ..model.dispatch import Dispatch

__all__ = ["RuleProblems"]

log = logging.getLogger("trio_dispatch.dispatcher")


class RuleProblems:
    """Logs what is wrong with the rule of a dispatch, once."""

    def __init__(self, microgrid_id: int) -> None:
        self._microgrid_id = microgrid_id
        self._logged: dict[int, str] = {}

    def check(self, dispatch: Dispatch) -> None:
        """Check a dispatch that is new or has changed."""
        problem = None if dispatch.recurrence is None else dispatch.recurrence.problem
        if problem is None:
            self.forget(dispatch.id)
        elif self._logged.get(dispatch.id) != problem:
            self._logged[dispatch.id] = problem
            log.warning(
                "microgrid %d, dispatch %d never runs: %s", self._microgrid_id, dispatch.id, problem
            )

    def forget(self, id_: int) -> None:
        """Forget a dispatch that is deleted or has expired."""
        self._logged.pop(id_, None)
