"""Deadlines by Trio's clock, and `grpc-timeout`, how they travel."""

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
    """A moment of Trio's clock by which a call has to be over.

    It may be given to a stub or to `Channel.request` as ``deadline``.  (grpclib's own counts by
    the system's monotonic clock, which a `trio.testing.MockClock` does not move.)
    """

    @classmethod
    def at(cls, time: float) -> Deadline:
        """The deadline at a value of `trio.current_time`."""
        return cls(_timestamp=time)

    @classmethod
    def from_timeout(cls, timeout: float) -> Deadline:
        """The deadline so many seconds from now."""
        return cls(_timestamp=trio.current_time() + timeout)

    @property
    def time(self) -> float:
        """This deadline as a value of `trio.current_time`."""
        return self._timestamp

    def time_remaining(self) -> float:
        """The seconds until then, 0 if it has passed."""
        return max(0.0, self._timestamp - trio.current_time())


def earliest_deadline(timeout: float | None, deadline: grpclib.metadata.Deadline | None) -> float:
    """The earlier of both on Trio's clock, `math.inf` if there is neither."""
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

    Rounded up, to the finest unit of which the time has at most eight digits: the other side must
    not give up before we do.  A time that is over, as in a scope that was cancelled, is the least
    that can be said.
    """
    seconds = max(seconds, 0.0)
    for unit, size in _UNITS.items():
        # A float is a little off, which must not count as a begun unit.
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
                raise ValueError(f"malformed grpc-timeout {value!r}")
            return int(match[1]) * _UNITS[match[2]]
    return None
