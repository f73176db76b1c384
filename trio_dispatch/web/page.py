"""The live page, put together: the application and its server."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import trio

from .app import make_app
from .server import WebServer
from .site import Backend, Site, open_site

__all__ = ["Page", "open_page"]


class Page:
    """A live page, see `open_page`."""

    def __init__(self, site: Site, server: WebServer) -> None:
        self.site = site
        self.server = server

    async def serve_tcp(
        self,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[list[Any]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on a TCP port and serve browsers, until `stop`.

        Args:
          port: 0 for any that is free.
          ssl_context: For TLS; it is changed to offer HTTP/2 and HTTP/1.1.
          task_status: Started with the addresses of the sockets that listen.

        Raises:
          OSError: the server cannot listen there, for instance because the port is in use.
        """
        listeners = await trio.open_tcp_listeners(port, host=host)
        task_status.started([listener.socket.getsockname() for listener in listeners])
        await self.server.serve_listeners(listeners, ssl_context=ssl_context)

    def stop(self) -> None:
        """Tell the pages that the server stops, and accept no more connections."""
        self.site.stop()
        self.server.stop()


@asynccontextmanager
async def open_page(backend: Backend, *, hosts: Collection[str] = ()) -> AsyncIterator[Page]:
    """Open a live page, which the caller serves::

        async with open_page(Backend(channel=channel)) as page, trio.open_nursery() as nursery:
            await nursery.start(page.serve_tcp, "127.0.0.1", 8080)

    Args:
      backend: The service that the page shows.
      hosts: The names under which the page is served, besides addresses and ``localhost``.
    """
    async with open_site(backend) as site:
        yield Page(site, WebServer(make_app(site, hosts=hosts)))
