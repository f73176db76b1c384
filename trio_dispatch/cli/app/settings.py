"""The settings of a command that talks to a service."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Literal

import click

from ... import clock
from .output import paint, use_color
from .streams import tell

if TYPE_CHECKING:
    from ...client.client import DispatchClient
    from ...dispatcher.dispatcher import Dispatcher
    from ...grpc import Channel

Color = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values of the shared options, from the command line, the environment or the file.

    Attributes:
      microgrid: The id of the microgrid.
      url, key, sign_secret: The service, and the credentials.
      zone: The zone in which times are shown, and read if they name none.
      timeout: How many seconds each call may take.
      output: What to print: a table, or JSON with one object per line; ``list`` has more.
      color: Whether to print colours.
      verbose: Whether to log more.
      channel: A channel to use instead of the URL.
    """

    microgrid: int | None = None
    url: str | None = None
    key: str | None = None
    sign_secret: str | None = None
    zone: tzinfo = UTC
    timeout: float = 30.0
    output: str = "table"
    color: Color = "auto"
    verbose: bool = False
    channel: Channel | None = None

    @property
    def json(self) -> bool:
        """Whether to print JSON, one object per line."""
        return self.output == "json"

    @property
    def microgrid_id(self) -> int:
        """The id of the microgrid.

        Raises:
          click.UsageError: none was given.
        """
        if self.microgrid is None:
            raise _missing("microgrid", "--microgrid ID", "DISPATCH_MICROGRID_ID", "microgrid")
        return self.microgrid

    def client(self) -> AbstractAsyncContextManager[DispatchClient]:
        """Open a client: ``async with settings.client() as client``.

        Raises:
          click.UsageError: no service was given.
          ValueError: the URL is invalid.
        """
        from ...client.client import open_client  # noqa: PLC0415

        self._check()
        return open_client(
            self.url,
            key=self.key,
            sign_secret=self.sign_secret,
            channel=self.channel,
            call_timeout=timedelta(seconds=self.timeout),
        )

    def dispatcher(self) -> AbstractAsyncContextManager[Dispatcher]:
        """Open a dispatcher: ``async with settings.dispatcher() as dispatcher``.

        Raises:
          click.UsageError: no service was given.
        """
        from ...dispatcher.dispatcher import open_dispatcher  # noqa: PLC0415

        self._check()
        return open_dispatcher(
            microgrid_id=self.microgrid_id,
            server_url=self.url,
            key=self.key,
            sign_secret=self.sign_secret,
            channel=self.channel,
        )

    @property
    def service_url(self) -> str:
        """The URL of the service.

        Raises:
          click.UsageError: none was given.
        """
        if not self.url:
            raise _missing("service", "--url grpc://HOST:PORT", "DISPATCH_API_URL", "url")
        return self.url

    def _check(self) -> None:
        if self.channel is None:
            _ = self.service_url

    @property
    def paint(self) -> Callable[[str, str], str]:
        """Paints a text for stdout in a style such as ``bold green``, if there are colours."""
        return paint if use_color(self.color) else _plain

    def now(self) -> datetime:
        """The present moment, in UTC."""
        return clock.now()


_HOST_AND_PORT = re.compile(r"(?P<host>[\w.-]+|\[[\da-fA-F:.]+\]):\d{1,5}")
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|\[::1\]", re.IGNORECASE)


def complete_url(text: str, *, quiet: bool = False) -> str:
    """Return the URL of a service that may have been given as HOST:PORT, which is then printed,
    unless `quiet`.

    Only on this machine a service is expected to have no TLS.

    Raises:
      click.UsageError: it is neither.
    """
    if "://" in text:
        return text
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise click.UsageError(
            f"--url {text!r} is neither a URL nor HOST:PORT: use grpc://HOST:PORT, with ?ssl=false "
            "for a service without TLS"
        )
    plain = _LOOPBACK.fullmatch(match["host"]) is not None
    url = f"grpc://{text}?ssl=false" if plain else f"grpc://{text}"
    if not quiet:
        tell(f"Note: --url {text} is taken as {url}, {'without' if plain else 'with'} TLS")
    return url


def _plain(text: str, _: str) -> str:
    return text


def _missing(what: str, option: str, variable: str, key: str) -> click.UsageError:
    return click.UsageError(
        f"no {what} is given: use {option}, the environment variable {variable}, or {key} in the "
        "config file"
    )
