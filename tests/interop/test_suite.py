"""gRPC's interoperability tests, between ours and C-core, plain and with TLS."""

from __future__ import annotations

from tests.helpers.interop.interop_suite import run_suite
from tests.helpers.interop.peers import within


@within(60)
async def test_interoperability() -> None:
    results = await run_suite()
    failed = {
        (title, name): result
        for title, results_by_case in results.items()
        for name, result in results_by_case.items()
        if result not in {"passed", "not applicable"}
    }
    assert failed == {}
