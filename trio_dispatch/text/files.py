"""Files of dispatches: JSON, one object per line; CSV with a header; or TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, tzinfo
from typing import Any, Literal, NamedTuple, TypeVar

from ..model.dispatch import Dispatch
from ..model.formatting import format_duration, format_target
from ..model.recurrence.rfc5545 import format_rrule
from .records import COMPUTED, FIELDS, InvalidRecordError, format_json_time, read_record, record_of
from .safe import dump_json, load_json
from .sheets import IGNORED, Row, csv_line, read_rows, write_cells

FileFormat = Literal["jsonl", "csv", "toml"]

TABLE = "dispatch"
"""The name of a dispatch's table in TOML: ``[[dispatch]]``."""

_JSON_COLUMN = re.compile(r"(.*) at column (\d+)", re.DOTALL)
_TOML_PLACE = re.compile(r"(.*) \(at line (\d+), column (\d+)\)", re.DOTALL)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TOML_TABLE = re.compile(rf"\s*\[\[\s*{TABLE}\s*\]\]")
_T = TypeVar("_T")


def format_of(name: str) -> FileFormat:
    """Return the format of a file by its name: CSV or TOML by its ending, else JSON."""
    ending = name.lower().rpartition(".")[2]
    return "csv" if ending == "csv" else "toml" if ending == "toml" else "jsonl"


class InvalidFileError(ValueError):
    """A file has invalid values.

    Attributes:
      problems: A line about each, with its place.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# Writing.


def write_header(format: FileFormat, microgrid: int, types: Collection[str] = ()) -> str:
    """Return what comes before the first dispatch.

    Args:
      types: The types that a file in TOML speaks for, also if it has no dispatch of them.
    """
    if format == "csv":
        return csv_line(FIELDS)
    if format == "jsonl":
        return ""
    return _table({"microgrid": microgrid} | ({"types": sorted(types)} if types else {}))


def write_row(dispatch: Dispatch, format: FileFormat) -> str:
    """Return a dispatch as a line; in TOML as a table."""
    if format == "csv":
        return write_cells(dispatch)
    if format == "jsonl":
        return f"{dump_json(record_of(dispatch))}\n"
    created = format_json_time(dispatch.create_time)
    return f"\n[[{TABLE}]]\n{write_table(dispatch)}create_time = {_toml(created)}\n"


def write_table(dispatch: Dispatch) -> str:
    """Return the id of a dispatch, and all that can be set, as the content of a table in TOML."""
    record = record_of(dispatch)
    content = {name: record[name] for name in FIELDS[: FIELDS.index("create_time")]}
    content["duration"] = format_duration(dispatch.duration)
    content["target"] = "none" if dispatch.target is None else format_target(dispatch.target) or []
    if dispatch.recurrence is None:
        del content["recurrence"]
    else:
        try:
            content["recurrence"] = format_rrule(dispatch.recurrence)
        except ValueError:
            content["recurrence"] = dump_json(record["recurrence"])
    if not content["payload"]:
        del content["payload"]
    elif _has_null(content["payload"]):  # which TOML cannot express
        content["payload"] = dump_json(content["payload"])
    return _table(content)


def _table(content: Mapping[str, Any]) -> str:
    return "".join(f"{_toml_key(name)} = {_toml(value)}\n" for name, value in content.items())


def _toml(value: Any) -> str:
    """Return a value in TOML, on one line."""
    match value:
        case dict():
            items = (f"{_toml_key(key)} = {_toml(item)}" for key, item in value.items())
            return f"{{{', '.join(items)}}}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case str():
            # As in JSON, except that a character beyond U+FFFF is one escape in TOML.
            return "".join(
                f"\\U{ord(char):08x}"
                if char > "\uffff" and not char.isprintable()
                else dump_json(char)[1:-1]
                for char in value
            ).join('""')
    return dump_json(value)


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml(key)


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    return any(map(_has_null, value)) if isinstance(value, list) else value is None


# Reading.


class File(NamedTuple):
    """The content of a file.

    Attributes:
      heading: What a file in TOML says besides its dispatches.
      rows: The records.
    """

    heading: Mapping[str, Any]
    rows: Sequence[Row]


def read_file(text: str, format: FileFormat, name: str, known: Sequence[str]) -> File:
    """Return the records in a text.

    Args:
      name: The name of the file.
      known: The keys of a record.

    Raises:
      InvalidFileError: the text is not in this format at all.
    """
    if format == "toml":
        return _read_toml(text, name)
    return File({}, [*(read_rows(text, known) if format == "csv" else _read_json(text))])


def _read_json(text: str) -> Iterator[Row]:
    # Not splitlines, which splits at characters that JSON allows within strings.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                record = load_json(line)
            except ValueError as exc:
                match = _JSON_COLUMN.fullmatch(str(exc))
                columns = {"": int(match[2])} if match else {}
                yield Row(number, None, {"": match[1] if match else str(exc)}, columns)
                continue
            if isinstance(record, dict):
                record = {key: each for key, each in record.items() if key not in IGNORED}
            yield Row(number, record)


def _read_toml(text: str, name: str) -> File:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        match = _TOML_PLACE.fullmatch(str(exc))
        place, problem = (f":{match[2]}:{match[3]}", match[1]) if match else ("", str(exc))
        raise InvalidFileError([f"{name}{place}: invalid TOML: {problem}"]) from None
    except RecursionError:
        raise InvalidFileError([f"{name}: invalid TOML: it is nested too deeply"]) from None
    tables = content.pop(TABLE, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InvalidFileError([f"{name}: {TABLE}: not a list of tables: write [[{TABLE}]]"])
    lines = [n for n, line in enumerate(text.split("\n"), 1) if _TOML_TABLE.match(line)]
    if len(lines) != len(tables):  # some are written in another way
        lines = [0] * len(tables)
    return File(content, [*map(_read_table, lines, tables)])


def _read_table(line: int, table: dict[str, Any]) -> Row:
    row = Row(line, {key: _plain(value) for key, value in table.items() if key != "payload"})
    if row.record.get("target") == "none":
        row.record["target"] = None
    payload = table.get("payload", {})
    try:
        row.record["payload"] = load_json(payload) if isinstance(payload, str) else payload
    except ValueError as exc:
        row.problems["payload"] = f"{payload!r}: {exc}"
    if isinstance(rule := row.record.get("recurrence"), str) and rule.startswith("{"):
        try:
            row.record["recurrence"] = load_json(rule)
        except ValueError as exc:
            row.problems["recurrence"] = f"{rule!r}: {exc}"
    return row


def _plain(value: Any) -> Any:
    """Return a value of TOML with times as texts, as they are in JSON."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [*map(_plain, value)] if isinstance(value, list) else value


def read_each(name: str, rows: Iterable[Row], read: Callable[[Row, str], _T]) -> list[_T]:
    """Return what a function makes of each row and its place.

    Args:
      name: The name of the file.
      read: May raise a ValueError, or add to the problems of the row.

    Raises:
      InvalidFileError: there are problems with rows.
    """
    found: list[_T] = []
    problems: list[str] = []
    for number, row in enumerate(rows, 1):
        try:
            found.append(_read_row(row, place(name, row, number).rstrip(" :"), read))
        except InvalidRecordError as exc:
            for key, text in exc.problems.items():
                problems.append(f"{place(name, row, number, key)}{text}")
    if problems:
        raise InvalidFileError(problems)
    return found


def _read_row(row: Row, where: str, read: Callable[[Row, str], _T]) -> _T:
    problems: Mapping[str, str] = {}
    if row.record is not None:
        try:
            result = read(row, where)
        except InvalidRecordError as exc:
            problems = exc.problems
        except ValueError as exc:
            problems = {"": str(exc)}
        else:
            if not row.problems:
                return result
    # What is wrong with the text of a field comes before what that makes of the record.
    both = {**problems, **row.problems}
    raise InvalidRecordError(
        dict(sorted(both.items(), key=lambda item: row.columns.get(item[0], 0)))
    )


def place(name: str, row: Row, number: int, key: str = "") -> str:
    """Return where a value is, before what is wrong with it: ``plan.csv:3:5: duration: ``."""
    line = f":{row.line}" if row.line else ""
    column = f":{row.columns[key]}" if key in row.columns else ""
    entry = row.record.get("name") if isinstance(row.record, dict) else None
    which = f" {entry!r}:" if isinstance(entry, str) else "" if line else f" {TABLE} {number}:"
    return f"{name}{line}{column}:{which}{f' {key}:' if key else ''} "


def read_table(text: str, *, zone: tzinfo) -> Dispatch:
    """Return the dispatch in a text that `write_table` has written and a person has edited.

    Raises:
      InvalidFileError: values are invalid; the message names them.
    """
    file = _read_toml(f"[[{TABLE}]]\n{text}", "TOML")
    try:
        return _read_row(file.rows[0], "", lambda row, _: read_record(row.record, zone=zone))
    except InvalidRecordError as exc:
        raise InvalidFileError([f"{key}: {each}" for key, each in exc.problems.items()]) from None


def read_copies(text: str, format: FileFormat, name: str, *, zone: tzinfo) -> list[Dispatch]:
    """Return the dispatches of an export, with ids and times of the service.

    Raises:
      InvalidFileError: values are missing or invalid; the message names them and their places.
    """

    def read(row: Row, _: str) -> Dispatch:
        return read_record(row.record, zone=zone, copy=True)

    return read_each(name, read_file(text, format, name, (*FIELDS, *COMPUTED)).rows, read)
