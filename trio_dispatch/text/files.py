"""The text of files of dispatches: JSON, one object per line, or CSV with a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import tzinfo
from typing import Any, Literal, NamedTuple

from ..model.dispatch import Dispatch
from ..model.formatting import format_target
from ..model.recurrence.rfc5545 import format_rrule
from .records import FIELDS, read_record, record_of
from .safe import dump_json, load_json

FileFormat = Literal["jsonl", "csv"]

_MAX_PROBLEMS = 10


def format_of(name: str) -> FileFormat:
    """Return the format of a file by its name: CSV if it ends with .csv, else JSON."""
    return "csv" if name.lower().endswith(".csv") else "jsonl"


class Entry(NamedTuple):
    """A dispatch in a file, and the number of its first line."""

    line: int
    dispatch: Dispatch


# Writing.


def write_header(format: FileFormat) -> str:
    """Return what comes before the first dispatch."""
    return _csv_line(FIELDS) if format == "csv" else ""


def write_row(dispatch: Dispatch, format: FileFormat) -> str:
    """Return a dispatch as a line; in CSV a text may have line breaks within."""
    record = record_of(dispatch)
    if format == "jsonl":
        return f"{dump_json(record)}\n"
    # An empty cell stands for nothing; a target may be absent, or have no components.
    record["target"] = "none" if dispatch.target is None else format_target(dispatch.target) or "[]"
    record["duration"] = "forever" if dispatch.duration is None else record["duration"]
    record["payload"] = dump_json(record["payload"]) if record["payload"] else None
    if dispatch.recurrence is not None:
        try:
            record["recurrence"] = format_rrule(dispatch.recurrence)
        except ValueError:
            record["recurrence"] = dump_json(record["recurrence"])
    for name in ("active", "dry_run"):
        record[name] = dump_json(record[name])
    return _csv_line("" if record[name] is None else record[name] for name in FIELDS)


def _csv_line(cells: Iterable[Any]) -> str:
    buffer = io.StringIO()
    # The writer quotes the characters of its line end: both are to be quoted in any cell.
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


# Reading.


def read_entries(text: str, format: FileFormat, *, zone: tzinfo, copy: bool = False) -> list[Entry]:
    """Return the dispatches of a file.

    Args:
      zone: The zone of times that name none.
      copy: Whether the dispatches need ids and times of the service, as in an export.

    Raises:
      ValueError: lines are invalid; the message names them.
    """
    entries: list[Entry] = []
    problems: list[str] = []
    for line, record in _csv_records(text) if format == "csv" else _json_records(text):
        try:
            if isinstance(record, ValueError):
                raise record
            entries.append(Entry(line, read_record(record, zone=zone, copy=copy)))
        except ValueError as exc:
            problems.append(f"line {line}: {exc}")
    if len(problems) > _MAX_PROBLEMS:
        problems[_MAX_PROBLEMS:] = [f"and {len(problems) - _MAX_PROBLEMS} more"]
    if problems:
        raise ValueError("; ".join(problems))
    return entries


def _json_records(text: str) -> Iterator[tuple[int, object]]:
    # Not splitlines, which splits at characters that JSON allows within strings.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, load_json(line)
            except ValueError as exc:
                yield number, exc


def _csv_records(text: str) -> Iterator[tuple[int, object]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for row in reader:
            first, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = [cell.strip() for cell in row]
            elif len(row) != len(header):
                yield first, ValueError(f"{len(row)} cells, but the header has {len(header)}")
            else:
                try:
                    yield first, _from_cells(dict(zip(header, row, strict=True)))
                except ValueError as exc:
                    yield first, exc
    except csv.Error as exc:
        yield line, ValueError(f"invalid CSV: {exc}")


def _from_cells(cells: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object that a row stands for; an empty cell stands for nothing."""
    record: dict[str, Any] = {}
    for name, cell in cells.items():
        text = cell.strip()
        if name == "type":
            record[name] = cell
        elif not text:
            if name == "end_time":
                record[name] = None
        elif name in {"payload", "active", "dry_run"} or (
            name == "recurrence" and text.startswith("{")
        ):
            try:
                record[name] = load_json(text)
            except ValueError as exc:
                raise ValueError(f"{name}: {text!r}: {exc}") from None
        elif name == "target":
            record[name] = {"none": None, "[]": []}.get(text, text)
        elif name in {"id", "duration"} and text.isascii() and text.isdigit():
            record[name] = int(text)
        else:
            record[name] = text
    return record
