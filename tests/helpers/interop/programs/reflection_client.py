"""The official reflection client: print the services of a server and their methods as JSON.

    python -m tests.helpers.interop.programs.reflection_client PORT [KEY]

It runs in the environment of the peers.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    proto_reflection_descriptor_database as reflection,
)


class WithKey(grpc.StreamStreamClientInterceptor):  # type: ignore[misc, unused-ignore]
    """Sends an API key with the requests."""

    def __init__(self, key: str) -> None:
        self.key = key

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return continuation(details._replace(metadata=[("key", self.key)]), requests)


def main(port: str, key: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as plain:
        channel = grpc.intercept_channel(plain, WithKey(key))
        database = reflection.ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        services = {}
        for name in database.get_services():
            service = pool.FindServiceByName(name)
            services[name] = {
                method.name: [field.name for field in method.input_type.fields]
                for method in service.methods
            }
        print(json.dumps(services))


if __name__ == "__main__":
    main(*sys.argv[1:])
