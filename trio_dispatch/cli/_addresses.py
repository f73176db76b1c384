"""Where to listen, as it is written on the command line."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TcpAddress", "UnixAddress", "is_loopback", "parse_address", "parse_listen"]

_UNIX = "unix:"


@dataclass(frozen=True)
class TcpAddress:
    """A host and a port; port 0 is any that is free."""

    host: str
    port: int

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class UnixAddress:
    """The path of a unix socket."""

    path: Path

    @property
    def local(self) -> bool:
        return True

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


def parse_address(option: str, text: str) -> TcpAddress | UnixAddress:
    """The address that ``HOST:PORT`` or ``unix:PATH`` stands for.

    Raises:
      ValueError: it is of neither form.
    """
    if not text.startswith(_UNIX):
        return TcpAddress(*parse_listen(text, option=option))
    path = text.removeprefix(_UNIX)
    if not path or path.endswith("/"):
        raise ValueError(f"{option} {text!r} names no socket: say unix:/run/dispatch.sock")
    return UnixAddress(Path(path))


def parse_listen(text: str, *, option: str = "--listen") -> tuple[str, int]:
    """The host and the port of ``HOST:PORT``.

    Raises:
      ValueError: it is not of that form.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    digits = port.isascii() and port.isdigit() and len(port) <= 5
    if not colon or not host or not digits or int(port) > 0xFFFF:
        raise ValueError(f"{option} {text!r} is not HOST:PORT, say 127.0.0.1:50051")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
