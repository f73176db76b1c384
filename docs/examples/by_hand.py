"""Actors by hand: started, reconfigured and stopped from the status channel.

`Dispatcher.run_actors` does all of this and more.  By hand it is for whoever has a loop of their
own already.  Say where the service is, and run it::

    export DISPATCH_API_URL='grpc://localhost:50051?ssl=false' DISPATCH_API_AUTH_KEY=secret
    python by_hand.py
"""

from __future__ import annotations

import trio
from trio_util import AsyncValue

from trio_dispatch import Dispatch, RunningState, open_dispatcher
from trio_dispatch.grpc import Channel


class Charge:
    """Charges what one dispatch says, until it is stopped."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.settings = AsyncValue(dispatch)
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        dispatch = self.settings.value
        with self.scope:
            try:
                async for dispatch in self.settings.eventual_values():
                    print(f"charge {dispatch.target} with {dispatch.payload['power_kw']:g} kW")
            finally:
                # Trio cancels every await in here again, unless it is shielded.
                with trio.move_on_after(10, shield=True):
                    await trio.sleep(1)  # the battery takes its time
                    print(f"stop charging {dispatch.target}")


async def main(channel: Channel | None = None, key: str | None = None) -> None:
    async with (
        open_dispatcher(microgrid_id=1, channel=channel, key=key) as dispatcher,
        dispatcher.running_status_change.new_receiver() as status,
        trio.open_nursery() as nursery,
    ):
        charges: dict[int, Charge] = {}
        async for dispatch in status:
            match dispatch.running("CHARGE"):
                case RunningState.RUNNING if dispatch.pulse is not None:
                    print(f"there is no such thing as a short charge: {dispatch.id}")
                case RunningState.RUNNING if dispatch.id in charges:
                    charges[dispatch.id].settings.value = dispatch
                case RunningState.RUNNING:
                    charges[dispatch.id] = Charge(dispatch)
                    nursery.start_soon(charges[dispatch.id].run)
                case RunningState.STOPPED | RunningState.DIFFERENT_TYPE:
                    # One that has become something else was perhaps ours until now.
                    if dispatch.id in charges:
                        charges.pop(dispatch.id).scope.cancel()


if __name__ == "__main__":
    trio.run(main)
