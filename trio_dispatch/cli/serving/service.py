"""The dispatch service of ``trio-dispatch serve``, until a signal stops it."""

from __future__ import annotations

import errno
import gc
import logging
import signal
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import trio

from ... import clock
from ...grpc.health import Health, ServingStatus
from ...metrics.http import serve_pages
from ...process import notify_ready, reloading, wait_stopping
from ...service import (
    DispatchService,
    Keys,
    Retention,
    Store,
    log_call,
    observing,
    open_service,
    open_store,
)
from ...service.backups import BackupSchedule, BackupStatistics, keep_backups
from ...service.metrics import Metrics
from ..app.output import Results
from .addresses import TcpAddress, UnixAddress
from .keys import KeySource, TlsFiles, load_context
from .monitoring import Readiness, monitoring_pages
from .page import PageOptions, serve_own_page

log = logging.getLogger("trio_dispatch.service")

GRACE = 10.0
"""The seconds that running calls have to finish."""

_COLLECTED = 20_000, 5, 3
"""The thresholds of the garbage collector.  To look at 20,000 objects takes a millisecond.

All of them together bound the memory that garbage takes: 300,000 objects are up to 80 MB.
"""

_SERVICE = "frequenz.api.dispatch.v1.MicrogridDispatchService"


@dataclass(frozen=True)
class ServeOptions:
    """The options of the command.

    Raises:
      ValueError: other machines would be served without a key, or backups are asked for without
        a database in a file.
    """

    listen: Sequence[TcpAddress | UnixAddress]
    db: Path | str | None
    keys: KeySource
    tls: TlsFiles
    metrics: TcpAddress | None
    page: PageOptions | None = None
    reflection: bool = False
    retention: Retention | None = None
    backups: BackupSchedule | None = None

    def __post_init__(self) -> None:
        if self.backups is not None and not isinstance(self.db, Path):
            raise ValueError(
                "--backup-dir requires --db FILE; a database in PostgreSQL is backed up by its own "
                "tools, for example pg_dump"
            )
        for address in self.listen:
            if not address.local and not self.keys:
                raise ValueError(
                    f"--listen {address} serves other machines, which requires a key: give --keys "
                    "FILE, or listen on 127.0.0.1"
                )
        if self.page is not None:
            self.page.check(keys_required=bool(self.keys))


async def run_service(options: ServeOptions) -> None:
    """Serve until a signal stops it, and let running calls finish.

    SIGHUP loads the keys and the certificate again.

    Raises:
      ValueError: a file of keys or certificates is invalid.
      OSError: an address cannot be listened on.
      DispatchError: the database cannot be used.
    """
    keys = options.keys.load()
    context, page_context = load_context(options.tls), load_context(options.tls)
    health = Health({_SERVICE: ServingStatus.SERVING})
    metrics = Metrics()
    metrics.certificate_expiry = options.tls.expiry()
    if options.backups is not None:
        options.backups.prepare()
    # The signal that stops it cancels everything at once; running calls are to finish first.
    with collecting_seldom(), trio.CancelScope(shield=True):
        async with (
            open_store(options.db, retention=options.retention) as store,
            open_service(
                store,
                keys=keys,
                services=[health],
                interceptors=[observing(metrics.observe_call, log_call)],
                reflection=options.reflection,
            ) as service,
            trio.open_nursery() as background,
        ):
            metrics.watch(service)
            readiness = Readiness(service)
            background.start_soon(_stop_on_signal, service, health, readiness)
            contexts = [each for each in (context, page_context) if each is not None]
            background.start_soon(_reload_on_hangup, options, service, contexts, metrics)
            if options.page is not None:
                await background.start(serve_own_page, options.page, service, page_context)
            if options.backups is not None:
                metrics.backups = BackupStatistics()
                background.start_soon(keep_backups, store, options.backups, metrics.backups)
            if options.metrics is not None:
                listeners = await _open_tcp("serve metrics on", options.metrics)
                background.start_soon(serve_pages, monitoring_pages(metrics, readiness), listeners)
                for listener in listeners:
                    host, port, *_ = listener.socket.getsockname()
                    log.info("metrics are at http://%s/metrics", TcpAddress(host, port))
            async with trio.open_nursery() as nursery:
                served: list[str] = []
                for address in options.listen:
                    served += await _listen(address, service, context, nursery)
                _log_start(store, keys, served)
                _warn(options, context)
                readiness.is_serving = True
                notify_ready()
            background.cancel_scope.cancel()
    log.info("the service has stopped")


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Look for garbage less often within the block.

    By default Python looks after every 700 new objects, which is once or twice in each call; with
    hundreds of calls at a time it finds most of them in use, and takes a sixth of the CPU.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_COLLECTED)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _stop_on_signal(service: DispatchService, health: Health, readiness: Readiness) -> None:
    await wait_stopping()
    readiness.is_serving = False
    log.info("stopping: running calls have %g s to finish; a second signal ends them", GRACE)
    health.shut_down()
    service.stop(grace=GRACE)


async def _reload_on_hangup(
    options: ServeOptions,
    service: DispatchService,
    contexts: Sequence[ssl.SSLContext],
    metrics: Metrics,
) -> None:
    """Load keys and certificate at each SIGHUP; if they are invalid, keep the old ones."""
    if options.keys.file is None and options.tls.certificate is None:
        return  # A terminal that closes ends the service, as it ends other programs.
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            with reloading():
                try:
                    keys = await clock.run_in_thread(options.keys.load)
                    if contexts:
                        # Into another context first, to see whether they are valid.
                        await clock.run_in_thread(load_context, options.tls)
                        for context in contexts:
                            options.tls.load_into(context)
                        metrics.certificate_expiry = options.tls.expiry()
                except (OSError, ValueError) as exc:
                    log.error("the old keys and certificate are kept: %s", exc)  # noqa: TRY400
                    continue
                service.keys = keys
                log.info("loaded keys and certificate: %d keys", 0 if keys is None else len(keys))


async def _listen(
    address: TcpAddress | UnixAddress,
    service: DispatchService,
    context: ssl.SSLContext | None,
    nursery: trio.Nursery,
) -> list[str]:
    """Serve on an address, print and return it; if it cannot be printed, serve nevertheless."""
    results = Results()
    try:
        if isinstance(address, UnixAddress):
            await nursery.start(service.server.serve_unix, address.path)
            await results.write(f"serving on {address}\n")
            return [str(address)]
        places = await nursery.start(
            partial(service.server.serve_tcp, address.port, host=address.host, ssl_context=context)
        )
    except OSError as exc:
        raise _explained("listen on", address, exc) from exc
    query = "" if context else "?ssl=false"
    urls = [f"grpc://{TcpAddress(host, port)}{query}" for host, port, *_ in places]
    for url in urls:
        await results.write(f"serving on {url}\n")
    return urls


async def _open_tcp(what: str, address: TcpAddress) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as exc:
        raise _explained(what, address, exc) from exc


def _explained(what: str, address: TcpAddress | UnixAddress, exc: OSError) -> OSError:
    if exc.errno == errno.EADDRINUSE and isinstance(address, TcpAddress):
        return OSError(f"cannot {what} {address}: the port is in use")
    return OSError(f"cannot {what} {address}: {exc.strerror or exc}")


def _log_start(store: Store, keys: Keys | None, served: Sequence[str]) -> None:
    log.info(
        "trio-dispatch %s has started",
        version("trio-dispatch"),
        extra={
            "store": store.description,
            "serving": " ".join(served),
            "keys": 0 if keys is None else len(keys),
        },
    )


def _warn(options: ServeOptions, context: ssl.SSLContext | None) -> None:
    if options.db is None:
        log.warning("dispatches are in memory only: give --db FILE to keep them")
    if not options.keys:
        log.warning("no API key is required: every user of this machine has access")
    elif context is None and not all(address.local for address in options.listen):
        log.warning("keys are sent unencrypted: give --tls-cert and --tls-key")
