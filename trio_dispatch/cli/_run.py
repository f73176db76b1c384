"""How a command ends: its exit status, and in one line what went wrong and what to do.

A script can rely on these:

===  ==================================================================
  0  it is done
  1  the service refused it or failed, or a file could not be used
  2  the command line, the configuration or an input file makes no sense
  3  there is no such dispatch
  4  the service was not reached, or did not answer in time
130  Ctrl-C
141  whoever read the output has gone
===  ==================================================================
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn

import click

from ..client.errors import ServiceError
from ..errors import DispatchError
from ..grpc import Status
from ._failure import Failure

__all__ = [
    "FAILED",
    "NOT_FOUND",
    "UNREACHABLE",
    "USAGE",
    "Failure",
    "exit_status",
    "explain",
    "run",
]

FAILED, USAGE, NOT_FOUND, UNREACHABLE, INTERRUPTED, GONE = 1, 2, 3, 4, 130, 141

_HINTS = {
    Status.UNAUTHENTICATED: "check --key (DISPATCH_API_AUTH_KEY) and --sign-secret",
    Status.PERMISSION_DENIED: "check --microgrid, or use another --key",
    Status.UNAVAILABLE: "check --url, and that the service runs",
    Status.DEADLINE_EXCEEDED: "try again, or give it longer with --timeout",
    Status.UNIMPLEMENTED: "check --url: this is no dispatch service, or an older one",
}
_STATUSES = {
    Status.NOT_FOUND: NOT_FOUND,
    Status.UNAVAILABLE: UNREACHABLE,
    Status.DEADLINE_EXCEEDED: UNREACHABLE,
}


def run(function: Callable[..., Awaitable[Any]], *args: object, verbose: bool = False) -> None:
    """Run an async function to its end, and end the process if it fails.

    Raises:
      click.ClickException: it failed, for a reason that a person can mend.
      SystemExit: it was interrupted, or nobody reads what it prints.
    """
    import trio  # noqa: PLC0415

    _set_up_logging(verbose)
    try:
        trio.run(function, *args)
        sys.stdout.flush()
    except BaseException as exc:  # noqa: BLE001 - every one ends the process
        _end(exc, verbose=verbose)


def _end(error: BaseException, *, verbose: bool) -> NoReturn:
    leaves = [*_leaves(error)]
    for leaf in leaves:
        if isinstance(leaf, KeyboardInterrupt | click.Abort):
            raise SystemExit(INTERRUPTED) from None
        if isinstance(leaf, BrokenPipeError):
            # What is still to be written at exit goes nowhere, too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(GONE) from None
    for leaf in leaves:
        if isinstance(leaf, click.ClickException | SystemExit):
            raise leaf from None
    leaf = leaves[0]
    if isinstance(leaf, DispatchError | ValueError | OSError):
        raise Failure(exit_status(leaf), explain(leaf)) from None
    if verbose:
        raise error
    raise click.ClickException(
        f"a fault in trio-dispatch: {leaf!r}; run it again with --verbose and report what it says"
    ) from None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def explain(error: BaseException) -> str:
    """What went wrong and what to do, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    hint = _HINTS.get(error.status) if isinstance(error, ServiceError) else None
    if "does not speak TLS" in text:
        hint = "if it is to be without TLS, say so in --url: grpc://HOST:PORT?ssl=false"
    return f"{text}; {hint}" if hint else text


def exit_status(error: BaseException) -> int:
    """The status that a command ends with for this error."""
    if isinstance(error, ServiceError):
        return _STATUSES.get(error.status, FAILED)
    return USAGE if isinstance(error, ValueError) else FAILED


def _set_up_logging(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
