"""Carries out gRPC's interoperability tests between ours and C-core, and prints a table.

python -m tests.interop.suite
"""

from __future__ import annotations

import logging

import trio

from tests.helpers.interop.interop_suite import run_suite
from tests.helpers.interop.suite.cases import CASES


async def main() -> None:
    logging.disable()
    results = await run_suite(with_ours=True)
    print(f"{'client > server':28}" + "".join(f"{title:>22}" for title in results))
    for name in CASES:
        print(f"{name:28}" + "".join(f"{cells[name]:>22}" for cells in results.values()))
    passed = [sum(cell == "passed" for cell in cells.values()) for cells in results.values()]
    print(f"{'passed':28}" + "".join(f"{count:>22}" for count in passed))


if __name__ == "__main__":
    trio.run(main)
