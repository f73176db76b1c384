"""Counts of calls, for statistics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class CallCounts:
    """How the calls of a channel or a server have ended, and what went with them."""

    started: int = 0
    succeeded: int = 0
    failed: int = 0
    refused: int = 0
    repeated: int = 0
    messages_sent: int = 0
    messages_received: int = 0

    @property
    def running(self) -> int:
        return self.started - self.succeeded - self.failed

    def ended(self, *, succeeded: bool) -> None:
        if succeeded:
            self.succeeded += 1
        else:
            self.failed += 1
