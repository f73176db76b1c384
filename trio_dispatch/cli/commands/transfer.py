"""``export`` and ``import``: dispatches to and from files."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

import click

from ... import clock
from ...client.client import DispatchClient
from ...client.errors import ServiceError
from ...grpc import Status
from ...model.dispatch import Dispatch
from ...text.files import Entry, FileFormat, format_of, read_entries, write_header, write_row
from ...text.safe import dump_json, printable
from ..app.files import decode_text, is_regular, open_output, read_bytes
from ..app.options import option, shared_options
from ..app.output import Progress, Results, ask, write, write_bytes
from ..app.params import FILE, TYPE
from ..app.run import FAILED, USAGE, Failure, explain_refusal
from ..app.settings import Settings
from ..app.streams import tell
from .journal import Heading, Journal
from .read import count_dispatches, list_pages

# The service has looked at the dispatch and refused it; any other error may pass, or concerns all.
_REFUSALS = {Status.INVALID_ARGUMENT, Status.OUT_OF_RANGE, Status.FAILED_PRECONDITION}
_STDOUT = {"-", "/dev/stdout"}
_DB_PAGE = 500

_format_option = option(
    "--format",
    click.Choice(["jsonl", "csv"]),
    "JSON, one object per line, or CSV [default: CSV if the name ends with .csv, else JSON].",
)


@shared_options
@click.argument("file", metavar="[FILE]", default="-", type=click.Path(dir_okay=False))
@_format_option
@option("--type types", TYPE, "Only of this type; may be repeated.", multiple=True)
@option("--active/--inactive", None, "Only active ones, or only inactive ones.", default=None)
async def export(
    settings: Settings, *, file: str = "-", format: FileFormat | None = None, **filters: Any
) -> None:
    """Write dispatches to a file, or to stdout.

    They are in the order of their creation, with ids and all times, in UTF-8.  A regular file
    appears, or is replaced, when the export is complete.

    \b
      trio-dispatch export plan.jsonl
      trio-dispatch export plan.csv --type CHARGE
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
    await put(write_header(format).encode())
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
@option("--apply", None, "Create them; without it, only show what would be done.")
@_format_option
@option(
    "--journal journal_path",
    FILE,
    "Where to record what is done, to resume after an interruption [default: FILE.journal].",
)
@option(
    "--db", FILE, "Add to the database of a service that is not running, with ids and all times."
)
async def import_(
    settings: Settings,
    *,
    file: str,
    apply: bool = False,
    format: FileFormat | None = None,
    journal_path: Path | None = None,
    db: Path | None = None,
) -> None:
    """Create dispatches from a file, or from - for stdin.

    FILE is like the output of export; only type, start_time, duration and target are required.
    Without --apply the command shows what it would do, and asks if there is a terminal.  The
    dispatches are created one by one, with new ids and times.  Those that the service refuses, such
    as starts in the past, are listed, and the exit status is 1.  To resume an interrupted import,
    give the same command again.

    \b
      trio-dispatch import plan.csv
      trio-dispatch import plan.csv --apply
      trio-dispatch import backup.jsonl --db dispatches.db --apply
    """
    data = await clock.run_in_thread(read_bytes, file, abandon_on_cancel=True)
    name = "stdin" if file == "-" else file
    try:
        entries = read_entries(
            decode_text(data, name),
            format or format_of(file),
            zone=settings.zone,
            copy=db is not None,
        )
    except ValueError as exc:
        text = str(exc)
        raise ValueError(text if text.startswith(name) else f"{name}: {text}") from None
    if db is not None:
        await _import_into_db(settings, entries, db, apply=apply)
        return
    if journal_path is None and is_regular(file):
        # Beside the file itself: a link to it is the same import.
        journal_path = Path(f"{Path(file).resolve()}.journal")  # noqa: ASYNC240
    if journal_path is None:
        tell(f"an interrupted import of {name} cannot be resumed: give --journal to record it")
    heading = Heading(settings.microgrid_id, settings.url or "", hashlib.sha256(data).hexdigest())
    with ExitStack() as stack:
        journal = None

        async def open_journal(path: Path) -> Journal:
            return stack.enter_context(await clock.run_in_thread(Journal, path))

        if journal_path is not None and (apply or journal_path.exists()):
            journal = await open_journal(journal_path)
            if journal.heading is not None:
                heading.check(journal.heading, journal_path)
        done = {} if journal is None else journal.created
        todo = [entry for entry in entries if entry.line not in done]
        await _show_plan(settings, todo, len(entries), listed=settings.json and not apply)
        if not todo or not (apply or await _confirmed()):
            return
        if journal is None and journal_path is not None:
            journal = await open_journal(journal_path)
        await import_entries(settings, entries, journal, heading)


async def _confirmed() -> bool:
    """Ask whether to go on, if there is a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        tell("nothing was done: give --apply to do it")
        return False
    if not await ask("Do it?"):
        tell("nothing was done")
        raise Failure(USAGE)
    return True


async def _show_plan(
    settings: Settings, todo: Sequence[Entry], total: int, *, listed: bool
) -> None:
    now = settings.now()
    past = [entry for entry in todo if entry.dispatch.start_time < now]
    if listed:
        for entry in todo:
            action = "refuse" if entry.dispatch.start_time < now else "create"
            record = {"line": entry.line, "action": action, "type": entry.dispatch.type}
            await write(f"{dump_json(record)}\n")
    if len(todo) < total:
        tell(f"{total - len(todo):,} of {total:,} were created before")
    types = Counter(entry.dispatch.type for entry in todo)
    kinds = ", ".join(f"{count:,} {type_}" for type_, count in types.most_common(5))
    more = f" and {len(types) - 5} more types" if len(types) > 5 else ""
    tell(
        f"{len(todo):,} to create in microgrid {settings.microgrid_id}"
        + (f": {printable(kinds)}{more}" if todo else "")
    )
    if past:
        tell(
            f"the service will refuse {len(past):,} that start in the past; the first is line "
            f"{past[0].line}"
        )


async def import_entries(
    settings: Settings, entries: Sequence[Entry], journal: Journal | None, heading: Heading
) -> None:
    """Create what has not been created yet, one by one, and print the outcomes.

    Raises:
      Failure: the service refused some.
      ServiceError: the service failed; the journal has what was done.
    """
    created = refused = 0
    results = Results()
    async with settings.client() as client:
        if journal is not None:
            await _begin(client, settings, entries, journal, heading)
        done = {} if journal is None else journal.created
        todo = [entry for entry in entries if entry.line not in done]
        try:
            with Progress("created") as progress:
                for entry in todo:
                    if journal is not None and journal.must_sync:
                        await clock.run_in_thread(journal.sync)
                    id_, reason = await _create(client, settings.microgrid_id, entry.dispatch)
                    created, refused = (
                        (created + 1, refused) if reason is None else (created, refused + 1)
                    )
                    if journal is not None:
                        if reason is None:
                            journal.add_created(entry.line, id_)
                        else:
                            journal.add_refused(entry.line, reason)
                    if settings.json or reason is not None:
                        progress.clear()
                    if settings.json:
                        outcome = {"id": id_} if reason is None else {"refused": reason}
                        await results.write(f"{dump_json({'line': entry.line, **outcome})}\n")
                    if reason is not None:
                        tell(f"line {entry.line} was refused: {reason}")
                    progress.update(created + refused, len(todo))
            if journal is not None:
                await clock.run_in_thread(journal.end)
        finally:
            left = len(todo) - created - refused
            rest = f", {left:,} left" if left else ""
            tell(f"{created:,} created, {refused:,} refused{rest}")
            if left and journal is not None:
                tell("to resume, give the same command again")
    results.check()
    if refused:
        raise Failure(FAILED)


async def _create(
    client: DispatchClient, microgrid_id: int, dispatch: Dispatch
) -> tuple[int, str | None]:
    """Create a dispatch; its id, or why the service refused it."""
    try:
        result = await client.create(
            microgrid_id,
            type=dispatch.type,
            start_time=dispatch.start_time,
            duration=dispatch.duration,
            target=dispatch.target,  # type: ignore[arg-type]  # the service refuses None
            active=dispatch.active,
            dry_run=dispatch.dry_run,
            payload=dispatch.payload,
            recurrence=dispatch.recurrence,
        )
    except ServiceError as exc:
        if exc.status not in _REFUSALS:
            raise
        return 0, explain_refusal(exc.message or exc.status.name)
    except ValueError as exc:
        return 0, str(exc)
    return result.id, None


async def _begin(
    client: DispatchClient,
    settings: Settings,
    entries: Sequence[Entry],
    journal: Journal,
    heading: Heading,
) -> None:
    """Begin an attempt, after it is known what the one before has created."""
    if journal.heading is None:
        equal = await _find_equal(client, settings.microgrid_id, entries)
        present = tuple(sorted(id_ for ids in equal.values() for id_ in ids))
        heading = Heading(heading.microgrid, heading.url, heading.digest, present)
        await clock.run_in_thread(journal.begin, heading)
        return
    doubtful = {*journal.doubtful(entry.line for entry in entries)}
    in_doubt = [entry for entry in entries if entry.line in doubtful]
    equal = await _find_equal(client, settings.microgrid_id, in_doubt)
    taken = {*journal.created.values(), *journal.heading.present}
    for entry in in_doubt:
        ids = [id_ for id_ in equal[_content(entry.dispatch)] if id_ not in taken]
        if ids:
            taken.add(ids[0])
            journal.add_created(entry.line, ids[0])
    await clock.run_in_thread(journal.begin)


async def _find_equal(
    client: DispatchClient, microgrid_id: int, entries: Collection[Entry]
) -> defaultdict[Hashable, list[int]]:
    """The ids of dispatches of the service that are equal to some, by their content."""
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    if not entries:
        return found
    wanted = {_content(entry.dispatch) for entry in entries}
    first = min(entry.dispatch.start_time for entry in entries)
    with Progress("compared") as progress:
        seen = 0
        async with aclosing(list_pages(client, microgrid_id, start_from=first)) as pages:
            async for dispatches, total in pages:
                seen += len(dispatches)
                progress.update(seen, total)
                for dispatch in dispatches:
                    if (content := _content(dispatch)) in wanted:
                        found[content].append(dispatch.id)
    for ids in found.values():
        ids.sort()
    return found


def _content(dispatch: Dispatch) -> Hashable:
    """What a dispatch has in the file and at the service."""
    return (
        dispatch.type,
        dispatch.start_time,
        dispatch.duration,
        dispatch.target,
        dispatch.active,
        dispatch.dry_run,
        dispatch.payload,
        dispatch.recurrence,
    )


async def _import_into_db(
    settings: Settings, entries: Sequence[Entry], path: Path, *, apply: bool
) -> None:
    """Add dispatches to a database as they are; leave out those whose ids it has."""
    from ...service import open_store  # noqa: PLC0415
    from ...service.store.bulk import add_all  # noqa: PLC0415
    from ...service.store.rows import Author  # noqa: PLC0415

    if not apply:
        tell(
            f"{count_dispatches(len(entries))} to add to {path} in microgrid "
            f"{settings.microgrid_id}, except those whose ids exist"
        )
        if not entries or not await _confirmed():
            return
    added = 0
    foreign: list[int] = []
    author = Author("trio-dispatch import")
    async with open_store(path) as store:
        with Progress("added") as progress:
            for begin in range(0, len(entries), _DB_PAGE):
                some = [entry.dispatch for entry in entries[begin : begin + _DB_PAGE]]
                result = await add_all(
                    store, settings.microgrid_id, some, author=author, page_size=_DB_PAGE
                )
                added += result.added
                foreign += result.foreign
                progress.update(begin + len(some), len(entries))
    skipped = len(entries) - added - len(foreign)
    tell(f"{added:,} added to {path}, {skipped:,} skipped because their ids exist")
    results = Results()
    if settings.json:
        outcome = {"added": added, "skipped": skipped, "foreign": foreign}
        await results.write(f"{dump_json(outcome)}\n")
    results.check()
    if foreign:
        ids = ", ".join(map(str, foreign[:10])) + (" and more" if len(foreign) > 10 else "")
        raise Failure(FAILED, f"these ids belong to dispatches of other microgrids: {ids}")
