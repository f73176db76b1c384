"""What only the garbage collector frees."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["counting_garbage"]


@contextmanager
def counting_garbage(*packages: str) -> Iterator[Counter[str]]:
    """Count the objects that become unreachable within the block and are not freed at once.

    Args:
      packages: Count only instances of classes of these packages, and frames of their functions.
    """
    found: Counter[str] = Counter()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        for each in gc.garbage:
            if isinstance(each, FrameType):
                module, name = each.f_globals.get("__name__", ""), each.f_code.co_qualname
            else:
                module, name = type(each).__module__, type(each).__qualname__
            if module.partition(".")[0] in packages:
                found[f"{module}.{name}"] += 1
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()
