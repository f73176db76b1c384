"""The commands ``serve`` and ``backup``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from .. import clock
from ..service import backup_file
from ._addresses import TcpAddress, parse_address, parse_listen
from ._keys import KeySource, TlsFiles
from ._log import LogFormat, logging_to_stderr
from ._run import run
from ._serve import ServeOptions, run_serve

__all__ = ["backup", "serve"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--listen",
    metavar="HOST:PORT",
    multiple=True,
    default=["127.0.0.1:50051"],
    show_default=True,
    help="Where to listen, or unix:PATH; port 0 is any that is free.  May be repeated.",
)
@click.option(
    "--db",
    metavar="FILE",
    type=_FILE,
    help="The database; without one, dispatches are kept in memory and are gone in the end.",
)
@click.option(
    "--key",
    "keys",
    metavar="KEY",
    multiple=True,
    envvar="DISPATCH_SERVICE_KEYS",
    show_envvar=True,
    help="A key that lets its holder do everything; may be repeated.  Others on this machine can "
    "read it in the list of processes: --keys is safer.  Without any key, only this machine is "
    "served, and whoever asks is let in.",
)
@click.option(
    "--keys",
    "key_file",
    metavar="FILE",
    type=_FILE,
    help="A TOML file of keys, their secrets, microgrids and rights; read again at SIGHUP.",
)
@click.option(
    "--tls-cert",
    metavar="FILE",
    type=_FILE,
    help="Serve with TLS: the certificate and its chain, in PEM; read again at SIGHUP.",
)
@click.option("--tls-key", metavar="FILE", type=_FILE, help="Its private key, without a password.")
@click.option(
    "--tls-client-ca",
    metavar="FILE",
    type=_FILE,
    help="Serve only clients that have a certificate signed by one of these.",
)
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    help="Where to serve metrics for Prometheus, under http://HOST:PORT/metrics.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log lines of text, or an object of JSON in each line.",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Log every call; otherwise those that change something, are refused, or fail.",
)
def serve(
    listen: tuple[str, ...],
    db: Path | None,
    keys: tuple[str, ...],
    key_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    metrics: str | None,
    log_format: LogFormat,
    *,
    verbose: bool,
) -> None:
    """Run a dispatch service.

    It ends at SIGTERM and SIGINT, when the calls that run have come to their end; at a second such
    signal at once.
    """
    try:
        options = ServeOptions(
            listen=[parse_address("--listen", text) for text in listen],
            db=db,
            keys=KeySource(keys, key_file),
            tls=TlsFiles(tls_cert, tls_key, tls_client_ca),
            metrics=None if metrics is None else _tcp("--metrics", metrics),
        )
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    with logging_to_stderr(log_format, verbose=verbose):
        # Whatever else goes wrong is told with a traceback.
        run(_serve, options, verbose=True)


async def _serve(options: ServeOptions) -> None:
    if status := await run_serve(options):
        raise SystemExit(status)


def _tcp(option: str, text: str) -> TcpAddress:
    return TcpAddress(*parse_listen(text, option=option))


@click.command()
@click.option("--db", metavar="FILE", type=_FILE, required=True, help="The database to copy.")
@click.option("--force", is_flag=True, help="Replace DEST if it exists.")
@click.argument("dest", metavar="DEST", type=_FILE)
def backup(db: Path, dest: Path, *, force: bool) -> None:
    """Copy a database to DEST, also while a service runs on it.

    The copy has what was committed at one moment.  It appears under its name when it is complete,
    was checked, and is on the disk.
    """
    run(clock.run_in_thread, partial(backup_file, db, dest, force=force))
    click.echo(f"{db} was copied to {dest}")
