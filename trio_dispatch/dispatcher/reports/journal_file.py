"""The file of a dispatcher's reports: a journal that grows, and is rewritten when it is mostly old.

The file is a sequence of records: the state of the queue, and the reports.  Each has its length and
a checksum.  The last state says which of the reports still wait; those before it are kept only if
their run has not ended.  Records are appended and flushed to the disk before a report is delivered.

A process or machine that dies leaves at most an incomplete record at the end.  What is incomplete
was not delivered; its sequence numbers are skipped all the same.  Any other damage makes the file
useless: which reports were delivered, and which numbers were used, is then unknown.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import uuid4

from ...client.reports import decode_report, encode_report
from ...model.runs import RunReport
from ..cache_file import free_name
from ..private_files import open_private
from .open_runs import RunTable

__all__ = ["JournalState", "SavedReports", "append", "load", "rewrite"]

log = logging.getLogger("trio_dispatch.dispatcher.reports")

_FORMAT = "trio-dispatch reports 1"
_HEAD = struct.Struct(">cII")  # the kind of the record, its length and its checksum
_STATE, _REPORT = b"S", b"R"
_SKIPPED_NUMBERS = 1_000_000
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class JournalState:
    """The state of a queue.

    Attributes:
      microgrid_id, dispatcher: The microgrid, and the name of the dispatcher.
      reporter: The identity of the queue: what its sequence numbers belong to.
      first: The sequence number of the first report that waits, or of the next one.
      next: The sequence number of the next report.
      lost: How many reports were dropped because too many were waiting.
    """

    microgrid_id: int
    dispatcher: str
    reporter: str = field(default_factory=lambda: uuid4().hex)
    first: int = 1
    next: int = 1
    lost: int = 0


@dataclass(frozen=True, slots=True)
class SavedReports:
    """What a journal had.

    Attributes:
      state: The last state.
      waiting: The reports that wait, in order.
      open_runs: The last report about each run that goes on, or may go on, in order.
    """

    state: JournalState
    waiting: Iterable[RunReport] = ()
    open_runs: Iterable[RunReport] = ()


def load(path: Path, microgrid_id: int, dispatcher: str) -> SavedReports:
    """Read the file.  Blocks on the disk: call it in a thread.

    If there is no file, the reports begin with a new identity; likewise if it cannot be used: then
    it is renamed, and a warning logged.

    Raises:
      OSError: it cannot be read or renamed.
    """
    begin = SavedReports(JournalState(microgrid_id, dispatcher))
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return begin
    try:
        return _parse(data, begin.state)
    except ValueError as exc:
        renamed = free_name(path)
        path.replace(renamed)
        log.warning("the reports %s cannot be used and are now %s: %s", path, renamed.name, exc)
        return begin


def append(path: Path, reports: Iterable[RunReport], state: JournalState) -> None:
    """Append reports and the state, and flush them to the disk.

    Blocks on the disk: call it in a thread.

    Raises:
      OSError: it cannot be written; the file may end with an incomplete record, so `rewrite` it.
    """
    with open_private(path, "ab") as file:
        file.write(b"".join(_records(reports, state)))
        file.flush()
        os.fsync(file.fileno())


def rewrite(path: Path, reports: Iterable[RunReport], state: JournalState) -> None:
    """Replace the file by one that has these reports and the state.

    Blocks on the disk: call it in a thread.

    Raises:
      OSError: it cannot be written; the old file is unchanged.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        with open_private(new, "wb") as file:
            file.writelines(_records(reports, state))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        _flush_folder(path.parent)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise


def _records(reports: Iterable[RunReport], state: JournalState) -> Iterator[bytes]:
    # The state comes first, so that a file without a whole state is no journal.
    yield _record(_STATE, json.dumps({"format": _FORMAT, **asdict(state)}).encode())
    for report in reports:
        yield _record(_REPORT, encode_report(report))


def _record(kind: bytes, body: bytes) -> bytes:
    return _HEAD.pack(kind, len(body), zlib.crc32(body)) + body


def _flush_folder(folder: Path) -> None:
    """Flush a rename: otherwise, if the power fails, numbers that were used would be used again."""
    with suppress(OSError):  # not every system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _parse(data: bytes, expected: JournalState) -> SavedReports:
    state: JournalState | None = None
    reports: deque[RunReport] = deque()
    table = RunTable()
    last = end = 0
    for kind, body in _split(data):
        end += _HEAD.size + len(body)
        if kind == _STATE:
            state = _parse_state(body, expected)
            while reports and reports[0].sequence < state.first:
                reports.popleft()
        elif kind == _REPORT and state is not None:
            report = decode_report(body)
            # A write that was abandoned may have ended after the next one.
            if report.sequence <= last:
                continue
            last = report.sequence
            table.take(report)
            if last >= state.first:
                reports.append(report)
        else:
            raise ValueError("the file is not a journal of reports")
    if state is None:
        raise ValueError("the file is not a journal of reports")
    table.tidy_all()
    following = max(state.next, last + 1)
    if end < len(data):
        log.warning("the last %d bytes of the reports are incomplete", len(data) - end)
        following += _SKIPPED_NUMBERS
    first = reports[0].sequence if reports else following
    return SavedReports(
        JournalState(
            state.microgrid_id, state.dispatcher, state.reporter, first, following, state.lost
        ),
        reports,
        sorted(table, key=lambda report: report.sequence),
    )


def _parse_state(body: bytes, expected: JournalState) -> JournalState:
    try:
        fields = json.loads(body)
        if fields.pop("format") != _FORMAT:
            raise ValueError(f"the format is not {_FORMAT!r}")
        state = JournalState(**fields)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"the file is not a journal of reports: {exc!r}") from exc
    if state.microgrid_id != expected.microgrid_id:
        raise ValueError(f"they are of microgrid {state.microgrid_id}, not {expected.microgrid_id}")
    if state.dispatcher != expected.dispatcher:
        raise ValueError(
            f"they are of dispatcher {state.dispatcher!r}, not {expected.dispatcher!r}"
        )
    return state


def _split(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the body of each record, up to one that is incomplete.

    Raises:
      ValueError: a record is damaged.
    """
    at = 0
    # Some file systems fill up with zeros what was not written.
    written = len(data.rstrip(b"\0"))
    while len(data) - at >= _HEAD.size and at < written:
        kind, length, crc = _HEAD.unpack_from(data, at)
        begin, end = at + _HEAD.size, at + _HEAD.size + length
        body = data[begin:end]
        if end > len(data):
            return
        if not body or zlib.crc32(body) != crc:
            if end >= written:
                return
            raise ValueError("they are damaged: a checksum is wrong")
        yield kind, body
        at = end
