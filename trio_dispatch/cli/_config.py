"""The configuration file: TOML, with the names that the options have.

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

__all__ = ["KEYS", "SECRETS", "parse_config", "readable_by_others"]

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
"""What a file may say, and as what."""

SECRETS = ("key", "sign-secret")

_KINDS = {str: 'a string, as in "..."', int: "an integer", float: "a number", bool: "true or false"}


def parse_config(text: str) -> dict[str, object]:
    """What a configuration file says, by the names of the options.

    Raises:
      ValueError: it is no TOML, names something that there is not, or gives it a wrong kind of
        value.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ValueError(f"it is no TOML: {exc}") from None
    for name, value in content.items():
        kind = KEYS.get(name)
        if kind is None:
            near = difflib.get_close_matches(name.replace("_", "-"), KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KEYS)}"
            raise ValueError(f"there is no {name!r}: {hint}")
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or isinstance(value, bool) is not (kind is bool):
            raise ValueError(f"{name} = {value!r} is not {_KINDS[kind]}")
    return content


def readable_by_others(path: Path) -> bool:
    """Whether other users of this machine may read a file."""
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
