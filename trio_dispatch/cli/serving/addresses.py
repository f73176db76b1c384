"""Addresses to listen on, as the command line has them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

_UNIX = "unix:"


@dataclass(frozen=True)
class TcpAddress:
    """A host and a port; port 0 is any free one."""

    host: str
    port: int

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class UnixAddress:
    """The path of a Unix socket."""

    path: Path
    local = True

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


def parse_address(text: str) -> TcpAddress | UnixAddress:
    """Return the address that ``HOST:PORT`` or ``unix:PATH`` stands for.

    Raises:
      ValueError: the text has neither form.
    """
    if not text.startswith(_UNIX):
        return parse_tcp(text)
    path = text.removeprefix(_UNIX)
    if not path or path.endswith("/"):
        raise ValueError(f"{text!r} is not the path of a socket: use unix:/run/dispatch.sock")
    return UnixAddress(Path(path))


def parse_tcp(text: str) -> TcpAddress:
    """Return the address that ``HOST:PORT`` stands for.

    Raises:
      ValueError: the text does not have this form.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    digits = port.isascii() and port.isdigit() and len(port) <= 5
    if not colon or not host or not digits or int(port) > 0xFFFF:
        raise ValueError(f"{text!r} is not HOST:PORT: use 127.0.0.1:50051")
    return TcpAddress(host, int(port))
