"""Actors by hand: started, reconfigured and stopped from the status channel.

`Dispatcher.run_actors` does all of this and more: here, two dispatches for the same component drive
it both.  Do it by hand if your program already has a loop of its own.  Dry runs and pulses are
printed and not executed.  SIGTERM and Ctrl-C stop what is charging.  Set the address of the
service, and run the program::

    export DISPATCH_API_URL='grpc://localhost:50051?ssl=false' DISPATCH_API_AUTH_KEY=secret
    python by_hand.py
"""

from __future__ import annotations

import trio

import trio_dispatch
from trio_dispatch import Dispatch, RunningState, open_dispatcher
from trio_dispatch.grpc import Channel


class Charge:
    """Charges according to one dispatch until it is stopped."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch
        self.scope = trio.CancelScope()
        self.stopped = trio.Event()
        self._changed = trio.Event()

    def update(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch
        self._changed.set()

    async def run(self, previous: Charge | None) -> None:
        with self.scope:
            if previous is not None:
                await previous.stopped.wait()
            await self._charge()
        self.stopped.set()

    async def _charge(self) -> None:
        target = self.dispatch.target
        try:
            while True:
                self._changed = trio.Event()
                target, payload = self.dispatch.target, self.dispatch.payload
                print(f"charge {target} with {payload['power_kw']:g} kW")
                await self._changed.wait()
        finally:
            # Trio cancels every await in here again, unless it is shielded.
            with trio.move_on_after(10, shield=True):
                await trio.sleep(1)  # the battery takes a moment
                print(f"stop charging {target}")


async def main(channel: Channel | None = None, key: str | None = None) -> None:
    async with (
        open_dispatcher(1, channel=channel, key=key) as dispatcher,
        dispatcher.running_status_change.new_receiver() as status,
        trio.open_nursery() as nursery,
    ):
        charges: dict[int, Charge] = {}  # the last one of each dispatch
        async for dispatch in status:
            # A dispatch that is of another type now may have been a CHARGE dispatch until now.
            running = dispatch.running("CHARGE") is RunningState.RUNNING
            if running and (dispatch.dry_run or dispatch.pulse is not None):
                print(f"not executed: dispatch {dispatch.id} is a dry run or a pulse")
                running = False
            charge = charges.get(dispatch.id)
            if not running:
                if charge is not None:
                    charge.scope.cancel()
            elif charge is None or charge.scope.cancel_called:
                charges[dispatch.id] = Charge(dispatch)
                nursery.start_soon(charges[dispatch.id].run, charge)
            else:
                charge.update(dispatch)


if __name__ == "__main__":
    trio_dispatch.run(main)
