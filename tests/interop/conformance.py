"""Checks what RFC 9113 and RFC 7541 require, on our server and on C-core's, and prints a table.

python -m tests.interop.conformance
"""

from __future__ import annotations

import logging
from functools import partial

import trio

from tests.helpers.conformance.exchange import Verdict
from tests.helpers.conformance.table import CHECKS, table
from tests.helpers.interop.bytes_calls import Calls
from tests.helpers.interop.peers import start_script
from tests.helpers.interop.raw import RawCodec
from trio_dispatch.grpc import Server

CCORE_OPTIONS = {"grpc.max_concurrent_streams": 100}


async def check_all(port: int) -> list[tuple[Verdict, str]]:
    """Make each check on a connection of its own."""
    results = []
    for check in CHECKS:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        results.append(await check.run(stream))
        await trio.aclose_forcefully(stream)
    return results


async def main() -> None:
    logging.disable()
    server = Server([Calls()], codec=RawCodec())
    async with trio.open_nursery() as nursery, start_script("bytes_server") as ccore:
        [address] = await nursery.start(partial(server.serve_tcp, 0, host="127.0.0.1"))
        port = await ccore.ask("serve", options=CCORE_OPTIONS)
        print(
            table({"ours": await check_all(address[1]), "C-core": await check_all(port)}),
            flush=True,
        )
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
