"""``serve``, ``backup``, ``purge`` and ``migrate``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal

import click

from ... import clock
from ...service import Retention, backup_file, purge_file
from ...service.backups import BackupSchedule
from ..app.options import option
from ..app.output import Results
from ..app.params import AGE, DATABASE, FILE, NUMBER, TEXT, Parsed
from ..serving.addresses import TcpAddress, UnixAddress, parse_address, parse_tcp
from ..serving.keys import KeySource, TlsFiles
from ..serving.logs import logging_to_stderr
from ..serving.page import PageOptions, page_options
from ..serving.service import ServeOptions, run_service

LISTEN = Parsed("host:port", parse_address)
METRICS = Parsed("host:port", parse_tcp)


@option(
    "--listen",
    LISTEN,
    "The address to listen on, or unix:PATH; port 0 selects a free port; may be repeated.",
    multiple=True,
    default=["127.0.0.1:50051"],
)
@option(
    "--db",
    DATABASE,
    "The database: a file, or postgresql://HOST/NAME, which several services can share.  Without "
    "one, dispatches are kept in memory only.",
)
@option(
    "--key keys",
    TEXT,
    "An API key with all rights; may be repeated.  Other users of this machine can see it in the "
    "list of processes: --keys is safer.  Without any key the service serves only this machine, "
    "and everyone on it has access.",
    metavar="KEY",
    multiple=True,
    envvar="DISPATCH_SERVICE_KEYS",
    show_envvar=True,
)
@option(
    "--keys key_file",
    FILE,
    "A TOML file of API keys, with their secrets, microgrids and rights; SIGHUP reloads it.",
)
@option(
    "--tls-cert", FILE, "Use TLS with this certificate and its chain, in PEM; SIGHUP reloads it."
)
@option("--tls-key", FILE, "The private key of the certificate, without a password.")
@option(
    "--tls-client-ca",
    FILE,
    "Accept only clients with a certificate that one of these authorities has signed.",
)
@option(
    "--metrics",
    METRICS,
    "Serve metrics for Prometheus at http://HOST:PORT/metrics, and /healthz and /readyz.",
)
@page_options
@option(
    "--backup-dir", FILE, "Make regular backups of the database in this directory.", metavar="DIR"
)
@option("--backup-every", AGE, "How often to make a backup.", default="1d")
@option("--backup-keep", NUMBER, "Keep this many backups, and remove older ones.", default="7")
@option("--reflection", None, "Serve the definition of the API to clients such as grpcurl.")
@option(
    "--keep-runs run_age",
    AGE,
    "Remove runs whose last report is older than this.",
    default="400d",
)
@option("--max-runs", NUMBER, "Keep at most this many runs.", default="1000000")
@option(
    "--keep-changes change_age", AGE, "Remove changes that are older than this.", default="400d"
)
@option("--max-changes", NUMBER, "Keep at most this many changes.", default="1000000")
@option("--log-format", click.Choice(["text", "json"]), "The format of log lines.", default="text")
@option(
    "--verbose -v",
    None,
    "Log every call, not only those that change something, fail, or are refused.",
)
async def serve(
    *,
    listen: Sequence[TcpAddress | UnixAddress],
    db: Path | str | None,
    keys: tuple[str, ...],
    key_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    metrics: TcpAddress | None,
    web: TcpAddress | None,
    web_hosts: Sequence[str],
    components_file: Path | None,
    backup_dir: Path | None,
    backup_every: timedelta,
    backup_keep: int,
    reflection: bool,
    run_age: timedelta,
    max_runs: int,
    change_age: timedelta,
    max_changes: int,
    log_format: Literal["text", "json"],
    verbose: bool,
) -> None:
    """Run a dispatch service.

    SIGTERM or Ctrl-C stops the service when running calls have finished; a second signal stops it
    at once.
    """
    try:
        options = ServeOptions(
            listen=listen,
            db=db,
            keys=KeySource(keys, key_file),
            tls=TlsFiles(tls_cert, tls_key, tls_client_ca),
            metrics=metrics,
            page=PageOptions.read(web, web_hosts, components_file),
            reflection=reflection,
            retention=Retention(
                run_age=run_age, runs=max_runs, change_age=change_age, changes=max_changes
            ),
            backups=None
            if backup_dir is None
            else BackupSchedule(backup_dir, every=backup_every, keep=backup_keep),
        )
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    with logging_to_stderr(log_format, verbose=verbose):
        await run_service(options)


@option("--db", DATABASE, "The database to copy: a file.", required=True)
@option("--force", None, "Replace DEST if it exists.")
@click.argument("dest", metavar="DEST", type=FILE)
async def backup(*, db: Path | str, dest: Path, force: bool) -> None:
    """Copy the database of a service, also while it runs.

    DEST becomes a copy of everything that was committed at one moment.  The file appears when it
    is complete, checked, and on the disk.  Back up a database in PostgreSQL with its own tools,
    for example pg_dump.
    """
    if isinstance(db, str):
        raise click.UsageError(
            f"PostgreSQL has its own backups: pg_dump --format=custom --file={dest} DATABASE"
        )
    await clock.run_in_thread(partial(backup_file, db, dest, force=force))
    results = Results()
    await results.write(f"copied {db} to {dest}\n")
    results.check()


@option("--db", DATABASE, "The database: a file, or postgresql://HOST/NAME.", required=True)
@option(
    "--older-than age",
    AGE,
    "Remove runs and changes that are older than this: 90d, 12h.",
    required=True,
)
@option("--only", click.Choice(["runs", "changes"]), "Remove only runs, or only changes.")
async def purge(*, db: Path | str, age: timedelta, only: Literal["runs", "changes"] | None) -> None:
    """Remove old runs and changes from a database, also while it is served.

    Dispatches stay, and so do runs that still go on.  The age of a run counts from its last report.
    The file does not become smaller, but the space in it is used again.
    """
    before = clock.now() - age
    if isinstance(db, str):
        from ...service.store.postgres.purge import purge_database  # noqa: PLC0415

        purged = await purge_database(db, before, runs=only != "changes", changes=only != "runs")
    else:
        purged = await clock.run_in_thread(
            partial(purge_file, db, before, runs=only != "changes", changes=only != "runs")
        )
    results = Results()
    await results.write(f"removed {purged.runs:,} runs and {purged.changes:,} changes\n")
    results.check()


@click.argument("source", metavar="FILE", type=FILE)
@click.argument("target", metavar="URL", type=DATABASE)
async def migrate(*, source: Path, target: Path | str) -> None:
    """Move a service from a file to PostgreSQL.

    URL is postgresql://HOST/NAME, an empty database.  Dispatches with their ids and times, the log
    of changes and the runs are copied and compared.  Stop the service first.  FILE stays as it is;
    start the service with --db URL afterwards.
    """
    if not isinstance(target, str):
        raise click.UsageError(f"{target} is not a URL: use postgresql://HOST/NAME")
    from ...service.store.postgres.migrate import migrate_file  # noqa: PLC0415

    moved = await migrate_file(source, target)
    results = Results()
    await results.write(
        f"moved {moved.dispatches:,} dispatches, {moved.changes:,} changes "
        f"and {moved.runs:,} runs\n"
    )
    results.check()
