"""``list`` and ``get``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

import click

from ...client.client import DispatchClient
from ...client.errors import ServiceError
from ...grpc import Status
from ...model.dispatch import Dispatch
from ...text.files import write_header, write_row
from ...text.records import format_json
from ...text.safe import printable
from ...text.show import format_details, format_table
from ..app.options import option, output_formats, shared_options
from ..app.output import Progress, write, write_drawing
from ..app.params import IDS, MOMENT, TARGET, TEXT, TYPE
from ..app.run import NOT_FOUND, Failure, explain
from ..app.settings import Settings
from ..app.streams import tell

_SHOWN_RUNS = 5
_LAST_RUNS = 20
"""Announcements among them are not shown if actors have reported, too."""

_SORT_FIELDS = {"start": "start_time", "created": "create_time", "updated": "update_time"}


@shared_options
@output_formats("table", "wide", "json", "csv")
@option("--type types", TYPE, "Only dispatches of this type; may be repeated.", multiple=True)
@option(
    "--query -q queries",
    TEXT,
    "Only dispatches with this text in the type, or #4 for id 4; may be repeated.",
    multiple=True,
)
@option("--id ids", IDS, "Only dispatches with one of these ids: 1,2,5-9.")
@option(
    "--target targets",
    TARGET,
    "Only dispatches with exactly this target: 1,2,5-9 or battery,inverter:pv; may be repeated.",
    multiple=True,
)
@option("--active/--inactive", None, "Only active dispatches, or only inactive ones.", default=None)
@option("--dry-run/--no-dry-run", None, "Only dry runs, or no dry runs.", default=None)
@option("--recurring/--once", None, "Only dispatches that recur, or that do not.", default=None)
@option("--running", None, "Only dispatches that run now.")
@option("--start-from", MOMENT, "Only dispatches that start at this time or later.")
@option("--start-to", MOMENT, "Only dispatches that start before this time.")
@option("--end-from", MOMENT, "Only dispatches that end at this time or later, or never.")
@option("--end-to", MOMENT, "Only dispatches that end before this time.")
@option("--updated-from update_from", MOMENT, "Only dispatches updated at this time or later.")
@option("--updated-to update_to", MOMENT, "Only dispatches last updated before this time.")
@option("--sort", click.Choice([*_SORT_FIELDS]), "The time to sort by.", default="created")
@option("--ascending/--descending", None, "Earliest first, or latest first.", default=False)
async def list_(
    settings: Settings,
    *,
    running: bool = False,
    sort: str = "created",
    ascending: bool = False,
    ids: Sequence[int] | None = None,
    **filters: Any,
) -> None:
    """List dispatches.

    On a terminal, rows are shortened to its width; --output wide prints complete rows, and
    --output csv a plan as export writes it.

    \b
      trio-dispatch list --type CHARGE --start-from today
      trio-dispatch list --target battery,inverter:pv --active
      trio-dispatch list --output json | jq .id
    """
    now = settings.now()
    streams = settings.output in ("json", "csv")
    found: list[Dispatch] = []
    count = 0
    given = filters | {"ids": ids}
    async with settings.client() as client:
        filters |= {"sort_by": _SORT_FIELDS[sort], "descending": not ascending, "ids": ids or ()}
        with Progress("listed") as progress:
            async with aclosing(list_pages(client, settings.microgrid_id, **filters)) as pages:
                if settings.output == "csv":
                    await write(write_header("csv", settings.microgrid_id))
                async for dispatches, total in pages:
                    count += len(dispatches)
                    some = [d for d in dispatches if not running or d.running_at(now)]
                    if streams:
                        progress.clear()
                        await write(_rows(some, now, settings.output))
                    else:
                        found += some
                    progress.update(count, total)
    if streams:
        return
    if found:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        wide = settings.output == "wide"
        table = format_table(found, now, settings.zone, settings.paint, width, wide=wide)
        await write_drawing(f"{table}\n")
    if not count and not any(value not in (None, (), []) for value in given.values()):
        tell(f"Note: microgrid {settings.microgrid_id} has no dispatches at all: check --microgrid")
    tell(
        f"{count_dispatches(len(found))} in microgrid {settings.microgrid_id}; "
        f"times in {settings.zone}"
    )


@shared_options
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=IDS)
async def get(settings: Settings, *, ids: Sequence[Sequence[int]]) -> None:
    """Show all fields of dispatches, and their last runs.

    ID is an id, or several as in 1,2,5-9.  If one does not exist, the exit status is 3.
    """
    missing = False
    async with settings.client() as client:
        for id_ in (id_ for some in ids for id_ in some):
            try:
                dispatch = await client.get(settings.microgrid_id, id_)
            except ServiceError as exc:
                if exc.status is not Status.NOT_FOUND:
                    raise
                tell(f"Error: {explain(exc)}")
                missing = True
                continue
            now = settings.now()
            if settings.json:
                await write(f"{format_json(dispatch, now)}\n")
            else:
                await write(f"{format_details(dispatch, now, settings.zone, settings.paint)}\n")
                await write(await _last_runs(settings, client, id_, now))
    if missing:
        raise Failure(NOT_FOUND)


async def _last_runs(settings: Settings, client: DispatchClient, id_: int, now: datetime) -> str:
    """Return lines for the last runs of a dispatch; none if the service does not tell."""
    # `list` is to start fast.
    from ...model.explanation import acted  # noqa: PLC0415
    from ...text.runs import format_run  # noqa: PLC0415

    try:
        pages = client.list_runs(settings.microgrid_id, ids=[id_], page_size=_LAST_RUNS)
        async with aclosing(pages):
            page = await anext(pages)
    except ServiceError as exc:
        if exc.status in {Status.UNIMPLEMENTED, Status.PERMISSION_DENIED}:
            return ""
        raise
    runs = (
        format_run(run, now, settings.zone, settings.paint) for run in acted([*page])[:_SHOWN_RUNS]
    )
    return "".join(f"{settings.paint('  run      ', 'dim')} {line}\n" for line in runs)


def _rows(dispatches: Sequence[Dispatch], now: datetime, output: str) -> str:
    if output == "csv":
        return "".join(printable(write_row(d, "csv"), keep="\r\n") for d in dispatches)
    return "".join(f"{format_json(d, now)}\n" for d in dispatches)


async def list_pages(
    client: DispatchClient, microgrid_id: int, *, types: Collection[str] = (), **filters: Any
) -> AsyncGenerator[tuple[list[Dispatch], int | None], None]:
    """Yield pages of the dispatches that pass the filters, with the total by the service's filters.

    Args:
      types: Exactly these types; the service only filters by parts of a type.
    """
    queries = filters.pop("queries", ())
    # A query like "#4" would mean the id.
    if types and not queries and not any(name.startswith("#") for name in types):
        queries = types
    undecodable = 0
    pages = client.list(microgrid_id, queries=queries, page_size=100, **filters)
    async with aclosing(pages):
        async for page in pages:
            undecodable += len(page.undecodable)
            yield [d for d in page if not types or d.type in types], page.total
    if undecodable:
        tell(f"Warning: {count_dispatches(undecodable)} could not be decoded and are left out")


def count_dispatches(count: int) -> str:
    """Return ``1 dispatch``, ``2,000 dispatches``."""
    return "1 dispatch" if count == 1 else f"{count:,} dispatches"
