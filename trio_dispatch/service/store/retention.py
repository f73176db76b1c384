"""How long a store keeps runs and changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

__all__ = ["DEFAULT_RETENTION", "TRIMMED_AT_ONCE", "Retention"]

TRIMMED_AT_ONCE: Final = 200
"""A store removes this many entries at a time, so that no other work waits long."""

_NANOS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long a store keeps runs and changes.

    What exceeds either limit is removed when more is written, a little at a time.

    Attributes:
      run_age: Runs are kept for this long after their last report, and while they last.
      runs: This many runs are kept, of all microgrids: the latest, by their first reports.
      change_age: Changes are kept for this long.
      changes: This many changes are kept, of all microgrids: the latest.

    Raises:
      ValueError: a limit is not positive.
    """

    run_age: timedelta = timedelta(days=400)
    runs: int = 1_000_000
    change_age: timedelta = timedelta(days=400)
    changes: int = 1_000_000

    def __post_init__(self) -> None:
        for name in ("run_age", "change_age"):
            age = getattr(self, name)
            if not isinstance(age, timedelta) or age <= timedelta():
                raise ValueError(f"{name} {age!r} is not a positive timedelta")
        for name in ("runs", "changes"):
            number = getattr(self, name)
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"{name} {number!r} is not an integer from 1 on")

    def oldest_run(self, now: int) -> int:
        """Return the time before which the last report of a run makes it too old."""
        return now - _nanos(self.run_age)

    def oldest_change(self, now: int) -> int:
        """Return the time before which changes are too old."""
        return now - _nanos(self.change_age)


DEFAULT_RETENTION: Final = Retention()


def _nanos(age: timedelta) -> int:
    return age // timedelta(microseconds=1) * _NANOS
