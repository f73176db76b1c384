"""The cache of a dispatcher: keeps a file up to date, or does nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Protocol

import trio

from .. import clock
from ..errors import DispatchError
from ..model.dispatch import Dispatch
from .cache_file import SavedState, load, save

__all__ = ["Cache", "FileCache", "NoCache", "read_cache"]

log = logging.getLogger("trio_dispatch.dispatcher.cache")

_INTERVAL = 1.0
_WRITE_AHEAD_TIMEOUT = 1.0
_LAST_WRITE_TIMEOUT = 5.0


class Cache(Protocol):
    """What the scheduler says to a cache."""

    def put(self, dispatch: Dispatch) -> None:
        """Keep a dispatch that is new or has changed; drop one that is deleted."""

    def drop(self, id_: int) -> None:
        """Drop an expired dispatch."""

    def touch(self) -> None:
        """Something was announced, or a pending orphan was delivered."""

    async def write_ahead(self, now: datetime) -> None:
        """Record that what is due by now has been announced, before it is."""

    async def run(self) -> None:
        """The caching task."""


class NoCache:
    """A cache that keeps nothing."""

    def put(self, dispatch: Dispatch) -> None: ...

    def drop(self, id_: int) -> None: ...

    def touch(self) -> None: ...

    async def write_ahead(self, now: datetime) -> None: ...

    async def run(self) -> None: ...


class FileCache:
    """A cache in a file.

    Args:
      running: Returns the ids of the dispatches that have to be stopped if the process dies.
    """

    def __init__(self, path: Path, microgrid_id: int, running: Callable[[], Iterable[int]]) -> None:
        self._path = path
        self._microgrid_id = microgrid_id
        self._running = running
        # What has not been written yet is encoded by the thread that writes.
        self._entries: dict[int, Dispatch | bytes] = {}
        self._stale = trio.Event()
        self._lock = trio.Lock()
        self._is_failing = False

    def put(self, dispatch: Dispatch) -> None:
        """Keep a dispatch that is new or has changed; drop one that is deleted."""
        if dispatch.deleted:
            self.drop(dispatch.id)
            return
        self._entries[dispatch.id] = dispatch
        self.touch()

    def drop(self, id_: int) -> None:
        """Drop an expired dispatch."""
        self._entries.pop(id_, None)
        self.touch()

    def touch(self) -> None:
        """Something was announced, or a pending orphan was delivered."""
        self._stale.set()

    async def write_ahead(self, now: datetime) -> None:
        """Record that what is due by now has been announced, before it is.

        A process that is killed in between announces it never, rather than twice.  A disk that
        hangs delays the announcement by a second at most.
        """
        with trio.move_on_after(_WRITE_AHEAD_TIMEOUT):
            await self._write(now, abandon_on_cancel=True)

    async def run(self) -> None:
        """Write the file when something has changed, at most once a second, and at the end."""
        try:
            while True:
                await self._stale.wait()
                await self._write(clock.now())
                await trio.sleep(_INTERVAL)
        finally:
            if self._stale.is_set():
                with trio.move_on_after(_LAST_WRITE_TIMEOUT, shield=True):
                    # A disk that hangs does not delay the end; the old file stays whole.
                    await self._write(clock.now(), abandon_on_cancel=True)

    async def _write(self, now: datetime, *, abandon_on_cancel: bool = False) -> None:
        async with self._lock:
            self._stale = trio.Event()
            entries = self._entries.copy()
            try:
                encoded = await clock.run_in_thread(
                    save,
                    self._path,
                    self._microgrid_id,
                    now,
                    entries,
                    self._running(),
                    abandon_on_cancel=abandon_on_cancel,
                )
            except OSError as exc:
                # It is tried again in a second, and reported once.
                if not self._is_failing:
                    log.error("the cache %s cannot be written: %s", self._path, exc)  # noqa: TRY400
                self._is_failing = True
                self._stale.set()
            except trio.Cancelled:
                self._stale.set()
                raise
            else:
                for id_, entry in encoded.items():
                    if self._entries.get(id_) is entries[id_]:
                        self._entries[id_] = entry
                self._is_failing = False


async def read_cache(path: Path, microgrid_id: int) -> SavedState | None:
    """Read the file of a cache; None if it does not exist.

    Raises:
      DispatchError: it cannot be read, or its folder does not exist.
    """
    try:
        return await clock.run_in_thread(load, path, microgrid_id)
    except OSError as exc:
        raise DispatchError(
            f"microgrid {microgrid_id}: the cache {path} cannot be used: {exc.strerror or exc}"
        ) from exc
