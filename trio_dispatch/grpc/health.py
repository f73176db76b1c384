"""The health service, `grpc.health.v1`: the status of a server's services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from ._deadline import Deadline
from ._generated.grpc.health.v1 import (
    HealthBase,
    HealthCheckRequest,
    HealthCheckResponse,
    HealthStub,
)
from ._generated.grpc.health.v1 import HealthCheckResponseServingStatus as ServingStatus
from ._peer import Peer
from ._status import printable
from .calls import open_call
from .channel import Channel

__all__ = ["Health", "HealthAnswer", "ServingStatus", "check_health"]


class Health(HealthBase):
    """Tells clients and load balancers the status of a server's services::

        health = Health({"greeter.v1.Greeter": ServingStatus.SERVING})
        server = Server([Greeter(), health])
        ...
        health.set("greeter.v1.Greeter", ServingStatus.NOT_SERVING)

    Args:
      statuses: By the full names of services. The empty name stands for the whole server; its
        status is SERVING unless given.
    """

    #: Health is checked without a key, and the names of services are short.
    max_request_size = 4096

    def __init__(self, statuses: Mapping[str, ServingStatus] | None = None) -> None:
        self._statuses = {"": ServingStatus.SERVING, **(statuses or {})}
        self._changes = trio.lowlevel.ParkingLot()
        self._over = False

    def set(self, service: str, status: ServingStatus) -> None:
        """Set the status of a service, and send it to those who watch the service."""
        self._statuses[service] = status
        self._changes.unpark_all()

    def shut_down(self) -> None:
        """Set every status to NOT_SERVING, and end the streams of those who watch.

        For a server that is being stopped: an open stream would delay it.
        """
        self._over = True
        self._statuses = dict.fromkeys(self._statuses, ServingStatus.NOT_SERVING)
        self._changes.unpark_all()

    async def check(self, message: HealthCheckRequest) -> HealthCheckResponse:
        """The status of a service.

        Raises:
          GRPCError: the service is unknown (NOT_FOUND).
        """
        status = self._statuses.get(message.service)
        if status is None:
            raise GRPCError(
                Status.NOT_FOUND, f"unknown service {printable(message.service, 100)!r}"
            )
        return HealthCheckResponse(status=status)

    async def watch(self, message: HealthCheckRequest) -> AsyncIterator[HealthCheckResponse]:
        """The status of a service, now and after each change; a slow client gets the latest."""
        sent: ServingStatus | None = None
        while True:
            status = self._statuses.get(message.service, ServingStatus.SERVICE_UNKNOWN)
            if status != sent:
                sent = status
                yield HealthCheckResponse(status=status)
            elif self._over:
                return
            else:
                await self._changes.park()


class HealthAnswer(NamedTuple):
    """What a server says about its health, and who it is.

    Attributes:
      status: The status of the service.
      peer: The server's address and certificate.
    """

    status: ServingStatus
    peer: Peer


async def check_health(
    channel: Channel, service: str = "", *, deadline: Deadline | None = None
) -> HealthAnswer:
    """Ask a server for the health of a service.

    Args:
      service: Its full name; the empty name stands for the whole server.
      deadline: When the call has to end.

    Raises:
      GRPCError: the server does not answer, does not know the service (NOT_FOUND), or has no
        health service (UNIMPLEMENTED).
    """
    request = HealthCheckRequest(service)
    async with open_call(HealthStub(channel).check, request, deadline=deadline) as call:
        reply = await call.recv_message()
        assert reply is not None
        assert isinstance(call.peer, Peer)
        return HealthAnswer(reply.status, call.peer)
