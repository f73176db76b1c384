"""The settings of a command that talks to a service."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Literal

import click

from ... import clock
from .output import paint, use_color

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
      json: Whether to print JSON, one object per line.
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
    json: bool = False
    color: Color = "auto"
    verbose: bool = False
    channel: Channel | None = None

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

    def _check(self) -> None:
        if self.channel is None and not self.url:
            raise _missing("service", "--url grpc://HOST:PORT", "DISPATCH_API_URL", "url")

    @property
    def paint(self) -> Callable[[str, str], str]:
        """Paints a text for stdout in a style such as ``bold green``, if there are colours."""
        return paint if use_color(self.color) else _plain

    def now(self) -> datetime:
        """The present moment, in UTC."""
        return clock.now()


def _plain(text: str, _: str) -> str:
    return text


def _missing(what: str, option: str, variable: str, key: str) -> click.UsageError:
    return click.UsageError(
        f"no {what} is given: use {option}, the environment variable {variable}, or {key} in the "
        "config file"
    )
