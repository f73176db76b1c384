# ruff: noqa
# What betterproto2 makes of greeter.proto, with a message pool of its own.

__all__ = ("GreeterBase", "GreeterStub", "HelloReply", "HelloRequest")

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import betterproto2
import grpclib
from betterproto2 import grpclib as betterproto2_grpclib

default_message_pool = betterproto2.MessagePool()

if TYPE_CHECKING:
    import grpclib.server
    from betterproto2.grpclib.grpclib_client import MetadataLike
    from grpclib.metadata import Deadline

_COMPILER_VERSION = "0.10.1"
betterproto2.check_compiler_version(_COMPILER_VERSION)


@dataclass(eq=False, repr=False)
class HelloReply(betterproto2.Message):
    message: "str" = betterproto2.field(1, betterproto2.TYPE_STRING)


default_message_pool.register_message("greeter.v1", "HelloReply", HelloReply)


@dataclass(eq=False, repr=False)
class HelloRequest(betterproto2.Message):
    name: "str" = betterproto2.field(1, betterproto2.TYPE_STRING)


default_message_pool.register_message("greeter.v1", "HelloRequest", HelloRequest)


class GreeterStub(betterproto2_grpclib.ServiceStub):
    """
    Greets.
    """

    async def say_hello(
        self,
        message: "HelloRequest",
        *,
        timeout: "float | None" = None,
        deadline: "Deadline | None" = None,
        metadata: "MetadataLike | None" = None,
    ) -> "HelloReply":

        return await self._unary_unary(
            "/greeter.v1.Greeter/SayHello",
            message,
            HelloReply,
            timeout=timeout,
            deadline=deadline,
            metadata=metadata,
        )

    async def say_hellos(
        self,
        message: "HelloRequest",
        *,
        timeout: "float | None" = None,
        deadline: "Deadline | None" = None,
        metadata: "MetadataLike | None" = None,
    ) -> "AsyncIterator[HelloReply]":

        async for response in self._unary_stream(
            "/greeter.v1.Greeter/SayHellos",
            message,
            HelloReply,
            timeout=timeout,
            deadline=deadline,
            metadata=metadata,
        ):
            yield response

    async def greet_all(
        self,
        messages: "AsyncIterable[HelloRequest] | Iterable[HelloRequest]",
        *,
        timeout: "float | None" = None,
        deadline: "Deadline | None" = None,
        metadata: "MetadataLike | None" = None,
    ) -> "HelloReply":

        return await self._stream_unary(
            "/greeter.v1.Greeter/GreetAll",
            messages,
            HelloRequest,
            HelloReply,
            timeout=timeout,
            deadline=deadline,
            metadata=metadata,
        )

    async def chat(
        self,
        messages: "AsyncIterable[HelloRequest] | Iterable[HelloRequest]",
        *,
        timeout: "float | None" = None,
        deadline: "Deadline | None" = None,
        metadata: "MetadataLike | None" = None,
    ) -> "AsyncIterator[HelloReply]":

        async for response in self._stream_stream(
            "/greeter.v1.Greeter/Chat",
            messages,
            HelloRequest,
            HelloReply,
            timeout=timeout,
            deadline=deadline,
            metadata=metadata,
        ):
            yield response


class GreeterBase(betterproto2_grpclib.ServiceBase):
    """
    Greets.
    """

    async def say_hello(self, message: "HelloRequest") -> "HelloReply":

        raise grpclib.GRPCError(grpclib.const.Status.UNIMPLEMENTED)

    async def say_hellos(self, message: "HelloRequest") -> "AsyncIterator[HelloReply]":

        raise grpclib.GRPCError(grpclib.const.Status.UNIMPLEMENTED)
        yield HelloReply()

    async def greet_all(self, messages: "AsyncIterator[HelloRequest]") -> "HelloReply":

        raise grpclib.GRPCError(grpclib.const.Status.UNIMPLEMENTED)

    async def chat(self, messages: "AsyncIterator[HelloRequest]") -> "AsyncIterator[HelloReply]":

        raise grpclib.GRPCError(grpclib.const.Status.UNIMPLEMENTED)
        yield HelloReply()

    async def __rpc_say_hello(
        self, stream: "grpclib.server.Stream[HelloRequest, HelloReply]"
    ) -> None:
        request = await stream.recv_message()
        assert request is not None
        response = await self.say_hello(request)
        await stream.send_message(response)

    async def __rpc_say_hellos(
        self, stream: "grpclib.server.Stream[HelloRequest, HelloReply]"
    ) -> None:
        request = await stream.recv_message()
        assert request is not None
        await self._call_rpc_handler_server_stream(
            self.say_hellos,
            stream,
            request,
        )

    async def __rpc_greet_all(
        self, stream: "grpclib.server.Stream[HelloRequest, HelloReply]"
    ) -> None:
        request = stream.__aiter__()
        response = await self.greet_all(request)
        await stream.send_message(response)

    async def __rpc_chat(self, stream: "grpclib.server.Stream[HelloRequest, HelloReply]") -> None:
        request = stream.__aiter__()
        await self._call_rpc_handler_server_stream(
            self.chat,
            stream,
            request,
        )

    def __mapping__(self) -> "dict[str, grpclib.const.Handler]":
        return {
            "/greeter.v1.Greeter/SayHello": grpclib.const.Handler(
                self.__rpc_say_hello,
                grpclib.const.Cardinality.UNARY_UNARY,
                HelloRequest,
                HelloReply,
            ),
            "/greeter.v1.Greeter/SayHellos": grpclib.const.Handler(
                self.__rpc_say_hellos,
                grpclib.const.Cardinality.UNARY_STREAM,
                HelloRequest,
                HelloReply,
            ),
            "/greeter.v1.Greeter/GreetAll": grpclib.const.Handler(
                self.__rpc_greet_all,
                grpclib.const.Cardinality.STREAM_UNARY,
                HelloRequest,
                HelloReply,
            ),
            "/greeter.v1.Greeter/Chat": grpclib.const.Handler(
                self.__rpc_chat,
                grpclib.const.Cardinality.STREAM_STREAM,
                HelloRequest,
                HelloReply,
            ),
        }
