"""Warnings about a dispatch that was created or updated: it may not do what its user means."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

import trio

from ... import clock
from ...client.client import DispatchClient
from ...client.errors import ServiceError
from ...model.dispatch import Dispatch
from ...model.overlap import first_overlap, shared_components
from ...text.safe import printable
from ...text.times import format_near
from ..app.nearest import did_you_mean
from ..app.settings import Settings
from ..app.streams import tell

__all__ = ["tell_advice"]

_MOST = 1000
"""Only so many dispatches are compared, the latest."""
_PATIENCE = 3.0  # seconds
_SHOWN = 3


async def tell_advice(settings: Settings, client: DispatchClient, dispatch: Dispatch) -> None:
    """Print warnings about a dispatch of the service; none if the service is slow or refuses."""
    found: list[str] = []
    with trio.move_on_after(min(_PATIENCE, settings.timeout)):
        try:
            async with aclosing(client.list(settings.microgrid_id, page_size=_MOST)) as pages:
                page = await anext(pages)
            others = [each for each in page if each.id != dispatch.id]
            found += await clock.run_in_thread(_overlaps, dispatch, others, settings)
            found += await _unreported_type(client, settings.microgrid_id, dispatch, others)
        except ServiceError:
            pass  # The dispatch itself was accepted.
        else:
            if not others:
                found.append(
                    f"#{dispatch.id} is the only dispatch of microgrid {settings.microgrid_id}: "
                    "check --microgrid if there should be others"
                )
    for text in found:
        tell(f"Warning: {text}")


def _overlaps(dispatch: Dispatch, others: Sequence[Dispatch], settings: Settings) -> list[str]:
    """Return a warning about dispatches that run at the same time on the same components."""
    now = settings.now()
    found = []
    for other in others:
        shared = shared_components(dispatch.target, other.target)
        moment = first_overlap(dispatch, other, now) if shared else None
        if moment is not None:
            found.append((moment, other, shared))
    if not found:
        return []
    found.sort(key=lambda each: (each[0], each[1].id))
    said = []
    for moment, other, shared in found[:_SHOWN]:
        more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
        when = "now" if moment <= now else format_near(moment, now, settings.zone)
        said.append(f"#{other.id} {printable(other.type)} on {shared[0]}{more} ({when})")
    if len(found) > _SHOWN:
        said.append(f"{len(found) - _SHOWN} more")
    return [f"#{dispatch.id} runs at the same time as {', '.join(said)}"]


async def _unreported_type(
    client: DispatchClient, microgrid_id: int, dispatch: Dispatch, others: Sequence[Dispatch]
) -> list[str]:
    """Return a warning if dispatchers report, and none of them ever a run of this type."""
    if not await client.list_dispatchers(microgrid_id):
        return []
    async with aclosing(
        client.list_runs(microgrid_id, types=[dispatch.type], page_size=1)
    ) as pages:
        page = await anext(pages)
    if len(page) or page.undecodable:
        return []
    known = {each.type for each in others} - {dispatch.type}
    hint = did_you_mean(dispatch.type, known)
    return [f"no dispatcher has ever reported a run of the type {dispatch.type!r}{hint}"]
