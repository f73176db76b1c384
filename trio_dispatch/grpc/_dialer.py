"""Getting a stream to a server."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from ._tls import handshake, prepare_context

Connector: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]
"""Opens a new stream to the server, whenever the channel needs one."""


class Dialer:
    """A connector, with TLS on top if there is a context for it."""

    def __init__(
        self, connector: Connector, context: ssl.SSLContext | None, authority: str, hostname: str
    ) -> None:
        self.authority = authority
        self.scheme = "http" if context is None else "https"
        self._connector = connector
        self._context = None if context is None else prepare_context(context)
        self._hostname = hostname

    async def dial(self) -> trio.abc.Stream:
        stream = await self._connector()
        if self._context is None:
            return stream
        tls = trio.SSLStream(
            stream, self._context, server_hostname=self._hostname, https_compatible=True
        )
        try:
            await handshake(tls, who=self.authority)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return tls
