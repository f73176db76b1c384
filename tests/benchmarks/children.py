"""What the processes of contenders share."""

from __future__ import annotations

import json
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any


def obey(*functions: Callable[..., Any]) -> None:
    """Make the measurements that stdin says, by these functions, until it ends.

    Each returns its value, or a dictionary with a "value" and details.
    """
    by_name = {function.__name__: function for function in functions}
    # What others print is not to get in between.
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
    """Have the dispatch server do something, and wait for the answer."""
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        connection.makefile("rw") as f,
    ):
        print(json.dumps({"do": do, **arguments}), file=f, flush=True)
        return json.loads(f.readline())
