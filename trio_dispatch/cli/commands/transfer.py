"""``export`` and ``import``: all of dispatches, ids and times included, to and from files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click

from ... import clock
from ...text.files import (
    FileFormat,
    InvalidFileError,
    format_of,
    read_copies,
    write_header,
    write_row,
)
from ...text.safe import dump_json, printable
from ..app.files import decode_text, open_output, read_bytes
from ..app.options import option, shared_options
from ..app.output import Progress, Results, ask, write, write_bytes
from ..app.params import FILE, TYPE
from ..app.run import FAILED, USAGE, Failure
from ..app.settings import Settings
from ..app.streams import tell
from .plans import FORMATS, check
from .read import count_dispatches, list_pages

_STDOUT = {"-", "/dev/stdout"}
_DB_PAGE = 500


@shared_options
@click.argument("file", metavar="[FILE]", default="-", type=click.Path(dir_okay=False))
@option("--format", click.Choice(FORMATS), "TOML, CSV, or JSON, one object per line.")
@option("--type types", TYPE, "Only dispatches of this type; may be repeated.", multiple=True)
@option("--active/--inactive", None, "Only active ones, or only inactive ones.", default=None)
async def export(
    settings: Settings, *, file: str = "-", format: FileFormat | None = None, **filters: Any
) -> None:
    """Write dispatches to a file, or to stdout.

    Dispatches are written in the order of their creation, with ids and, except in TOML, all times.
    The suffix of FILE selects the format: .csv, .toml, and JSON for all others.  A regular file
    appears, or is replaced, when the export is complete.  The output is a plan for diff and apply.

    \b
      trio-dispatch export plan.jsonl
      trio-dispatch export plan.csv --type CHARGE
      trio-dispatch export plan.toml
    """
    format = format or format_of(file)
    if file not in _STDOUT:
        async with open_output(file) as put:
            count = await _export(settings, format, filters, put)
        tell(f"{count_dispatches(count)} of microgrid {settings.microgrid_id} in {file}")
        return

    async def show(data: bytes) -> None:
        await write(printable(data.decode(), keep="\n"))

    await _export(settings, format, filters, show if sys.stdout.isatty() else write_bytes)


async def _export(
    settings: Settings, format: FileFormat, filters: Mapping[str, Any], put: Callable[[bytes], Any]
) -> int:
    count = 0
    await put(write_header(format, settings.microgrid_id, filters.get("types", ())).encode())
    async with settings.client() as client:
        with Progress("exported") as progress:
            pages = list_pages(
                client, settings.microgrid_id, sort_by="create_time", descending=False, **filters
            )
            async with aclosing(pages):
                async for dispatches, total in pages:
                    rows = "".join(write_row(each, format) for each in dispatches)
                    await put(rows.encode())
                    count += len(dispatches)
                    progress.update(count, total)
    return count


@shared_options
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@option("--db", FILE, "The database to add to: a file.", required=True)
@option("--format", click.Choice(["csv", "jsonl"]), "CSV, or JSON, one object per line.")
@option("--yes -y", None, "Do not ask.")
async def import_(
    settings: Settings,
    *,
    file: str,
    db: Path,
    format: FileFormat | None = None,
    yes: bool = False,
) -> None:
    """Add an export to the database of a service that is not running.

    The dispatches keep their ids and all times, even if they are over.  Dispatches whose ids exist
    are skipped.  To create the dispatches of a file in a running service, use apply.

    \b
      trio-dispatch import backup.jsonl --db dispatches.db
    """
    from ...service import open_store  # noqa: PLC0415
    from ...service.store.bulk import add_all  # noqa: PLC0415
    from ...service.store.rows import Author  # noqa: PLC0415

    data = await clock.run_in_thread(read_bytes, file, abandon_on_cancel=True)
    name = "stdin" if file == "-" else file
    try:
        dispatches = read_copies(
            decode_text(data, name), format or format_of(file), name, zone=settings.zone
        )
    except InvalidFileError as exc:
        check(exc.problems, name)
        raise
    tell(
        f"{count_dispatches(len(dispatches))} to add to {db} in microgrid "
        f"{settings.microgrid_id}, except those whose ids exist"
    )
    if not dispatches:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("--yes is required to import without a terminal")
        if not await ask("Do it?"):
            tell("nothing was done")
            raise Failure(USAGE)
    added = 0
    foreign: list[int] = []
    author = Author("trio-dispatch import")
    async with open_store(db) as store:
        with Progress("added") as progress:
            for begin in range(0, len(dispatches), _DB_PAGE):
                some = dispatches[begin : begin + _DB_PAGE]
                result = await add_all(
                    store, settings.microgrid_id, some, author=author, page_size=_DB_PAGE
                )
                added += result.added
                foreign += result.foreign
                progress.update(begin + len(some), len(dispatches))
    skipped = len(dispatches) - added - len(foreign)
    tell(f"{added:,} added to {db}, {skipped:,} skipped because their ids exist")
    results = Results()
    if settings.json:
        outcome = {"added": added, "skipped": skipped, "foreign": foreign}
        await results.write(f"{dump_json(outcome)}\n")
    results.check()
    if foreign:
        ids = ", ".join(map(str, foreign[:10])) + (" and more" if len(foreign) > 10 else "")
        raise Failure(FAILED, f"these ids belong to dispatches of other microgrids: {ids}")
