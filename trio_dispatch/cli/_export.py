"""``export``: dispatches to a file."""

from __future__ import annotations

import os
import secrets
from contextlib import aclosing
from pathlib import Path
from typing import IO, Any

import click

from .. import clock
from . import _stdout as stdout
from ._formats import Format, format_of, write_heading, write_row
from ._options import Command, shared_options
from ._progress import Progress
from ._read import list_dispatches
from ._run import run
from ._settings import Settings

__all__ = ["export", "export_command"]


@click.command("export", cls=Command)
@shared_options
@click.argument("file", metavar="[FILE]", default="-", type=click.Path(dir_okay=False))
@click.option(
    "--format",
    type=click.Choice(["jsonl", "csv"]),
    help="JSON, one object a line, or CSV; by default as the name of the file ends, else JSON.",
)
@click.option("--type", "types", metavar="TYPE", multiple=True, help="Only of this type.")
@click.option("--active/--inactive", default=None, help="Only those that are, or are not, to run.")
def export_command(settings: Settings, file: str, format: Format | None, **filters: Any) -> None:
    """Write dispatches to a file, or to stdout.

    They come in the order in which they were created, with ids and times and all.  The file appears
    when it is complete; one of that name is replaced then.

    \b
      trio-dispatch export plan.jsonl
      trio-dispatch export plan.csv --type CHARGE
    """
    run(
        lambda: export(settings, file, format or format_of(file), **filters),
        verbose=settings.verbose,
    )


async def export(settings: Settings, file: str, format: Format, **filters: Any) -> int:
    """Write dispatches to a file, ``-`` for stdout; returns how many.

    Raises:
      ServiceError: a page could not be had; the file is as it was.
      OSError: the file cannot be written; it is as it was.
    """
    target = None if file == "-" else Path(file)
    # Beside its place, under a name that no other export has.
    part = None if target is None else target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        out = None if part is None else part.open("w", encoding="utf-8", newline="")
    except OSError as exc:
        raise OSError(f"{file} cannot be written: {exc.strerror or exc}") from None

    async def write(text: str) -> None:
        if out is None:
            await stdout.write(text)
        else:
            out.write(text)

    count = 0
    try:
        await write(write_heading(format))
        async with settings.client() as client:
            with Progress("exported") as progress:
                pages = list_dispatches(
                    client, settings.microgrid, sort_by="create_time", descending=False, **filters
                )
                async with aclosing(pages):
                    async for dispatches, total in pages:
                        await write("".join(write_row(each, format) for each in dispatches))
                        count += len(dispatches)
                        progress.update(count, total)
        if out is not None and part is not None and target is not None:
            await clock.run_in_thread(_finish, out, part, target)
    finally:
        if out is not None and part is not None:
            out.close()
            part.unlink(missing_ok=True)
    if target is not None:
        click.echo(f"{count:,} dispatches of microgrid {settings.microgrid} in {file}", err=True)
    return count


def _finish(out: IO[str], part: Path, target: Path) -> None:
    out.flush()
    os.fsync(out.fileno())
    out.close()
    part.replace(target)
