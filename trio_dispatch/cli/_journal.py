"""What an import has done so far, beside its input, so that one that was stopped can go on.

Theory of operation.  The journal is a file of JSON, an object a line, that only grows: first a
heading that says which import it is of, then by turns an *intent*, the lines of the input that are
to be created next, and an *outcome* for each of these.  An intent is on the disk before the first
of its dispatches is asked for, and with it every outcome before.  So whatever happens, also to the
machine, a dispatch that was created without an outcome being kept is one of the last intent, or was
lost with the end of the file: of every line that is intended and without an outcome it has to be
found out from the service.  What the service had before the import began does not count: the
heading names it.  Two things cannot be told: whether a dispatch that says the same is someone
else's, and what a dispatch in doubt said that someone has changed or deleted since.  The first
would be taken for ours, the second created once more; both only among the lines of an intent.

This module only reads and writes the file; `_import` asks the service.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

__all__ = ["BLOCK", "Heading", "Journal", "JournalError"]

FORMAT = "trio-dispatch import journal 1"
BLOCK = 50
"""How many dispatches an intent is about: the disk is waited for once in so many."""


class JournalError(ValueError):
    """A journal cannot be used for this import; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Heading:
    """Which import a journal is of.

    Attributes:
      microgrid: The id of the microgrid.
      url: Where the service is.
      digest: The digest of the input.
      present: The ids that were there before, of dispatches that say the same as one of the input.
    """

    microgrid: int
    url: str
    digest: str
    present: tuple[int, ...] = ()

    def check(self, found: Heading, path: Path) -> None:
        """
        Raises:
          JournalError: the journal that was found is of another import.
        """
        what = None
        if found.digest != self.digest:
            what = "the file has been changed since"
        elif found.microgrid != self.microgrid:
            what = f"that one was into microgrid {found.microgrid}, not {self.microgrid}"
        elif found.url != self.url:
            what = f"that one was at {found.url}, not {self.url}"
        if what is not None:
            raise JournalError(
                f"{path} is of another import: {what}; give another --journal, or remove this one "
                "to begin anew"
            )


@dataclass(slots=True)
class Journal:
    """A journal that is open: ``with Journal.open(path) as journal``.

    Attributes:
      heading: Which import it is of; None if it is new.
      created: The ids of what was created, by line.
      refused: Why the service refused lines.
    """

    path: Path
    heading: Heading | None = None
    created: dict[int, int] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    _intended: dict[int, None] = field(default_factory=dict)
    _file: IO[bytes] | None = None

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Read a journal, or make one, for this process alone.

        Raises:
          JournalError: it is none, or another process has it.
          OSError: it cannot be read or written.
        """
        file = path.open("a+b")
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise JournalError(f"{path} is in use: the same import runs already") from None
            journal = cls(path, _file=file)
            file.seek(0)
            journal._read(file.read())
        except BaseException:
            file.close()
            raise
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def doubtful(self) -> list[int]:
        """The lines that may have been created without an outcome being kept."""
        return [
            line for line in self._intended if line not in self.created and line not in self.refused
        ]

    def begin(self, heading: Heading) -> None:
        """Write the heading of a new journal.  It waits for the disk."""
        self.heading = heading
        self._write({"format": FORMAT, **asdict(heading)}, sync=True)
        # The name of a new file, too, is to survive.
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def intend(self, lines: Sequence[int]) -> None:
        """Say that these lines are to be created next.  It waits for the disk."""
        for line in lines:
            self.refused.pop(line, None)
            self._intended[line] = None
        self._write({"intent": [*lines]}, sync=True)

    def note_created(self, line: int, id_: int) -> None:
        """Say that a line was created."""
        self.created[line] = id_
        self._write({"line": line, "id": id_})

    def note_refused(self, line: int, reason: str) -> None:
        """Say that the service refused a line, which therefore was not created."""
        self.refused[line] = reason
        self._write({"line": line, "refused": reason})

    def note_absent(self, lines: Collection[int]) -> None:
        """Say that it has been found out that these lines were not created."""
        for line in lines:
            self._intended.pop(line, None)
        self._write({"absent": [*lines]}, sync=True)

    def _write(self, record: dict[str, Any], *, sync: bool = False) -> None:
        assert self._file is not None
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()
        if sync:
            os.fsync(self._file.fileno())

    def _read(self, data: bytes) -> None:
        assert self._file is not None
        # What was being written when the process died says nothing, and is written over.
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            self._file.truncate(whole)
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as exc:
                raise JournalError(
                    f"{self.path} is no journal of an import: line {number} makes no sense "
                    f"({exc}); give another --journal"
                ) from None

    def _take(self, record: dict[str, Any]) -> None:
        if self.heading is None:
            if record["format"] != FORMAT:
                raise ValueError("another format")
            present = tuple(map(int, record["present"]))
            heading = Heading(record["microgrid"], record["url"], record["digest"], present)
            self.heading = heading
        elif "intent" in record:
            for line in record["intent"]:
                self.refused.pop(line, None)
                self._intended[line] = None
        elif "absent" in record:
            for line in record["absent"]:
                self._intended.pop(line, None)
        elif "id" in record:
            self.created[record["line"]] = record["id"]
        else:
            self.refused[record["line"]] = record["refused"]
