"""``create``, ``update`` and ``delete``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import click

from ...client.client import DispatchClient
from ...client.errors import ServiceError
from ...grpc import Status
from ...model.dispatch import Dispatch
from ...model.target import Target
from ...text.records import format_json
from ...text.rules import local_time_warning
from ...text.safe import dump_json
from ...text.show import format_details, format_headline
from ..app.options import option, shared_options
from ..app.output import Results, ask
from ..app.params import DURATION, IDS, PAYLOAD, START, TARGET, TYPE, Duration
from ..app.rule_options import RuleOptions, rule_options
from ..app.run import NOT_FOUND, USAGE, Failure, explain
from ..app.settings import Settings
from ..app.streams import tell
from .advice import tell_advice

_SOON = timedelta(seconds=2)


@shared_options
@click.argument("type", metavar="TYPE", type=TYPE)
@option("--target -t", TARGET, "The components: 1,2,5-9 or battery,inverter:pv.", required=True)
@option(
    "--start -s",
    START,
    "When it starts: now, 'in 10 minutes', 8:00, 'tomorrow 8:00', 'monday 14:00', "
    "'2026-12-01 08:00', 2026-12-01T08:00Z.",
    required=True,
)
@option(
    "--duration -d",
    DURATION,
    "How long it runs: 90m, 1h30m, 01:30:00, '2 days', PT1H30M, 0 for a pulse, forever.",
    required=True,
)
@option("--payload -p", PAYLOAD, "Parameters for the actor: a JSON object, @FILE, or @- for stdin.")
@option("--active/--inactive", None, "Whether it runs at all.", default=True)
@option("--dry-run/--no-dry-run", None, "Whether it is only a rehearsal.", default=False)
@rule_options
async def create(
    settings: Settings,
    *,
    type: str,
    target: Target,
    start: datetime | Literal["NOW"],
    duration: Duration,
    payload: Mapping[str, Any] | None = None,
    active: bool = True,
    dry_run: bool = False,
    rule: RuleOptions,
) -> None:
    """Create a dispatch.

    \b
      trio-dispatch create CHARGE --target 1-3 --start now --duration 90m
      trio-dispatch create HEAT --target hvac --start 'tomorrow 6:00' --duration 1h \\
          --payload '{"degrees": 21}' --frequency weekly --by-weekday mon-fri
    """
    recurrence = rule.build()
    if recurrence is not None and duration.value is None:
        raise click.UsageError("--duration forever and a recurrence exclude each other")
    async with settings.client() as client:
        dispatch = await client.create(
            settings.microgrid_id,
            type=type,
            start_time=start,
            duration=duration.value,
            target=target,
            active=active,
            dry_run=dry_run,
            payload=payload,
            recurrence=recurrence,
        )
        await _print_result(settings, "created", dispatch)
        await tell_advice(settings, client, dispatch)


@shared_options
@click.argument("ids", metavar="ID", type=IDS)
@option("--target -t", TARGET, "The components.")
@option("--start -s", START, "When it starts.")
@option("--duration -d", DURATION, "How long it runs, or forever.")
@option("--payload -p", PAYLOAD, "The new payload as a whole: a JSON object, @FILE, or @-.")
@option("--active/--inactive", None, "Whether it runs at all.", default=None)
@rule_options
@option("--clear-recurrence", None, "Remove the recurrence.")
async def update(
    settings: Settings,
    *,
    ids: Sequence[int],
    start: datetime | Literal["NOW"] | None = None,
    duration: Duration | None = None,
    rule: RuleOptions,
    clear_recurrence: bool = False,
    **values: Any,
) -> None:
    """Change fields of a dispatch.

    Only the given fields change, also within a recurrence; the value none clears a field, as in
    --by-hour none.  The type and the dry-run flag cannot be changed.

    \b
      trio-dispatch update 4 --payload '{"power_kw": 7.5}'
      trio-dispatch update 4 --duration forever --clear-recurrence
    """
    if len(ids) != 1:
        raise click.UsageError("ID must be a single id: update one dispatch at a time")
    changes = {name: value for name, value in values.items() if value is not None}
    if start is not None:
        # Only on create the service fills in its own time; here it refuses a time that has passed.
        soon = settings.now().replace(microsecond=0) + _SOON
        changes["start_time"] = soon if isinstance(start, str) else start
    if duration is not None:
        changes["duration"] = duration.value
    given = rule.given()
    if clear_recurrence and given:
        raise click.UsageError(f"--clear-recurrence and {given[0]} exclude each other")
    if clear_recurrence:
        changes["recurrence"] = None
    if not changes and not given:
        raise click.UsageError("nothing to change: give an option such as --payload; see --help")
    async with settings.client() as client:
        if given:
            before = None
            if rule.rrule is None:
                before = (await client.get(settings.microgrid_id, ids[0])).recurrence
            changes["recurrence"] = rule.build(before)
        dispatch = await client.update(settings.microgrid_id, ids[0], **changes)
        await _print_result(settings, "updated", dispatch, warn="recurrence" in changes)
        await tell_advice(settings, client, dispatch)


async def _print_result(
    settings: Settings, what: str, dispatch: Dispatch, *, warn: bool = True
) -> None:
    now = settings.now()
    results = Results()
    if settings.json:
        await results.write(f"{format_json(dispatch, now)}\n")
    else:
        details = format_details(dispatch, now, settings.zone, settings.paint)
        await results.write(f"{what} {details}\n")
    if warn and (warning := local_time_warning(dispatch, settings.zone, now)):
        tell(f"Warning: {warning}")
    results.check()


@shared_options
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=IDS)
@option("--yes -y", None, "Do not ask.")
async def delete(settings: Settings, *, ids: Sequence[Sequence[int]], yes: bool = False) -> None:
    """Delete dispatches.

    ID is an id, or several as in 1,2,5-9.  The command asks first; without a terminal it requires
    --yes.  If a dispatch does not exist, the others are deleted and the exit status is 3.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("--yes is required to delete without a terminal")
    wanted = [*dict.fromkeys(id_ for some in ids for id_ in some)]
    missing = False
    results = Results()
    async with settings.client() as client:
        existing = wanted if yes else await _confirm(settings, client, wanted)
        missing = len(existing) < len(wanted)
        for id_ in existing:
            try:
                await client.delete(settings.microgrid_id, id_)
            except ServiceError as exc:
                _tell_if_missing(exc)
                missing = True
            else:
                text = dump_json({"deleted": id_}) if settings.json else f"deleted #{id_}"
                await results.write(f"{text}\n")
    results.check()
    if missing:
        raise Failure(NOT_FOUND)


async def _confirm(settings: Settings, client: DispatchClient, ids: Sequence[int]) -> list[int]:
    """Show the dispatches that exist, ask whether to delete them, and return their ids."""
    existing: list[int] = []
    for id_ in ids:
        try:
            dispatch = await client.get(settings.microgrid_id, id_)
        except ServiceError as exc:
            _tell_if_missing(exc)
        else:
            existing.append(id_)
            tell(f"  {format_headline(dispatch)}")
    if existing and not await ask(f"Delete {len(existing)}?"):
        tell("nothing was deleted")
        raise Failure(USAGE)
    return existing


def _tell_if_missing(error: ServiceError) -> None:
    """Print that there is no such dispatch; raise any other error."""
    if error.status is not Status.NOT_FOUND:
        raise error
    tell(f"Error: {explain(error)}")
