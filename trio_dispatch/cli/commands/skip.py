"""``skip``: leave out one occurrence of a dispatch."""

from __future__ import annotations

import re
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta

import click

from ...client.client import DispatchClient
from ...model.content import DispatchContent, skip_occurrence
from ...model.dispatch import Dispatch
from ...text.records import format_json
from ...text.safe import dump_json
from ...text.show import format_headline
from ...text.times import format_moment, parse_moment
from ..app.options import shared_options
from ..app.output import Results
from ..app.params import IDS, single
from ..app.settings import Settings
from ..app.streams import tell
from ..plans.execution import create
from ..plans.matching import differing
from .read import list_pages

_CLOCK = re.compile(r"\d:\d")
_MAX_NAMED = 5


@shared_options
@click.argument("id", metavar="ID", type=IDS, callback=single)
@click.argument("occurrence", metavar="OCCURRENCE")
async def skip(settings: Settings, *, id: int, occurrence: str) -> None:
    """Skip one occurrence of a dispatch.

    OCCURRENCE is when it would start, or the day if it starts once on that day.  The dispatch then
    ends with the occurrence before, and another one, with an id of its own, begins with the
    occurrence after.

    The second one is created first.  So if the command fails halfway, no run is lost, but the runs
    after OCCURRENCE exist twice: give the same command again to finish it.  Repeating a finished
    command changes nothing.

    \b
      trio-dispatch skip 7 2026-12-24
      trio-dispatch skip 7 'tomorrow 12:00'
    """
    results = Results()
    async with settings.client() as client:
        dispatch = await client.get(settings.microgrid_id, id)
        moment = _find(dispatch, occurrence, settings)
        if dispatch.last_start(moment) == moment:
            if moment <= settings.now():
                raise click.UsageError(
                    f"the occurrence at {format_moment(moment, settings.zone)} has begun: to stop "
                    f"its run, give update {id} --inactive"
                )
        elif skipped := _find_skipped(dispatch, occurrence, settings):
            shown = format_moment(skipped, settings.zone)
            tell(f"#{id} ends before {shown}, which is already skipped: nothing was changed")
            return
        original, continuation = skip_occurrence(dispatch, moment)
        if continuation is not None:
            other = await _find_equal(client, settings.microgrid_id, dispatch, continuation)
            if other is None:
                other = await create(client, settings.microgrid_id, continuation)
            await _print(results, settings, "created", other)
        if original is None:
            await client.delete(settings.microgrid_id, id)
            text = dump_json({"deleted": id}) if settings.json else f"deleted #{id}"
            await results.write(f"{text}\n")
        else:
            values = differing(original.with_id(id), dispatch)
            after = await client.update(settings.microgrid_id, id, **values)
            await _print(results, settings, "updated", after)
    results.check()


def _find(dispatch: Dispatch, text: str, settings: Settings) -> datetime:
    """Return the occurrence that a text means.

    Raises:
      click.UsageError: there are several on that day.
      ValueError: the text is not a time.
    """
    now, zone = settings.now(), settings.zone
    moment = parse_moment(text, now=now, zone=zone)
    if not _CLOCK.search(text):
        day = moment.astimezone(zone) + timedelta(hours=36)
        next_day = parse_moment(f"{day:%Y-%m-%d}", now=now, zone=zone)
        found: list[datetime] = []
        start = dispatch.first_after(moment, inclusive=True)
        while start is not None and start < next_day and len(found) < _MAX_NAMED:
            found.append(start)
            start = dispatch.first_after(start)
        if len(found) > 1:
            times = ", ".join(format_moment(each, zone) for each in found)
            raise click.UsageError(f"{text!r} has several occurrences: give one, as in {times}")
        moment = found[0] if found else moment
    return moment


def _find_skipped(dispatch: Dispatch, text: str, settings: Settings) -> datetime | None:
    """Return the occurrence that a text means, if the dispatch ends with the one before it.

    This is so after it was skipped.
    """
    rule = dispatch.effective_recurrence
    if rule is None or rule.end_criteria is None or rule.end_criteria.until is None:
        return None
    until = rule.end_criteria.until
    endless = replace(
        DispatchContent.of(dispatch), recurrence=replace(rule, end_criteria=None)
    ).with_id(dispatch.id)
    following = endless.first_after(until)
    found = endless.last_start(until) == until and _find(endless, text, settings) == following
    return following if found else None


async def _find_equal(
    client: DispatchClient, microgrid_id: int, dispatch: Dispatch, content: DispatchContent
) -> Dispatch | None:
    """Return what an attempt that was interrupted has created."""
    start = content.start_time
    pages = list_pages(
        client,
        microgrid_id,
        types=[content.type],
        start_from=start,
        start_to=start + timedelta(seconds=1),
    )
    async with aclosing(pages):
        async for dispatches, _ in pages:
            for each in dispatches:
                # It was created for the present content, and so after the update that made that.
                since = each.create_time >= dispatch.update_time
                if since and each.id != dispatch.id and DispatchContent.of(each) == content:
                    return each
    return None


async def _print(results: Results, settings: Settings, what: str, dispatch: Dispatch) -> None:
    if settings.json:
        await results.write(f"{format_json(dispatch, settings.now())}\n")
        return
    text = f"{what} {format_headline(dispatch)} from "
    text += format_moment(dispatch.start_time, settings.zone)
    if dispatch.end_time is not None:
        text += f" until {format_moment(dispatch.end_time, settings.zone)}"
    await results.write(f"{text}\n")
