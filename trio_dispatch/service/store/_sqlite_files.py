"""The files of a store in SQLite: connections, the lock beside the database, copies."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import stat
import tempfile
from pathlib import Path

import sqlalchemy as sa

from ..errors import StoreError

__all__ = [
    "check_replaceable",
    "copy_database",
    "ensure_file",
    "lock",
    "make_engine",
    "raw_connection",
    "unlock",
]

log = logging.getLogger("trio_dispatch.service.store")


def make_engine(path: Path, busy_timeout: float, *, connections: int) -> sa.Engine:
    """Return an engine for a file; its execution option ``begin`` replaces `BEGIN`."""
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=os.fspath(path)),
        connect_args={"timeout": busy_timeout, "check_same_thread": False},
        poolclass=sa.QueuePool,
        pool_size=connections,
        max_overflow=0,
    )

    @sa.event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _: object) -> None:
        # The driver must not begin transactions by itself: writing ones have to lock at once.
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def began(connection: sa.Connection) -> None:
        begin = connection.get_execution_options().get("begin", "BEGIN")
        connection.exec_driver_sql(begin)

    return engine


def raw_connection(connection: sa.Connection) -> sqlite3.Connection:
    """Return the driver's connection."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def ensure_file(path: Path) -> None:
    """Create the file of a database unless it exists, so that only its owner can read it.

    SQLite gives its log the same mode.

    Raises:
      StoreError: the file cannot be created, or cannot be written.
    """
    if not path.parent.is_dir():
        raise StoreError(f"{path} cannot be created: its directory does not exist")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreError(f"{path} cannot be opened for writing: {exc.strerror}") from exc
    try:
        mode = os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)
    if mode & stat.S_IROTH:
        log.warning("%s can be read by everyone: change its mode to 600", path)


def lock(path: Path) -> int:
    """Lock a file beside the database, so that no second service writes to the database.

    SQLite would let both write, but the watchers of each would miss the changes of the other.

    Raises:
      StoreError: another service holds the lock, or the file cannot be created.
    """
    name = _lock_name(path)
    while True:
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StoreError(f"{name} cannot be created: {exc.strerror}") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The service that held the lock may have removed the file in the meantime.
            if os.path.samestat(os.fstat(descriptor), name.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise StoreError(f"{path} is in use: another service has it open") from None
        except FileNotFoundError:
            pass
        os.close(descriptor)


def unlock(path: Path, descriptor: int) -> None:
    """Release the lock; the database must be closed."""
    _lock_name(path).unlink(missing_ok=True)
    os.close(descriptor)


def _lock_name(path: Path) -> Path:
    real = path.resolve()  # Links to one file share its lock.
    return real.with_name(f"{real.name}-lock")


def copy_database(source: sqlite3.Connection, path: Path, *, force: bool = False) -> None:
    """Copy a database to a new file, which appears when it is complete and synced.

    Args:
      force: Replace an existing file.

    Raises:
      FileExistsError: the file exists.
      StoreError: the file cannot be written.
    """
    check_replaceable(path, force=force)
    part: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".part")
        part = Path(name)
        try:
            _write_copy(source, part)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        check_replaceable(path, force=force)
        part.rename(path)
        part = None
        _sync_directory(path.parent)
    except FileExistsError:
        raise
    except (OSError, sqlite3.Error) as exc:
        raise StoreError(f"{path} cannot be written: {exc}") from exc
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _write_copy(source: sqlite3.Connection, path: Path) -> None:
    copy = sqlite3.connect(path)
    try:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        found = copy.execute("PRAGMA integrity_check(1)").fetchone()
    finally:
        copy.close()
    if found != ("ok",):
        raise sqlite3.DatabaseError(f"the copy is damaged: {found[0]}")


def check_replaceable(path: Path, *, force: bool) -> None:
    """Check that a copy may be written to a path.

    Raises:
      FileExistsError: the path is a directory, or a file that is not to be replaced.
    """
    if path.is_dir():
        raise FileExistsError(f"{path} is a directory: give the path of a file")
    if not force and path.exists():
        raise FileExistsError(f"{path} exists; a backup does not replace a file without force")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
