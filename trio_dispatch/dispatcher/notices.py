"""What an agenda yields: the messages to be announced, and their order."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from ..model.dispatch import Dispatch
from ..model.events import MissedRun

__all__ = ["Notice", "NoticeKind"]


class NoticeKind(IntEnum):
    """What a notice says, in the order in which notices of the same moment are given."""

    START = 0
    """A run or a pulse starts, or a running dispatch has changed."""

    STOP = 1
    """A run has ended, or a dispatch was withdrawn after its pulse."""

    MISSED = 2
    """A run or a pulse was not announced, and no longer will be."""

    REPLACE = 3
    """Nothing to announce; a message that is still queued takes this content."""


class Notice(NamedTuple):
    """A message to be announced.

    Attributes:
      moment: When it happened; notices of the same moment are ordered by kind, then by id.
      message: The dispatch as it is to be sent, or the missed run.
    """

    moment: datetime
    kind: NoticeKind
    message: Dispatch | MissedRun

    @property
    def order(self) -> tuple[datetime, NoticeKind, int]:
        """The key that sorts notices from several changes."""
        message = self.message
        id_ = message.id if isinstance(message, Dispatch) else message.dispatch.id
        return self.moment, self.kind, id_
