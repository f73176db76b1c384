"""A service nursery that raises a single exception as itself, not in a group."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import tricycle
import trio


@asynccontextmanager
async def open_service_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery whose tasks outlive the cancellation of its body.

    When the nursery is cancelled, the body of the ``async with`` block is unwound first, while the
    background tasks keep running; they are cancelled when the body has been left
    (`tricycle.open_service_nursery`).  In addition, where that nursery would raise a group around a
    single exception, this one raises the exception itself, whether it comes from the body or from a
    task.  A group that the body raised stays a group.
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
    """Return the one error in a nursery's group, or the group if it has several."""
    # Tasks that were cancelled because of the error add nothing to it.
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
