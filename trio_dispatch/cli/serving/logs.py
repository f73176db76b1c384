"""The log of a service: a line for each record, as text or as JSON, on stderr."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from ...text.safe import dump_json, printable

LogFormat: TypeAlias = Literal["text", "json"]


_OMITTED = ("_srcfile", "logThreads", "logMultiprocessing", "logProcesses", "logAsyncioTasks")


@contextmanager
def logging_to_stderr(format: LogFormat, *, verbose: bool) -> Iterator[None]:
    """Log to stderr within the block.

    Args:
      verbose: Whether to log at the level DEBUG, for this package only.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root, own = logging.getLogger(), logging.getLogger("trio_dispatch")
    before = root.level, own.level, root.handlers
    # What no line shows need not be found out for each record; see "Optimization" in Python's
    # documentation of logging.
    found = {name: value for name in _OMITTED if (value := getattr(logging, name, None))}
    vars(logging).update(dict.fromkeys(found))
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    own.setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        yield
    finally:
        root.level, own.level, root.handlers = before
        vars(logging).update(found)


_PRINTED = (str, int, float)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record that not every record has, and that are not None."""
    return {
        name: value if isinstance(value, _PRINTED) else str(value)
        for name, value in vars(record).items()
        if name not in _STANDARD and value is not None
    }


def _time(record: logging.LogRecord) -> str:
    second, rest = divmod(record.created, 1)
    return f"{_second(int(second))}.{int(rest * 1000):03}Z"


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"


class JsonFormatter(logging.Formatter):
    """An object with `time` (UTC), `level`, `logger`, `message` and the fields of the record."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return dump_json(line)


_PLAIN = re.compile('[^ "=]+')


class TextFormatter(logging.Formatter):
    """Time (UTC), level and message, then the fields as ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        # Control characters in a message must not look like another line, or reach a terminal.
        words = [_time(record), f"{record.levelname:7}", printable(record.getMessage())]
        for name, value in _fields(record).items():
            plain = not isinstance(value, str) or (_PLAIN.fullmatch(value) and value.isprintable())
            words.append(f"{name}={value if plain else dump_json(value)}")
        line = " ".join(words)
        if record.exc_info:
            line += "\n" + printable(self.formatException(record.exc_info), keep="\n")
        return line
