"""The log of calls that are refused as unauthenticated.

It says which part was wrong, which the caller is never told.  Anyone can cause such calls, so the
log is limited: a caller cannot fill the disk with it, or hide what is wrong with somebody else's.
"""

from __future__ import annotations

import logging
from collections import Counter
from enum import Enum
from typing import Final

import trio

__all__ = ["Fault", "FaultLog"]

log = logging.getLogger("trio_dispatch.service.auth")

_BURST: Final = 5
_PERIOD: Final = 60.0
"""Each kind of fault has a burst of five lines, then one a minute."""


class Fault(Enum):
    """What is wrong with the authentication of a call."""

    NO_KEY = "no key"
    UNKNOWN_KEY = "unknown key"
    NO_SIGNATURE = "no signature"
    BAD_SIGNATURE = "bad signature"
    TIMESTAMP = "timestamp"
    """It is no number, or more than 300 seconds from the clock of the service."""
    NONCE = "invalid nonce"
    REPLAY = "replay"
    """The signature was used before, or it may have been, see `auth`."""


class FaultLog:
    """Counts calls that are refused, and logs them at a limited rate.

    Attributes:
      refused: How many calls were refused for each fault.
    """

    def __init__(self) -> None:
        self.refused: Counter[Fault] = Counter()
        self._limits: dict[Fault, _Limit] = {}

    def note(self, fault: Fault, *, method: str, peer: str, key_name: str | None) -> None:
        """A call was refused.

        Args:
          key_name: The name of the key, if it is known.
        """
        self.refused[fault] += 1
        omitted = self._limits.setdefault(fault, _Limit()).take()
        if omitted is not None:
            log.warning(
                "unauthenticated: %s",
                fault.value,
                extra={
                    "method": method.rpartition("/")[2],
                    "peer": peer,
                    "key": key_name,
                    "omitted": omitted or None,
                },
            )


class _Limit:
    """A token bucket that counts what it holds back."""

    def __init__(self) -> None:
        self._tokens = float(_BURST)
        self._filled = trio.current_time()
        self._omitted = 0

    def take(self) -> int | None:
        """Return how many were held back before this one; None if this one is held back, too."""
        now = trio.current_time()
        self._tokens = min(_BURST, self._tokens + (now - self._filled) / _PERIOD)
        self._filled = now
        if self._tokens < 1:
            self._omitted += 1
            return None
        self._tokens -= 1
        omitted, self._omitted = self._omitted, 0
        return omitted
