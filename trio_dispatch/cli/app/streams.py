"""The standard streams: closed ones, and messages on stderr.  This imports nothing slow."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import click

from ...text.safe import printable


def open_closed_streams() -> None:
    """Open /dev/null in place of standard streams that were closed when the process started.

    Otherwise the next file or socket would get the number of a standard stream.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is the one that is missing.
            os.open(os.devnull, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)
            mode = "r" if descriptor == 0 else "w"
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def close_pipe() -> None:
    """Have what is still to be written to stdout go nowhere, after its reader has closed it."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def tell(text: str) -> None:
    """Print a message on stderr, without control characters; if that fails, it is lost."""
    with suppress(OSError, ValueError):
        click.echo(printable(text, keep="\n"), err=True)
