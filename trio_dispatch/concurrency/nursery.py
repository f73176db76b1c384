"""A service nursery that lets a single exception out as itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import tricycle
import trio


@asynccontextmanager
async def open_service_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery whose tasks outlive the cancellation of its body.

    When the nursery is cancelled, the body of the ``async with`` block is unwound first, with the
    background tasks still at work; they are cancelled when the body has been left
    (`tricycle.open_service_nursery`).  One thing is added: where the nursery would raise a group
    around a single exception, that exception is raised itself, whether it comes from the body or
    from a task.  A group that the body itself raised stays the group that it was.
    """
    try:
        async with tricycle.open_service_nursery() as nursery:
            yield nursery
        return
    except BaseExceptionGroup as group:
        error = _single(group)
    # Outside the handler, so that the error's own context is kept.
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception that a nursery's group is about, or the group itself."""
    # The tasks that were cancelled because of an error add nothing to it.
    errors = [exc for exc in group.exceptions if not _only_cancelled(exc)]
    match errors:
        case []:
            return group.exceptions[0]
        case [error]:
            return error
        case _:
            return group


def _only_cancelled(exc: BaseException) -> bool:
    if isinstance(exc, BaseExceptionGroup):
        return all(map(_only_cancelled, exc.exceptions))
    return isinstance(exc, trio.Cancelled)
