"""What the page says when a call to the service fails."""

from __future__ import annotations

import pytest

from trio_dispatch.client.errors import ServiceError
from trio_dispatch.grpc import GRPCError, Status
from trio_dispatch.web.errors import page_error_of


@pytest.mark.parametrize(
    ("status", "http_status", "code", "text"),
    [
        (Status.INTERNAL, 502, "service_error", "the service failed: list: INTERNAL: disk full"),
        (Status.UNKNOWN, 502, "service_error", "the service failed: list: UNKNOWN: disk full"),
        (Status.UNAVAILABLE, 503, "unavailable", "the service cannot be reached"),
        (Status.DEADLINE_EXCEEDED, 504, "unavailable", "the service did not answer in time"),
        (Status.RESOURCE_EXHAUSTED, 503, "unavailable", "the service has too much to do"),
        (Status.UNAUTHENTICATED, 401, "login_required", "does not accept the key"),
    ],
)
def test_failed_call_is_named(status: Status, http_status: int, code: str, text: str) -> None:
    error = ServiceError(f"list: {status.name}: disk full", GRPCError(status, "disk full"))
    found = page_error_of(error)
    assert (found.status, found.code) == (http_status, code)
    assert text in found.message
