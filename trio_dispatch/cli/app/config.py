"""The configuration file: TOML, with the names of the options, and contexts with others.

::

    microgrid = 1
    timezone = "Europe/Berlin"
    context = "site-7"

    [contexts.site-7]
    url = "grpc://dispatch.example.com"
    key-file = "site-7.key"
    microgrid = 7
"""

from __future__ import annotations

import shlex
import stat
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .nearest import did_you_mean

OPTIONS: Mapping[str, type] = {
    "url": str,
    "key": str,
    "sign-secret": str,
    "microgrid": int,
    "timezone": str,
    "timeout": float,
    "output": str,
    "color": str,
    "verbose": bool,
}
"""The keys that are options, and the types of their values."""

KEYS: Mapping[str, type] = {**OPTIONS, "key-file": str, "key-command": str, "ca": str}
"""The keys of a context, and of the file outside of contexts."""

SECRETS = ("key", "sign-secret")

_SOURCES = ("key", "key-file", "key-command")
_COMMAND_TIMEOUT = 30.0  # seconds
_KINDS = {str: 'a string, as in "..."', int: "an integer", float: "a number", bool: "true or false"}

Values = Mapping[str, object]


class Config(NamedTuple):
    """The content of a file.

    Attributes:
      values: The values outside of contexts.
      contexts: The values of each context.
      context: The context that is used if none is named.
    """

    values: Values
    contexts: Mapping[str, Values]
    context: str | None

    def of(self, name: str) -> Values:
        """Return the values of a context.

        Raises:
          ValueError: there is no such context.
        """
        if name not in self.contexts:
            hint = did_you_mean(name, self.contexts)
            known = ", ".join(self.contexts) or "the file has none: add [contexts.NAME]"
            raise ValueError(f"unknown context {name!r}{hint or f': use {known}'}")
        return self.contexts[name]

    @property
    def has_secrets(self) -> bool:
        """Whether the file contains an API key or a secret."""
        return any(each in values for values in self._all() for each in SECRETS)

    def _all(self) -> list[Values]:
        return [self.values, *self.contexts.values()]


def parse_config(text: str) -> Config:
    """Return the content of a configuration file.

    Raises:
      ValueError: the text is not TOML, has an unknown key, or a value of the wrong type.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ValueError(f"invalid TOML: {exc}") from None
    contexts = content.pop("contexts", {})
    context = content.pop("context", None)
    if not isinstance(contexts, dict) or not all(isinstance(x, dict) for x in contexts.values()):
        raise ValueError("contexts is not a table of tables: use [contexts.NAME]")
    _check(content, "", {*KEYS, "context", "contexts"})
    for name, values in contexts.items():
        _check(values, f"contexts.{name}: ", KEYS)
    config = Config(content, contexts, context)
    if context is not None:
        if not isinstance(context, str):
            raise ValueError(f"context = {context!r} is not {_KINDS[str]}")
        config.of(context)
    return config


def _check(content: Values, place: str, known: Any) -> None:
    for name, value in content.items():
        kind = KEYS.get(name)
        if kind is None:
            hint = did_you_mean(name.replace("_", "-"), known) or f": use {', '.join(known)}"
            raise ValueError(f"{place}unknown key {name!r}{hint}")
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or isinstance(value, bool) is not (kind is bool):
            raise ValueError(f"{place}{name} = {value!r} is not {_KINDS[kind]}")
    given = [name for name in _SOURCES if name in content]
    if len(given) > 1:
        raise ValueError(f"{place}{' and '.join(given)} exclude each other: give one of them")


def option_values(values: Values, folder: Path) -> dict[str, Any]:
    """Return the values of options by the names of their parameters; some as functions.

    Args:
      folder: The folder of the file, to which paths in it are relative.
    """
    found: dict[str, Any] = {
        name.replace("-", "_"): value for name, value in values.items() if name in OPTIONS
    }
    source: Callable[[], str] | None = None
    if "key-file" in values:
        source = partial(_read_key, folder / str(values["key-file"]))
    if "key-command" in values:
        source = partial(_run_for_key, str(values["key-command"]))
    if source is not None:
        found["key"] = source
    if "ca" in values:
        found["ca"] = str(folder / str(values["ca"]))
    return found


def _read_key(path: Path) -> str:
    """Return the API key in a file.

    Raises:
      ValueError: the file cannot be read, or is empty.
    """
    try:
        key = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text in UTF-8"
        raise ValueError(f"key-file {path} cannot be read: {reason}") from None
    if not key:
        raise ValueError(f"key-file {path} is empty: write the API key into it")
    return key


def _run_for_key(command: str) -> str:
    """Return the API key that a command prints.

    Raises:
      ValueError: the command fails, or prints nothing.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the user's own command
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=_COMMAND_TIMEOUT,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        raise ValueError(f"key-command {command!r} failed: {exc}") from None
    if not done.stdout.strip():
        raise ValueError(f"key-command {command!r} printed no API key")
    return done.stdout.strip()


def readable_by_others(path: Path) -> bool:
    """Whether other users of this machine may read a file."""
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
