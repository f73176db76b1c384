"""What Prometheus is shown of dispatchers."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
import trio.testing
from prometheus_client import CollectorRegistry, generate_latest

from tests.helpers.acting import SECOND, at, lasting
from tests.helpers.dispatching import dispatching
from tests.helpers.prometheus import scrape_of
from trio_dispatch import ActorRun, Dispatcher, clock
from trio_dispatch.dispatcher.lateness import Lateness
from trio_dispatch.metrics import DispatcherCollector, serve_metrics
from trio_dispatch.testing import open_test_service


def read(*dispatchers: Dispatcher, **labels: str) -> dict[str, float]:
    """Return the samples with labels of one dispatcher, and maybe others, by name."""
    registry = CollectorRegistry()
    registry.register(DispatcherCollector(*dispatchers))
    samples = scrape_of(0, generate_latest(registry).decode()).samples
    return {
        name.removeprefix("dispatcher_"): value
        for name, vector in samples.items()
        for found, value in vector.items()
        if labels.items() <= dict(found).items()
    }


async def test_metrics_of_a_dispatcher(autojump_clock: trio.testing.MockClock) -> None:
    async def act(run: ActorRun) -> None:
        if clock.now() < at(12):
            raise ZeroDivisionError
        await trio.sleep_forever()

    async with (
        open_test_service() as service,
        dispatching(service, name="site-7") as dispatcher,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(dispatcher.run_actors, "CHARGE", act)
        await service.put(lasting(1, 10, 60))
        await service.put(lasting(2, 200, 60))
        await trio.sleep(30)
        found = read(dispatcher, microgrid="1", dispatcher="site-7")
        assert read(dispatcher, dispatcher="other") == {}
        expected = {
            "info": 1,
            "dispatches": 2,
            "running": 1,
            "announced_total": 1,
            "missed_total": 0,
            "stale_streams_total": 0,
            "lateness_seconds_count": 1,
            "lateness_seconds_sum": 0,
            "reports_waiting": 0,
            "reports_lost_total": 0,
            "offline_seconds": 0,
            "last_event_timestamp_seconds": at(0).timestamp(),
            "actors": 1,
        }
        assert {name: found[name] for name in expected} == expected
        assert found["actor_failures_total"] >= 1
        assert found["actor_calls_total"] == found["actor_failures_total"] + 1
        assert found["probes_total"] >= 1
        assert 0 <= clock.now().timestamp() - found["last_confirmed_timestamp_seconds"] <= 30
        assert read(dispatcher, state="live")["connection"] == 1
        assert read(dispatcher, state="waiting")["connection"] == 0
        assert read(dispatcher, le="0.001")["lateness_seconds_bucket"] == 1
        await service.stop()
        await trio.sleep(100)
        found = read(dispatcher)
        assert found["offline_seconds"] == pytest.approx(100, abs=5)
        assert read(dispatcher, state="live")["connection"] == 0
        nursery.cancel_scope.cancel()


async def test_several_dispatchers_share_a_collector(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        open_test_service() as service,
        dispatching(service) as first,
        dispatching(service, name="b") as second,
    ):
        collector = DispatcherCollector(first)
        registry = CollectorRegistry(auto_describe=True)
        registry.register(collector)
        collector.add(second)
        text = generate_latest(registry).decode()
        assert text.count("# TYPE dispatcher_dispatches gauge") == 1
        assert text.count("dispatcher_dispatches{") == 2
        collector.discard(first)
        assert (
            'dispatcher_dispatches{dispatcher="b",microgrid="1"} 0.0'
            in generate_latest(registry).decode()
        )


async def test_metrics_are_served(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        open_test_service() as service,
        dispatching(service) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        collector = DispatcherCollector(dispatcher)

        async def serve(
            task_status: trio.TaskStatus[list[trio.SocketListener]],
        ) -> None:
            await serve_metrics(collector, port=0, task_status=task_status)

        [listener] = await nursery.start(serve)
        for path, expected in (("/metrics", b"dispatcher_info{"), ("/healthz", b"\r\n\r\nok\n")):
            async with await trio.testing.open_stream_to_socket_listener(listener) as stream:
                await stream.send_all(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                assert expected in b"".join([bytes(some) async for some in stream])
        nursery.cancel_scope.cancel()


def test_lateness_is_counted_in_buckets() -> None:
    lateness = Lateness()
    for seconds in (0, 0.001, 0.0011, 0.3, 70):
        lateness.note(seconds * SECOND)
    histogram = lateness.histogram()
    assert dict(zip(histogram.bounds, histogram.counts, strict=False)) == {
        **dict.fromkeys(histogram.bounds, 0),
        0.001: 2,
        0.0025: 1,
        0.5: 1,
    }
    assert histogram.counts[-1] == 1
    assert histogram.total == timedelta(seconds=70.3021)
    assert (lateness.last, lateness.worst) == (70 * SECOND, 70 * SECOND)
