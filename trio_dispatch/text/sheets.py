"""CSV as spreadsheets write and read it.

Read are the separators ``,`` ``;`` and tab, names of columns in any case, rows that end early, and
booleans as ``TRUE``, ``yes`` or ``1``.  Written is what no spreadsheet changes: a target as
``1..3;7``, which is neither a number nor a date, and a text that would be a formula, a number or a
date with an apostrophe before it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model.dispatch import Dispatch
from ..model.formatting import format_target
from ..model.recurrence.rfc5545 import format_rrule
from ..model.target import TargetIds
from .records import FIELDS, record_of, unknown_key
from .safe import dump_json, load_json

IGNORED = ("comment", "note")
"""The columns that are for people only."""

PAYLOAD = "payload."
"""A column ``payload.KEY`` has the values of one key of the payload."""

_SEPARATORS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # Excel's
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_TEXTS = {"type", "name"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?=\D|$)", re.ASCII)
_DATE = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}( \d.*)?|\d{1,2}[-. ]+[^\W\d]{3,}.*|[^\W\d]{3,}[-. ]+\d{1,4}"
)
_TAKEN_FOR_SOMETHING_ELSE = re.compile(
    r"['=+\-@\t\r\d.,]|(true|false)$"
    r"|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ ./-]*\d",
    re.IGNORECASE,
)
_EXACT = 1 << 53  # Spreadsheets keep numbers as doubles.


@dataclass(slots=True)
class Row:
    """A record as it is in a file.

    Attributes:
      line: The number of its first line, from 1.
      record: The record, as in JSON; None if the row is no record at all.
      problems: What is wrong with the text of a field; of the whole, with an empty name.
      columns: In CSV, the number of the column of each field, from 1.
    """

    line: int
    record: Any
    problems: dict[str, str] = field(default_factory=dict)
    columns: Mapping[str, int] = field(default_factory=dict)


# Writing.


def write_cells(dispatch: Dispatch) -> str:
    """Return a dispatch as a line of CSV; a text may have line breaks within."""
    record = record_of(dispatch)
    # An empty cell stands for nothing; a target may be absent, or have no components.
    record["id"] = record["id"] if dispatch.id < _EXACT else f"#{dispatch.id}"
    record["type"] = _text_cell(dispatch.type)
    record["target"] = _target_cell(dispatch)
    record["duration"] = "forever" if dispatch.duration is None else record["duration"]
    record["payload"] = dump_json(record["payload"]) if record["payload"] else None
    if dispatch.recurrence is not None:
        try:
            record["recurrence"] = format_rrule(dispatch.recurrence)
        except ValueError:
            record["recurrence"] = dump_json(record["recurrence"])
    for name in ("active", "dry_run"):
        record[name] = dump_json(record[name])
    return csv_line("" if record[name] is None else record[name] for name in FIELDS)


def csv_line(cells: Iterable[Any]) -> str:
    """Return a line of CSV."""
    buffer = io.StringIO()
    # The writer quotes the characters of its line end: both are to be quoted in any cell.
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _text_cell(text: str) -> str:
    return f"'{text}" if _TAKEN_FOR_SOMETHING_ELSE.match(text) else text


def _target_cell(dispatch: Dispatch) -> str:
    if dispatch.target is None:
        return "none"
    text = format_target(dispatch.target).replace(",", ";") or "[]"
    if not isinstance(dispatch.target, TargetIds):
        return text
    text = text.replace("-", "..")
    return f"{text}..{text}" if text.isdigit() and int(text) >= _EXACT else text


# Reading.


def read_rows(text: str, known: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a file after its header, and the header itself if it is invalid.

    Args:
      known: The names of the columns, besides `IGNORED` and those that begin with `PAYLOAD`.
    """
    skipped = 0
    separator = None
    if match := _SEPARATOR_LINE.match(text):
        text, separator, skipped = text[match.end() :], match[1], 1
    separator = separator or _find_separator(text, known)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for row in reader:
            first, line = line + skipped, reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = [*map(_column_name, row)]
                if problems := _check_header(header, row, known):
                    yield Row(first, None, problems, {cell: n for n, cell in enumerate(row, 1)})
                    # So that no cell of these columns is wrong, too.
                    header = [IGNORED[0] if cell in problems else cell for cell in header]
            else:
                yield _read_row(first, header, row)
    except csv.Error as exc:
        yield Row(line + skipped, None, {"": f"invalid CSV: {exc}"})


def _find_separator(text: str, known: Sequence[str]) -> str:
    """The separator that gives the header the most known columns."""

    def count(separator: str) -> int:
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
            header = next((row for row in reader if any(cell.strip() for cell in row)), [])
        except csv.Error:
            return 0
        return sum(name in known or name in IGNORED for name in map(_column_name, header))

    return max(_SEPARATORS, key=count)


def _column_name(cell: str) -> str:
    name = cell.strip()
    if name.lower().startswith(PAYLOAD):
        return PAYLOAD + name[len(PAYLOAD) :].strip()
    return name.lower().replace(" ", "_")


def _check_header(
    header: Sequence[str], row: Sequence[str], known: Sequence[str]
) -> dict[str, str]:
    problems: dict[str, str] = {}
    for number, (name, cell) in enumerate(zip(header, row, strict=True)):
        if name in header[:number] and name and name not in IGNORED:
            problems[cell] = "this column is given twice"
        elif name and name not in known and name not in IGNORED and not _payload_key(name):
            problems[cell] = (
                f"{unknown_key(name, known).replace('key', 'column')}; name it comment or note to "
                "have it ignored"
            )
    return problems


def _payload_key(name: str) -> str:
    return name.removeprefix(PAYLOAD) if name.startswith(PAYLOAD) else ""


def _read_row(line: int, header: Sequence[str], cells: Sequence[str]) -> Row:
    row = Row(line, {}, {}, {name: n for n, name in enumerate(header, 1)})
    extra = [cell for n, cell in enumerate(cells) if n >= len(header) or not header[n]]
    if any(cell.strip() for cell in extra):
        row.problems[""] = (
            f"{len(cells)} cells, but the header names {len([*filter(None, header)])}"
        )
        row.record = None
        return row
    payload: dict[str, Any] = {}
    # Spreadsheets may leave out the empty cells at the end of a row.
    for name, cell in zip(header, cells, strict=False):
        if not name or name in IGNORED:
            continue
        try:
            if key := _payload_key(name):
                if cell.strip():
                    payload[key] = _payload_value(cell.strip())
            else:
                row.record |= _read_cell(name, cell)
        except ValueError as exc:
            row.problems[name] = str(exc)
    if payload and isinstance(row.record.setdefault("payload", {}), dict):
        row.record["payload"] |= payload
    return row


def _read_cell(name: str, cell: str) -> dict[str, Any]:
    """The key and value in JSON that a cell stands for; an empty cell stands for nothing."""
    text = cell.strip()
    if name in _TEXTS:
        plain = cell.removeprefix("'")
        return {name: plain} if name == "type" or plain else {}
    if not text:
        return {name: None} if name == "end_time" else {}
    if name in {"active", "dry_run"}:
        if text.lower() not in _WORDS:
            raise ValueError(f"{text!r} is not one of true, false, yes, no, 1, 0")
        return {name: _WORDS[text.lower()]}
    if name == "payload" or (name == "recurrence" and text.startswith("{")):
        return {name: _json(text)}
    if name == "target":
        if _DATE.fullmatch(text):
            raise ValueError(
                f"{text!r} is a date, which spreadsheets make of 1-3: write 1..3 or 1;2;3"
            )
        return {name: {"none": None, "[]": []}.get(text, text)}
    if name in {"id", "duration"}:
        if match := _DECIMAL_COMMA.match(text):
            raise ValueError(_decimal_comma(text, match[0]))
        number = text.removeprefix("#")
        return {name: int(number) if number.isascii() and number.isdigit() else text}
    return {name: text}


def _json(text: str) -> Any:
    try:
        return load_json(text)
    except ValueError as exc:
        if match := re.search(rf":\s*({_DECIMAL_COMMA.pattern})", text):
            raise ValueError(_decimal_comma(text, match[1])) from None
        raise ValueError(f"{text!r}: {exc}") from None


def _payload_value(text: str) -> Any:
    """A value of the payload: JSON, or else a text."""
    if _DECIMAL_COMMA.fullmatch(text):
        raise ValueError(_decimal_comma(text, text))
    word = text.lower()
    try:
        return load_json(word if word in {"true", "false"} else text)
    except ValueError:
        return text.removeprefix("'")


def _decimal_comma(text: str, number: str) -> str:
    return f"{text!r} has a decimal comma: write {number.replace(',', '.')}"
