"""Time zones by name, and the local one."""

from __future__ import annotations

import io
import os
import struct
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_LOCALTIME = Path("/etc/localtime")
_UTC_NAMES = {"", "UTC", "UTC0", "Z", "Etc/UTC", "Universal", "Zulu"}


def find_zone(name: str) -> tzinfo:
    """Return the zone of a name such as ``Europe/Berlin``; ``local`` is that of ``TZ`` or the host.

    Raises:
      ValueError: there is no such zone.
    """
    if name.lower() == "local":
        return _local_zone()
    if name and name.upper() in _UTC_NAMES:
        return UTC
    zone = _named(name)
    if zone is None:
        raise ValueError(
            f"{name!r} is not a time zone: use local, UTC or a name such as Europe/Berlin"
        )
    return zone


def _named(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _local_zone() -> tzinfo:
    name = os.environ.get("TZ")
    if name is None:
        return _zone_in(_LOCALTIME) or UTC
    name = name.removeprefix(":")
    if name in _UTC_NAMES:
        return UTC
    zone = _zone_in(Path(name)) if name.startswith("/") else _named(name) or _zone_of_rule(name)
    if zone is None:
        raise ValueError(
            f"the environment variable TZ={name!r} is not a time zone: "
            "use a name such as Europe/Berlin, or give --timezone"
        )
    return zone


def _zone_in(path: Path) -> tzinfo | None:
    """The zone in a compiled file, with its name if the path tells it."""
    try:
        resolved = path.resolve(strict=True)
        _, found, key = resolved.as_posix().partition("zoneinfo/")
        if key in _UTC_NAMES - {""}:
            return UTC
        with resolved.open("rb") as file:
            return ZoneInfo.from_file(file, key=key if found else "local time")
    except (OSError, ValueError):
        return None


def _zone_of_rule(rule: str) -> ZoneInfo | None:
    """The zone of a POSIX rule such as ``CET-1CEST,M3.5.0,M10.5.0/3``.

    `ZoneInfo` takes such a rule only as the footer of a compiled file, here of one that has nothing
    else.
    """
    header = struct.pack(">4sc15x6L", b"TZif", b"2", 0, 0, 0, 0, 1, 4)
    content = header + struct.pack(">lBB4s", 0, 0, 0, b"UTC")
    try:
        file = io.BytesIO(content * 2 + f"\n{rule}\n".encode("ascii"))
        return ZoneInfo.from_file(file, key=rule)
    except ValueError:
        return None
