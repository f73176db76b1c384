"""A measure of work that does not depend on how busy the machine is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

__all__ = ["Count", "calls", "counting"]


@dataclass
class Count:
    """The number of function calls so far."""

    calls: int = 0


@contextmanager
def counting() -> Iterator[Count]:
    """Count the function calls that Python makes in this thread in the block."""
    found = Count()

    def count(_frame: FrameType, event: str, _arg: object) -> None:
        found.calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield found
    finally:
        sys.setprofile(before)


def calls(function: Callable[..., object], *args: object) -> int:
    """Return the number of function calls that Python makes in one."""
    with counting() as found:
        function(*args)
    return found.calls
