"""The asyncio library of the same purpose, our dispatcher beside it, and our service."""

from __future__ import annotations

import json
from datetime import timedelta

from tests.helpers.interop.ccore import KEY, MICROGRID
from tests.helpers.interop.ours import OurService
from tests.helpers.interop.peers import start_script, within
from trio_dispatch import DispatchClient, RunningState, TargetIds, open_dispatcher


@within(30)
async def test_both_notice_the_same(service: OurService, ours: DispatchClient) -> None:
    async with (
        start_script("official_dispatcher", service.url, KEY) as theirs,
        open_dispatcher(microgrid_id=MICROGRID, server_url=service.url, key=KEY) as dispatcher,
    ):
        our_events = dispatcher.lifecycle_events.new_receiver()
        our_statuses = dispatcher.running_status_change.new_receiver()

        async def check(event: str, running: str) -> None:
            """The next messages of both are of these kinds."""
            told = {tuple(json.loads(await theirs.line())) for _ in range(2)}
            assert told == {(event, 1), (running, 1)}
            assert type(await our_events.receive()).__name__ == event
            ours_is = (await our_statuses.receive()).running("CHARGE")
            assert ours_is is RunningState(running)

        assert json.loads(await theirs.line()) == ["begun", None]
        # It lists first and opens its stream later: what happens in between, it does not notice.
        await service.wait_watched(2)
        await ours.create(
            MICROGRID,
            type="CHARGE",
            start_time="NOW",
            duration=timedelta(hours=1),
            target=TargetIds(1),
        )
        await check("Created", "running")
        await ours.update(MICROGRID, 1, payload={"power": 5})
        await check("Updated", "running")
        await ours.update(MICROGRID, 1, active=False)
        await check("Updated", "stopped")
        await ours.update(MICROGRID, 1, active=True, target=TargetIds(2))
        await check("Updated", "running")
        await ours.delete(MICROGRID, 1)
        await check("Deleted", "stopped")
