"""Our reflection with the official client."""

from __future__ import annotations

import json
from functools import partial

import trio

from tests.helpers.interop.peers import PROGRAMS, interop_python, run, within
from trio_dispatch.grpc import Health
from trio_dispatch.service import Keys, open_service

KEY = "a-key"


@within(30)
async def test_the_dispatch_service() -> None:
    async with (
        open_service(keys=Keys.of(KEY), services=[Health()], reflection=True) as service,
        trio.open_nursery() as nursery,
    ):
        serve = partial(service.server.serve_tcp, 0, host="127.0.0.1")
        [(_, port)] = await nursery.start(serve)
        program = f"{PROGRAMS}.reflection_client"
        done = await run(interop_python(), "-m", program, str(port), KEY)
        refused = await run(interop_python(), "-m", program, str(port), "wrong")
        service.stop(grace=0)
    services = json.loads(done.stdout)
    assert services.keys() >= {
        "frequenz.api.dispatch.v1.MicrogridDispatchService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    methods = services["frequenz.api.dispatch.v1.MicrogridDispatchService"]
    assert methods["GetMicrogridDispatch"] == ["microgrid_id", "dispatch_id"]
    assert len(methods) == 6
    assert "UNAUTHENTICATED" in refused.stderr
