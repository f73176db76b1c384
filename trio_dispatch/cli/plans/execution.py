"""Carrying out the changes of a plan, one call after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ...client.client import DispatchClient
from ...client.errors import ServiceError
from ...grpc import Status
from ...model.content import DispatchContent
from ...model.dispatch import Dispatch
from ..app.run import explain_refusal
from .matching import Change, Create, Delete, Update

__all__ = ["REFUSALS", "Done", "carry_out", "create"]

Done = Callable[[Change, "Dispatch | None", "str | None"], Awaitable[None]]

# The service has looked at the dispatch and refused it; any other error may pass, or concerns all.
REFUSALS = {
    Status.INVALID_ARGUMENT,
    Status.OUT_OF_RANGE,
    Status.FAILED_PRECONDITION,
    Status.NOT_FOUND,
}


async def carry_out(
    client: DispatchClient, microgrid_id: int, changes: Sequence[Change], done: Done
) -> None:
    """Carry out changes in order.

    A change that the service refuses does not stop those after it; any other error does.  What was
    done before stays done.

    Args:
      done: Is called after each change with the dispatch that the service returned, or with why the
        service refused the change.

    Raises:
      ServiceError: the service failed; it is not known whether the change after the last one that
        was reported is done.
    """
    for change in changes:
        try:
            result = await _do(client, microgrid_id, change)
        except ServiceError as exc:
            if exc.status not in REFUSALS:
                raise
            if exc.status is not Status.NOT_FOUND:
                await done(change, None, explain_refusal(exc.message or exc.status.name))
            elif isinstance(change, Delete):
                await done(change, None, None)
            else:
                await done(change, None, f"{exc.message}: it was deleted meanwhile")
        except ValueError as exc:
            await done(change, None, str(exc))
        else:
            await done(change, result, None)


async def _do(client: DispatchClient, microgrid_id: int, change: Change) -> Dispatch | None:
    match change:
        case Create(_, content, at_once):
            return await create(client, microgrid_id, content, at_once=at_once)
        case Update(_, before, values):
            return await client.update(microgrid_id, before.id, **values)
        case Delete(before):
            await client.delete(microgrid_id, before.id)
            return None


async def create(
    client: DispatchClient,
    microgrid_id: int,
    content: Dispatch | DispatchContent,
    *,
    at_once: bool = False,
) -> Dispatch:
    """Create a dispatch with this content, or one that starts at once."""
    return await client.create(
        microgrid_id,
        type=content.type,
        start_time="NOW" if at_once else content.start_time,
        duration=content.duration,
        target=content.target,  # type: ignore[arg-type]  # the service refuses None
        active=content.active,
        dry_run=content.dry_run,
        payload=content.payload,
        recurrence=content.recurrence,
    )
