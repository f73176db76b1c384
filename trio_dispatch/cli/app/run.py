"""How a command ends: its exit status, and one line about what went wrong and what to do.

Scripts can rely on the exit statuses; `EXIT_STATUSES` is printed in the help.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from ...errors import DispatchError
from ...text.safe import printable

FAILED, USAGE, NOT_FOUND, UNREACHABLE, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 4, 130, 141

EXIT_STATUSES = {
    0: "success",
    FAILED: "the service refused or failed a request, or a file could not be used",
    USAGE: "the command line, the configuration or an input is invalid",
    NOT_FOUND: "no such dispatch",
    UNREACHABLE: "the service could not be reached, or did not answer in time",
    INTERRUPTED: "interrupted by Ctrl-C (143: by SIGTERM)",
    PIPE_CLOSED: "the reader of the output closed the pipe",
}

_HINTS = {
    "UNAUTHENTICATED": "check --key (DISPATCH_API_AUTH_KEY) and --sign-secret",
    "PERMISSION_DENIED": "check --microgrid, or use another --key",
    "UNAVAILABLE": "check --url, and that the service runs",
    "DEADLINE_EXCEEDED": "try again, or allow more time with --timeout",
    "UNIMPLEMENTED": "check --url: this is not a dispatch service, or an older one",
}
_STATUSES = {"NOT_FOUND": NOT_FOUND, "UNAVAILABLE": UNREACHABLE, "DEADLINE_EXCEEDED": UNREACHABLE}


class Failure(click.ClickException):
    """Ends the command with an exit status.

    Args:
      message: What went wrong; empty if it has been printed.
    """

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status


def run(function: Callable[[], Awaitable[Any]], *, verbose: bool = False) -> None:
    """Run a command to its end.

    Raises:
      click.ClickException: it failed, for a reason that a person can mend.
      SystemExit: it was interrupted.
      BrokenPipeError: the reader of the output has closed the pipe.
    """
    from ... import process  # noqa: PLC0415

    _set_up_logging(verbose)
    try:
        process.run(function)
    except BaseException as exc:  # noqa: BLE001 - every error ends the process
        _fail(exc, verbose)


def _fail(error: BaseException, verbose: bool) -> NoReturn:
    leaves = [*_leaves(error)]
    for kind in (KeyboardInterrupt, SystemExit, BrokenPipeError, click.Abort, click.ClickException):
        for leaf in leaves:
            if isinstance(leaf, kind):
                raise leaf from None
    leaf = leaves[0]
    if isinstance(leaf, DispatchError | ValueError | OSError):
        raise Failure(_exit_status(leaf), explain(leaf)) from None
    if verbose:
        raise error
    raise click.ClickException(
        f"a bug in trio-dispatch: {leaf!r}; run the command with --verbose and report the output"
    ) from None


@contextmanager
def failing_with(status: int) -> Iterator[None]:
    """Have the command end with this exit status if the service or a file fails."""
    try:
        yield
    except Exception as exc:
        leaf = next(_leaves(exc))
        if isinstance(leaf, BrokenPipeError) or not isinstance(leaf, DispatchError | OSError):
            raise
        raise Failure(status, explain(leaf)) from None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


# Errors in the user's terms.


def explain(error: BaseException) -> str:
    """Return what went wrong and what to do, in one line."""
    status = _status_of(error)
    message = getattr(error, "message", None) if status else str(error)
    text = " ".join((message or "").split())
    if not text:
        text = f"the service answered {status}" if status else type(error).__name__
    elif status == "INVALID_ARGUMENT":
        text = explain_refusal(text, _OPTIONS)
    hint = _HINTS.get(status)
    if "does not speak TLS" in text:
        hint = "for a service without TLS use --url grpc://HOST:PORT?ssl=false"
    return f"{text}; {hint}" if hint else text


_FIELD = re.compile(r"(?:dispatch_data|update|data)\.([a-z_.]+):? ")
_OPTIONS = {
    "type": "TYPE", "start_time": "--start", "duration": "--duration", "target": "--target",
    "payload": "--payload", "recurrence": "the recurrence", "recurrence.freq": "--frequency",
    "recurrence.interval": "--interval", "recurrence.end_criteria": "--count or --until",
    "recurrence.end_criteria.count": "--count", "recurrence.end_criteria.until": "--until",
    "recurrence.byminutes": "--by-minute", "recurrence.byhours": "--by-hour",
    "recurrence.byweekdays": "--by-weekday", "recurrence.bymonthdays": "--by-month-day",
    "recurrence.bymonths": "--by-month",
}  # fmt: skip


def explain_refusal(message: str, names: Mapping[str, str] = {}) -> str:
    """Return why the service refused a dispatch, with the user's names of the fields."""
    return _FIELD.sub(lambda match: f"{names.get(match[1], match[1])} ", message, count=1)


def _status_of(error: BaseException) -> str:
    """The name of the gRPC status of an error; empty if it has none."""
    return str(getattr(getattr(error, "status", None), "name", ""))


def _exit_status(error: BaseException) -> int:
    if status := _status_of(error):
        return _STATUSES.get(status, FAILED)
    return USAGE if isinstance(error, ValueError) else FAILED


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), keep="\n" if record.exc_info else "")


def _set_up_logging(verbose: bool) -> None:
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG if verbose else logging.WARNING)
