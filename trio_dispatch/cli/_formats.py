"""Files of dispatches: JSON, an object a line, or CSV with a heading."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Literal, get_args

from ..model.dispatch import Dispatch
from ..model.recurrence.rfc5545 import format_rrule
from ._records import FIELDS, read_record, record_of
from ._targets import format_target

__all__ = ["Entry", "Format", "format_of", "read_entries", "write_heading", "write_row"]

Format = Literal["jsonl", "csv"]

_MOST_PROBLEMS = 10


def format_of(name: str) -> Format:
    """The format of a file of this name; of what does not end in .csv, JSON."""
    return "csv" if name.lower().endswith(".csv") else "jsonl"


assert set(get_args(Format)) == {"jsonl", "csv"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A dispatch in a file.

    Attributes:
      line: The number of its line, or for CSV of its first one.
    """

    line: int
    dispatch: Dispatch


# Writing.


def write_heading(format: Format) -> str:
    """What comes before the first dispatch."""
    return _csv_line(FIELDS) if format == "csv" else ""


def write_row(dispatch: Dispatch, format: Format) -> str:
    """A dispatch as a line; in CSV a text may have breaks of lines within."""
    record = record_of(dispatch)
    if format == "jsonl":
        return f"{json.dumps(record, ensure_ascii=False)}\n"
    # An empty cell says nothing; a target may be none, or one of no components.
    record["target"] = "none" if dispatch.target is None else format_target(dispatch.target) or "[]"
    record["duration"] = "forever" if dispatch.duration is None else record["duration"]
    record["payload"] = _json(record["payload"]) if record["payload"] else None
    if dispatch.recurrence is not None:
        try:
            record["recurrence"] = format_rrule(dispatch.recurrence)
        except ValueError:
            record["recurrence"] = _json(record["recurrence"])
    for name in ("active", "dry_run"):
        record[name] = _json(record[name])
    return _csv_line(["" if record[name] is None else record[name] for name in FIELDS])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _csv_line(cells: Any) -> str:
    buffer = io.StringIO()
    # It quotes the characters that end its lines; both are to be, wherever they are.
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


# Reading.


def read_entries(text: str, format: Format, *, zone: tzinfo, whole: bool = False) -> list[Entry]:
    """The dispatches of a file.

    Args:
      zone: Of times that name none.
      whole: They have to have ids and times of their own, as in an export.

    Raises:
      ValueError: something in it makes no sense; the message names the lines.
    """
    entries: list[Entry] = []
    problems: list[str] = []
    records = _csv_records(text) if format == "csv" else _json_records(text)
    for line, record in records:
        try:
            if isinstance(record, ValueError):
                raise record
            entries.append(Entry(line, read_record(record, zone=zone, whole=whole)))
        except ValueError as exc:
            problems.append(f"line {line}: {exc}")
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        shown = problems[:_MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise ValueError("; ".join(shown))
    return entries


def _json_records(text: str) -> Iterator[tuple[int, Any]]:
    # Not splitlines: it splits at characters that JSON allows within strings.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as exc:
            yield number, ValueError(f"it is no JSON: {exc.msg} at column {exc.colno}")
        except RecursionError:
            yield number, ValueError("it is nested too deeply")


def _csv_records(text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    heading: list[str] | None = None
    line = 1
    try:
        for row in reader:
            first, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if heading is None:
                heading = [cell.strip() for cell in row]
                continue
            if len(row) != len(heading):
                yield first, ValueError(f"it has {len(row)} cells, the heading {len(heading)}")
                continue
            try:
                yield first, _from_cells(dict(zip(heading, row, strict=True)))
            except ValueError as exc:
                yield first, exc
    except csv.Error as exc:
        yield line, ValueError(f"it is no CSV: {exc}")


def _from_cells(cells: Mapping[str, str]) -> dict[str, Any]:
    """The object of JSON that a row of cells stands for; an empty cell says nothing."""
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
            record[name] = _from_json(name, text)
        elif name == "target":
            record[name] = {"none": None, "[]": []}.get(text, text)
        elif name in {"id", "duration"} and text.isascii() and text.isdigit():
            record[name] = int(text)
        else:
            record[name] = text
    return record


def _from_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as exc:
        raise ValueError(f"{name}: {text!r} is no JSON: {exc}") from None
