"""The health service, `grpc.health.v1`: whether services are there to serve."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from ._generated.grpc.health.v1 import HealthBase, HealthCheckRequest, HealthCheckResponse
from ._generated.grpc.health.v1 import HealthCheckResponseServingStatus as ServingStatus

__all__ = ["Health", "ServingStatus"]


class Health(HealthBase):
    """Tells clients and load balancers how the services of a server are::

        health = Health({"greeter.v1.Greeter": ServingStatus.SERVING})
        server = Server([Greeter(), health])
        ...
        health.set("greeter.v1.Greeter", ServingStatus.NOT_SERVING)

    Args:
      statuses: By the full names of services. The empty name stands for the whole server, which
        serves unless it is said otherwise.
    """

    def __init__(self, statuses: Mapping[str, ServingStatus] | None = None) -> None:
        self._statuses = {"": ServingStatus.SERVING, **(statuses or {})}
        self._changes = trio.lowlevel.ParkingLot()
        self._over = False

    def set(self, service: str, status: ServingStatus) -> None:
        """Change how a service is; who watches it is told."""
        self._statuses[service] = status
        self._changes.unpark_all()

    def shut_down(self) -> None:
        """Say that nothing is served any more; who watches is told, then its stream ends.

        For a server that is being stopped: a stream that goes on would hold it up.
        """
        self._over = True
        self._statuses = dict.fromkeys(self._statuses, ServingStatus.NOT_SERVING)
        self._changes.unpark_all()

    async def check(self, message: HealthCheckRequest) -> HealthCheckResponse:
        """How a service is now.

        Raises:
          GRPCError: it is unknown (NOT_FOUND).
        """
        status = self._statuses.get(message.service)
        if status is None:
            raise GRPCError(Status.NOT_FOUND, f"there is no service {message.service!r}")
        return HealthCheckResponse(status=status)

    async def watch(self, message: HealthCheckRequest) -> AsyncIterator[HealthCheckResponse]:
        """How a service is now, and whenever that changes; a slow client gets the latest."""
        told: ServingStatus | None = None
        while True:
            status = self._statuses.get(message.service, ServingStatus.SERVICE_UNKNOWN)
            if status != told:
                told = status
                yield HealthCheckResponse(status=status)
            elif self._over:
                return
            else:
                await self._changes.park()
