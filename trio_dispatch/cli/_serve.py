"""``trio-dispatch serve``: the dispatch service, until it is told to end."""

from __future__ import annotations

import errno
import ipaddress
import signal
from collections.abc import Sequence
from functools import partial

import click
import trio

from ..service import Keys, open_service, open_store

__all__ = ["run_serve"]

_GRACE = 5.0


async def run_serve(listen: str, db: str | None, keys: Sequence[str]) -> None:
    """Serve until SIGINT or SIGTERM comes, then let calls that run finish.

    Raises:
      ValueError: an argument makes no sense, or would serve the world without a key.
      OSError: the port is in use, say.
      DispatchError: the database cannot be used.
    """
    host, port = parse_listen(listen)
    if not keys and not is_loopback(host):
        raise ValueError(
            f"without a --key only this machine is served: listen on 127.0.0.1 instead of {host}, "
            "or give a --key"
        )
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with (
            open_store(db) as store,
            open_service(store, keys=Keys.of(*keys) if keys else None) as service,
            trio.open_nursery() as nursery,
        ):
            serve = partial(service.server.serve_tcp, port, host=host)
            try:
                addresses = await nursery.start(serve)
            except OSError as exc:
                raise _explained(exc, listen) from exc
            for address in addresses:
                click.echo(f"serving on grpc://{_host_port(address)}?ssl=false")
            if db is None:
                click.echo("dispatches are kept in memory only: give --db FILE to keep them")
            if not keys:
                click.echo("there is no key: whoever reaches this port is let in")
            async for _ in signals:
                break
            click.echo("ending")
            service.stop(grace=_GRACE)


def parse_listen(listen: str) -> tuple[str, int]:
    """The host and the port of ``HOST:PORT``.

    Raises:
      ValueError: it is not of that form.
    """
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
        raise ValueError(f"--listen {listen!r} is not HOST:PORT, say 127.0.0.1:50051")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_port(address: Sequence[object]) -> str:
    host, port, *_ = address
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _explained(exc: OSError, listen: str) -> OSError:
    if exc.errno == errno.EADDRINUSE:
        return OSError(f"cannot listen on {listen}: the port is in use; choose another one")
    return OSError(f"cannot listen on {listen}: {exc.strerror or exc}")
