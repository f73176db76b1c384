"""Runs frequenz-dispatch, and prints its events.

It runs in the environment of the peers, with the URL and the key of the service as arguments, and
follows the dispatches of type CHARGE.  Each line of what it prints is the kind of a message and the
id of a dispatch, in JSON; the first one says that it has begun.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

from frequenz.client.common.microgrid import MicrogridId
from frequenz.dispatch import Dispatch, Dispatcher, DispatchEvent


def tell(what: str, id_: int | None = None) -> None:
    print(json.dumps([what, id_]), flush=True)


async def tell_events(events: AsyncIterator[DispatchEvent]) -> None:
    async for event in events:
        tell(type(event).__name__, int(event.dispatch.id))


async def tell_statuses(statuses: AsyncIterator[Dispatch]) -> None:
    async for dispatch in statuses:
        tell("running" if dispatch.started else "stopped", int(dispatch.id))


async def main(url: str, key: str) -> None:
    async with Dispatcher(microgrid_id=MicrogridId(1), server_url=url, auth_key=key) as dispatcher:
        statuses = await dispatcher.new_running_state_event_receiver("CHARGE")
        events = dispatcher.new_lifecycle_events_receiver("CHARGE")
        tell("begun")
        await asyncio.gather(tell_events(events), tell_statuses(statuses))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
