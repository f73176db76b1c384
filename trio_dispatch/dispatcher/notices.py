"""What an agenda yields: what is to be announced, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from ..model.dispatch import Dispatch
from ..model.events import MissedRun


class NoticeKind(IntEnum):
    """What a notice tells, in the order in which notices of the same moment are given."""

    START = 0
    """A run or a pulse begins, or what runs has changed."""

    STOP = 1
    """A run is over."""

    AMEND = 2
    """Nothing is to be told, but what still waits to be read is to be read with this content."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to be announced.

    Attributes:
      moment: When it came to be; the notices of one moment are ordered by kind, then by id.
      message: The dispatch as it is to be sent, or what was missed.
    """

    moment: datetime
    kind: NoticeKind
    message: Dispatch | MissedRun

    @property
    def order(self) -> tuple[datetime, NoticeKind, int]:
        """The key by which notices from several changes are sorted."""
        message = self.message
        id_ = message.id if isinstance(message, Dispatch) else message.dispatch.id
        return self.moment, self.kind, id_
