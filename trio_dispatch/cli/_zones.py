"""Time zones by name, and the one of this machine."""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.tz import tzlocal

__all__ = ["find_zone"]

_LOCALTIME = Path("/etc/localtime")


def find_zone(name: str) -> tzinfo:
    """The zone of a name such as ``Europe/Berlin``; ``local`` is the one of this machine.

    Raises:
      ValueError: there is none of this name.
    """
    if name.lower() == "local":
        return _local_zone()
    if name.upper() in {"UTC", "Z"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"there is no time zone {name!r}: say local, UTC or a name such as Europe/Berlin"
        ) from None


def _local_zone() -> tzinfo:
    """The zone of `TZ`, or of the machine; with the name of it, where that can be told."""
    if name := os.environ.get("TZ", "").removeprefix(":"):
        try:
            return UTC if name in {"UTC", "UTC0"} else ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return tzlocal()  # rules, as in CET-1CEST,M3.5.0,M10.5.0
    try:
        path = _LOCALTIME.resolve(strict=True)
        _, found, key = path.as_posix().partition("zoneinfo/")
        if key in {"UTC", "Etc/UTC", "Universal", "Zulu"}:
            return UTC
        with path.open("rb") as file:
            return ZoneInfo.from_file(file, key=key if found else "the local zone")
    except (OSError, ValueError):
        return UTC
