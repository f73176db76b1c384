"""The error of a call: which failures trying again cannot mend."""

from __future__ import annotations

import ssl

import pytest

from trio_dispatch import ServiceError
from trio_dispatch.client._calls import service_errors
from trio_dispatch.grpc import GRPCError, Status

PERMANENT = {
    Status.UNAUTHENTICATED,
    Status.PERMISSION_DENIED,
    Status.UNIMPLEMENTED,
    Status.INVALID_ARGUMENT,
}


def failure(status: Status, cause: Exception | None = None) -> ServiceError:
    with pytest.raises(ServiceError) as caught, service_errors("microgrid 1: list"):
        raise GRPCError(status, "no") from cause
    return caught.value


@pytest.mark.parametrize("status", list(Status)[1:])
def test_some_statuses_are_permanent(status: Status) -> None:
    error = failure(status)
    assert str(error) == f"microgrid 1: list: {status.name}: no"
    assert error.permanent == (status in PERMANENT)


def test_an_invalid_certificate_is_permanent() -> None:
    untrusted = OSError("cannot connect")
    untrusted.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    assert failure(Status.UNAVAILABLE, untrusted).permanent
    assert not failure(Status.UNAVAILABLE, OSError("cannot connect")).permanent


def test_not_found_has_the_text_that_the_caller_gives() -> None:
    text = "microgrid 1 has no dispatch 5"
    with pytest.raises(ServiceError, match=f"^{text}$"), service_errors("get", text):
        raise GRPCError(Status.NOT_FOUND, "no such row")
