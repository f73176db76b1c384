"""The live page: its options, and how it reaches the service."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from ...model.target import TargetCategory
from ...process import wait_stopping
from ...text.targets import parse_components
from ..app.files import read_text
from ..app.options import option
from ..app.output import Results
from ..app.params import FILE, TEXT, Parsed
from ..app.settings import Settings
from .addresses import TcpAddress, parse_tcp

if TYPE_CHECKING:
    from ...grpc import Channel
    from ...service import DispatchService
    from ...web.site import Backend

log = logging.getLogger("trio_dispatch.web")

_F = TypeVar("_F", bound=Callable[..., Any])
WEB = Parsed("host:port", parse_tcp)


def page_options(function: _F) -> _F:
    """Give a command the options of the page."""
    for add in (
        option(
            "--components components_file",
            FILE,
            "For the page: a TOML file of what components are, as for timeline.",
        ),
        option(
            "--web-host web_hosts",
            TEXT,
            "A name under which the page is served, besides addresses and localhost; may be "
            "repeated.",
            metavar="NAME",
            multiple=True,
        ),
        option("--web", WEB, "Serve a live page of the plan at http://HOST:PORT."),
    ):
        function = add(function)
    return function


@dataclass(frozen=True)
class PageOptions:
    """The options of the page.

    Attributes:
      address: Where it is served.
      hosts: The names under which it is served.
      components: What the components are; None if that is not known.
      microgrids: The microgrids to offer to a key that is valid for all.
      span: How much time the plan shows at first.
    """

    address: TcpAddress
    hosts: Sequence[str]
    components: Mapping[int, TargetCategory] | None
    microgrids: Sequence[int] = ()
    span: timedelta = timedelta(days=1)

    @classmethod
    def read(
        cls, address: TcpAddress | None, hosts: Sequence[str], components: Path | None
    ) -> PageOptions | None:
        """Return the options, with the content of the file; None if no page is wanted.

        Raises:
          ValueError: an option requires a page, or the file is invalid.
          OSError: the file cannot be read.
        """
        if address is None:
            if hosts or components is not None:
                raise ValueError("--web-host and --components require --web")
            return None
        for package in ("anycorn", "starlette"):
            if find_spec(package) is None:
                raise ValueError(f"--web requires {package}: pip install 'trio-dispatch[web]'")
        found = None if components is None else parse_components(read_text(str(components)))
        return cls(address, [address.host, *hosts], found)

    def check(self, *, keys_required: bool) -> None:
        """Check that nobody elsewhere can use the page without a key.

        Raises:
          ValueError: somebody could.
        """
        if not self.address.local and not keys_required:
            raise ValueError(
                f"--web {self.address} serves other machines, which requires a key: give --keys "
                "FILE, or serve the page on 127.0.0.1"
            )


async def serve_own_page(
    options: PageOptions,
    service: DispatchService,
    context: ssl.SSLContext | None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the page of a service in this process, until a signal stops it."""
    from ...grpc import open_channel  # noqa: PLC0415
    from ...web.sessions import KeyInfo  # noqa: PLC0415
    from ...web.site import Backend  # noqa: PLC0415

    def find_key(text: str) -> KeyInfo | None:
        key = None if service.keys is None else service.keys.find(text)
        if key is None:
            return None
        return KeyInfo(key.name, frozenset(right.value for right in key.rights), key.microgrids)

    async with trio.open_nursery() as nursery:

        async def connect() -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = map(trio.socket.from_stdlib_socket, socket.socketpair())
            nursery.start_soon(service.server.serve_stream, trio.SocketStream(theirs))
            return trio.SocketStream(ours)

        async with open_channel(connect) as channel:
            backend = Backend(
                channel=channel,
                keys_required=service.keys is not None,
                find_key=find_key,
                components=options.components,
                microgrids=options.microgrids,
                span=options.span,
            )
            await serve_page(options, backend, context, task_status=task_status)
        nursery.cancel_scope.cancel()


async def serve_page_of(
    options: PageOptions, settings: Settings, context: ssl.SSLContext | None
) -> None:
    """Serve the page of a service elsewhere, until a signal stops it.

    Raises:
      ValueError: the service requires no key, and other machines would be served.
      click.UsageError: no service was given.
    """
    from ...client.client import open_service_channel  # noqa: PLC0415
    from ...web.site import Backend  # noqa: PLC0415

    # The key of the command line is not for people with a browser: each logs in.
    async with open_service_channel(settings.service_url, signed=True) as channel:
        required = await _requires_key(channel, settings.microgrid or 1)
        options.check(keys_required=required)
        backend = Backend(
            channel=channel,
            keys_required=required,
            components=options.components,
            microgrids=[] if settings.microgrid is None else [settings.microgrid],
        )
        await serve_page(options, backend, context)


async def _requires_key(channel: Channel, microgrid_id: int) -> bool:
    """Whether a service requires a key; if it cannot be reached, that is assumed."""
    from ...client.client import DispatchClient  # noqa: PLC0415
    from ...client.errors import ServiceError  # noqa: PLC0415
    from ...grpc import Status  # noqa: PLC0415

    try:
        async with aclosing(DispatchClient(channel).list(microgrid_id, page_size=1)) as pages:
            async for _ in pages:
                break
    except ServiceError as exc:
        if exc.status is not Status.UNAUTHENTICATED:
            log.warning("%s", exc)
        return True
    return False


async def serve_page(
    options: PageOptions,
    backend: Backend,
    context: ssl.SSLContext | None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a page until a signal stops it.

    Args:
      context: For TLS.
    """
    from ...web.page import open_page  # noqa: PLC0415

    async with open_page(backend, hosts=options.hosts) as page, trio.open_nursery() as nursery:
        address = options.address
        try:
            places = await nursery.start(
                partial(page.serve_tcp, address.host, address.port, ssl_context=context)
            )
        except OSError as exc:
            raise OSError(f"cannot serve the page on {address}: {exc.strerror or exc}") from exc
        results = Results()
        for host, port, *_ in places:
            scheme = "http" if context is None else "https"
            await results.write(f"the page is at {scheme}://{TcpAddress(host, port)}/\n")
        if context is None and not address.local:
            log.warning("the page is not encrypted: give --tls-cert and --tls-key")
        task_status.started()
        await wait_stopping()
        page.stop()
