"""``timeline``."""

from __future__ import annotations

import heapq
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import click

from ... import clock
from ...client.evidence import RunFilter, latest_runs
from ...model.dispatch import Dispatch
from ...model.explanation import acted
from ...model.runs import ReportedRun, ReportedState
from ...model.target import TargetCategory
from ...text.files import format_of
from ...text.records import format_json_time, record_of
from ...text.runs import run_record
from ...text.safe import dump_json, printable
from ...text.targets import parse_components
from ...timeline import Timeline, draw_timeline
from ...timeline.actual import actual_runs
from ...timeline.heights import number_in
from ...timeline.runs import runs
from ..app.files import open_output, read_text
from ..app.nearest import did_you_mean
from ..app.options import option, shared_options
from ..app.output import Progress, use_color, write, write_drawing
from ..app.params import DURATION, IDS, MOMENT, TEXT, TYPE, Duration
from ..app.settings import Settings
from ..app.streams import tell
from ..plans.memory import Memory
from ..plans.plan import read_plan
from .read import count_dispatches, list_pages

_DAY = timedelta(days=1)
_FORMATS = ("table", "json")
_SUFFIXES = (".svg", ".png", ".html", ".htm", ".txt")
_MAX_RUNS = 10_000
_LEAST_COLUMNS, _PIPED_COLUMNS = 40, 100


def _check_output(ctx: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    if name in _FORMATS or name is None:
        return name
    if Path(name).suffix.lower() not in _SUFFIXES:
        raise click.BadParameter(
            f"{name!r} is neither table nor json nor a file whose name ends with .svg, .png, .html "
            "or .txt",
            ctx,
            parameter,
        )
    return name


@shared_options
@click.argument("ids", metavar="[ID]...", nargs=-1, type=IDS)
@option("--from begin", MOMENT, "Start of the time range [default: now].")
@option("--to end", MOMENT, "End of the time range.")
@option("--for length", DURATION, "Length of the time range, instead of --to [default: 1 day].")
@option(
    "--by",
    click.Choice(["type", "target", "component"]),
    "What a row stands for.",
    default="type",
)
@option(
    "--components components_file",
    click.Path(exists=True, dir_okay=False),
    'A TOML file of what components are, with lines such as 1-3 = "battery:li_ion".',
    metavar="FILE",
)
@option("--type types", TYPE, "Only this type; may be repeated.", multiple=True)
@option(
    "--height",
    TEXT,
    "Draw bars as high as this number in the payload, such as power_kw.",
    metavar="KEY",
)
@option("--actual", None, "Draw reported runs, too; without --from, those of the last day.")
@option(
    "--output -o",
    click.Path(dir_okay=False),
    "Write a picture to FILE; the suffix .svg, .png, .html or .txt selects the format.  Or print a "
    "table, or json.",
    metavar="FILE",
    callback=_check_output,
)
@option(
    "--input -i source",
    click.Path(exists=True, dir_okay=False, allow_dash=True),
    "Draw the dispatches of an exported file, without a service; - is stdin.",
    metavar="FILE",
)
@option(
    "--width",
    click.IntRange(_LEAST_COLUMNS, 10_000),
    "Columns of text, or pixels of a picture [default: the width of the terminal, or 960].",
    metavar="N",
)
async def timeline(
    settings: Settings,
    *,
    ids: Sequence[Sequence[int]] = (),
    begin: datetime | None = None,
    end: datetime | None = None,
    length: Duration | None = None,
    by: Literal["type", "target", "component"] = "type",
    components_file: str | None = None,
    types: Sequence[str] = (),
    height: str | None = None,
    actual: bool = False,
    output: str | None = None,
    source: str | None = None,
    width: int | None = None,
) -> None:
    """Draw what runs when.

    Each type, target or component has a row, and each run a bar, in the terminal or in a picture.
    An .html file is a page to zoom and search in.  --json prints the runs, in the order of their
    start.

    With --actual, the runs that dispatchers and actors have reported are drawn in separate rows,
    such as CHARGE actual below CHARGE, from the start of each run to its end.  The service does not
    record pauses and further attempts within a run, so they are not shown.  --json prints the
    reported runs after the planned ones.

    With --by component, a row shows the runs that drive the component, and below them the
    overridden runs; --json prints only the runs that drive.  To resolve targets by category, give
    --components.

    \b
      trio-dispatch timeline
      trio-dispatch timeline --from today --for 7d --type CHARGE
      trio-dispatch timeline --by target --output plan.html
      trio-dispatch timeline --by component --components site.toml
      trio-dispatch timeline --height power_kw
      trio-dispatch timeline --actual --by component
    """
    now = settings.now()
    as_json = output == "json" or (settings.json and output is None)
    if output in _FORMATS:
        output = None
    if begin is None:
        begin = _begin_of_actual(now, end, length) if actual else now
        if actual and end is None and length is None:
            end = now
    end = _end_of(begin, end, length)
    wanted = {id_ for some in ids for id_ in some}
    reported: list[ReportedRun] = []
    if source is None:
        found = await _ask_service(settings, begin, end, wanted, types)
    else:
        text = await clock.run_in_thread(read_text, source)
        plan = read_plan(text, format_of(source), source, zone=settings.zone)
        found = [
            replace(each.dispatch, id=each.id or 0)
            for each in plan.wanted(Memory(), begin, end)
            if (not wanted or each.id in wanted) and (not types or each.dispatch.type in types)
        ]
    if actual:
        if source is not None:
            raise click.UsageError("--actual and --input exclude each other")
        reported = await _ask_for_runs(settings, begin, end, wanted, types)
    components: dict[int, TargetCategory] | None = None
    if components_file is not None:
        components = parse_components(await clock.run_in_thread(read_text, components_file))
    if as_json:
        if by == "component":
            lines = _json_lines_by_component(found, begin, end, components)
        else:
            lines = _json_lines(found, begin, end)
        await write("".join(f"{line}\n" for line in lines))
        await write("".join(f"{dump_json(run_record(run))}\n" for run in reversed(reported)))
        return
    targets = {each.id: each.target for each in found}
    found += actual_runs(reported, now, targets=targets, by_component=by == "component")
    if output is None:
        found = [
            each if each.type.isprintable() else replace(each, type=printable(each.type))
            for each in found
        ]
    if height is not None and all(number_in(each.payload, height) is None for each in found):
        known = {key for each in found for key in each.payload}
        tell(f"Warning: no payload has a number under {height!r}{did_you_mean(height, known)}")
    picture = draw_timeline(
        found,
        begin,
        end,
        now=now,
        by=by,
        components=components,
        height=height or None,
        time_zone=settings.zone,
    )
    if output is not None:
        await _save(picture, output, width)
        tell(f"{output}: {count_dispatches(len(found))}")
        return
    if width is None:
        width = max(_LEAST_COLUMNS, shutil.get_terminal_size((_PIPED_COLUMNS, 24)).columns)
    drawn = await clock.run_in_thread(picture.text, width, use_color(settings.color))
    await write_drawing(f"{drawn}\n")


def _end_of(begin: datetime, end: datetime | None, length: Duration | None) -> datetime:
    if end is not None and length is not None:
        raise click.UsageError("--to and --for exclude each other: give one of them")
    if end is None:
        duration = _DAY if length is None else length.value
        if duration is None:
            raise click.UsageError("--for cannot be forever: use a duration such as 12h or 7d")
        try:
            end = begin + duration
        except OverflowError:
            raise click.UsageError("--for ends after the year 9999") from None
    if end <= begin:
        raise click.UsageError(
            f"the end {end.astimezone(UTC):%Y-%m-%dT%H:%MZ} is not after the begin"
        )
    return end


async def _ask_service(
    settings: Settings, begin: datetime, end: datetime, ids: set[int], types: Sequence[str]
) -> list[Dispatch]:
    """The dispatches that may run in a time range."""
    found: list[Dispatch] = []
    async with settings.client() as client:
        with Progress("listed") as progress:
            pages = list_pages(
                client,
                settings.microgrid_id,
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


async def _ask_for_runs(
    settings: Settings, begin: datetime, end: datetime, ids: set[int], types: Sequence[str]
) -> list[ReportedRun]:
    """Return the runs that were reported for a time range, the latest first."""
    # Those that had begun before it are looked for as far back as it is long, or a day.
    wanted = RunFilter(
        ids=sorted(ids),
        types=types,
        start_from=begin - max(_DAY, end - begin),
        start_to=end,
    )
    lasting = replace(wanted, states=[ReportedState.RUNNING], start_from=None)
    microgrid_id = settings.microgrid_id
    async with settings.client() as client:
        found = await latest_runs(client, microgrid_id, wanted, _MAX_RUNS)
        found += [
            run
            for run in await latest_runs(client, microgrid_id, lasting, _MAX_RUNS)
            if wanted.start_from is not None and run.start_time < wanted.start_from
        ]
    return [run for run in acted(found) if run.ended_time is None or run.ended_time > begin]


def _begin_of_actual(now: datetime, end: datetime | None, length: Duration | None) -> datetime:
    """Return where a picture of what has happened begins: so that it ends now."""
    span = None if length is None else length.value
    return (now if end is None else end) - (_DAY if span is None else span)


async def _save(picture: Timeline, name: str, width: int | None) -> None:
    with tempfile.TemporaryDirectory(prefix="trio-dispatch-") as folder:
        path = Path(folder) / f"picture{Path(name).suffix}"
        try:
            await clock.run_in_thread(picture.save, path, width)
        except ImportError as exc:
            raise click.ClickException(str(exc)) from None
        async with open_output(name) as write_bytes:
            await write_bytes(await clock.run_in_thread(path.read_bytes))


def _json_lines(dispatches: Sequence[Dispatch], begin: datetime, end: datetime) -> Iterator[str]:
    """The runs in the order of their start, an object each."""

    def lines_of(dispatch: Dispatch) -> Iterator[tuple[datetime, int, str]]:
        kept = _run_record(dispatch)
        for each in runs(dispatch, begin, end):
            times = {"start": format_json_time(each.start), "end": format_json_time(each.end)}
            yield each.start, dispatch.id, dump_json(kept | times)

    for _, _, line in heapq.merge(*map(lines_of, dispatches)):
        yield line


def _json_lines_by_component(
    dispatches: Sequence[Dispatch],
    begin: datetime,
    end: datetime,
    components: Mapping[int, TargetCategory] | None,
) -> Iterator[str]:
    """The runs that drive components in the order of their start, an object each."""
    from ...model.arbitration import plan  # noqa: PLC0415
    from ...timeline.grouping import Grouping  # noqa: PLC0415

    members: dict[tuple[int, str], list[Dispatch]] = {}
    resolve = Grouping.by_component(components).resolve
    for dispatch in dispatches:
        for component in resolve(dispatch.target):
            members.setdefault((component, dispatch.type), []).append(dispatch)

    def lines_of(component: int, type: str) -> Iterator[tuple[datetime, int, str]]:
        intervals = plan(members[component, type], component, begin, end, components=components)
        for each in intervals:
            times = {"start": format_json_time(each.begin), "end": format_json_time(each.end)}
            record = {"component": component} | _run_record(each.dispatch) | times
            yield each.begin, component, dump_json(record)

    for _, _, line in heapq.merge(*(lines_of(*each) for each in sorted(members))):
        yield line


def _run_record(dispatch: Dispatch) -> dict[str, object]:
    record = record_of(dispatch)
    return {name: record[name] for name in ("id", "type", "target", "dry_run", "payload")}
