"""Shared by the processes of the contenders."""

from __future__ import annotations

import json
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any


def obey(*functions: Callable[..., Any]) -> None:
    """Serve orders from stdin, each of which names one of these functions, until stdin ends.

    Each returns its value, or a dictionary with a "value" and details.
    """
    by_name = {function.__name__: function for function in functions}
    # What the functions print must not mix with the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = by_name[order.pop("do")](**order)
            if not isinstance(answer, dict):
                answer = {"value": answer}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def control(port: int, do: str, **arguments: Any) -> Any:
    """Send an order to the dispatch server, and return its answer."""
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        connection.makefile("rw") as f,
    ):
        print(json.dumps({"do": do, **arguments}), file=f, flush=True)
        return json.loads(f.readline())
