"""The shortcuts for plain sockets."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
import trio.testing

from trio_dispatch.grpc._transport import Transport


def pair() -> tuple[Transport, socket.socket]:
    """A transport on a plain socket, and the other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return Transport(trio.SocketStream(trio.socket.from_stdlib_socket(ours))), theirs


async def test_what_has_come_is_received_until_the_end() -> None:
    transport, peer = pair()
    async with transport.stream:
        peer.send(b"abc")
        assert await transport.receive() == b"abc"
        peer.close()
        assert await transport.receive() == b""


async def test_waiting_can_be_cancelled_and_repeated() -> None:
    transport, peer = pair()
    async with transport.stream:
        with trio.move_on_after(0) as scope:
            await transport.receive()
        assert scope.cancelled_caught
        peer.send(b"abc")
        assert await transport.receive() == b"abc"
        peer.close()


async def test_a_closed_socket_cannot_be_read() -> None:
    transport, peer = pair()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await transport.receive()

        await trio.testing.wait_all_tasks_blocked()
        await transport.stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await transport.receive()
    assert transport.send_now(b"x") == 0
    peer.close()


async def test_a_reset_connection_is_broken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
        peer, _ = listener.accept()
    async with stream:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with pytest.raises(trio.BrokenResourceError, match="reset"):
            await Transport(stream).receive()


async def test_a_socket_takes_no_more_than_its_buffer_holds() -> None:
    transport, peer = pair()
    async with transport.stream:
        sent = transport.send_now(bytes(10_000_000))
        assert 0 < sent < 10_000_000
        assert transport.send_now(b"x") == 0
        peer.close()


async def test_other_streams_are_read_and_never_written_at_once() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    transport = Transport(ours)
    await theirs.send_all(b"abc")
    assert await transport.receive() == b"abc"
    assert transport.send_now(b"x") == 0
