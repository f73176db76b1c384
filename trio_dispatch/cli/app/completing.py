"""Shell completion from what the service has: ids and types of dispatches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from ...model.dispatch import Dispatch

__all__ = ["complete_ids", "complete_types"]

_PATIENCE = 1.0  # seconds, for which the shell waits
_MOST = 200


def complete_ids(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Return the ids that begin so, with what the dispatches are."""
    from ...text.show import format_headline  # noqa: PLC0415

    before, comma, last = incomplete.rpartition(",")
    return [
        CompletionItem(f"{before}{comma}{each.id}", help=format_headline(each))
        for each in _dispatches(ctx)
        if str(each.id).startswith(last)
    ]


def complete_types(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Return the types that begin so."""
    found = {each.type for each in _dispatches(ctx)}
    begin = incomplete.lower()
    return [CompletionItem(each) for each in sorted(found) if each.lower().startswith(begin)]


def _dispatches(ctx: click.Context) -> Sequence[Dispatch]:
    """Return the latest dispatches; none if the service cannot be asked, whatever the reason."""
    import trio  # noqa: PLC0415

    from ...client.client import open_client  # noqa: PLC0415
    from .settings import complete_url  # noqa: PLC0415

    found: list[Dispatch] = []

    async def read(url: str, microgrid: int) -> None:
        with trio.move_on_after(_PATIENCE):
            async with open_client(
                url, key=ctx.params.get("key"), sign_secret=ctx.params.get("sign_secret")
            ) as client:
                page = await anext(client.list(microgrid, page_size=_MOST))
                found.extend(page)

    url, microgrid = ctx.params.get("url"), ctx.params.get("microgrid")
    if url and microgrid:
        try:
            trio.run(read, complete_url(url, quiet=True), microgrid)
        except Exception:  # noqa: BLE001 - a shell that completes must not be disturbed
            return []
    return found
