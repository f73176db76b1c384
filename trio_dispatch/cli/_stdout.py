"""Stdout, which whoever reads it may read slowly, or not to its end."""

from __future__ import annotations

import os
import stat
import sys
from typing import TextIO

import trio

from .. import clock

__all__ = ["end_with_reader", "write"]


async def write(text: str) -> None:
    """Write to stdout.  A checkpoint; whoever reads slowly holds up nothing else.

    When cancelled, it returns at once; the text may come out in whole, in part or not at all.

    Raises:
      BrokenPipeError: whoever read has gone.
    """
    await clock.run_in_thread(_write, sys.stdout, text, abandon_on_cancel=True)


def _write(out: TextIO, text: str) -> None:
    out.write(text)
    out.flush()


async def end_with_reader() -> None:
    """Notice at once when whoever reads from the pipe has gone; return if it is no pipe.

    Raises:
      BrokenPipeError: they have.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return
    # Nobody ever writes to us there: it becomes readable when the other end is closed.
    await trio.lowlevel.wait_readable(descriptor)
    raise BrokenPipeError
