"""Freeing TLS streams of Trio when they are no longer used."""

from __future__ import annotations

from typing import TypeVar

import trio

__all__ = ["forget_handshake"]

_T = TypeVar("_T", bound=trio.abc.Stream)


def forget_handshake(stream: trio.SSLStream[_T]) -> None:
    """Have a stream refer no longer to its handshake, which has ended or is not wanted.

    Until then the stream refers to itself, so that only the garbage collector would free it.  The
    collector does not know how much memory OpenSSL has for each stream, and would let it grow.
    """
    # Private to Trio: where another version lacks it, the garbage collector frees the stream.
    handshake = getattr(stream, "_handshook", None)
    if handshake is not None:
        handshake._afn = _do_nothing


async def _do_nothing(*_: object) -> None:
    await trio.lowlevel.checkpoint()
