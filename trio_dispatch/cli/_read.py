"""``list`` and ``get``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from ..client.errors import ServiceError
from ..grpc import Status
from . import _stdout as stdout
from ._options import Command, shared_options
from ._params import IDS, MOMENT, TARGET
from ._run import NOT_FOUND, Failure, explain, run
from ._settings import Settings

if TYPE_CHECKING:
    from ..client.client import DispatchClient
    from ..model.dispatch import Dispatch

__all__ = ["get_command", "list_command", "list_dispatches", "show_dispatches", "show_list"]

_SORTS = {"start": "start_time", "created": "create_time", "updated": "update_time"}


@click.command("list", cls=Command)
@shared_options
@click.option(
    "--type", "types", metavar="TYPE", multiple=True, help="Of this type; may be repeated."
)
@click.option(
    "--query",
    "-q",
    "queries",
    metavar="TEXT",
    multiple=True,
    help="With this in the type, or #4 for the id 4; may be repeated.",
)
@click.option("--id", "ids", metavar="IDS", type=IDS, help="With one of these ids: 1,2,5-9.")
@click.option(
    "--target",
    "targets",
    metavar="TARGET",
    type=TARGET,
    multiple=True,
    help="For exactly this target, 1,2,5-9 or battery,inverter:pv; may be repeated.",
)
@click.option("--active/--inactive", default=None, help="Only those that are, or are not, to run.")
@click.option("--dry-run/--no-dry-run", default=None, help="Only those to rehearse, or the others.")
@click.option("--recurring/--once", default=None, help="Only those that recur, or do not.")
@click.option("--running", is_flag=True, help="Only those that run now.")
@click.option("--start-from", metavar="TIME", type=MOMENT, help="With a start at or after this.")
@click.option("--start-to", metavar="TIME", type=MOMENT, help="With a start before this.")
@click.option(
    "--end-from", metavar="TIME", type=MOMENT, help="That end at or after this, or never."
)
@click.option("--end-to", metavar="TIME", type=MOMENT, help="That end before this.")
@click.option("--updated-from", "update_from", metavar="TIME", type=MOMENT,
              help="Last updated at or after this.")  # fmt: skip
@click.option("--updated-to", "update_to", metavar="TIME", type=MOMENT,
              help="Last updated before this.")  # fmt: skip
@click.option(
    "--sort",
    type=click.Choice([*_SORTS]),
    default="created",
    show_default=True,
    help="By what to sort.",
)
@click.option(
    "--ascending/--descending", default=False, help="The earliest first, or the latest [default]."
)
def list_command(settings: Settings, **options: Any) -> None:
    """List dispatches.

    \b
      trio-dispatch list --type CHARGE --start-from today
      trio-dispatch list --target battery,inverter:pv --active
      trio-dispatch list --json | jq .id
    """
    running, sort = options.pop("running"), _SORTS[options.pop("sort")]
    descending = not options.pop("ascending")
    options["ids"] = options["ids"] or ()
    run(
        lambda: show_list(
            settings, running=running, sort_by=sort, descending=descending, **options
        ),
        verbose=settings.verbose,
    )


@click.command("get", cls=Command)
@shared_options
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=IDS)
def get_command(settings: Settings, ids: Sequence[Sequence[int]]) -> None:
    """Show all that there is of dispatches.

    ID is an id, or several as in 1,2,5-9.  If there is no such dispatch, the exit status is 3.
    """
    run(show_dispatches, settings, [id_ for some in ids for id_ in some], verbose=settings.verbose)


async def show_list(settings: Settings, *, running: bool = False, **filters: Any) -> None:
    """Print the dispatches that pass the filters; those on a page at once, if as JSON."""
    # What prints to people takes a while to import.
    from ._progress import Progress  # noqa: PLC0415
    from ._show import json_line, table_of  # noqa: PLC0415

    now = settings.now()
    found: list[Dispatch] = []
    count = 0
    async with settings.client() as client:
        with Progress("listed") as progress:
            pages = list_dispatches(client, settings.microgrid, **filters)
            async with aclosing(pages):
                async for dispatches, total in pages:
                    count += len(dispatches)
                    some = [d for d in dispatches if not running or d.running_at(now)]
                    if settings.json:
                        progress.clear()
                        await stdout.write("".join(f"{json_line(d, now)}\n" for d in some))
                    else:
                        found += some
                    progress.update(count, total)
    if settings.json:
        return
    console = settings.console()
    if found:
        console.print(table_of(found, now, settings.zone, console), soft_wrap=True)
    settings.console(stderr=True).print(_summary(len(found), settings), style="dim")


def _summary(count: int, settings: Settings) -> str:
    number = "no dispatch" if not count else "1 dispatch" if count == 1 else f"{count:,} dispatches"
    return f"{number} in microgrid {settings.microgrid}; times are those of {settings.zone}"


async def list_dispatches(
    client: DispatchClient, microgrid_id: int, *, types: Collection[str] = (), **filters: Any
) -> AsyncGenerator[tuple[list[Dispatch], int], None]:
    """The pages of the dispatches that pass, and how many there are by the service's filters.

    Args:
      types: Exactly these types; the service itself only knows parts of them.
    """
    queries = filters.pop("queries", ())
    # "#4" as a part of a type cannot be asked for: it means the id.
    if types and not queries and not any(name.startswith("#") for name in types):
        queries = types
    undecodable = 0
    pages = client.list(microgrid_id, queries=queries, page_size=100, **filters)
    async with aclosing(pages):
        async for page in pages:
            undecodable += len(page.undecodable)
            yield [d for d in page if not types or d.type in types], page.total or 0
    if undecodable:
        click.echo(f"Warning: {undecodable} more make no sense, and are left out", err=True)


async def show_dispatches(settings: Settings, ids: Sequence[int]) -> None:
    """Print dispatches one by one, and in the end tell of those that there are not.

    Raises:
      Failure: there are not all of them.
    """
    from ._show import details, json_line  # noqa: PLC0415

    missing = False
    console = None if settings.json else settings.console()
    async with settings.client() as client:
        async for dispatch in _get_each(client, settings.microgrid, ids):
            now = settings.now()
            if dispatch is None:
                missing = True
            elif console is None:
                click.echo(json_line(dispatch, now))
            else:
                console.print(details(dispatch, now, settings.zone), soft_wrap=True)
    if missing:
        raise Failure(NOT_FOUND)


async def _get_each(
    client: DispatchClient, microgrid_id: int, ids: Sequence[int]
) -> AsyncIterator[Dispatch | None]:
    for id_ in ids:
        try:
            yield await client.get(microgrid_id, id_)
        except ServiceError as exc:
            if exc.status is not Status.NOT_FOUND:
                raise
            click.echo(f"Error: {explain(exc)}", err=True)
            yield None
