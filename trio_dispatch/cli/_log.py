"""How a service logs: one line for each record, as text or as JSON, on stderr."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

__all__ = ["JsonFormatter", "LogFormat", "TextFormatter", "logging_to_stderr"]

LogFormat: TypeAlias = Literal["text", "json"]


@contextmanager
def logging_to_stderr(format: LogFormat, *, verbose: bool) -> Iterator[None]:
    """Log to stderr for as long as the block lasts.

    Args:
      verbose: Whether to log what is for debugging, too; of this package only.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root, own = logging.getLogger(), logging.getLogger("trio_dispatch")
    levels = root.level, own.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    own.setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        own.setLevel(levels[1])


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a record has besides what every record has; what is None is left out."""
    return {
        name: value
        for name, value in vars(record).items()
        if name not in _STANDARD and value is not None
    }


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


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
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """Time (UTC), level and message, then the fields as ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        # What came from outside must not be able to look like another line.
        message = record.getMessage().replace("\n", "\\n")
        words = [_time(record), f"{record.levelname:7}", message]
        words += [f"{name}={_word(value)}" for name, value in _fields(record).items()]
        line = " ".join(words)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _word(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and not set(text) & set(' "=')
    return text if text and plain else json.dumps(text, ensure_ascii=False)
