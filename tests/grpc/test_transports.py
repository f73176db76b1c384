"""TCP, TLS and unix sockets."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from tests.helpers.garbage import counting_garbage
from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.greeting import Greeter
from trio_dispatch.grpc import GRPCError, Server, Status, current_call, open_channel


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def roots(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "roots.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


async def hello(url: str, **options: object) -> str:
    async with open_channel(url, **options) as channel:  # type: ignore[arg-type]
        return (await GreeterStub(channel).say_hello(HelloRequest(name="x"))).message


async def start(nursery: trio.Nursery, context: ssl.SSLContext | None = None) -> int:
    server = Server([Greeter()])
    serve = partial(server.serve_tcp, 0, host="127.0.0.1", ssl_context=context)
    ((host, port),) = await nursery.start(serve)
    assert host == "127.0.0.1"
    return int(port)


async def test_tcp(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    peers: list[Any] = []

    class Nosy(Greeter):
        async def say_hello(self, message: HelloRequest) -> HelloReply:
            peers.append(current_call().peer)
            return await super().say_hello(message)

    server = Server([Nosy()])
    ((_, port),) = await nursery.start(partial(server.serve_tcp, 0, host="127.0.0.1"))
    async with open_channel(f"grpc://127.0.0.1:{port}?ssl=false") as channel:
        await GreeterStub(channel).say_hello(HelloRequest(name="x"))
        (connection,) = channel._pool.connections
        ours = connection._transport.stream
        assert isinstance(ours, trio.SocketStream)
        assert ours.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert peers[0].addr() == ours.socket.getsockname()
        assert peers[0].cert() is None
        (served,) = server._connections
        assert isinstance(served._transport.stream, trio.SocketStream)
        assert served._transport.stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_stopped_server_returns(nursery: trio.Nursery) -> None:
    server = Server([Greeter()])
    async with trio.open_nursery() as serving:
        serve = partial(server.serve_tcp, 0, host="127.0.0.1")
        ((_, port),) = await serving.start(serve)
        await hello(f"grpc://127.0.0.1:{port}?ssl=false")
        server.stop()
    with pytest.raises(GRPCError, match=f"127\\.0\\.0\\.1:{port}") as caught:
        await hello(f"grpc://127.0.0.1:{port}?ssl=false")
    assert caught.value.status is Status.UNAVAILABLE
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_port_in_use(nursery: trio.Nursery) -> None:
    port = await start(nursery)
    with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        await Server([Greeter()]).serve_tcp(port, host="127.0.0.1")


async def test_unix(nursery: trio.Nursery, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    server = Server([Greeter()])
    async with trio.open_nursery() as serving:
        assert await serving.start(server.serve_unix, path) == path
        async with open_channel(partial(trio.open_unix_socket, path)) as channel:
            reply = await GreeterStub(channel).say_hello(HelloRequest(name="x"))
            assert reply.message == "Hello x"
        with pytest.raises(OSError, match="another server"):
            await Server([Greeter()]).serve_unix(path)
        server.stop()
    assert not path.exists()
    path.write_text("not a socket")
    with pytest.raises(OSError, match="not a socket"):
        await Server([Greeter()]).serve_unix(path)
    assert path.exists()


async def test_tls_by_url(
    nursery: trio.Nursery, server_context: ssl.SSLContext, roots: Path
) -> None:
    port = await start(nursery, server_context)
    for host in ("localhost", "127.0.0.1"):
        url = f"grpc://{host}:{port}?ssl_root_certificates_path={roots}"
        assert await hello(url) == "Hello x"


async def test_tls_by_context(
    nursery: trio.Nursery, server_context: ssl.SSLContext, authority: trustme.CA
) -> None:
    port = await start(nursery, server_context)
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    authority.configure_trust(context)
    assert await hello(f"grpc://127.0.0.1:{port}", ssl_context=context) == "Hello x"
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    with pytest.raises(ValueError, match="ssl=false"):
        await hello(f"grpc://127.0.0.1:{port}?ssl=false", ssl_context=context)


async def test_tls_connections_are_freed_when_they_end(
    nursery: trio.Nursery, server_context: ssl.SSLContext, authority: trustme.CA
) -> None:
    port = await start(nursery, server_context)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    await hello(f"grpc://127.0.0.1:{port}", ssl_context=context)
    with counting_garbage("ssl") as garbage:
        await hello(f"grpc://127.0.0.1:{port}", ssl_context=context)
        with pytest.raises(GRPCError):  # A handshake that fails.
            await hello(f"grpc://127.0.0.1:{port}?ssl=false")
        await trio.testing.wait_all_tasks_blocked(cushion=0.05)
    assert not garbage


async def test_a_certificate_that_does_not_verify(
    nursery: trio.Nursery, server_context: ssl.SSLContext, roots: Path
) -> None:
    port = await start(nursery, server_context)
    with pytest.raises(GRPCError, match=r"certificate of localhost:.* does not verify") as caught:
        await hello(f"grpc://localhost:{port}")
    assert caught.value.status is Status.UNAVAILABLE
    cause = caught.value.__cause__
    assert isinstance(cause, ConnectionError)
    assert isinstance(cause.__cause__, ssl.SSLCertVerificationError)
    with pytest.raises(GRPCError, match=r"does not verify.*[Hh]ostname mismatch"):
        await hello(
            f"grpc://localhost:{port}?ssl_root_certificates_path={roots}", authority="other"
        )


async def test_a_server_without_http2(
    nursery: trio.Nursery, server_context: ssl.SSLContext, roots: Path
) -> None:
    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.do_handshake()
            await stream.receive_some()
        except trio.BrokenResourceError:
            pass

    serve = partial(trio.serve_ssl_over_tcp, handler, 0, server_context, host="127.0.0.1")
    listeners = await nursery.start(serve)
    port = listeners[0].transport_listener.socket.getsockname()[1]
    url = f"grpc://localhost:{port}?ssl_root_certificates_path={roots}"
    with pytest.raises(GRPCError, match=r"ALPN.*chose nothing, not 'h2'"):
        await hello(url)
    server_context.set_alpn_protocols(["http/1.1"])
    with pytest.raises(GRPCError, match=r"ALPN|alert"):
        await hello(url)


async def test_tls_to_a_server_without_tls(nursery: trio.Nursery) -> None:
    port = await start(nursery)
    with pytest.raises(GRPCError, match=r"does not speak TLS|handshake"):
        await hello(f"grpc://127.0.0.1:{port}")


async def test_plain_text_to_a_server_with_tls(
    nursery: trio.Nursery, server_context: ssl.SSLContext
) -> None:
    port = await start(nursery, server_context)
    with pytest.raises(GRPCError) as caught:
        await hello(f"grpc://127.0.0.1:{port}?ssl=false")
    assert caught.value.status is Status.UNAVAILABLE


async def test_client_certificates(
    nursery: trio.Nursery, authority: trustme.CA, roots: Path, tmp_path: Path
) -> None:
    certs: list[Any] = []

    class Nosy(Greeter):
        async def say_hello(self, message: HelloRequest) -> HelloReply:
            certs.append(current_call().peer.cert())
            return await super().say_hello(message)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    server = Server([Nosy()])
    serve = partial(server.serve_tcp, 0, host="127.0.0.1", ssl_context=context)
    ((_, port),) = await nursery.start(serve)
    cert = authority.issue_cert("client@example.org")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    cert.private_key_pem.write_to_path(key)
    for pem in cert.cert_chain_pems:
        pem.write_to_path(chain, append=True)
    url = f"grpc://localhost:{port}?ssl_root_certificates_path={roots}"
    own = f"&ssl_private_key_path={key}&ssl_certificate_chain_path={chain}"
    assert await hello(url + own) == "Hello x"
    assert ("email", "client@example.org") in certs[0]["subjectAltName"]
    with pytest.raises(GRPCError):
        await hello(url)


async def test_unreadable_certificates(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nonsense")
    for path in (bad, tmp_path / "missing.pem"):
        with pytest.raises(ValueError, match=f"root certificates in {path}"):
            await hello(f"grpc://localhost?ssl_root_certificates_path={path}")
