"""The service as a process: keys, signals, logs, metrics, health, backups."""

# ruff: noqa: ASYNC105, ASYNC110, ASYNC240 - small files, and nothing else wants to run meanwhile

from __future__ import annotations

import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.interop.peers import run, within
from tests.helpers.interop.service_runner import COMMAND, RunningService, run_service
from tests.helpers.services import DispatchServiceStub
from trio_dispatch import DispatchClient, ServiceError, StreamEvent, TargetIds, open_client
from trio_dispatch.grpc import GRPCError, Status, open_channel
from trio_dispatch.grpc._generated.grpc.health.v1 import HealthCheckRequest, HealthStub
from trio_dispatch.grpc.health import ServingStatus
from trio_dispatch.service import open_store

KEY, SECRET = "the-key-of-the-site", "the-secret-of-the-site"


def write_keys(path: Path, *tables: str) -> None:
    path.write_text("".join(f"[[keys]]\n{table}\n" for table in tables))
    path.chmod(0o600)


ALL = f'name = "all"\nkey = "{KEY}"\nsecret = "{SECRET}"'
READER = 'name = "reader"\nkey = "read-key"\nrights = ["read"]\nmicrogrids = [1]'


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    write_keys(path, ALL, READER)
    return path


async def create(client: DispatchClient, microgrid_id: int = 1, **changes: Any) -> int:
    start = datetime.now(UTC) + timedelta(hours=1)
    fields = {"type": "CHARGE", "start_time": start, "duration": None, "target": TargetIds(1)}
    return (await client.create(microgrid_id, **{**fields, **changes})).id


async def status_of(call: Any) -> Status:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value.status


class Watching:
    """The events of a stream, and its end."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self.ended = trio.Event()


@asynccontextmanager
async def watching(client: DispatchClient) -> AsyncIterator[Watching]:
    """Watch a microgrid."""
    seen = Watching()

    async def read() -> None:
        async for event in events:
            seen.events.append(event)
        seen.ended.set()

    async with client.stream(1) as events, trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await events.started.wait()
        yield seen
        nursery.cancel_scope.cancel()


@within(60)
async def test_sighup_reloads_the_keys(tmp_path: Path, keys: Path) -> None:
    log = tmp_path / "log"
    async with (
        run_service(log, "--keys", keys, "--db", tmp_path / "x.db") as service,
        open_client(service.url, key=KEY, sign_secret=SECRET) as owner,
        open_client(service.url, key="read-key") as reader,
        open_client(service.url, key="new-key") as newcomer,
    ):
        id_ = await create(owner)
        assert (await reader.get(1, id_)).id == id_
        assert await status_of(create(reader)) is Status.PERMISSION_DENIED
        assert await status_of(reader.get(2, id_)) is Status.PERMISSION_DENIED
        assert await status_of(newcomer.get(1, id_)) is Status.UNAUTHENTICATED

        keys.write_text(f'[[keys]]\nkey = "{SECRET}"\nwrong = 1')
        service.process.send_signal(signal.SIGHUP)
        told = await service.logged("are kept")
        assert told["level"] == "error"
        assert (await reader.get(1, id_)).id == id_

        async with watching(reader) as seen:
            write_keys(keys, ALL, 'key = "new-key"')
            service.process.send_signal(signal.SIGHUP)
            await service.logged("loaded keys and certificate")
            # Watchers must connect again, with a key that is valid now.
            await seen.ended.wait()
        assert await status_of(reader.get(1, id_)) is Status.UNAUTHENTICATED
        assert (await newcomer.get(1, id_)).id == id_
        assert (await owner.get(1, id_)).id == id_
        await service.stop()
    for hidden in (KEY, SECRET, "read-key", "new-key"):
        assert hidden not in log.read_text()


@within(60)
async def test_a_signature_is_refused_after_a_restart(tmp_path: Path, keys: Path) -> None:
    """Nonces are forgotten at a restart, and still a used signature is refused."""
    from trio_dispatch.api import wire
    from trio_dispatch.api.signing import request_metadata

    # Signed ahead of the service's clock, so the time of the restart does not tell its age.
    ahead = datetime.now(UTC) + timedelta(seconds=200)
    request = wire.DeleteMicrogridDispatchRequest(microgrid_id=1, dispatch_id=1)
    replayed = request_metadata(KEY, SECRET, "DeleteMicrogridDispatch", ahead)
    db = tmp_path / "x.db"
    for status in (Status.NOT_FOUND, Status.UNAUTHENTICATED):
        async with (
            run_service(tmp_path / "log", "--keys", keys, "--db", db) as service,
            open_channel(service.url) as channel,
        ):
            stub = DispatchServiceStub(channel)
            with pytest.raises(GRPCError) as caught:
                await stub.delete_microgrid_dispatch(request, metadata=replayed)
            assert caught.value.status is status
            later = request_metadata(
                KEY, SECRET, "DeleteMicrogridDispatch", ahead + timedelta(seconds=1)
            )
            if status is Status.UNAUTHENTICATED:
                with pytest.raises(GRPCError) as caught:
                    await stub.delete_microgrid_dispatch(request, metadata=later)
                assert caught.value.status is Status.NOT_FOUND
            await service.kill()


@within(60)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_service(tmp_path: Path, number: signal.Signals) -> None:
    """Streams end, health checks are told, and acknowledged writes are kept."""
    db = tmp_path / "x.db"
    async with (
        run_service(tmp_path / "log", "--key", KEY, "--db", db) as service,
        open_client(service.url, key=KEY) as client,
        open_channel(service.url) as channel,
        trio.open_nursery() as nursery,
    ):
        id_ = await create(client)
        health: list[ServingStatus] = []

        async def watch_health(task_status: trio.TaskStatus[None]) -> None:
            async for response in HealthStub(channel).watch(
                HealthCheckRequest("frequenz.api.dispatch.v1.MicrogridDispatchService")
            ):
                if not health:
                    task_status.started()
                health.append(response.status)

        async with watching(client) as seen:
            await nursery.start(watch_health)
            assert (await HealthStub(channel).check(HealthCheckRequest())).status == 1
            service.process.send_signal(number)
            await seen.ended.wait()
        assert await service.ended() == 0
        assert health == [ServingStatus.SERVING, ServingStatus.NOT_SERVING]
        assert service.log_lines()[-1]["message"] == "the service has stopped"
    async with open_store(db) as store:
        assert (await store.get(1, id_)).id == id_


@within(60)
async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with run_service(tmp_path / "log", "--key", KEY) as service:
        host, port = service.url.removeprefix("grpc://").split("?")[0].split(":")
        # A client that makes a call, sends nothing more, and ignores the GOAWAY.
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(_unfinished_call(KEY))
            await stream.receive_some()
            await trio.sleep(0.2)
            service.process.send_signal(signal.SIGTERM)
            await service.logged("a second signal ends them")
            with trio.move_on_after(0.5):
                await service.process.wait()
            assert service.process.returncode is None
            service.process.send_signal(signal.SIGINT)
            assert await service.ended() == 128 + signal.SIGINT


def _unfinished_call(key: str) -> bytes:
    """Return the HTTP/2 bytes of a request that does not end."""
    import h2.connection

    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    path = "/frequenz.api.dispatch.v1.MicrogridDispatchService/GetMicrogridDispatch"
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x"}
    more = {"te": "trailers", "content-type": "application/grpc", "key": key}
    connection.send_headers(1, [*fields.items(), *more.items()])
    return connection.data_to_send()


async def metrics_of(address: str) -> dict[str, float]:
    """Return the samples that Prometheus would read, by name and labels."""
    host, _, port = address.partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(b"GET /metrics HTTP/1.0\r\n\r\n")
        page = b"".join([bytes(some) async for some in stream]).partition(b"\r\n\r\n")[2]
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


@within(60)
async def test_metrics_and_logs_report_calls(tmp_path: Path) -> None:
    options = ("--key", KEY, "--db", tmp_path / "x.db", "--metrics", "127.0.0.1:0", "-v")
    async with (
        run_service(tmp_path / "log", *options) as service,
        open_client(service.url, key=KEY) as client,
        open_client(service.url, key="wrong") as stranger,
    ):
        line = await service.logged("has started")
        assert line["message"] == f"trio-dispatch {version('trio-dispatch')} has started"
        assert (line["store"], line["keys"]) == (str(tmp_path / "x.db"), 1)
        assert line["serving"] == service.url
        line = await service.logged("metrics are at")
        address = line["message"].split("//")[1].partition("/")[0]
        async with watching(client) as seen:
            for number in range(1, 4):
                await create(client)
                while len(seen.events) < number:
                    await trio.sleep(0.01)
            assert await status_of(create(client, type="")) is Status.INVALID_ARGUMENT
            assert await status_of(stranger.get(1, 1)) is Status.UNAUTHENTICATED
            found = await metrics_of(address)
            assert found["dispatch_watchers"] == 1
        expected = {
            "dispatch_calls_total CreateMicrogridDispatch OK": 3,
            "dispatch_calls_total CreateMicrogridDispatch INVALID_ARGUMENT": 1,
            "dispatch_calls_total GetMicrogridDispatch UNAUTHENTICATED": 1,
            "dispatch_call_seconds_count CreateMicrogridDispatch": 4,
            "dispatch_store_commit_seconds_count": 3,
            "dispatch_store_commit_calls_sum": 3,
            "dispatch_changes_total": 3,
            "dispatch_events_total": 3,
            "dispatch_watchers_disconnected_total": 0,
            "dispatch_connections": 2,
        }
        assert {name: found[name] for name in expected} == expected
        # The client must end the stream before the service does.
        await service.logged("StreamMicrogridDispatches")
        await service.stop()
    lines = [line for line in service.log_lines() if line["logger"].endswith(".calls")]
    told = {(line["message"], line["level"], line.get("caller")) for line in lines}
    assert told == {
        ("CreateMicrogridDispatch OK", "info", "key 1"),
        ("CreateMicrogridDispatch INVALID_ARGUMENT", "info", "key 1"),
        ("GetMicrogridDispatch UNAUTHENTICATED", "debug", None),
        ("StreamMicrogridDispatches CANCELLED", "debug", "key 1"),
    }
    for line in lines:
        assert line["method"].startswith("frequenz.api.dispatch.v1.MicrogridDispatchService/")
        assert line["peer"].startswith("127.0.0.1:")
        assert 0 <= line["duration"] < 60
    assert KEY not in service.log()
    assert "wrong" not in service.log()


@within(60)
async def test_backup_of_a_running_service(tmp_path: Path) -> None:
    db, copies = tmp_path / "x.db", [tmp_path / f"copy-{number}.db" for number in range(2)]
    async with (
        run_service(tmp_path / "log", "--key", KEY, "--db", db) as service,
        open_client(service.url, key=KEY) as client,
        trio.open_nursery() as nursery,
    ):
        made: list[int] = []

        async def write() -> None:
            while True:
                made.append(await create(client))

        for _ in range(5):
            nursery.start_soon(write)
        known = []
        for copy in copies:
            before = [*made]
            done = await run(COMMAND, "backup", "--db", db, copy)
            assert (done.returncode, done.stderr) == (0, "")
            known.append(before)
        nursery.cancel_scope.cancel()
    for copy, before in zip(copies, known, strict=True):
        with closing(sqlite3.connect(copy)) as connection, connection:
            there = [row[0] for row in connection.execute("SELECT id FROM dispatches ORDER BY id")]
            (last,) = connection.execute("SELECT last_id FROM counters").fetchone()
        connection.close()
        # The copy has all changes up to one moment, and none after it.
        assert there == [*range(1, last + 1)]
        assert set(before) <= set(there)
    async with (
        run_service(tmp_path / "log", "--key", KEY, "--db", copies[-1]) as again,
        open_client(again.url, key=KEY) as client,
    ):
        assert await create(client) == last + 1


@within(60)
async def test_a_second_service_on_a_file_is_refused(tmp_path: Path) -> None:
    db = tmp_path / "x.db"
    async with run_service(tmp_path / "log", "--db", db) as first:
        done = await run(COMMAND, "serve", "--listen", "127.0.0.1:0", "--db", db)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            f"Error: {db} is in use: another service has it open"
        )
        async with open_client(first.url, key="any") as client:
            await create(client)


@within(60)
async def test_several_addresses_and_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "service.sock"
    listen = (f"unix:{path}", "127.0.0.1:0", "[::1]:0")
    async with run_service(tmp_path / "log", listen=listen) as service:
        found = await service.read_until(r"(?s)(\S+\[::1\]\S+)\s")
        for url in (service.url, found[1]):
            async with open_client(url, key="any") as client:
                await create(client)
        async with (
            open_channel(lambda: trio.open_unix_socket(path)) as channel,
            open_client(channel=channel, key="any") as client,
        ):
            assert (await client.get(1, 2)).id == 2
        await service.stop()
    assert not path.exists()


class Certificates:
    """A certificate authority, and files with its certificates."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self.ca = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(self.ca)
        self.cert, self.key = self.issue(directory, "service")

    def issue(self, directory: Path, name: str) -> tuple[Path, Path]:
        issued = self._ca.issue_cert("localhost", "127.0.0.1")
        cert, key = directory / f"{name}.pem", directory / f"{name}.key"
        cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return cert, key


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def url_with(service: RunningService, **parameters: Path) -> str:
    query = "&".join(f"ssl_{name}_path={path}" for name, path in parameters.items())
    return f"{service.url}?{query}"


@within(60)
async def test_tls(tmp_path: Path, keys: Path, certificates: Certificates) -> None:
    tls = ("--tls-cert", certificates.cert, "--tls-key", certificates.key)
    async with run_service(tmp_path / "log", "--keys", keys, *tls) as service:
        url = url_with(service, root_certificates=certificates.ca)
        async with open_client(url, key=KEY, sign_secret=SECRET) as client:
            assert await create(client) == 1
        for wrong in (f"{service.url}?ssl=false", service.url):
            async with open_client(
                wrong, key=KEY, sign_secret=SECRET, call_timeout=timedelta(seconds=5)
            ) as client:
                assert await status_of(client.get(1, 1)) is Status.UNAVAILABLE

        # The next connection gets the new certificate.
        before = certificates.cert.read_bytes()
        for path, new in zip(tls[1::2], certificates.issue(tmp_path, "new"), strict=True):
            Path(path).write_bytes(new.read_bytes())
        service.process.send_signal(signal.SIGHUP)
        await service.logged("loaded keys and certificate")
        assert await shown_certificate(service) not in before
        assert await shown_certificate(service) in certificates.cert.read_bytes()
        certificates.key.write_text("none")
        service.process.send_signal(signal.SIGHUP)
        await service.logged("are kept")
        assert await shown_certificate(service) in certificates.cert.read_bytes()


async def shown_certificate(service: RunningService) -> bytes:
    """Return the certificate that a service shows, in PEM."""
    import ssl

    host, port = service.url.removeprefix("grpc://").split(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with await trio.open_ssl_over_tcp_stream(
        host, int(port), ssl_context=context, https_compatible=True
    ) as stream:
        await stream.do_handshake()
        shown = stream.getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(shown).strip().encode()


@within(60)
async def test_mutual_tls(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "other").mkdir()
    stranger = Certificates(tmp_path / "other")
    mine = certificates.issue(tmp_path, "client")
    tls = ("--tls-cert", certificates.cert, "--tls-key", certificates.key)
    options = (*tls, "--tls-client-ca", certificates.ca)
    async with run_service(tmp_path / "log", "--key", KEY, *options) as service:
        for pair, status in ((mine, None), (stranger.issue(tmp_path, "x"), 14), (None, 14)):
            parameters = {"root_certificates": certificates.ca}
            if pair is not None:
                parameters |= {"certificate_chain": pair[0], "private_key": pair[1]}
            url = url_with(service, **parameters)
            async with open_client(url, key=KEY, call_timeout=timedelta(seconds=5)) as client:
                if status is None:
                    assert await create(client) == 1
                else:
                    assert (await status_of(client.get(1, 1))).value == status


def test_errors_do_not_show_keys(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "serve", "--listen", "127.0.0.1:0", "--db", tmp_path, "--key", KEY],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode != 0
    assert KEY not in done.stdout + done.stderr
