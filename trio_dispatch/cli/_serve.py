"""``trio-dispatch serve``: the dispatch service, until it is told to end."""

from __future__ import annotations

import errno
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import trio

from .. import clock
from ..grpc.health import Health, ServingStatus
from ..service import DispatchService, log_call, observing, open_service, open_store
from ..service.metrics import Metrics
from ._addresses import TcpAddress, UnixAddress, is_loopback, parse_listen
from ._keys import KeySource, TlsFiles, load_context
from ._metrics import serve_metrics

__all__ = ["GRACE", "ServeOptions", "is_loopback", "parse_listen", "run_serve"]

log = logging.getLogger("trio_dispatch.service")

GRACE = 10.0
"""So many seconds the calls that run have to come to their end."""

_SERVICE = "frequenz.api.dispatch.v1.MicrogridDispatchService"


@dataclass(frozen=True)
class ServeOptions:
    """What the command line says.

    Raises:
      ValueError: the world would be served without a key.
    """

    listen: Sequence[TcpAddress | UnixAddress]
    db: Path | None
    keys: KeySource
    tls: TlsFiles
    metrics: TcpAddress | None

    def __post_init__(self) -> None:
        open_to_all = [address for address in self.listen if not address.local]
        if open_to_all and not self.keys.keys and self.keys.file is None:
            host = getattr(open_to_all[0], "host", "")
            raise ValueError(
                f"without a --key only this machine is served: listen on 127.0.0.1 instead of "
                f"{host}, or give --keys FILE"
            )


async def run_serve(options: ServeOptions) -> int:
    """Serve until SIGINT or SIGTERM comes, then let calls that run finish; the exit status.

    A second signal ends it at once.  SIGHUP has the keys and the certificate read again.

    Raises:
      ValueError: a file of keys or certificates makes no sense.
      OSError: the port is in use, say.
      DispatchError: the database cannot be used.
    """
    keys = options.keys.load()
    context = load_context(options.tls)
    health = Health({_SERVICE: ServingStatus.SERVING})
    metrics = Metrics()
    with trio.open_signal_receiver(*_signals(options)) as signals, trio.CancelScope() as scope:
        async with (
            open_store(options.db) as store,
            open_service(
                store,
                keys=keys,
                services=[health],
                interceptors=[observing(metrics.observe_call, log_call)],
            ) as service,
            trio.open_nursery() as background,
        ):
            metrics.watch(service)
            if options.metrics is not None:
                listeners = await _open_tcp("--metrics", options.metrics)
                background.start_soon(serve_metrics, metrics.text, listeners)
                for listener in listeners:
                    log.info("metrics are on http://%s/metrics", _address(listener))
            on_signals = _OnSignals(options, service, context, health, scope)
            background.start_soon(on_signals.run, signals)
            async with trio.open_nursery() as nursery:
                for address in options.listen:
                    await _listen(address, service, context, nursery)
                _warn(options, context)
            background.cancel_scope.cancel()
    if scope.cancelled_caught:
        log.warning("the service was ended at once")
        return 128 + on_signals.last
    log.info("the service has ended")
    return 0


def _signals(options: ServeOptions) -> tuple[signal.Signals, ...]:
    # With nothing to read again, a terminal that is closed ends the service as it ends others.
    files = options.keys.file or options.tls.certificate
    return (*_ENDING, signal.SIGHUP) if files else _ENDING


_ENDING = (signal.SIGINT, signal.SIGTERM)


class _OnSignals:
    """What signals have a service do.

    Attributes:
      last: The number of the last one that ends it.
    """

    def __init__(
        self,
        options: ServeOptions,
        service: DispatchService,
        context: ssl.SSLContext | None,
        health: Health,
        scope: trio.CancelScope,
    ) -> None:
        self.last = 0
        self._options = options
        self._service = service
        self._context = context
        self._health = health
        self._scope = scope

    async def run(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                await self._read_again()
                continue
            ending, self.last = self.last != 0, number
            if ending:
                self._scope.cancel()
                return
            log.info(
                "%s: no more calls are taken, those that run have %g s; a second signal ends them",
                signal.Signals(number).name,
                GRACE,
            )
            self._health.shut_down()
            self._service.stop(grace=GRACE)

    async def _read_again(self) -> None:
        """Take up new keys and a new certificate; what makes no sense changes nothing."""
        try:
            keys = await clock.run_in_thread(self._options.keys.load)
            if self._context is not None:
                await clock.run_in_thread(load_context, self._options.tls)  # to see whether it can
                self._options.tls.load_into(self._context)
        except (OSError, ValueError) as exc:
            log.error("keys and certificate stay as they were: %s", exc)  # noqa: TRY400
            return
        self._service.keys = keys
        count = 0 if keys is None else len(keys)
        log.info("keys and certificate were read again: %d keys", count)


async def _listen(
    address: TcpAddress | UnixAddress,
    service: DispatchService,
    context: ssl.SSLContext | None,
    nursery: trio.Nursery,
) -> None:
    """Serve on an address, and say so on stdout."""
    if isinstance(address, UnixAddress):
        try:
            await nursery.start(service.server.serve_unix, address.path)
        except OSError as exc:
            raise _explained(exc, "--listen", address) from exc
        click.echo(f"serving on {address}")
        return
    serve = partial(service.server.serve_tcp, address.port, host=address.host, ssl_context=context)
    try:
        places = await nursery.start(serve)
    except OSError as exc:
        raise _explained(exc, "--listen", address) from exc
    for host, port, *_ in places:
        plain = "" if context else "?ssl=false"
        click.echo(f"serving on grpc://{TcpAddress(host, port)}{plain}")


async def _open_tcp(option: str, address: TcpAddress) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as exc:
        raise _explained(exc, option, address) from exc


def _address(listener: trio.SocketListener) -> TcpAddress:
    host, port, *_ = listener.socket.getsockname()
    return TcpAddress(host, port)


def _warn(options: ServeOptions, context: ssl.SSLContext | None) -> None:
    """Log what whoever runs a service should know."""
    if options.db is None:
        log.warning("dispatches are kept in memory only: give --db FILE to keep them")
    if not options.keys.keys and options.keys.file is None:
        log.warning("there is no key: whoever reaches this port is let in")
    elif context is None and not all(address.local for address in options.listen):
        log.warning("keys come over the network as they are: give --tls-cert and --tls-key")


def _explained(exc: OSError, option: str, address: TcpAddress | UnixAddress) -> OSError:
    what = "listen on" if option == "--listen" else "serve metrics on"
    if exc.errno == errno.EADDRINUSE and isinstance(address, TcpAddress):
        return OSError(f"cannot {what} {address}: the port is in use; choose another one")
    return OSError(f"cannot {what} {address}: {exc.strerror or exc}")
