"""The commands."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import click
import trio
from rich.console import Console
from rich.logging import RichHandler

from ..errors import DispatchError
from ._demo import run_demo
from ._serve import run_serve

__all__ = ["cli"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("trio-dispatch"), prog_name="trio-dispatch")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def cli(*, verbose: bool) -> None:
    """Dispatches of a microgrid: what its batteries, inverters and chargers do, and when."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(message)s",
        handlers=[
            RichHandler(console=Console(stderr=True), show_path=False, omit_repeated_times=False)
        ],
    )


@cli.command()
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:50051",
    show_default=True,
    help="Where to listen; port 0 is any that is free.",
)
@click.option(
    "--db",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="The database; without one, dispatches are kept in memory and are gone in the end.",
)
@click.option(
    "--key",
    "keys",
    metavar="KEY",
    multiple=True,
    envvar="DISPATCH_SERVICE_KEYS",
    help="A key that lets its holder in; may be repeated.  Without any, only this machine is "
    "served, and whoever asks is let in.",
)
def serve(listen: str, db: str | None, keys: tuple[str, ...]) -> None:
    """Run a dispatch service."""
    _run(run_serve, listen, db, keys)


@cli.command()
def demo() -> None:
    """Watch dispatches being created, started and stopped, for 20 seconds."""
    _run(run_demo)


def _run(function: Callable[..., Awaitable[Any]], *args: object) -> None:
    """Run an async function; what a person can mend is told in one line."""
    try:
        trio.run(function, *args)
    except* KeyboardInterrupt:
        raise SystemExit(130) from None
    except* (DispatchError, ValueError, OSError) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise click.ClickException(str(error)) from None
