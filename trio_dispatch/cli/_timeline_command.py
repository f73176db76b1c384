"""``timeline``."""

from __future__ import annotations

import heapq
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import clock
from ._options import Command, shared_options
from ._params import DURATION, IDS, MOMENT, Duration
from ._run import run
from ._settings import Settings

if TYPE_CHECKING:
    from ..model.dispatch import Dispatch
    from ..timeline import Timeline

__all__ = ["timeline"]

_DAY = timedelta(days=1)
_SUFFIXES = (".svg", ".png", ".html", ".htm", ".txt")
_LEAST_COLUMNS, _PIPED_COLUMNS = 40, 100


class _TimelineCommand(Command):
    """A file is of whatever microgrid: with one, nobody need say of which."""

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.params["input_path"] is not None and ctx.params["microgrid"] is None:
            ctx.params["microgrid"] = 0
        return super().invoke(ctx)


def _check_output(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() not in _SUFFIXES:
        raise click.BadParameter(
            f"{str(path)!r} does not end with .svg, .png, .html or .txt, which says what to write",
            ctx,
            parameter,
        )
    return path


@click.command("timeline", cls=_TimelineCommand)
@shared_options
@click.argument("ids", metavar="[ID]...", nargs=-1, type=IDS)
@click.option("--from", "begin", metavar="TIME", type=MOMENT, help="The begin [default: now].")
@click.option("--to", "end", metavar="TIME", type=MOMENT, help="The end.")
@click.option(
    "--for",
    "length",
    metavar="DURATION",
    type=DURATION,
    help="How much time, in the place of --to [default: 1 day].",
)
@click.option(
    "--by",
    type=click.Choice(["type", "target"]),
    default="type",
    show_default=True,
    help="What the rows are.",
)
@click.option(
    "--type", "types", metavar="TYPE", multiple=True, help="Only this type; may be repeated."
)
@click.option(
    "--output",
    "-o",
    "output_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_check_output,
    help="Write a picture: what it ends with, .svg, .png, .html or .txt, says which.",
)
@click.option(
    "--input",
    "-i",
    "input_path",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Draw what `export` wrote, and ask no service; - is stdin.",
)
@click.option(
    "--width",
    metavar="N",
    type=click.IntRange(_LEAST_COLUMNS, 10_000),
    help="Columns of text, or pixels of a picture [default: as wide as the terminal, 960 pixels].",
)
def timeline(
    settings: Settings,
    begin: datetime | None,
    end: datetime | None,
    length: Duration | None,
    **options: Any,
) -> None:
    """Draw what runs when.

    A row for each type or target, a bar for each run, in the terminal or as a picture; an .html is
    a page to hover over and to zoom into.  With --json, the runs in order of their start.

    \b
      trio-dispatch timeline
      trio-dispatch timeline --from today --for 7d --type CHARGE
      trio-dispatch timeline --by target --output plan.html
    """
    if end is not None and length is not None:
        raise click.UsageError("--to and --for exclude each other: give one of them")
    now = settings.now()
    begin = begin or now
    if end is None:
        span = _DAY if length is None else length.value
        if span is None:
            raise click.UsageError("a picture has an end: --for takes a duration such as 12h or 7d")
        try:
            end = begin + span
        except OverflowError:
            raise click.UsageError("--for leads beyond the year 9999") from None
    if end <= begin:
        raise click.UsageError(
            f"the picture ends at {end.astimezone(UTC):%Y-%m-%dT%H:%MZ}, not after its begin"
        )
    run(partial(_timeline, settings, begin, end, now, **options), verbose=settings.verbose)


async def _timeline(
    settings: Settings,
    begin: datetime,
    end: datetime,
    now: datetime,
    *,
    ids: Sequence[Sequence[int]],
    by: Any,
    types: Sequence[str],
    output_path: Path | None,
    input_path: Path | None,
    width: int | None,
) -> None:
    from ..timeline import draw_timeline as draw  # noqa: PLC0415

    wanted = {id_ for some in ids for id_ in some}
    if input_path is None:
        found = await _ask(settings, begin, end, wanted, types)
    else:
        found = await clock.run_in_thread(_read, input_path, settings.zone)
        found = [
            each
            for each in found
            if (not wanted or each.id in wanted) and (not types or each.type in types)
        ]
    picture = draw(found, begin, end, now=now, by=by, time_zone=settings.zone)
    if output_path is not None:
        await _save(picture, output_path, width, len(found))
    elif settings.json:
        for line in _json_lines(found, begin, end):
            click.echo(line)
    else:
        await _show(settings, picture, width)


async def _ask(
    settings: Settings,
    begin: datetime,
    end: datetime,
    ids: set[int],
    types: Sequence[str],
) -> list[Dispatch]:
    """What may run in that time."""
    from ._progress import Progress  # noqa: PLC0415
    from ._read import list_dispatches  # noqa: PLC0415

    found: list[Dispatch] = []
    async with settings.client() as client:
        with Progress("listed") as progress:
            pages = list_dispatches(
                client,
                settings.microgrid,
                types=types,
                ids=sorted(ids),
                active=True,
                start_to=end,
                end_from=begin,
            )
            async with aclosing(pages):
                async for dispatches, total in pages:
                    found += dispatches
                    progress.update(len(found), total)
    return found


def _read(path: Path, zone: tzinfo) -> list[Dispatch]:
    """The dispatches in a file.

    Raises:
      ValueError: something in it is no dispatch.
    """
    from ._formats import format_of, read_entries  # noqa: PLC0415

    with click.open_file(str(path), encoding="utf-8") as file:
        text = file.read()
    return [entry.dispatch for entry in read_entries(text, format_of(path.name), zone=zone)]


async def _save(picture: Timeline, path: Path, width: int | None, number: int) -> None:
    try:
        await clock.run_in_thread(picture.save, path, width)
    except ImportError as exc:
        raise click.ClickException(str(exc)) from None
    except OSError as exc:
        raise click.ClickException(f"{path} cannot be written: {exc.strerror}") from None
    dispatches = "1 dispatch" if number == 1 else f"{number:,} dispatches"
    click.echo(f"{path}: {dispatches}", err=True)


async def _show(settings: Settings, picture: Timeline, width: int | None) -> None:
    from rich.text import Text  # noqa: PLC0415

    console = settings.console()
    if width is None:
        width = max(_LEAST_COLUMNS, shutil.get_terminal_size((_PIPED_COLUMNS, 24)).columns)
    drawn = await clock.run_in_thread(picture.text, width, True)
    console.print(Text.from_ansi(drawn), soft_wrap=True)


def _json_lines(dispatches: Sequence[Dispatch], begin: datetime, end: datetime) -> Iterator[str]:
    """The runs in order of their start, an object each."""
    from ..timeline.runs import runs  # noqa: PLC0415
    from ._records import json_time, record_of  # noqa: PLC0415

    def of(dispatch: Dispatch) -> Iterator[tuple[datetime, int, str]]:
        record = record_of(dispatch)
        kept = {name: record[name] for name in ("id", "type", "target", "dry_run", "payload")}
        for each in runs(dispatch, begin, end):
            times = {"start": json_time(each.start), "end": json_time(each.end)}
            yield each.start, dispatch.id, json.dumps(kept | times, ensure_ascii=False)

    for _, _, line in heapq.merge(*map(of, dispatches)):
        yield line
