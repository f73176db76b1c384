"""A client that changes dispatches at random, and knows for certain what the service has."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import trio

from tests.soak.plan import Habits, Ledger, random_content, random_update
from trio_dispatch import Dispatch, DispatchClient, ServiceError, clock
from trio_dispatch.grpc import Status

__all__ = ["Changer"]

_PAUSE = 5.0


@dataclass
class Changer:
    """Creates, updates and deletes dispatches.

    Attributes:
      ledgers: What it has done, by microgrid.
      number: How many dispatches there should be.
      habits: What they are like.
      linger: How long a dispatch is kept after its run.
      changes: How many changes were made.
      unsure: How many calls failed, so that their effect had to be found out.
    """

    client: DispatchClient
    rng: random.Random
    ledgers: Mapping[int, Ledger]
    number: int
    habits: Habits
    linger: timedelta
    changes: int = 0
    unsure: int = 0

    @property
    def present(self) -> int:
        """How many dispatches there are."""
        return sum(len(ledger.present) for ledger in self.ledgers.values())

    async def fill(self) -> None:
        """Create all dispatches, some at a time."""
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(self._fill)

    async def _fill(self) -> None:
        while self.present < self.number:
            await self._create()

    async def run(self, pause: float) -> None:
        """Change something now and then, until cancelled.

        Args:
          pause: The mean time between two changes.
        """
        while True:
            await trio.sleep(self.rng.expovariate(1 / pause))
            # A call under way is finished, so that its effect is known.
            with trio.CancelScope(shield=True):
                await self.change()

    async def change(self) -> None:
        """Make one change."""
        self.changes += 1
        if self.present < self.number:
            await self._create()
        microgrid_id = self.rng.choice([*self.ledgers])
        ledger = self.ledgers[microgrid_id]
        some = self.rng.sample([*ledger.present.values()], min(30, len(ledger.present)))
        over = [dispatch for dispatch in some if self._is_over(dispatch)]
        if over or self.rng.random() < 0.1:
            await self._delete(microgrid_id, ledger, (over or some)[0].id)
        else:
            await self._update(microgrid_id, ledger, some[0])

    def _is_over(self, dispatch: Dispatch) -> bool:
        now = clock.now()
        if dispatch.duration is None:
            return dispatch.start_time < now and self.rng.random() < 0.05
        return (
            dispatch.recurrence is None
            and dispatch.start_time + dispatch.duration < now - self.linger
        )

    async def _create(self) -> None:
        microgrid_id = self.rng.choice([*self.ledgers])
        content = random_content(self.rng, clock.now(), self.habits)
        # By this it is found if the reply is lost.
        content["payload"]["token"] = token = f"{self.rng.getrandbits(64):x}"
        began = clock.now()
        try:
            created = await self.client.create(microgrid_id, **content)
        except ServiceError as exc:
            if exc.permanent:
                return  # its start has passed meanwhile, on a slow machine
            self.unsure += 1
            await self._wait_for_service()
            while True:
                await trio.sleep(_PAUSE)
                try:
                    found = [
                        dispatch
                        async for page in self.client.list(
                            microgrid_id, update_from=began - timedelta(seconds=1)
                        )
                        for dispatch in page
                        if dispatch.payload.get("token") == token
                    ]
                except ServiceError:
                    continue
                for created in found:
                    self.ledgers[microgrid_id].write(created)
                return
        self.ledgers[microgrid_id].write(created)

    async def _update(self, microgrid_id: int, ledger: Ledger, dispatch: Dispatch) -> None:
        changes = random_update(self.rng, clock.now(), dispatch, self.habits)
        try:
            ledger.write(await self.client.update(microgrid_id, dispatch.id, **changes))
        except ServiceError as exc:
            if not exc.permanent:
                await self._find_out(microgrid_id, ledger, dispatch.id)

    async def _delete(self, microgrid_id: int, ledger: Ledger, dispatch_id: int) -> None:
        try:
            await self.client.delete(microgrid_id, dispatch_id)
        except ServiceError:
            await self._find_out(microgrid_id, ledger, dispatch_id)
        else:
            ledger.delete(dispatch_id, clock.now())

    async def _wait_for_service(self) -> None:
        """Wait until the service answers.  Then it has carried out, or will not, what came before.

        A call that was given up may be carried out when the network is back.
        """
        while True:
            try:
                await self.client.find_microgrid(1)
            except ServiceError as exc:
                if exc.status is Status.NOT_FOUND:
                    return
            else:
                return
            await trio.sleep(_PAUSE)

    async def _find_out(self, microgrid_id: int, ledger: Ledger, dispatch_id: int) -> None:
        """Ask what the service has after a call of which the reply was lost."""
        self.unsure += 1
        await self._wait_for_service()
        while True:
            await trio.sleep(_PAUSE)
            try:
                found = await self.client.get(microgrid_id, dispatch_id)
            except ServiceError as exc:
                if exc.status is Status.NOT_FOUND:
                    ledger.delete(dispatch_id, clock.now())
                    return
            else:
                if found != ledger.present[dispatch_id]:
                    ledger.write(found)
                return
