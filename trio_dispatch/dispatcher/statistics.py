"""What a dispatcher has done, for whoever has to find out at night."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DispatcherStatistics"]


@dataclass(frozen=True, slots=True)
class DispatcherStatistics:
    """What a dispatcher has done.

    Attributes:
      dispatches: How many are known.
      announced: How many status messages were published.
      missed: How many runs were missed.
      undecodable: How many dispatches that came over the wire made no sense.
      lateness: How late the last scheduled message was, in seconds.
      worst_lateness: How late any was that was not missed, in seconds.
    """

    dispatches: int
    announced: int
    missed: int
    undecodable: int
    lateness: float
    worst_lateness: float
