"""Runs the benchmarks, side by side with the peers.

    python -m tests.benchmarks.run [--list] [--quick] [--write [PAGE]] [NAME ...]

With names, only these benchmarks run; ``--list`` lists them.  ``--quick`` does less work in fewer
rounds, for a first look.  ``--write`` writes the results to a page, by default
``docs/benchmarks.md``, whose figures then go to the README, too.  ``make bench`` does that, and
also creates the environment of the peers.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import (
    bench_replicas,
    machine,
    rows_channels,
    rows_decode,
    rows_grpc,
    rows_many,
    rows_service,
    rows_start,
    rows_sync,
    rows_tables,
    rows_time,
)
from tests.benchmarks.comparison import with_figures
from tests.benchmarks.harness import PEERS, ROOT
from tests.benchmarks.report import Section, main_table, page

BENCHMARKS: dict[str, Callable[[bool], Section]] = {
    "sync": rows_sync.first_sync,
    "growth": rows_sync.growth,
    "burst": rows_sync.burst,
    "many": rows_many.many,
    "calls": rows_many.calls,
    "decode": rows_decode.decode,
    "recurrence": rows_time.recurrence,
    "grpc": rows_grpc.grpc,
    "fan-out": rows_channels.fan_out,
    "memory": rows_sync.memory,
    "year": rows_time.year,
    "start": rows_start.start,
    "agenda": rows_tables.agenda,
    "actors": rows_tables.actors,
    "lateness": rows_tables.lateness,
    "service": rows_service.service,
    "page": rows_tables.page,
    "postgres": bench_replicas.replicas,
}

PAGE = ROOT / "docs" / "benchmarks.md"


def main() -> int:
    """Run the requested benchmarks, and return 1 if any of them failed."""
    parser = argparse.ArgumentParser(description="Run the benchmarks, side by side with the peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="run only these benchmarks")
    parser.add_argument("--list", action="store_true", help="list the benchmarks")
    parser.add_argument("--quick", action="store_true", help="less work, fewer rounds")
    parser.add_argument("--write", nargs="?", type=Path, const=PAGE, metavar="PAGE")
    options = parser.parse_args()
    if options.list:
        print("\n".join(BENCHMARKS))
        return 0
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(
            f"unknown benchmark {', '.join(sorted(unknown))}: choose from {', '.join(BENCHMARKS)}"
        )
    if options.names and options.write is not None:
        parser.error("a page contains all benchmarks: omit either the names or --write")
    if not PEERS.exists():
        parser.error(f"{PEERS} does not exist: run `make bench`, which creates it")
    began, load = datetime.now(UTC), machine.load()
    sections: list[Section] = []
    failed = []
    for name in options.names or BENCHMARKS:
        started = time.monotonic()
        try:
            section = BENCHMARKS[name](options.quick)
        except Exception as exc:
            # The other benchmarks still run.
            failed.append(name)
            print(f"{name} failed: {exc!r}\n", file=sys.stderr, flush=True)
            continue
        sections.append(section)
        print(f"{section.title} ({time.monotonic() - started:.0f} s)\n")
        print(
            "\n\n".join(filter(None, (main_table([section]), section.table))),
            end="\n\n",
            flush=True,
        )
    if options.write is not None:
        if failed:
            print(f"{options.write} was not written", file=sys.stderr)
        else:
            written = page(sections, began, load, quick=options.quick)
            options.write.write_text(written)
            if options.write == PAGE:
                readme = ROOT / "README.md"
                readme.write_text(with_figures(readme.read_text(), written))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
