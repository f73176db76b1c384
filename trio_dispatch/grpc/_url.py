"""The URL of a server."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ._tls import SSLContext, client_context

_DEFAULT_PORT = 443
_EXAMPLE = "grpc://host[:port][?param=value&...]"
_TRUE = frozenset({"true", "1", "on"})
_FALSE = frozenset({"false", "0", "off"})


@dataclass(frozen=True)
class Target:
    """The server and the options that a URL names."""

    host: str
    port: int = _DEFAULT_PORT
    ssl: bool = True
    root_certificates: Path | None = None
    private_key: Path | None = None
    certificate_chain: Path | None = None
    keep_alive: bool = True
    keep_alive_interval: float = 60.0
    keep_alive_timeout: float = 20.0

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def ssl_context(self) -> SSLContext:
        """The context for the URL's TLS options.

        Raises:
          ValueError: a file cannot be read, or has the wrong content.
        """
        return client_context(
            root_certificates=self.root_certificates,
            private_key=self.private_key,
            certificate_chain=self.certificate_chain,
        )


def parse_url(url: str) -> Target:
    """Parse a URL `grpc://host[:port][?param=value&...]`.

    The default port is 443.  TLS is used unless the parameter `ssl` is false.  The other parameters
    are `ssl_root_certificates_path`, `ssl_private_key_path`, `ssl_certificate_chain_path`,
    `keep_alive`, `keep_alive_interval_s` and `keep_alive_timeout_s`.

    Raises:
      ValueError: the URL is invalid; the message names the invalid part.  It shows no password.
    """
    if _names_a_user(url):
        raise _error(url, f"a user is not allowed, expected {_EXAMPLE}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise _error(url, f"{exc}; expected {_EXAMPLE}") from exc
    if parts.scheme != "grpc":
        raise _error(url, f"the scheme is {parts.scheme!r}, expected 'grpc' as in {_EXAMPLE}")
    if not parts.hostname:
        raise _error(url, f"the host is missing, expected {_EXAMPLE}")
    if port == 0:
        raise _error(url, "the port is 0, expected 1 to 65535")
    if parts.path:
        raise _error(url, f"a path is not allowed, remove {parts.path!r}")
    if parts.fragment:
        raise _error(url, f"a fragment is not allowed, remove '#{parts.fragment}'")
    options = _options(url, parts.query)
    target = Target(parts.hostname, _DEFAULT_PORT if port is None else port, **options)
    _check(url, target, options)
    return target


def _options(url: str, query: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as exc:
        raise _error(url, f"the parameters are not param=value&...: {exc}") from exc
    for name, value in pairs:
        if name not in _PARAMETERS:
            known = ", ".join(_PARAMETERS)
            raise _error(url, f"the parameter {name!r} is unknown, expected one of {known}")
        field, parse = _PARAMETERS[name]
        if field in options:
            raise _error(url, f"the parameter {name!r} is repeated")
        try:
            options[field] = parse(value)
        except ValueError as exc:
            raise _error(url, f"the parameter {name!r} is {value!r}, expected {exc}") from None
    return options


def _check(url: str, target: Target, options: dict[str, Any]) -> None:
    if not target.ssl:
        for name, (field, parse) in _PARAMETERS.items():
            if parse is _path and field in options:
                raise _error(url, f"the parameter {name!r} is not allowed with ssl=false")
    if (target.private_key is None) != (target.certificate_chain is None):
        raise _error(
            url,
            "'ssl_private_key_path' and 'ssl_certificate_chain_path' must be given together",
        )


def _boolean(value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError("true, 1, on, false, 0 or off")


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise ValueError("a positive number of seconds")
    return seconds


def _path(value: str) -> Path:
    if not value:
        raise ValueError("the path of a PEM file")
    return Path(value)


_PARAMETERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "ssl": ("ssl", _boolean),
    "ssl_root_certificates_path": ("root_certificates", _path),
    "ssl_private_key_path": ("private_key", _path),
    "ssl_certificate_chain_path": ("certificate_chain", _path),
    "keep_alive": ("keep_alive", _boolean),
    "keep_alive_interval_s": ("keep_alive_interval", _seconds),
    "keep_alive_timeout_s": ("keep_alive_timeout", _seconds),
}


# Secrets have no place in this URL, but people put them there.


def _names_a_user(url: str) -> bool:
    """Whether there is an @ that does not belong to the path of a file."""
    return "@" in re.sub(r"[?&]ssl_\w+_path=[^&#]*", "", url)


def _error(url: str, reason: str) -> ValueError:
    shown = url
    if _names_a_user(url):
        # A password may contain anything, an @ or a slash among it.
        shown = re.sub(r"^(\w+://)?.*@", r"\1***@", shown, flags=re.DOTALL)
    known = "|".join(_PARAMETERS)
    shown = re.sub(rf"([?&](?!(?:{known})=)[^=&#]*=)[^&#]*", r"\1***", shown)
    return ValueError(f"invalid URL {shown!r}: {reason}")
