"""The journal of an import: what was created, so that an interrupted import can be resumed.

Theory of operation.  The lines of a file are created one by one, in order.  The journal is a file
with a JSON object per line, which only grows.  It begins with a heading, which says which import it
belongs to.  Each attempt then adds a mark, the outcome of each line that it tries (an id or a
refusal), and a mark when it has tried them all.  The disk is waited for after each block of
outcomes.  So whatever happens, to the process or the machine, the lines that an attempt may have
created without an outcome in the journal are few: the first block of those that it has not
answered.  The next attempt looks for them at the service.  Dispatches that the service had before
the import do not count: the heading lists them.

Two things cannot be known of these few lines: whether an equal dispatch is somebody else's, which
would be taken for ours; and what became of a dispatch that somebody has changed or deleted since,
which would be created once more.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

FORMAT = "trio-dispatch import journal 2"


class JournalError(ValueError):
    """A journal cannot be used for this import; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Heading:
    """The import that a journal belongs to.

    Attributes:
      microgrid, url: Where the dispatches are created.
      digest: The digest of the file.
      present: The ids of equal dispatches that existed before the import.
    """

    microgrid: int
    url: str
    digest: str
    present: tuple[int, ...] = ()

    def check(self, found: Heading, path: Path) -> None:
        """Compare it with the heading of an existing journal.

        Raises:
          JournalError: the journal belongs to another import.
        """
        if found.digest != self.digest:
            problem = "the file has changed since"
        elif found.microgrid != self.microgrid:
            problem = f"it was into microgrid {found.microgrid}, not {self.microgrid}"
        elif found.url != self.url:
            problem = f"it was at {found.url}, not {self.url}"
        else:
            return
        raise JournalError(
            f"{path} belongs to another import: {problem}; give another --journal, or remove this "
            "one to start again"
        )


class Journal:
    """An open journal: ``with Journal(path) as journal``.  Methods that wait for the disk say so.

    Args:
      block: The number of outcomes after which the disk must be waited for, see `sync`.

    Attributes:
      heading: The import that it belongs to; None if it is new.
      created: The ids of what was created, by line.

    Raises:
      JournalError: the file is not a journal, or another process uses it.
      OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path, *, block: int = 50) -> None:
        self.path = path
        self.heading: Heading | None = None
        self.created: dict[int, int] = {}
        self._block = block
        self._answered: set[int] = set()  # the lines with an outcome in the latest attempt
        self._attempting = False  # the latest attempt has not ended
        self._unsynced = 0
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError:
            self._file.close()
            raise JournalError(f"{path} is in use: the same import is running") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def doubtful(self, lines: Iterable[int]) -> list[int]:
        """Return those of the import's lines that may have been created without an outcome."""
        if not self._attempting:
            return []
        known = self.created.keys() | self._answered
        return [line for line in lines if line not in known][: self._block]

    def begin(self, heading: Heading | None = None) -> None:
        """Begin an attempt.  Waits for the disk.

        Args:
          heading: The heading of a new journal.
        """
        if heading is not None:
            self._write({"format": FORMAT, **asdict(heading)})
        self._write({"attempt": "begins"})
        self.sync()
        if heading is not None:  # the name of a new file must survive, too
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def end(self) -> None:
        """End an attempt that has tried all lines.  Waits for the disk."""
        self._write({"attempt": "ended"})
        self.sync()

    def add_created(self, line: int, id_: int) -> None:
        """Add that a line was created."""
        self._write({"line": line, "id": id_})

    def add_refused(self, line: int, reason: str) -> None:
        """Add that the service refused a line."""
        self._write({"line": line, "refused": reason})

    @property
    def must_sync(self) -> bool:
        """Whether `sync` must be called before a further line is created."""
        return self._unsynced >= self._block

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        os.fsync(self._file.fileno())
        self._unsynced = 0

    def _write(self, record: dict[str, Any]) -> None:
        self._take(record)
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()
        self._unsynced += 1

    def _read(self) -> None:
        self._file.seek(0)
        data = self._file.read()
        # A line that was being written when the process died is dropped.
        whole = data.rfind(b"\n") + 1
        self._file.truncate(whole)
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise JournalError(
                    f"{self.path} is not the journal of an import: line {number} is invalid; give "
                    "another --journal"
                ) from None

    def _take(self, record: dict[str, Any]) -> None:
        match record:
            case {"format": format, **heading} if self.heading is None:
                if format != FORMAT:
                    raise ValueError(format)
                heading["present"] = tuple(map(int, heading["present"]))
                self.heading = Heading(**heading)
            case {"attempt": state} if self.heading is not None:
                self._attempting = state == "begins"
                self._answered.clear()
            case {"line": int(line), "id": int(id_)} if self.heading is not None:
                self.created[line] = id_
            case {"line": int(line), "refused": str()} if self.heading is not None:
                self._answered.add(line)
            case _:
                raise ValueError(record)
