"""How far something long has come, on stderr, if that is a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

import trio

__all__ = ["Progress"]

_LEAST = 0.1


class Progress:
    """Shows how far something has come: ``with Progress("listed") as progress``.

    It writes at most ten times a second, and wipes what it wrote in the end.

    Args:
      shown: Whether to show anything; by default, if stderr is a terminal.
    """

    def __init__(self, what: str, *, shown: bool | None = None) -> None:
        self._what = what
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._latest = 0.0

    def __enter__(self) -> Self:
        self._latest = trio.current_time()
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self.clear()

    def update(self, done: int, total: int) -> None:
        """Say that so many are done."""
        now = trio.current_time()
        if self._shown and now - self._latest >= _LEAST:
            self._latest = now
            share = f" ({done * 100 // total} %)" if total else ""
            sys.stderr.write(f"\r\x1b[K{done:,} of {total:,} {self._what}{share}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Wipe the line, so that something else can be written there."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
