"""The pages of a service for monitoring: ``/metrics``, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import logging

import trio
from prometheus_client import CONTENT_TYPE_LATEST

from ...metrics.http import Answer, Pages
from ...service import DispatchService, StoreError
from ...service.metrics import Metrics

log = logging.getLogger("trio_dispatch.service")

_READ_TIMEOUT = 5.0


class Readiness:
    """Whether a service takes calls.

    Attributes:
      is_serving: Whether it listens, and is not stopping.
    """

    def __init__(self, service: DispatchService) -> None:
        self._service = service
        self.is_serving = False

    async def page(self) -> Answer:
        """Answer 200 if the service takes calls and its store can be read, else 503."""
        if not self.is_serving:
            await trio.lowlevel.checkpoint()
            return Answer(b"not serving\n", 503)
        try:
            with trio.fail_after(_READ_TIMEOUT):
                await self._service.store.find(0)
        except (StoreError, trio.TooSlowError) as exc:
            log.warning("not ready: %r", exc)
            return Answer(b"the store cannot be read; see the log\n", 503)
        return Answer(b"ready\n")


def monitoring_pages(metrics: Metrics, readiness: Readiness) -> Pages:
    """Return the pages."""

    async def show_metrics() -> Answer:
        return Answer(await metrics.text(), content_type=CONTENT_TYPE_LATEST)

    async def show_health() -> Answer:
        # Whether the event loop answers is all that this says.
        await trio.lowlevel.checkpoint()
        return Answer(b"ok\n")

    return {"/metrics": show_metrics, "/healthz": show_health, "/readyz": readiness.page}
