"""The last known dispatches in a file, for a start without the service.

The file is one line of JSON, which says whose dispatches follow, which of them were last announced
as running, and how to tell whether the rest is whole; and then one
`ListMicrogridDispatchesResponse` of the API.  It is written beside its place, brought onto the
disk, and moved over the old one, so that whoever reads it finds the old or the new one, whole.
"""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import trio

from .. import clock
from ..client.pages import decode_page, encode_page
from ..errors import DispatchError
from ..model.dispatch import Dispatch

__all__ = ["CacheKeeper", "Known", "load", "recall"]

log = logging.getLogger("trio_dispatch.dispatcher.cache")

_FORMAT = "trio-dispatch cache 1"
_INTERVAL = 1.0
_GRACE = 5.0


@dataclass(frozen=True, slots=True)
class Known:
    """What was known of a microgrid when the cache was written.

    Attributes:
      saved: When that was, in UTC.
      dispatches: What existed.
      running: The ids of those that were last announced as running, or that an earlier process had
        left running and nobody was told to stop.
    """

    saved: datetime
    dispatches: tuple[Dispatch, ...]
    running: frozenset[int]

    def left_running(self) -> Iterator[Dispatch]:
        """Those of `running` that still existed."""
        return (each for each in self.dispatches if each.id in self.running)


class CacheKeeper:
    """Keeps the file up to date.

    Args:
      running: Gives the ids of what is to be stopped, should the process die.
    """

    def __init__(self, path: Path, microgrid_id: int, running: Callable[[], Iterable[int]]) -> None:
        self._path = path
        self._microgrid_id = microgrid_id
        self._running = running
        # What has not been written yet is encoded by the thread that writes.
        self._entries: dict[int, Dispatch | bytes] = {}
        self._stale = trio.Event()
        self._failing = False

    def put(self, dispatch: Dispatch) -> None:
        """A dispatch is new, or has changed, or is deleted."""
        if dispatch.deleted:
            self.drop(dispatch.id)
            return
        self._entries[dispatch.id] = dispatch
        self.touch()

    def drop(self, id_: int) -> None:
        """A dispatch is no longer known."""
        self._entries.pop(id_, None)
        self.touch()

    def touch(self) -> None:
        """What was announced as running may have changed."""
        self._stale.set()

    async def run(self) -> None:
        """Write the file when something has changed, at most once a second; and in the end."""
        try:
            while True:
                await self._stale.wait()
                await self._write()
                await trio.sleep(_INTERVAL)
        finally:
            if self._stale.is_set():
                with trio.move_on_after(_GRACE, shield=True):
                    # A disk that hangs does not keep us; the old file is whole until then.
                    await self._write(abandon_on_cancel=True)

    async def _write(self, *, abandon_on_cancel: bool = False) -> None:
        self._stale = trio.Event()
        entries = self._entries.copy()
        try:
            encoded = await clock.run_in_thread(
                _save,
                self._path,
                self._microgrid_id,
                clock.now(),
                entries,
                self._running(),
                abandon_on_cancel=abandon_on_cancel,
            )
            for id_, entry in encoded.items():
                if self._entries.get(id_) is entries[id_]:
                    self._entries[id_] = entry
            self._failing = False
        except OSError as exc:
            # It is tried again in a second; to tell it once is enough.
            if not self._failing:
                log.error("the cache %s cannot be written: %s", self._path, exc)  # noqa: TRY400
            self._failing = True
            self._stale.set()
        except trio.Cancelled:
            self._stale.set()
            raise


def _save(
    path: Path,
    microgrid_id: int,
    saved: datetime,
    entries: Mapping[int, Dispatch | bytes],
    running: Iterable[int],
) -> dict[int, bytes]:
    """Write the file, and return what was not yet encoded, encoded.  It waits for the disk.

    Raises:
      OSError: it cannot be written; the old one is as it was.
    """
    # Concatenated, messages of one type are one message.
    encoded = {
        id_: encode_page([entry]) for id_, entry in entries.items() if isinstance(entry, Dispatch)
    }
    body = b"".join({**entries, **encoded}.values())  # type: ignore[arg-type]
    header = {
        "format": _FORMAT,
        "microgrid_id": microgrid_id,
        "saved": saved.isoformat(),
        "running": sorted(running),
        "length": len(body),
        "crc32": zlib.crc32(body),
    }
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            file.write(json.dumps(header).encode() + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
    return encoded


async def recall(path: Path, microgrid_id: int) -> Known | None:
    """What the file has, if there is one.

    Raises:
      DispatchError: it cannot be read, or its folder does not exist.
    """
    try:
        return await clock.run_in_thread(load, path, microgrid_id)
    except OSError as exc:
        raise DispatchError(
            f"microgrid {microgrid_id}: the cache {path} cannot be used: {exc.strerror or exc}"
        ) from exc


def load(path: Path, microgrid_id: int) -> Known | None:
    """Read the file, if there is one.  It waits for the disk: call it in a thread.

    One that cannot be used is set aside, under a name that the log tells.

    Raises:
      OSError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, f"there is no folder {path.parent}") from None
        return None
    try:
        return _parse(data, microgrid_id)
    except ValueError as exc:
        aside = _free(path)
        path.replace(aside)
        log.warning("the cache %s cannot be used and is now %s: %s", path, aside.name, exc)
        return None


def _free(path: Path) -> Path:
    """A name beside the cache's that nothing has yet."""
    names = (path.with_name(f"{path.name}.bad{number or ''}") for number in itertools.count())
    return next(name for name in names if not name.exists())


def _parse(data: bytes, microgrid_id: int) -> Known:
    line, newline, body = data.partition(b"\n")
    try:
        header: Mapping[str, Any] = json.loads(line)
        if not newline or header["format"] != _FORMAT:
            raise ValueError("it is no cache of this version")
        found, length, crc = header["microgrid_id"], header["length"], header["crc32"]
        saved = datetime.fromisoformat(header["saved"])
        running = frozenset(map(int, header["running"]))
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise ValueError(f"it is no cache: {exc!r}") from exc
    if found != microgrid_id:
        raise ValueError(f"it is of microgrid {found}, not {microgrid_id}")
    if len(body) != length or zlib.crc32(body) != crc:
        raise ValueError("it is damaged")
    try:
        page = decode_page(body)
    except ValueError as exc:
        raise ValueError(f"it is damaged: {exc}") from exc
    return Known(saved, page.dispatches, running)
