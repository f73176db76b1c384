"""``diff`` and ``apply``: what a plan wants, and what there is."""

from __future__ import annotations

import copy
import fcntl
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import trio

from ... import clock
from ...client.client import DispatchClient
from ...model.dispatch import Dispatch
from ...text.files import FileFormat, InvalidFileError, format_of
from ...text.records import record_of
from ...text.runs import differences
from ...text.safe import dump_json, printable
from ...text.show import format_headline
from ..app.files import decode_text, is_regular, open_output, read_bytes, read_text
from ..app.options import option, shared_options
from ..app.output import Progress, Results, ask, write
from ..app.params import FILE, TYPE, Parsed
from ..app.run import FAILED, USAGE, Failure, failing_with
from ..app.settings import Settings
from ..app.streams import tell
from ..plans.execution import carry_out
from ..plans.matching import Change, Create, Delete, Known, Matching, Update, is_over, match
from ..plans.memory import Memory, dump_memories, read_memories, section
from ..plans.plan import AHEAD, Plan, check_changes, parse_ahead, read_plan
from .read import count_dispatches, list_pages

FORMATS = ("toml", "csv", "jsonl")

AHEAD_TIME = Parsed("time", parse_ahead)
_MAX_PROBLEMS = 100
_IDS_PER_CALL = 100
_SAVE_INTERVAL = 1.0
_SAVE_TIME = 5.0

_plan_options = (
    click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True)),
    option(
        "--format",
        click.Choice(FORMATS),
        "TOML, CSV, or JSON, one object per line [default: by the suffix of FILE, else JSON].",
    ),
    option("--type types", TYPE, "The plan also covers this type; may be repeated.", multiple=True),
    option("--prune", None, "Also delete dispatches of the plan's types that are not in the plan."),
    option(
        "--ahead",
        AHEAD_TIME,
        "How far ahead entries in local time become dispatches [default: 1y].",
    ),
    option(
        "--state state_path",
        FILE,
        "The file that records which dispatch each entry became [default: FILE.state].",
    ),
)


def _takes_plan(function: Any) -> Any:
    for add in reversed(_plan_options):
        function = add(function)
    return function


@shared_options
@_takes_plan
async def diff(
    settings: Settings,
    *,
    file: str,
    prune: bool = False,
    **options: Any,
) -> None:
    """Show how the dispatches of the service differ from a plan.

    The command shows what apply would do with the same options, and changes nothing.  The exit
    status is 0 if nothing differs, 1 if something differs, and 2 after an error.

    \b
      trio-dispatch diff plan.toml
    """
    with failing_with(USAGE):
        async with _open_plan(settings, file, **options) as plan, plan.settings.client() as client:
            found = await plan.compare(client, prune=prune)
            await _show(plan.settings, found, write)
    if found.changes:
        raise Failure(FAILED)


@shared_options
@_takes_plan
@option("--yes -y", None, "Do not ask.")
async def apply(
    settings: Settings,
    *,
    file: str,
    prune: bool = False,
    yes: bool = False,
    **options: Any,
) -> None:
    """Make the dispatches of the service match a plan.

    FILE is like the output of export; only type, start_time, duration and target are required.
    The plan covers the types that it names; dispatches of other types stay as they are.  Only the
    fields that differ are updated, so a run in progress is not stopped.  The command shows what it
    will do and asks; without a terminal it requires --yes.  If it fails halfway, give the same
    command again: it does what is left.

    \b
      trio-dispatch apply plan.toml
      trio-dispatch apply plan.csv --prune --yes
    """
    async with _open_plan(settings, file, **options) as plan, plan.settings.client() as client:
        with plan.locked():
            found = await plan.compare(client, prune=prune)

            async def show(text: str) -> None:
                tell(text.rstrip("\n"))

            await _show(replace(plan.settings, output="table"), found, show)
            if found.changes and not yes:
                if not sys.stdin.isatty():
                    raise click.UsageError("--yes is required to apply a plan without a terminal")
                if not await ask("Do it?"):
                    tell("nothing was done")
                    raise Failure(USAGE)
            await _apply(plan, client, found)


@dataclass(slots=True)
class OpenPlan:
    """A plan, and what it remembers.

    Attributes:
      plan: The plan.
      settings: The settings, for the microgrid of the plan.
      path: The file in which it remembers; None if it does not.
      ahead: For how long ahead local times are expanded, if that was asked for.
      memories: What is in that file.
    """

    plan: Plan
    settings: Settings
    path: Path | None
    ahead: timedelta | None
    memories: dict[str, Memory]

    @property
    def memory(self) -> Memory:
        """What it remembers of this service, or else of another one, which may be the same one."""
        name = section(self.settings.url, self.settings.microgrid_id)
        same_id = (each for key, each in self.memories.items() if key.split()[1] == name.split()[1])
        return self.memories.get(name) or next(same_id, Memory())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a lock on the file of the plan: it cannot be applied twice at the same time."""
        if not is_regular(self.plan.name):
            yield
            return
        with Path(self.plan.name).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{self.plan.name} is being applied by another process") from None
            yield

    async def compare(self, client: DispatchClient, *, prune: bool) -> Matching:
        """Return how the dispatches of the service differ from the plan.

        Args:
          prune: Whether to delete what is not in the plan.

        Raises:
          Failure: the rules of the API do not allow what the plan wants.
        """
        memory, now = self.memory, self.settings.now()
        try:
            wanted = self.plan.wanted(memory, now, now + (self.ahead or self.plan.ahead or AHEAD))
        except InvalidFileError as exc:
            check(exc.problems, self.plan.name)
            raise
        if not self.plan.types and not memory.known:
            raise click.UsageError(
                f"{self.plan.name} has no dispatch and names no type: give --type, or in TOML "
                'types = ["CHARGE"]'
            )
        ids = {each.id for each in wanted if each.id is not None}
        ids |= {known.id for known in memory.known}
        present = await _list(client, self.settings.microgrid_id, self.plan.types, ids)
        # An id may be that of a dispatch beyond the plan's types, which it does not speak for.
        own = memory.known
        scope = [each for each in present if each.type in self.plan.types or Known.of(each) in own]
        found = match(wanted, scope, now=now, own=own, prune=prune)
        check(check_changes(found.changes, now), self.plan.name)
        return found

    async def remember(self, memory: Memory) -> None:
        """Write what the plan remembers to its file, if that is new."""
        name = section(self.settings.url, self.settings.microgrid_id)
        if self.path is None or memory == self.memories.get(name, Memory()):
            return
        self.memories[name] = copy.deepcopy(memory)
        async with open_output(str(self.path)) as put:
            await put(dump_memories(self.memories).encode())


@asynccontextmanager
async def _open_plan(
    settings: Settings,
    file: str,
    *,
    format: FileFormat | None = None,
    types: Sequence[str] = (),
    ahead: timedelta | None = None,
    state_path: Path | None = None,
) -> AsyncIterator[OpenPlan]:
    data = await clock.run_in_thread(read_bytes, file, abandon_on_cancel=True)
    name = "stdin" if file == "-" else file
    try:
        plan = read_plan(
            decode_text(data, name),
            format or format_of(file),
            name,
            zone=settings.zone,
            types=types,
        )
    except InvalidFileError as exc:
        check(exc.problems, name)
        raise
    if plan.microgrid is not None:
        if settings.microgrid not in {None, plan.microgrid}:
            raise click.UsageError(
                f"{name} is a plan for microgrid {plan.microgrid}, not {settings.microgrid}"
            )
        settings = replace(settings, microgrid=plan.microgrid)
    if state_path is None and is_regular(file):
        # Beside the file itself: a link to it is the same plan.
        state_path = Path(f"{Path(file).resolve()}.state")  # noqa: ASYNC240
    memories = {}
    if state_path is not None and await clock.run_in_thread(state_path.exists):
        try:
            memories = read_memories(await clock.run_in_thread(read_text, str(state_path)))
        except ValueError as exc:
            raise ValueError(f"{state_path}: {exc}") from None
    yield OpenPlan(plan, settings, state_path, ahead, memories)


def check(problems: Sequence[str], name: str) -> None:
    """Print what is wrong with a file, in one block.

    Raises:
      Failure: something is wrong.
    """
    if not problems:
        return
    if len(problems) == 1:
        raise Failure(USAGE, problems[0])
    for text in problems[:_MAX_PROBLEMS]:
        tell(printable(text))
    if len(problems) > _MAX_PROBLEMS:
        tell(f"and {len(problems) - _MAX_PROBLEMS:,} more")
    raise Failure(USAGE, f"{name} has {len(problems):,} invalid values: nothing was done")


async def _list(
    client: DispatchClient, microgrid_id: int, types: Iterable[str], ids: set[int]
) -> list[Dispatch]:
    """Return the dispatches of these types, and those with these ids."""
    found: dict[int, Dispatch] = {}
    with Progress("compared") as progress:
        if types:
            pages = list_pages(client, microgrid_id, types=[*types], sort_by="create_time")
            async with aclosing(pages):
                async for dispatches, total in pages:
                    found |= {each.id: each for each in dispatches}
                    progress.update(len(found), total)
        missing = sorted(ids - found.keys())
        for begin in range(0, len(missing), _IDS_PER_CALL):
            some = missing[begin : begin + _IDS_PER_CALL]
            async with aclosing(list_pages(client, microgrid_id, ids=some)) as pages:
                async for dispatches, _ in pages:
                    found |= {each.id: each for each in dispatches}
    return [*found.values()]


# Showing.


async def _show(settings: Settings, found: Matching, put: Any) -> None:
    """Show the changes, and in the end how many of each kind there are."""
    for change in found.changes:
        if settings.json:
            await put(f"{dump_json(_record(change))}\n")
        else:
            await put(f"{_format(change, settings)}\n")
    for each in found.over:
        what = "is over" if is_over(each.dispatch, settings.now()) else "has begun"
        tell(f"{each.place}: {printable(each.dispatch.type)} {what}, and is not created")
    counts = [
        sum(isinstance(each, kind) for each in found.changes) for kind in (Create, Update, Delete)
    ]
    parts = [
        f"{count:,} to {what}"
        for count, what in zip(counts, ("create", "update", "delete"), strict=True)
        if count
    ]
    extra = ""
    if found.extra and not counts[2]:
        count = count_dispatches(len(found.extra))
        extra = f"; {count} not in the plan would be deleted with --prune"
    tell(
        f"microgrid {settings.microgrid_id}: {', '.join(parts) or 'no difference'}{extra}; "
        f"times in {settings.zone}"
    )


_USUAL = {("recurs", "no"), ("payload", "{}"), ("active", "yes")}


def _format(change: Change, settings: Settings) -> str:
    paint, zone = settings.paint, settings.zone
    if isinstance(change, Delete):
        return f"{paint('-', 'red')} {format_headline(change.before)}"
    where = paint(printable(f"  {change.wanted.place}"), "dim")
    if isinstance(change, Create):
        old, new, sign = None, change.content, paint("+", "green")
        head = f"{printable(new.type)}{' (dry run)' if new.dry_run else ''}"
    else:
        old, new, sign = change.before, change.after, paint("~", "cyan")
        head = format_headline(old)
    lines = [f"{sign} {head}{where}"]
    for name, before, after in differences(old, new, zone):
        if old is None and (name in {"type", "dry run"} or (name, after) in _USUAL):
            continue
        text = after if before is None else f"{before} -> {after}"
        lines.append(f"    {paint(f'{name:<9}', 'dim')} {text}")
    return "\n".join(lines)


def _record(change: Change) -> dict[str, Any]:
    match change:
        case Create(wanted, content, _):
            record = record_of(content)
            new = {name: record[name] for name in ("type", "dry_run", *_SET)}
            return {"action": "create", "place": wanted.place, "new": new}
        case Update(wanted, before, values):
            old, new = record_of(before), record_of(change.after)
            return {
                "action": "update",
                "place": wanted.place,
                "id": before.id,
                "old": {name: old[name] for name in values},
                "new": {name: new[name] for name in values},
            }
    return {"action": "delete", "id": change.before.id}


_SET = ("start_time", "duration", "target", "active", "payload", "recurrence")


# Applying.


async def _apply(plan: OpenPlan, client: DispatchClient, found: Matching) -> None:
    """Carry out the changes, and print the outcomes.

    Raises:
      Failure: the service refused some.
      ServiceError: the service failed.
    """
    settings = plan.settings
    memory = _remembered(plan, found)
    await plan.remember(memory)
    results = Results()
    done = refused = 0
    saved = trio.current_time()

    async def note(change: Change, result: Dispatch | None, reason: str | None) -> None:
        nonlocal done, refused, saved
        what = {Create: "created", Update: "updated", Delete: "deleted"}[type(change)]
        place = change.before.id if isinstance(change, Delete) else change.wanted.place
        if reason is not None:
            refused += 1
            progress.clear()
            tell(f"{place}: not {what}: {reason}")
        else:
            done += 1
            if isinstance(change, Delete):
                memory.forget(Known.of(change.before))
        record = _record(change)
        if result is not None:
            record["id"] = result.id
            if isinstance(change, Create):
                memory.add(change.wanted.label, Known.of(result))
        outcome = {"done": True} if reason is None else {"done": False, "refused": reason}
        if settings.json:
            await results.write(f"{dump_json(record | outcome)}\n")
        elif reason is None:
            id_ = change.before.id if isinstance(change, Delete) else record["id"]
            where = "" if isinstance(change, Delete) else f"  {printable(change.wanted.place)}"
            await results.write(f"{what} #{id_}{where}\n")
        progress.update(done + refused, len(found.changes))
        if trio.current_time() - saved >= _SAVE_INTERVAL:
            saved = trio.current_time()
            await plan.remember(memory)

    try:
        with Progress("applied") as progress:
            await carry_out(client, settings.microgrid_id, found.changes, note)
    finally:
        with trio.move_on_after(_SAVE_TIME, shield=True):
            await plan.remember(memory)
        left = len(found.changes) - done - refused
        if found.changes:
            tell(
                f"{done:,} done"
                + (f", {refused:,} refused" if refused else "")
                + (f", {left:,} left: to do the rest, give the same command again" if left else "")
            )
    results.check()
    if refused:
        raise Failure(FAILED)


def _remembered(plan: OpenPlan, found: Matching) -> Memory:
    """What the plan remembers before it is carried out."""
    memory = Memory()
    for wanted, dispatch in found.pairs:
        memory.add(wanted.label, Known.of(dispatch))
    # What it no longer wants is still its own.
    memory.others += {Known.of(each) for each in found.extra} & plan.memory.known
    return memory
