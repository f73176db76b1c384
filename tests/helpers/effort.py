"""How many random cases a test tries: a few at every change, many in `make test-long`."""

from __future__ import annotations

import os

__all__ = ["LONG", "cases"]

LONG = os.environ.get("TRIO_DISPATCH_LONG") == "1"


def cases(usually: int, *, long: int) -> int:
    """Return the number of random cases of this run."""
    return long if LONG else usually
