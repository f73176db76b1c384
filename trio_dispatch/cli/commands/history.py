"""``history`` and ``explain``."""

from __future__ import annotations

from datetime import datetime

import click

from ...client.client import DispatchClient
from ...client.errors import ServiceError
from ...client.evidence import find_evidence, latest_changes
from ...grpc import Status
from ...model import explanation
from ...model.dispatch import Dispatch
from ...model.dispatchers import DispatcherInfo
from ...model.runs import DispatchChange
from ...text.runs import change_record, format_change, format_reason, reason_record
from ...text.safe import dump_json
from ...text.show import format_headline
from ..app.options import option, shared_options
from ..app.output import write
from ..app.params import IDS, MOMENT, NUMBER, single
from ..app.run import NOT_FOUND, Failure
from ..app.settings import Settings
from ..app.streams import tell


@shared_options
@click.argument("id", metavar="ID", type=IDS, callback=single)
@option("--from time_from", MOMENT, "Only changes at this time or later.")
@option("--to time_to", MOMENT, "Only changes before this time.")
@option("--limit", NUMBER, "Show at most this many changes, the latest.", default="100")
async def history(
    settings: Settings,
    *,
    id: int,
    time_from: datetime | None = None,
    time_to: datetime | None = None,
    limit: int = 100,
) -> None:
    """Show who changed a dispatch, when, and how.

    The latest change comes last.  For an update the fields that differ are shown, old -> new.  If
    nothing is recorded, the exit status is 3.
    """
    async with settings.client() as client:
        found = await latest_changes(
            client, settings.microgrid_id, id, limit, time_from=time_from, time_to=time_to
        )
    for change in reversed(found):
        if settings.json:
            await write(f"{dump_json(change_record(change))}\n")
        else:
            await write(f"{format_change(change, settings.zone, settings.paint)}\n")
    if not found:
        raise Failure(
            NOT_FOUND,
            f"no change of dispatch {id} in microgrid {settings.microgrid_id} is recorded",
        )
    tell(f"times in {settings.zone}")


@shared_options
@click.argument("id", metavar="ID", type=IDS, callback=single)
async def explain(settings: Settings, *, id: int) -> None:
    """Explain why a dispatch runs or does not run.

    The command says what the content of the dispatch means at present, and what dispatchers and
    actors have reported.  If the microgrid does not have the dispatch, the exit status is 3.
    """
    now = settings.now()
    dispatch: Dispatch | None = None
    dispatchers: list[DispatcherInfo] | None = None
    async with settings.client() as client:
        try:
            dispatch = await client.get(settings.microgrid_id, id)
        except ServiceError as exc:
            if exc.status is not Status.NOT_FOUND:
                raise
            reasons = [await _explain_absence(client, settings.microgrid_id, id)]
        else:
            reasons, dispatchers = await _explain(client, settings.microgrid_id, dispatch, now)
    if settings.json:
        await write("".join(f"{dump_json(reason_record(reason))}\n" for reason in reasons))
    else:
        head = f"#{id}" if dispatch is None else format_headline(dispatch)
        lines = (format_reason(each, now, settings.zone, dispatchers or ()) for each in reasons)
        await write("".join(f"{line}\n" for line in (head, *(f"- {line}" for line in lines))))
    if dispatch is None:
        raise Failure(NOT_FOUND)


async def _explain_absence(
    client: DispatchClient, microgrid_id: int, id: int
) -> explanation.Reason:
    changes: list[DispatchChange] = []
    elsewhere = None
    try:
        changes = await latest_changes(client, microgrid_id, id, 1)
        elsewhere = await client.find_microgrid(id)
    except ServiceError as exc:
        if exc.status not in {Status.NOT_FOUND, Status.UNIMPLEMENTED}:
            raise
    return explanation.explain_absence(changes, microgrid_id=elsewhere)


async def _explain(
    client: DispatchClient, microgrid_id: int, dispatch: Dispatch, now: datetime
) -> tuple[list[explanation.Reason], list[DispatcherInfo] | None]:
    known = await find_evidence(client, microgrid_id, dispatch.id)
    reasons = explanation.explain(
        dispatch,
        now,
        runs=known.runs,
        others=known.others,
        changes=known.changes,
        dispatchers=known.dispatchers,
    )
    return reasons, known.dispatchers
