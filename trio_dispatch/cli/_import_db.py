"""``import --db``: dispatches into the database of a service that does not run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..service import open_store
from ..service.store.bulk import BulkResult, add_all
from ._formats import Entry
from ._progress import Progress
from ._run import FAILED, Failure
from ._settings import Settings
from ._show import dump

__all__ = ["import_into"]

_PAGE = 500


async def import_into(
    settings: Settings, entries: Sequence[Entry], path: Path, *, apply: bool
) -> None:
    """Put dispatches into a database as they are, ids and times and all; skip those it has.

    Raises:
      Failure: other microgrids have some of the ids.
      StoreError: a service has the database open, or it cannot be written.
    """
    from ._import import confirmed  # noqa: PLC0415

    if not apply:
        click.echo(
            f"{len(entries):,} to put into {path} as of microgrid {settings.microgrid}, but for "
            "those whose ids it has",
            err=True,
        )
        if not confirmed(len(entries)):
            return
    added = 0
    present: list[int] = []
    foreign: list[int] = []
    async with open_store(path) as store:
        with Progress("imported") as progress:
            for begin in range(0, len(entries), _PAGE):
                some = [entry.dispatch for entry in entries[begin : begin + _PAGE]]
                result: BulkResult = await add_all(store, settings.microgrid, some, page_size=_PAGE)
                added += result.added
                present += result.present
                foreign += result.foreign
                progress.update(begin + len(some), len(entries))
    skipped = len(entries) - added - len(foreign)
    if settings.json:
        click.echo(dump({"added": added, "skipped": skipped, "foreign": foreign}))
    text = f"{added:,} added to {path}, {skipped:,} skipped whose ids it had"
    click.echo(text, err=True)
    if foreign:
        ids = ", ".join(map(str, foreign[:10])) + (" and more" if len(foreign) > 10 else "")
        click.echo(f"Error: other microgrids have dispatches with the ids {ids}", err=True)
        raise Failure(FAILED)
