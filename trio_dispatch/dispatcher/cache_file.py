"""The file of a cache: the last known dispatches, and which of them were announced as running.

The file has one line of JSON, with the microgrid, the time, the ids of the running dispatches and a
checksum of the rest; the rest is one `ListMicrogridDispatchesResponse` of the API.  Its last
dispatches are what actors still act on with a content that is no longer current.  The file is
written under another name, flushed to the disk, and moved over the old one: whatever happens to
the process or the machine, a reader finds the old file or the new one, whole.  The checksum is for
what no rename can prevent: a disk that fails, as memory cards do.  Most changed bytes would still
decode, and a battery would run with a wrong power until the service is back.
"""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ..client.pages import decode_page, encode_page
from ..model.dispatch import Dispatch
from .journal import discard_journal, read_journal
from .private_files import open_private

__all__ = ["SavedState", "free_name", "load", "save"]

log = logging.getLogger("trio_dispatch.dispatcher.cache")

_FORMAT = "trio-dispatch cache 1"


@dataclass(frozen=True, slots=True)
class SavedState:
    """What was known of a microgrid when its cache was written.

    Attributes:
      saved: The moment up to which everything due had been announced, in UTC.
      dispatches: The dispatches that existed.
      running: The ids of those that were announced as running, and of pending orphans.
      acted_on: Those of them that actors acted on, with the content that is known.
      driven: What actors acted on besides, with that content.
      sequence: The sequence number of the last entry in the journal, or in the file.
    """

    saved: datetime
    dispatches: tuple[Dispatch, ...]
    running: frozenset[int]
    acted_on: frozenset[int] = frozenset()
    driven: tuple[Dispatch, ...] = ()
    sequence: int = 0

    def left_on(self) -> Iterator[Dispatch]:
        """Iterate over what actors acted on; a dispatch may have had several contents."""
        yield from (each for each in self.dispatches if each.id in self.acted_on)
        yield from self.driven

    def left_running(self) -> Iterator[Dispatch]:
        """Iterate over what was running, whether or not actors acted on it."""
        yield from (each for each in self.dispatches if each.id in self.running)
        yield from self.driven


def save(
    path: Path,
    microgrid_id: int,
    saved: datetime,
    entries: Mapping[int, Dispatch | bytes],
    running: Iterable[int],
    acted_on: Iterable[int] = (),
    driven: Iterable[Dispatch] = (),
    sequence: int = 0,
) -> dict[int, bytes]:
    """Write the file.  Blocks on the disk: call it in a thread.

    Args:
      entries: The dispatches by id, those that were written before as bytes.
      running, acted_on, driven: See `SavedState`.
      sequence: That of the last entry of the journal that the file includes.

    Returns:
      All entries as bytes.

    Raises:
      OSError: it cannot be written; the old file is unchanged.
    """
    encoded = {
        id_: encode_page([entry]) if isinstance(entry, Dispatch) else entry
        for id_, entry in entries.items()
    }
    # Concatenated, messages of one type are one message.
    actual = [encode_page([dispatch]) for dispatch in driven]
    body = b"".join([*encoded.values(), *actual])
    header = {
        "format": _FORMAT,
        "microgrid_id": microgrid_id,
        "saved": saved.isoformat(),
        "running": sorted(running),
        "acted_on": sorted(acted_on),
        "driven": len(actual),
        "sequence": sequence,
        "crc32": zlib.crc32(body),
    }
    new = path.with_name(f".{path.name}.new")
    try:
        with open_private(new, "wb") as file:
            file.write(json.dumps(header).encode() + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
    return encoded


def load(path: Path, microgrid_id: int) -> SavedState | None:
    """Read the file and its journal; None if there is no file.

    Blocks on the disk: call it in a thread.  A file that cannot be used is renamed, and a warning
    logged.

    Raises:
      OSError: it cannot be read, or its folder does not exist.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise FileNotFoundError(
                errno.ENOENT, f"the folder {path.parent} does not exist"
            ) from None
        discard_journal(path)
        return None
    try:
        state = _parse(data, microgrid_id)
    except ValueError as exc:
        renamed = free_name(path)
        path.replace(renamed)
        discard_journal(path)
        log.warning("the cache %s cannot be used and is now %s: %s", path, renamed.name, exc)
        return None
    for sequence, driven in read_journal(path):
        if sequence > state.sequence:
            state = replace(state, driven=(*state.driven, *driven), sequence=sequence)
    return state


def free_name(path: Path) -> Path:
    """Return a name that is not in use, for a file that cannot be used."""
    names = (path.with_name(f"{path.name}.bad{number or ''}") for number in itertools.count())
    return next(name for name in names if not name.exists())


def _parse(data: bytes, microgrid_id: int) -> SavedState:
    line, _, body = data.partition(b"\n")
    try:
        header = json.loads(line)
        if header["format"] != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT!r}")
        found, crc = header["microgrid_id"], header["crc32"]
        saved = datetime.fromisoformat(header["saved"])
        running = frozenset(map(int, header["running"]))
        acted_on = frozenset(map(int, header["acted_on"]))
        driven, sequence = int(header["driven"]), int(header["sequence"])
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise ValueError(f"it is not a cache: {exc!r}") from exc
    if found != microgrid_id:
        raise ValueError(f"it is of microgrid {found}, not {microgrid_id}")
    if zlib.crc32(body) != crc:
        raise ValueError("it is damaged: its checksum is wrong")
    try:
        page = decode_page(body)
    except ValueError as exc:
        raise ValueError(f"it is damaged: {exc}") from exc
    known = len(page.dispatches) - driven
    dispatches, others = page.dispatches[:known], page.dispatches[known:]
    return SavedState(saved, dispatches, running, acted_on, others, sequence)
