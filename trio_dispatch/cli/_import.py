"""``import``: dispatches from a file, to a service or into a database."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import clock
from ..client.errors import ServiceError
from ..grpc import Status
from ..model.dispatch import Dispatch
from ._formats import Entry, Format, format_of, read_entries
from ._journal import BLOCK, Heading, Journal
from ._options import Command, shared_options
from ._progress import Progress
from ._run import FAILED, USAGE, Failure, run
from ._settings import Settings
from ._show import dump

if TYPE_CHECKING:
    from ..client.client import DispatchClient

__all__ = ["import_command", "import_entries", "rehearse"]

# The service looked at the dispatch and does not want it.  Anything else may mend itself, or
# concerns all of them.
_REFUSALS = {Status.INVALID_ARGUMENT, Status.OUT_OF_RANGE, Status.FAILED_PRECONDITION}


@click.command("import", cls=Command)
@shared_options
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "--apply", is_flag=True, help="Do it.  Without this, it says what it would do, and may ask."
)
@click.option(
    "--format",
    type=click.Choice(["jsonl", "csv"]),
    help="JSON, one object a line, or CSV; by default as the name of the file ends, else JSON.",
)
@click.option(
    "--journal",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to keep what is done, to go on after a stop; by default FILE.journal.",
)
@click.option(
    "--db",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Into the database of a service that does not run: ids, times and all.",
)
def import_command(
    settings: Settings,
    file: str,
    apply: bool,
    format: Format | None,
    journal: Path | None,
    db: Path | None,
) -> None:
    """Create dispatches from a file, or from - for stdin.

    The file is as from `export`; only type, start_time, duration and target are needed.  First it
    says what it would do.  Then they are created one by one, with ids and times of the service's
    own.  What that refuses, such as starts in the past, is listed, and the exit status is 1.  An
    import that was stopped goes on when the same command is given again.

    \b
      trio-dispatch import plan.csv
      trio-dispatch import plan.csv --apply
      trio-dispatch import backup.jsonl --db dispatches.db --apply
    """
    if file == "-" and journal is None and db is None:
        click.echo("there is no journal for stdin: give --journal to be able to go on", err=True)
    data = _read(file)
    try:
        text = data.decode("utf-8")
        entries = read_entries(
            text, format or format_of(file), zone=settings.zone, whole=db is not None
        )
    except ValueError as exc:
        raise click.BadParameter(f"{file}: {exc}", param_hint="'FILE'") from None
    if db is not None:
        from ._import_db import import_into  # noqa: PLC0415

        run(lambda: import_into(settings, entries, db, apply=apply), verbose=settings.verbose)
        return
    if journal is None and file != "-":
        journal = Path(f"{file}.journal")
    begun = journal is not None and journal.exists()
    digest = hashlib.sha256(data).hexdigest()
    run(
        lambda: _import(settings, entries, journal, digest, apply=apply, begun=begun),
        verbose=settings.verbose,
    )


def _read(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read()
        return Path(file).read_bytes()
    except OSError as exc:
        raise click.BadParameter(
            f"{file} cannot be read: {exc.strerror}", param_hint="'FILE'"
        ) from None


async def _import(
    settings: Settings,
    entries: Sequence[Entry],
    path: Path | None,
    digest: str,
    *,
    apply: bool,
    begun: bool,
) -> None:
    if path is None or not (apply or begun):
        rehearse(settings, entries, None)
        if apply or confirmed(len(entries)):
            await _with_journal(settings, entries, path, digest)
        return
    await _with_journal(settings, entries, path, digest, ask=not apply)


async def _with_journal(
    settings: Settings,
    entries: Sequence[Entry],
    path: Path | None,
    digest: str,
    *,
    ask: bool = False,
) -> None:
    heading = Heading(settings.microgrid, settings.url or "", digest)
    if path is None:
        await import_entries(settings, entries, None, heading)
        return
    with await clock.run_in_thread(Journal.open, path) as journal:
        if journal.heading is not None:
            heading.check(journal.heading, path)
            rehearse(settings, entries, journal)
        todo = [entry for entry in entries if entry.line not in journal.created]
        if todo and ask and not confirmed(len(todo)):
            return
        await import_entries(settings, entries, journal, heading)


def confirmed(count: int) -> bool:
    """Whether a person wants it, where one can be asked."""
    if not count:
        return False
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        click.echo("nothing was done: give --apply to do it", err=True)
        return False
    if not click.confirm("Do it?", err=True):
        click.echo("nothing was done", err=True)
        raise Failure(USAGE)
    return True


def rehearse(settings: Settings, entries: Sequence[Entry], journal: Journal | None) -> None:
    """Print what an import would do."""
    done = {} if journal is None else journal.created
    todo = [entry for entry in entries if entry.line not in done]
    now = settings.now()
    past = [entry for entry in todo if entry.dispatch.start_time < now]
    if settings.json and journal is None:
        for entry in todo:
            action = "refuse" if entry.dispatch.start_time < now else "create"
            click.echo(dump({"line": entry.line, "action": action, "type": entry.dispatch.type}))
    types = Counter(entry.dispatch.type for entry in todo)
    kinds = ", ".join(f"{count:,} {type_}" for type_, count in types.most_common(5))
    more = f" and {len(types) - 5} more types" if len(types) > 5 else ""
    if done:
        click.echo(f"{len(done):,} of {len(entries):,} were created before", err=True)
    click.echo(
        f"{len(todo):,} to create in microgrid {settings.microgrid}"
        + (f": {kinds}{more}" if todo else ""),
        err=True,
    )
    if past:
        first = past[0]
        click.echo(
            f"{len(past):,} of them start in the past, which the service will refuse; the first is "
            f"line {first.line}",
            err=True,
        )


async def import_entries(
    settings: Settings,
    entries: Sequence[Entry],
    journal: Journal | None,
    heading: Heading,
    *,
    block: int = BLOCK,
) -> None:
    """Create what has not been created yet, one by one, and print what became of it.

    Raises:
      Failure: the service refused some of it.
      ServiceError: the service failed; the journal knows how far it got.
    """
    created = refused = 0
    async with settings.client() as client:
        if journal is not None:
            await _prepare(client, settings, entries, journal, heading)
        done = {} if journal is None else journal.created
        todo = [entry for entry in entries if entry.line not in done]
        try:
            with Progress("created") as progress:
                for begin in range(0, len(todo), block):
                    some = todo[begin : begin + block]
                    if journal is not None:
                        await clock.run_in_thread(journal.intend, [each.line for each in some])
                    for entry in some:
                        if await _create(client, settings, entry, journal, progress):
                            created += 1
                        else:
                            refused += 1
                        progress.update(created + refused, len(todo))
        finally:
            left = len(todo) - created - refused
            _tell_result(created, refused, left)
            if left and journal is not None:
                click.echo("the same command again goes on from here", err=True)
    if refused:
        raise Failure(FAILED)


def _tell_result(created: int, refused: int, left: int) -> None:
    text = f"{created:,} created, {refused:,} refused"
    click.echo(text + (f", {left:,} left" if left else ""), err=True)


async def _create(
    client: DispatchClient,
    settings: Settings,
    entry: Entry,
    journal: Journal | None,
    progress: Progress,
) -> bool:
    """Create one dispatch; whether the service took it."""
    dispatch = entry.dispatch
    reason = None
    try:
        result = await client.create(
            settings.microgrid,
            type=dispatch.type,
            start_time=dispatch.start_time,
            duration=dispatch.duration,
            target=dispatch.target,  # type: ignore[arg-type]  # without one, it is refused
            active=dispatch.active,
            dry_run=dispatch.dry_run,
            payload=dispatch.payload,
            recurrence=dispatch.recurrence,
        )
    except ServiceError as exc:
        if exc.status not in _REFUSALS:
            raise
        reason = exc.message or exc.status.name
    except ValueError as exc:
        reason = str(exc)
    if reason is not None:
        if journal is not None:
            journal.note_refused(entry.line, reason)
        progress.clear()
        if settings.json:
            click.echo(dump({"line": entry.line, "refused": reason}))
        click.echo(f"line {entry.line} was refused: {reason}", err=True)
        return False
    if journal is not None:
        journal.note_created(entry.line, result.id)
    if settings.json:
        progress.clear()
        click.echo(dump({"line": entry.line, "id": result.id}))
    return True


async def _prepare(
    client: DispatchClient,
    settings: Settings,
    entries: Sequence[Entry],
    journal: Journal,
    heading: Heading,
) -> None:
    """Begin a journal, or find out what became of what it is in doubt about."""
    if journal.heading is None:
        equal = await _find_equal(client, settings.microgrid, entries)
        present = sorted(id_ for ids in equal.values() for id_ in ids)
        begun = Heading(heading.microgrid, heading.url, heading.digest, tuple(present))
        await clock.run_in_thread(journal.begin, begun)
        return
    doubtful = set(journal.doubtful)
    if not doubtful:
        return
    by_line = {entry.line: entry for entry in entries if entry.line in doubtful}
    equal = await _find_equal(client, settings.microgrid, [*by_line.values()])
    taken = {*journal.created.values(), *journal.heading.present}
    absent = []
    for line in sorted(by_line):
        ids = equal[_content(by_line[line].dispatch)]
        while ids and ids[0] in taken:
            ids.pop(0)
        if ids:
            journal.note_created(line, ids.pop(0))
        else:
            absent.append(line)
    await clock.run_in_thread(journal.note_absent, absent)


async def _find_equal(
    client: DispatchClient, microgrid_id: int, entries: Sequence[Entry]
) -> defaultdict[Any, list[int]]:
    """The ids that a service has of dispatches that say the same, the lowest first."""
    found: defaultdict[Any, list[int]] = defaultdict(list)
    starts = [entry.dispatch.start_time for entry in entries]
    if not starts:
        return found
    wanted = {_content(entry.dispatch) for entry in entries}
    pages = client.list(microgrid_id, start_from=min(starts), page_size=100)
    with Progress("looked at") as progress:
        seen = 0
        async with aclosing(pages):
            async for page in pages:
                seen += len(page)
                progress.update(seen, page.total or 0)
                for dispatch in page:
                    if (content := _content(dispatch)) in wanted:
                        found[content].append(dispatch.id)
    for ids in found.values():
        ids.sort()
    return found


def _content(dispatch: Dispatch) -> Any:
    """What a dispatch says, apart from what the service adds."""
    start: datetime = dispatch.start_time
    return (
        dispatch.type,
        start,
        dispatch.duration,
        dispatch.target,
        dispatch.active,
        dispatch.dry_run,
        dispatch.payload,
        dispatch.recurrence,
    )
