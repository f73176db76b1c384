"""Text that is safe to show: control characters never reach a terminal."""

from __future__ import annotations

import json
import math
from typing import Any


def printable(text: str, keep: str = "") -> str:
    """Return a text with every character that is not printable as an escape: ``\\x1b``, ``\\n``.

    Args:
      keep: Characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


_encode = json.JSONEncoder(ensure_ascii=False).encode


def dump_json(value: Any) -> str:
    """Return a value as one line of JSON, with unprintable characters as escapes."""
    text = _encode(value)
    if text.isprintable():
        return text
    # They occur only within strings, where an escape means the same.
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def load_json(text: str) -> Any:
    """Return the value that a text is in JSON.

    Raises:
      ValueError: the text is not JSON, or has a value that the API cannot carry.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_parse_float)
    except json.JSONDecodeError as exc:
        raise ValueError(f"invalid JSON: {exc.msg} at column {exc.colno}") from None
    except RecursionError:
        raise ValueError("invalid JSON: it is nested too deeply") from None
    if "\\u" in text or not text.isascii():
        _check_unicode(value)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON: leave it out or use null")


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def _check_unicode(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(
            f"{text[exc.start]!a} is half of a surrogate pair, not a character"
        ) from None
