"""Receives commands: the other end of `peers.Peer.ask`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable


async def obey(control: Callable[[], object], say: Callable[[Exception], str] = repr) -> None:
    """Carry out commands from stdin until it ends; each is a method of `control()`.

    Args:
      say: Converts an error to text.
    """
    receiver = control()
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        try:
            answer = {"ok": await getattr(receiver, command.pop("do"))(**command)}
        except Exception as exc:
            answer = {"error": say(exc)}
        print(json.dumps(answer), flush=True)
