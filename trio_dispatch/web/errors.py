"""Errors of requests, as responses in JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import JSONResponse

from ..client.errors import ServiceError
from ..grpc import Status

__all__ = ["PageError", "error_response", "page_error_of"]


class PageError(Exception):
    """A request that fails.

    Attributes:
      status: The status of the response.
      code: What failed, for the page.
      message: What failed, for people.
      fields: The messages about single fields.
      more: Further content of the response.
      retry_after: After how many seconds a further attempt may succeed.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        fields: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.more = more or {}
        self.retry_after = retry_after


def error_response(error: PageError) -> JSONResponse:
    """Return the response for an error."""
    content: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.fields is not None:
        content["fields"] = error.fields
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONResponse({"error": content, **error.more}, error.status, headers)


_FIELD: Final = re.compile(r"(?:dispatch_data|update|data)\.([a-z_.]+):? ")
_STATUSES: Final = {
    Status.UNAUTHENTICATED: (401, "login_required", "the service does not accept the key any more"),
    Status.PERMISSION_DENIED: (403, "forbidden", "the key does not permit this"),
    Status.NOT_FOUND: (404, "not_found", "there is no such dispatch"),
    Status.UNIMPLEMENTED: (501, "unsupported", "the service does not offer this"),
    Status.RESOURCE_EXHAUSTED: (503, "unavailable", "the service has too much to do"),
    Status.DEADLINE_EXCEEDED: (504, "unavailable", "the service did not answer in time"),
}


def page_error_of(error: ServiceError) -> PageError:
    """Return what the failure of a call to the service means for the page."""
    if error.status in {Status.INVALID_ARGUMENT, Status.FAILED_PRECONDITION, Status.OUT_OF_RANGE}:
        text = error.message or str(error)
        match = _FIELD.search(text)
        fields = {match[1]: _FIELD.sub("", text, count=1)} if match else {"": text}
        return PageError(400, "invalid", text, fields=fields)
    if error.status in _STATUSES:
        return PageError(*_STATUSES[error.status])
    if error.status is Status.UNAVAILABLE:
        text = f"the service cannot be reached: {error}"
        return PageError(503, "unavailable", text, retry_after=2)
    return PageError(502, "service_error", f"the service failed: {error}")
