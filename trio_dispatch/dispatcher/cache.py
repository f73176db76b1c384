"""The cache of a dispatcher: keeps a file up to date, or does nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from .. import clock
from ..actors.messages import what_is_on
from ..errors import DispatchError
from ..model.dispatch import Dispatch
from .cache_file import SavedState, load, save
from .file_writes import FileWrites
from .journal import Journal
from .pending_orphans import LeftOn

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

    async def record(self, driven: Iterable[Dispatch]) -> None:
        """Record what actors are about to act on, before they do."""

    async def run(self) -> None:
        """The caching task."""


class NoCache:
    """A cache that keeps nothing."""

    def put(self, dispatch: Dispatch) -> None: ...

    def drop(self, id_: int) -> None: ...

    def touch(self) -> None: ...

    async def write_ahead(self, now: datetime) -> None: ...

    async def record(self, driven: Iterable[Dispatch]) -> None: ...

    async def run(self) -> None: ...


class FileCache:
    """A cache in a file, with a journal beside it.

    Args:
      saved: What was read from the file.
      left_on: Returns what has to be stopped if the process dies.
    """

    def __init__(
        self,
        path: Path,
        microgrid_id: int,
        saved: SavedState | None,
        left_on: Callable[[], LeftOn],
    ) -> None:
        self._path = path
        self._microgrid_id = microgrid_id
        self._left_on = left_on
        # What has not been written yet is encoded by the thread that writes.
        self._entries: dict[int, Dispatch | bytes] = {}
        # A file is written in any case, so that the next start needs no service.
        self._stale = trio.Event()
        self._stale.set()
        self._lock = trio.Lock()
        self._writes = FileWrites()
        self._is_failing = False
        self._journal = Journal(path)
        self._sequence = 0 if saved is None else saved.sequence
        # A journal of an earlier process, or one that could not be written, may end in the middle
        # of an entry.  Nothing can be appended before the file is written and it is trimmed.
        self._can_append = False
        # What actors act on according to the file or the journal, and since which entry; the file
        # that is being written has what was recorded up to an entry, if it goes on.
        self._recorded: dict[Hashable, int] = {}
        self._being_written = -1
        # A disk that hangs keeps one thread.
        self._appending = trio.CapacityLimiter(1)

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

    async def record(self, driven: Iterable[Dispatch]) -> None:
        """Record what actors are about to act on, before they do.

        Nothing is written for what was recorded before, as for another payload.  A disk that hangs
        delays the actors by a second at most.
        """
        new = {
            key: each
            for each in driven
            if self._recorded.get(key := what_is_on(each), -1) <= self._being_written
        }
        if not new:
            return
        with trio.move_on_after(_WRITE_AHEAD_TIMEOUT):
            if not self._can_append:
                # What actors are about to act on is included.
                await self._write(clock.now(), abandon_on_cancel=True)
                return
            self._sequence += 1
            sequence = self._sequence
            try:
                await clock.run_in_thread(
                    self._journal.append,
                    sequence,
                    list(new.values()),
                    limiter=self._appending,
                    abandon_on_cancel=True,
                )
            except OSError as exc:
                self._failed(exc)
            else:
                self._recorded |= dict.fromkeys(new, sequence)

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
            if self._stale.is_set():
                # Else the task waits for this event, and would miss what sets another one.
                self._stale = trio.Event()
            entries = self._entries.copy()
            left_on = self._left_on()
            sequence = self._being_written = self._sequence
            try:
                encoded, recorded = await self._writes.run(
                    partial(self._save, now, entries, left_on, sequence),
                    abandon_on_cancel=abandon_on_cancel,
                )
            except OSError as exc:
                self._failed(exc)
            except trio.Cancelled:
                self._stale.set()
                raise
            else:
                for id_, entry in encoded.items():
                    if self._entries.get(id_) is entries[id_]:
                        self._entries[id_] = entry
                later = {key: at for key, at in self._recorded.items() if at > sequence}
                self._recorded = dict.fromkeys(recorded, sequence) | later
                self._can_append = True
                self._is_failing = False
            finally:
                self._being_written = -1

    def _save(
        self,
        now: datetime,
        entries: Mapping[int, Dispatch | bytes],
        left_on: LeftOn,
        sequence: int,
    ) -> tuple[dict[int, bytes], set[Hashable]]:
        running = {what_is_on(each): each.id for each in left_on.running}
        driven = {what_is_on(each): each for each in left_on.driven}
        encoded = save(
            self._path,
            self._microgrid_id,
            now,
            entries,
            running.values(),
            [id_ for key, id_ in running.items() if key in driven],
            [each for key, each in driven.items() if key not in running],
            sequence,
        )
        self._journal.trim(sequence)
        return encoded, set(driven)

    def _failed(self, error: OSError) -> None:
        # It is tried again in a second, and reported once.
        if not self._is_failing:
            log.error("the cache %s cannot be written: %s", self._path, error)
        self._is_failing = True
        self._can_append = False
        self._stale.set()


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
