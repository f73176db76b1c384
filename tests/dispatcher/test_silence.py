"""Streams that stay open and deliver nothing: no change and no run is lost."""

from __future__ import annotations

import logging
import random
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
import trio
import trio.testing

from tests.helpers.dispatching import dispatching
from tests.helpers.effort import cases
from trio_dispatch import Created, Dispatch, Dispatcher, Updated, clock
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

SECOND = timedelta(seconds=1)
PROBE_INTERVAL = timedelta(seconds=30)
FOUND_WITHIN = PROBE_INTERVAL + 5 * SECOND
SEEDS = cases(60, long=10_000)


@dataclass
class Version:
    """A content of a dispatch, and for how long the service had it."""

    dispatch: Dispatch
    put_at: datetime
    replaced_at: datetime | None = None

    @property
    def name(self) -> str:
        return str(self.dispatch.payload["version"])

    @property
    def was_due(self) -> bool:
        """Whether it was to start while the service had it."""
        start = self.dispatch.start_time
        return (
            self.dispatch.active
            and self.put_at < start
            and (self.replaced_at is None or start < self.replaced_at)
        )


class Story:
    """A service that is changed at random while its streams fall silent at random."""

    def __init__(self, service: LocalService, rng: random.Random) -> None:
        self.service = service
        self.rng = rng
        self.versions: list[Version] = []
        self.current: dict[int, Version] = {}
        self.changed_at: dict[int, datetime] = {}

    async def run(self) -> None:
        for _ in range(self.rng.randint(5, 25)):
            await trio.sleep(self.rng.choice([0, 0.1, 1, 7, 20]))
            if self.rng.random() < 0.3:
                self.service.mute_streams(self.rng.choice([0, 0.5, 1, 1]))
            await self.change()

    async def change(self) -> None:
        now = clock.now()
        id_ = self.rng.randint(1, 6)
        old = self.current.pop(id_, None)
        if old is not None:
            old.replaced_at = now
        self.changed_at[id_] = now
        if old is not None and self.rng.random() < 0.3:
            await self.service.store.delete(1, id_)
            return
        # No two changes are made at the same time, and no two versions start at the same time.
        later = timedelta(microseconds=len(self.versions))
        dispatch = make_dispatch(
            id_,
            start_time=now + self.rng.randint(1, 40) * SECOND + later,
            duration=self.rng.choice([0, 1, 10, 60]) * SECOND,
            payload={"version": str(len(self.versions))},
            active=self.rng.random() < 0.9,
            create_time=now,
            update_time=now + later,
        )
        version = self.current[id_] = Version(dispatch, now)
        self.versions.append(version)
        await self.service.put(dispatch)


class Witness:
    """What a dispatcher knows, announces and reports as missed."""

    def __init__(self, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dispatcher = dispatcher
        self.seen: set[str] = set()
        self.outcomes: Counter[str] = Counter()
        publish = dispatcher.running_status_change.publish

        def publish_status(message: Dispatch) -> None:
            # At the source: a receiver would get a start and its stop as one message.
            moment = message.sent_at
            assert moment is not None
            if message.pulse is not None or message.running_at(moment):
                self.count(message)
            publish(message)

        monkeypatch.setattr(dispatcher.running_status_change, "publish", publish_status)

    def count(self, dispatch: Dispatch) -> None:
        self.outcomes[str(dispatch.payload["version"])] += 1

    async def read_events(self) -> None:
        with self.dispatcher.lifecycle_events.new_receiver(limit=1000) as events:
            async for event in events:
                if isinstance(event, Created | Updated):
                    self.seen.add(str(event.dispatch.payload["version"]))

    async def read_missed(self) -> None:
        with self.dispatcher.missed_runs.new_receiver(limit=1000) as missed:
            async for run in missed:
                self.count(run.dispatch)

    async def check(self, story: Story) -> None:
        """See that each change is known in time."""
        while True:
            await trio.sleep(0.5)
            for id_, changed_at in story.changed_at.items():
                if clock.now() - changed_at < FOUND_WITHIN:
                    continue
                version = story.current.get(id_)
                known = self.dispatcher.dispatches.get(id_)
                named = known and known.payload["version"]
                assert named == (version and version.name), f"dispatch {id_}"


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_silent_streams_hide_no_change_and_no_run(
    seed: int,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.CRITICAL)
    rng = random.Random(seed)
    random.seed(seed)  # what the library jitters, and what a muted stream loses
    async with (
        open_test_service(
            keepalive=False,
            totals=rng.random() < 0.7,
            offset_paging=rng.random() < 0.3,
        ) as service,
        dispatching(
            service,
            probe_interval=PROBE_INTERVAL,
            resync_interval=timedelta(days=1),
            catch_up=rng.choice([2, 60]) * SECOND,
        ) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        witness = Witness(dispatcher, monkeypatch)
        story = Story(service, rng)
        nursery.start_soon(witness.read_events)
        nursery.start_soon(witness.read_missed)
        nursery.start_soon(witness.check, story)
        await story.run()
        # Long enough to find the last change, and for the last run to end.
        await trio.sleep(150)
        for version in story.versions:
            count = witness.outcomes[version.name]
            if version.was_due and version.name in witness.seen:
                assert count == 1, version
            else:
                assert count <= 1, version
        nursery.cancel_scope.cancel()
