"""``create``, ``update`` and ``delete``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import click

from ..client.errors import ServiceError
from ..grpc import Status
from ..model.target import Target
from ._options import Command, shared_options
from ._params import DURATION, IDS, PAYLOAD, START, TARGET, Duration
from ._rule_options import rule_options
from ._rules import RuleOptions, local_time_warning
from ._run import NOT_FOUND, USAGE, Failure, explain, run
from ._settings import Settings

if TYPE_CHECKING:
    from ..model.dispatch import Dispatch

__all__ = ["create", "create_command", "delete", "delete_command", "update", "update_command"]

_SOON = timedelta(seconds=2)


@click.command("create", cls=Command)
@shared_options
@click.argument("type", metavar="TYPE")
@click.option(
    "--target",
    "-t",
    metavar="TARGET",
    type=TARGET,
    required=True,
    help="What it is for: 1,2,5-9 or battery,inverter:pv.",
)
@click.option(
    "--start",
    "-s",
    metavar="TIME",
    type=START,
    required=True,
    help="When it starts: now, 'in 10 minutes', 8:00, 'tomorrow 8:00', 'monday 14:00', "
    "'2026-12-01 08:00', 2026-12-01T08:00Z.",
)
@click.option(
    "--duration",
    "-d",
    metavar="DURATION",
    type=DURATION,
    required=True,
    help="How long it runs: 90m, 1h30m, 01:30:00, '2 days', PT1H30M, 0 for a pulse, forever.",
)
@click.option(
    "--payload",
    "-p",
    metavar="JSON",
    type=PAYLOAD,
    help="What else its actor has to know: JSON, @FILE, or @- for stdin.",
)
@click.option("--active/--inactive", default=True, help="Whether it is to run at all.")
@click.option("--dry-run/--no-dry-run", default=False, help="Whether it is only to be rehearsed.")
@rule_options
def create_command(settings: Settings, **options: Any) -> None:
    """Create a dispatch.

    \b
      trio-dispatch create CHARGE --target 1-3 --start now --duration 90m
      trio-dispatch create HEAT --target hvac --start 'tomorrow 6:00' --duration 1h \\
          --payload '{"degrees": 21}' --frequency weekly --by-weekday mon-fri
    """
    options["duration"] = options["duration"].value
    run(lambda: create(settings, **options), verbose=settings.verbose)


@click.command("update", cls=Command)
@shared_options
@click.argument("id", metavar="ID", type=IDS)
@click.option("--target", "-t", metavar="TARGET", type=TARGET, help="What it is for.")
@click.option("--start", "-s", metavar="TIME", type=START, help="When it starts.")
@click.option(
    "--duration", "-d", metavar="DURATION", type=DURATION, help="How long it runs, or forever."
)
@click.option("--payload", "-p", metavar="JSON", type=PAYLOAD, help="The whole of it.")
@click.option("--active/--inactive", default=None, help="Whether it is to run at all.")
@rule_options
@click.option("--clear-recurrence", is_flag=True, help="No longer recur.")
def update_command(settings: Settings, id: Sequence[int], **options: Any) -> None:
    """Change what is said of a dispatch, and leave the rest.

    Of a recurrence, too, only what is said is changed; none takes away what an option said before,
    as in --by-hour none.  Type and dry run cannot be changed.

    \b
      trio-dispatch update 4 --payload '{"power_kw": 7.5}'
      trio-dispatch update 4 --duration forever --clear-recurrence
    """
    if len(id) != 1:
        raise click.BadParameter("update one dispatch at a time", param_hint="'ID'")
    run(lambda: update(settings, id[0], **options), verbose=settings.verbose)


@click.command("delete", cls=Command)
@shared_options
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=IDS)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def delete_command(settings: Settings, ids: Sequence[Sequence[int]], yes: bool) -> None:
    """Delete dispatches for good.

    ID is an id, or several as in 1,2,5-9.  It asks first, and has to be told --yes where there is
    no terminal to ask on.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on: give --yes to delete")
    wanted = list(dict.fromkeys(id_ for some in ids for id_ in some))
    run(lambda: delete(settings, wanted, ask=not yes), verbose=settings.verbose)


async def create(
    settings: Settings,
    *,
    type: str,
    target: Target,
    start: datetime | Literal["NOW"],
    duration: timedelta | None,
    payload: Mapping[str, Any] | None = None,
    active: bool = True,
    dry_run: bool = False,
    rule: RuleOptions = RuleOptions(),  # noqa: B008 - a value
) -> None:
    """Create a dispatch, and print it.

    Raises:
      ServiceError: the service refused it.
      ValueError: the recurrence makes no sense.
    """
    recurrence = rule.build()
    if recurrence is not None and duration is None:
        raise ValueError("--duration forever leaves no room for a recurrence: give one, or neither")
    async with settings.client() as client:
        dispatch = await client.create(
            settings.microgrid,
            type=type,
            start_time=start,
            duration=duration,
            target=target,
            active=active,
            dry_run=dry_run,
            payload=payload,
            recurrence=recurrence,
        )
    _print_result(settings, "created", dispatch)


async def update(
    settings: Settings,
    id_: int,
    *,
    start: datetime | Literal["NOW"] | None = None,
    duration: Duration | None = None,
    target: Target | None = None,
    active: bool | None = None,
    payload: Mapping[str, Any] | None = None,
    rule: RuleOptions = RuleOptions(),  # noqa: B008 - a value
    clear_recurrence: bool = False,
) -> None:
    """Change what is given of a dispatch, and print it.

    Raises:
      click.UsageError: nothing was given, or what contradicts itself.
      ServiceError: the service refused it, or has no such dispatch.
      ValueError: the recurrence makes no sense.
    """
    changes: dict[str, Any] = {"target": target, "active": active, "payload": payload}
    changes = {name: value for name, value in changes.items() if value is not None}
    if start is not None:
        # The service fills in its own time only for what is new, and refuses what is past.
        changes["start_time"] = _soon(settings.now()) if isinstance(start, str) else start
    if duration is not None:
        changes["duration"] = duration.value
    if clear_recurrence and rule.given():
        raise click.UsageError(f"--clear-recurrence and {rule.given()[0]} contradict each other")
    if clear_recurrence:
        changes["recurrence"] = None
    if not changes and not rule.given():
        raise click.UsageError("nothing to change was given, say --payload; see --help")
    async with settings.client() as client:
        if rule.given():
            before = None
            if rule.rrule is None:
                before = (await client.get(settings.microgrid, id_)).recurrence
            changes["recurrence"] = rule.build(before)
        dispatch = await client.update(settings.microgrid, id_, **changes)
    _print_result(settings, "updated", dispatch, recurrence="recurrence" in changes)


def _soon(now: datetime) -> datetime:
    return now.replace(microsecond=0) + _SOON


def _print_result(
    settings: Settings, what: str, dispatch: Dispatch, *, recurrence: bool = True
) -> None:
    from ._show import details, json_line  # noqa: PLC0415

    now = settings.now()
    warning = local_time_warning(dispatch, settings.zone, now) if recurrence else None
    if settings.json:
        click.echo(json_line(dispatch, now))
    else:
        console = settings.console()
        console.print(f"{what} ", end="")
        console.print(details(dispatch, now, settings.zone), soft_wrap=True)
    if warning:
        click.echo(f"Warning: {warning}", err=True)


async def delete(settings: Settings, ids: Sequence[int], *, ask: bool) -> None:
    """Delete dispatches, after asking if it is to be asked, and print which.

    Raises:
      Failure: there are not all of them, or nobody wants it.
    """
    from ._show import dump, headline  # noqa: PLC0415

    missing = False
    async with settings.client() as client:
        if ask:
            found: list[int] = []
            for id_ in ids:
                try:
                    dispatch = await client.get(settings.microgrid, id_)
                except ServiceError as exc:
                    missing |= _tell_missing(exc)
                else:
                    found.append(id_)
                    click.echo(f"  {headline(dispatch)}", err=True)
            ids = found
            # Nothing else is to go on while a person thinks.
            if ids and not click.confirm(f"Delete {len(ids)} for good?", err=True):
                click.echo("nothing was deleted", err=True)
                raise Failure(USAGE)
        for id_ in ids:
            try:
                await client.delete(settings.microgrid, id_)
            except ServiceError as exc:
                missing |= _tell_missing(exc)
            else:
                click.echo(dump({"deleted": id_}) if settings.json else f"deleted #{id_}")
    if missing:
        raise Failure(NOT_FOUND)


def _tell_missing(error: ServiceError) -> bool:
    if error.status is not Status.NOT_FOUND:
        raise error
    click.echo(f"Error: {explain(error)}", err=True)
    return True
