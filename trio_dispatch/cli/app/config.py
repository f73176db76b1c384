"""The configuration file: TOML, with the names of the options.

::

    url = "grpc://dispatch.example.com"
    key = "..."
    microgrid = 1
    timezone = "Europe/Berlin"
"""

from __future__ import annotations

import difflib
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

KEYS: Mapping[str, type] = {
    "url": str,
    "key": str,
    "sign-secret": str,
    "microgrid": int,
    "timezone": str,
    "timeout": float,
    "color": str,
    "json": bool,
    "verbose": bool,
}
"""The keys of a file, and the types of their values."""

SECRETS = ("key", "sign-secret")

_KINDS = {str: 'a string, as in "..."', int: "an integer", float: "a number", bool: "true or false"}


def parse_config(text: str) -> dict[str, object]:
    """Return the content of a configuration file.

    Raises:
      ValueError: the text is not TOML, has an unknown key, or a value of the wrong type.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ValueError(f"invalid TOML: {exc}") from None
    for name, value in content.items():
        kind = KEYS.get(name)
        if kind is None:
            near = difflib.get_close_matches(name.replace("_", "-"), KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"use {', '.join(KEYS)}"
            raise ValueError(f"unknown key {name!r}: {hint}")
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or isinstance(value, bool) is not (kind is bool):
            raise ValueError(f"{name} = {value!r} is not {_KINDS[kind]}")
    return content


def readable_by_others(path: Path) -> bool:
    """Whether other users of this machine may read a file."""
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
