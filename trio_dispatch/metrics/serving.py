"""A page for Prometheus, served from the Trio run that it is about."""

from __future__ import annotations

import trio
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from .http import Answer, serve_pages

__all__ = ["serve_metrics"]


async def serve_metrics(
    metrics: Collector | CollectorRegistry,
    *,
    port: int,
    host: str = "127.0.0.1",
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve metrics at ``http://HOST:PORT/metrics``, until cancelled.

    ``/healthz`` answers 200 as long as the program answers.  There is no authentication: let only
    Prometheus reach the port.

    Args:
      metrics: A collector such as `DispatcherCollector`, or a registry, for example
        ``prometheus_client.REGISTRY``.
      port: The port; 0 for any free one.
      host: The address to listen on; by default only this machine can connect.
      task_status: For `trio.Nursery.start`: the listeners.

    Raises:
      OSError: the address cannot be listened on.
    """
    registry = metrics
    if not isinstance(registry, CollectorRegistry):
        registry = CollectorRegistry()
        registry.register(metrics)

    async def page() -> Answer:
        await trio.lowlevel.checkpoint()
        return Answer(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    async def health() -> Answer:
        await trio.lowlevel.checkpoint()
        return Answer(b"ok\n")

    listeners = await trio.open_tcp_listeners(port, host=host)
    task_status.started(listeners)
    await serve_pages({"/metrics": page, "/healthz": health}, listeners)
