"""How runs end."""

from __future__ import annotations

from datetime import datetime

from .dispatch import Dispatch
from .runs import ReportKind, StopReason

__all__ = ["ending_of"]


def ending_of(
    start: datetime, until: datetime | None, message: Dispatch, moment: datetime
) -> tuple[ReportKind, StopReason | None]:
    """Return how a run has ended, from the status message that ended it.

    Args:
      start: The occurrence.
      until: When the run was due to end; None if it had no end.
      message: The status message.
      moment: When the message was sent for, in UTC.
    """
    if until is not None and until <= moment:
        return ReportKind.COMPLETED, None
    if message.deleted:
        return ReportKind.STOPPED, StopReason.DELETED
    if not message.active:
        return ReportKind.STOPPED, StopReason.DEACTIVATED
    if message.halted:
        return ReportKind.STOPPED, StopReason.OFFLINE
    # A further occurrence may have started, although this one is not over.
    is_replaced = message.run_at(moment) not in {None, start}
    if is_replaced and message.last_start(start) == start and message.end_of(start) == until:
        return ReportKind.COMPLETED, None
    return ReportKind.STOPPED, StopReason.CHANGED
