"""What every command that talks to a service has been told."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from rich.console import Console

    from ..client.client import DispatchClient
    from ..dispatcher.dispatcher import Dispatcher
    from ..grpc import Channel

__all__ = ["Color", "Settings"]

Color = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every command that talks to a service has been told, from wherever.

    Attributes:
      microgrid: The id of the microgrid.
      url, key, sign_secret: Where the service is, and who asks.
      zone: In which times are shown, and read where they say nothing else.
      timeout: How many seconds each call may take.
      json: Whether to print JSON, an object a line.
      color: Whether to print colours; by itself, on a terminal.
      verbose: Whether to log more.
      channel: A channel to use in the place of the URL.
    """

    microgrid: int
    url: str | None = None
    key: str | None = None
    sign_secret: str | None = None
    zone: tzinfo = UTC
    timeout: float = 30.0
    json: bool = False
    color: Color = "auto"
    verbose: bool = False
    channel: Channel | None = None

    def client(self) -> AbstractAsyncContextManager[DispatchClient]:
        """Open a client: ``async with settings.client() as client``.

        Raises:
          click.UsageError: nobody said where the service is, or with which key.
          ValueError: the URL makes no sense.
        """
        from ..client.client import open_client  # noqa: PLC0415

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
          click.UsageError: nobody said where the service is, or with which key.
        """
        from ..dispatcher.dispatcher import open_dispatcher  # noqa: PLC0415

        self._check()
        return open_dispatcher(
            microgrid_id=self.microgrid,
            server_url=self.url,
            key=self.key,
            sign_secret=self.sign_secret,
            channel=self.channel,
        )

    def _check(self) -> None:
        if self.channel is None and not self.url:
            raise click.UsageError(
                "where is the service?  Give --url grpc://HOST:PORT, set DISPATCH_API_URL, or put "
                "url into the config file"
            )
        if not self.key:
            raise click.UsageError(
                "with which key?  Give --key, set DISPATCH_API_AUTH_KEY, or put key into the "
                "config file"
            )

    def console(self, *, stderr: bool = False) -> Console:
        """What prints to people."""
        from ._console import make_console  # noqa: PLC0415

        return make_console(self.color, stderr=stderr)

    def now(self) -> datetime:
        """The present moment, in UTC."""
        from .. import clock  # noqa: PLC0415

        return clock.now()
