"""What a process uses, at each tenth of a soak, and whether it stays flat."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import trio

__all__ = ["FLAT", "flatness_problems", "folder_size", "header", "row", "usage", "usage_of"]

FLAT = {"used_mb": 0.05, "db_mb": 0.1, "cache_mb": 0.1, "reports_mb": 0.5, "objects": 0.05}
"""By how much the mean of the last three tenths may exceed that of the second to fourth.

Tasks, file descriptors and threads are counts, which rise for moments, such as when dispatchers
reconnect.  The least of the last ones may not exceed the largest of the early ones by more than one
in ten and two.
"""
_COUNTS = ("tasks", "fds", "threads")


def usage() -> dict[str, float]:
    """Return what this process uses now, inside of a Trio run, after a garbage collection.

    The resident memory, `rss_mb`, includes what the C library keeps of freed memory for each
    thread, which varies; `used_mb` is what remains when that was given back.
    """
    gc.collect()
    figures = usage_of(os.getpid())
    _give_back_freed_memory()
    return {
        **figures,
        "used_mb": usage_of(os.getpid())["rss_mb"],
        "threads": threading.active_count(),
        "tasks": sum(1 for _ in _tasks(trio.lowlevel.current_root_task())),
        "objects": len(gc.get_objects()),
    }


def _give_back_freed_memory() -> None:
    # Only glibc has it.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def usage_of(pid: int) -> dict[str, float]:
    """Return what the kernel knows about a process.

    Raises:
      OSError: it has ended.
    """
    process = Path("/proc") / str(pid)
    resident = int((process / "statm").read_text().split()[1])
    cpu = (process / "stat").read_text().rpartition(")")[2].split()
    return {
        "rss_mb": resident * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "fds": len([*(process / "fd").iterdir()]),
        "threads": len([*(process / "task").iterdir()]),
        "cpu_s": (int(cpu[11]) + int(cpu[12])) / os.sysconf("SC_CLK_TCK"),
    }


def _tasks(task: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    waiting = [task]
    while waiting:
        task = waiting.pop()
        if task is not None:
            yield task
            for nursery in task.child_nurseries:
                waiting += nursery.child_tasks


def folder_size(folder: Path, pattern: str) -> float:
    """Return the size of some files of a folder and its subfolders, in megabytes."""
    size = 0
    for path in folder.rglob(pattern):
        try:
            size += path.stat().st_size
        except FileNotFoundError:  # it was just replaced
            continue
    return size / 1e6


def header(figures: Mapping[str, float]) -> str:
    """Return the line above the rows."""
    return "".join(f"{name:>{_width(name)}}" for name in figures)


def row(figures: Mapping[str, float]) -> str:
    """Return a line of a table."""
    return "".join(
        f"{value:>{_width(name)},.{1 if isinstance(value, float) else 0}f}"
        for name, value in figures.items()
    )


def _width(name: str) -> int:
    return max(len(name), 9) + 2


def flatness_problems(
    rows: Sequence[Mapping[str, float]],
    growth: Mapping[str, float] = FLAT,
    *,
    early: slice = slice(1, 4),
    late: slice = slice(-3, None),
) -> Iterator[str]:
    """Yield what is not flat after the first tenth."""
    for name, permitted in growth.items():
        before, after = (
            sum(row[name] for row in rows[some]) / len(rows[some]) for some in (early, late)
        )
        if after > before * (1 + permitted) + 0.1:
            yield f"{name} grew from {before:,.1f} to {after:,.1f}, by more than {permitted:.0%}"
    for name in rows[0]:
        if name.endswith(_COUNTS):
            limit = max(row[name] for row in rows[early])
            least = min(row[name] for row in rows[late])
            if least > limit * 1.1 + 2:
                yield f"{name} grew from {limit:,.0f} to {least:,.0f}"
