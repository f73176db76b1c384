"""Lists read page by page over gRPC while other clients create, update and delete."""

from __future__ import annotations

import random
from typing import get_args

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.service import create, wired
from trio_dispatch.client.client import DispatchClient, SortBy
from trio_dispatch.client.errors import ServiceError
from trio_dispatch.grpc import Status
from trio_dispatch.service import Store


class Others:
    """Clients that change the dispatches that are being listed."""

    def __init__(self, ids: list[int], seed: int) -> None:
        self.rng = random.Random(seed)
        self.there = [*ids]
        self.gone: set[int] = set()
        self.came: set[int] = set()
        self.done = 0

    async def work(self, client: DispatchClient) -> None:
        while True:
            choice = self.rng.random()
            if choice < 0.3:
                self.came.add((await create(client)).id)
            elif choice < 0.5 and len(self.there) > 7:
                id_ = self.there.pop(self.rng.randrange(len(self.there)))
                self.gone.add(id_)
                await client.delete(1, id_)
            else:
                id_ = self.rng.choice(self.there)
                try:
                    await client.update(1, id_, active=choice < 0.75)
                except ServiceError as exc:
                    if exc.status is not Status.NOT_FOUND:  # the other client has deleted it
                        raise
            self.done += 1


@pytest.mark.parametrize(
    ("sort_by", "descending"), [*zip(get_args(SortBy), [False, True, True], strict=True)]
)
async def test_a_walk_lists_each_dispatch_once_while_others_change(
    store: Store, sort_by: SortBy, descending: bool, autojump_clock: MockClock
) -> None:
    async with (
        wired(store) as service,
        service.client() as lister,
        service.client() as one,
        service.client() as another,
    ):
        ids = [(await create(one)).id for _ in range(20)]
        for seed, page_size in ((1, 2), (2, 9)):
            others = Others([*ids], seed)
            async with trio.open_nursery() as nursery:
                for client in (one, another):
                    nursery.start_soon(others.work, client)
                walked: list[int] = []
                pages = lister.list(1, page_size=page_size, sort_by=sort_by, descending=descending)
                async for page in pages:
                    walked += [dispatch.id for dispatch in page]
                    # The other clients make some changes.
                    enough = others.done + 5
                    while others.done < enough:
                        await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert len(walked) == len(set(walked))
            assert set(ids) - others.gone <= set(walked)
            assert set(walked) <= set(ids) | others.came
            assert others.gone
            assert others.came
            ids = [id_ for id_ in ids if id_ not in others.gone]
            ids += [(await create(one)).id for _ in range(20 - len(ids))]
            # The next round begins without the dispatches that were created meanwhile.
            found = [dispatch.id async for page in lister.list(1) for dispatch in page]
            for id_ in set(found) - set(ids):
                await one.delete(1, id_)
