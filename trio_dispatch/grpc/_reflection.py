"""The reflection service, `grpc.reflection.v1` and `v1alpha`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from importlib.resources import files
from itertools import chain
from typing import Any

from grpclib.const import Handler, Status

from ._descriptors import DescriptorPool, DescriptorSet, pools_of
from ._generated.grpc.reflection.v1 import (
    ErrorResponse,
    ExtensionNumberResponse,
    FileDescriptorResponse,
    ListServiceResponse,
    ServerReflectionBase,
    ServerReflectionRequest,
    ServerReflectionResponse,
    ServiceResponse,
)
from ._services import Method
from ._status import printable

# Names are short, and the service answers at once.
_MAX_REQUEST_SIZE = 4096


class Reflection(ServerReflectionBase):
    """Tells clients the services of a server and their definitions.

    Args:
      methods: Those of the server, by their full names.
      descriptor_sets: Definitions, each a `google.protobuf.FileDescriptorSet` in its binary form.

    Raises:
      ValueError: the definitions are invalid.
    """

    max_request_size = _MAX_REQUEST_SIZE

    def __init__(self, methods: Mapping[str, Method], descriptor_sets: Iterable[bytes]) -> None:
        self._methods = methods
        own = files(__package__).joinpath("_generated", "descriptors.bin").read_bytes()
        self._sets = [DescriptorSet(data) for data in (*descriptor_sets, own)]

    def __mapping__(self) -> dict[str, Handler]:
        # The messages of both versions are the same.
        methods = super().__mapping__()
        return methods | {
            name.replace(".v1.", ".v1alpha."): handler for name, handler in methods.items()
        }

    async def server_reflection_info(
        self, messages: AsyncIterator[ServerReflectionRequest]
    ) -> AsyncIterator[ServerReflectionResponse]:
        """Answer questions one by one."""
        async for message in messages:
            reply = self._answer(message)
            reply.valid_host = message.host
            reply.original_request = message
            yield reply

    def _answer(self, request: ServerReflectionRequest) -> ServerReflectionResponse:
        if request.list_services is not None:
            names = sorted({name.split("/")[1] for name in self._methods})
            services = [ServiceResponse(name=name) for name in names]
            return ServerReflectionResponse(
                list_services_response=ListServiceResponse(service=services)
            )
        found: list[bytes] | None = None
        what = "the question"
        for source in self._sources():
            if request.file_by_filename is not None:
                what = f"the file {printable(request.file_by_filename)}"
                found = source.file_named(request.file_by_filename)
            elif request.file_containing_symbol is not None:
                what = printable(request.file_containing_symbol)
                found = source.file_with(request.file_containing_symbol)
            elif request.file_containing_extension is not None:
                extension = request.file_containing_extension
                name, number = extension.containing_type, extension.extension_number
                what = f"the extension {number} of {printable(name)}"
                found = source.file_with_extension(name, number)
            elif request.all_extension_numbers_of_type is not None:
                name = request.all_extension_numbers_of_type
                what = printable(name)
                numbers = source.extensions_of(name)
                if numbers is not None:
                    return ServerReflectionResponse(
                        all_extension_numbers_response=ExtensionNumberResponse(
                            base_type_name=name, extension_number=numbers
                        )
                    )
            if found is not None:
                return ServerReflectionResponse(
                    file_descriptor_response=FileDescriptorResponse(file_descriptor_proto=found)
                )
        return ServerReflectionResponse(
            error_response=ErrorResponse(
                error_code=Status.NOT_FOUND.value, error_message=f"{what} is unknown"
            )
        )

    def _sources(self) -> Iterable[DescriptorSet | DescriptorPool]:
        handlers = [method.handler for method in self._methods.values()]
        types: Iterable[Any] = chain.from_iterable((h.request_type, h.reply_type) for h in handlers)
        return (*self._sets, *pools_of(types))
