"""The files of a store in SQLite: connections, the lock beside the database, copies."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
from pathlib import Path

import sqlalchemy as sa

from .errors import StoreError

__all__ = ["copy_database", "lock", "make_engine", "refuse_to_replace", "unlock"]


def make_engine(path: Path, busy_timeout: float, *, connections: int) -> sa.Engine:
    """An engine for a file; `BEGIN IMMEDIATE` is an execution option, ``begin``."""
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=os.fspath(path)),
        connect_args={"timeout": busy_timeout, "check_same_thread": False},
        poolclass=sa.QueuePool,
        pool_size=connections,
        max_overflow=0,
    )

    @sa.event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _: object) -> None:
        # The driver begins no transactions of its own accord: some of ours must lock at once.
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def began(connection: sa.Connection) -> None:
        begin = connection.get_execution_options().get("begin", "BEGIN")
        connection.exec_driver_sql(begin)

    return engine


def lock(path: Path) -> int:
    """Lock a file beside the database, so that no second service writes to it.

    SQLite would let both write, but the watchers of each would miss what the other one does.

    Raises:
      StoreError: another service has the lock, or the file cannot be made.
    """
    name = _lock_name(path)
    while True:
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StoreError(f"{path} cannot be opened: {exc}") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one who had it may have removed it in the meantime.
            if os.path.samestat(os.fstat(descriptor), name.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise StoreError(f"{path} is in use: another service has it open") from None
        except FileNotFoundError:
            pass
        os.close(descriptor)


def unlock(path: Path, descriptor: int) -> None:
    """Give the lock back; the database must have been closed."""
    _lock_name(path).unlink(missing_ok=True)
    os.close(descriptor)


def _lock_name(path: Path) -> Path:
    real = path.resolve()  # whatever links lead to it
    return real.with_name(f"{real.name}-lock")


def copy_database(source: sqlite3.Connection, path: Path, *, force: bool = False) -> None:
    """Copy a database into a new file, which appears when it is complete and on the disk.

    Args:
      force: Replace a file of this name.

    Raises:
      FileExistsError: there is a file of this name.
      StoreError: it cannot be written.
    """
    refuse_to_replace(path, force=force)
    part: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".part")
        part = Path(name)
        try:
            _write_copy(source, part)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        refuse_to_replace(path, force=force)
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


def refuse_to_replace(path: Path, *, force: bool) -> None:
    """
    Raises:
      FileExistsError: there is something of this name, and it is not to be replaced.
    """
    if path.is_dir():
        raise FileExistsError(f"{path} is a directory: name the file for the backup")
    if not force and path.exists():
        raise FileExistsError(f"{path} exists; a backup does not replace a file without force")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
