"""The journal of a cache: what actors were given since the file of the cache was written.

The file has every dispatch, and is written once a second at most.  An actor cannot wait for that,
and must not switch a component on that nothing would switch off if the process died.  So what it is
given is appended here first.  Each entry has a sequence number; the file says which entries it
includes, so that the two need not be written at the same moment.

An entry survives the death of the process.  It is not flushed to the disk, which would take long:
the file is, at most a second later.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..client.pages import decode_page, encode_page
from ..model.dispatch import Dispatch
from .private_files import open_private

__all__ = ["Journal", "discard_journal", "read_journal"]


class Journal:
    """Writes the journal of a cache.  Its methods block on the disk: call them in a thread."""

    def __init__(self, cache: Path) -> None:
        self._path = _path_of(cache)
        self._lock = threading.Lock()
        self._entries: dict[int, bytes] = {}

    def append(self, sequence: int, dispatches: Iterable[Dispatch]) -> None:
        """Append an entry.

        Raises:
          OSError: it cannot be written.
        """
        body = encode_page(dispatches)
        header = {"sequence": sequence, "length": len(body), "crc32": zlib.crc32(body)}
        entry = json.dumps(header).encode() + b"\n" + body
        with self._lock:
            self._entries[sequence] = entry
            with open_private(self._path, "ab") as file:
                file.write(entry)

    def trim(self, sequence: int) -> None:
        """Remove the entries up to a sequence number.

        Raises:
          OSError: the journal cannot be written; it is unchanged.
        """
        with self._lock:
            entries = {at: entry for at, entry in self._entries.items() if at > sequence}
            if entries:
                new = self._path.with_name(f".{self._path.name}.new")
                with open_private(new, "wb") as file:
                    file.writelines(entries.values())
                new.replace(self._path)
            else:
                self._path.unlink(missing_ok=True)
            self._entries = entries


def read_journal(cache: Path) -> Iterator[tuple[int, tuple[Dispatch, ...]]]:
    """Yield the entries, each with its sequence number, up to one that was not written to its end.

    Blocks on the disk.

    Raises:
      OSError: the journal cannot be read.
    """
    try:
        data = _path_of(cache).read_bytes()
    except FileNotFoundError:
        return
    while data:
        line, _, rest = data.partition(b"\n")
        try:
            header = json.loads(line)
            sequence, length, crc = header["sequence"], header["length"], header["crc32"]
            body, data = rest[:length], rest[length:]
            if zlib.crc32(body) != crc:
                return
            yield sequence, decode_page(body).dispatches
        except (ValueError, KeyError, TypeError):
            return


def discard_journal(cache: Path) -> None:
    """Remove the journal of a cache that cannot be used."""
    _path_of(cache).unlink(missing_ok=True)


def _path_of(cache: Path) -> Path:
    return cache.with_name(f"{cache.name}.journal")
