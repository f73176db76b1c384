"""Deadlines by Trio's clock, and the `grpc-timeout` header."""

from __future__ import annotations

import math
import re

import grpclib.metadata
import trio

from ._metadata import Headers

_UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "S": 1.0, "M": 60.0, "H": 3600.0}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_MAX_VALUE = 99_999_999


class Deadline(grpclib.metadata.Deadline):
    """A time of Trio's clock by which a call has to end.

    Pass it to a stub or to `Channel.request` as ``deadline``.  (grpclib's own deadlines count by
    the system's monotonic clock, which a `trio.testing.MockClock` does not move.)
    """

    @classmethod
    def at(cls, time: float) -> Deadline:
        """The deadline at a value of `trio.current_time`."""
        return cls(_timestamp=time)

    @classmethod
    def from_timeout(cls, timeout: float) -> Deadline:
        """The deadline this number of seconds from now."""
        return cls(_timestamp=trio.current_time() + timeout)

    @property
    def time(self) -> float:
        """This deadline as a value of `trio.current_time`."""
        return self._timestamp

    def time_remaining(self) -> float:
        """The seconds until the deadline, 0 if it has passed."""
        return max(0.0, self._timestamp - trio.current_time())


def earliest_deadline(timeout: float | None, deadline: grpclib.metadata.Deadline | None) -> float:
    """The earlier of both on Trio's clock, `math.inf` if both are None."""
    time = math.inf
    if timeout is not None:
        time = trio.current_time() + timeout
    if isinstance(deadline, Deadline):
        time = min(time, deadline.time)
    elif deadline is not None:
        time = min(time, trio.current_time() + deadline.time_remaining())
    return time


def encode_timeout(seconds: float) -> str:
    """The value of a `grpc-timeout` header.

    Rounded up, in the finest unit that takes at most eight digits: the other side must not give up
    before we do.  A deadline that has passed, as in a cancelled scope, becomes one nanosecond.
    """
    seconds = max(seconds, 0.0)
    for unit, size in _UNITS.items():
        # The rounding error of a float must not add a unit.
        count = math.ceil(round(seconds / size, 3))
        if count <= _MAX_VALUE:
            return f"{max(count, 1)}{unit}"
    return f"{_MAX_VALUE}H"


def decode_timeout(headers: Headers) -> float | None:
    """The seconds that a request's `grpc-timeout` allows, None if it has none.

    Raises:
      ValueError: the header is malformed.
    """
    for name, value in headers:
        if name == "grpc-timeout":
            match = _TIMEOUT.fullmatch(value)
            if match is None:
                raise ValueError(f"invalid grpc-timeout {value[:100]!r}")
            return int(match[1]) * _UNITS[match[2]]
    return None
