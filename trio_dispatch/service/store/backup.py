"""Copy the database of a store, whether or not a service runs on it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from os import PathLike
from pathlib import Path
from urllib.parse import quote

from ..errors import StoreError

__all__ = ["backup_file"]


def backup_file(
    source: str | PathLike[str], target: str | PathLike[str], *, force: bool = False
) -> None:
    """Copy the database of a dispatch service as it is at one moment.

    A service that runs on it goes on meanwhile.  The copy is written under another name, checked,
    synced, and only then renamed.  This call blocks: from Trio, use
    `trio_dispatch.clock.run_in_thread`.

    Args:
      force: Replace an existing file.

    Raises:
      FileExistsError: the target exists.
      StoreError: the database cannot be read or does not belong to a dispatch service, or the copy
        cannot be written.
    """
    # SQLAlchemy is needed only for stores in files.
    from ._schema import APPLICATION_ID  # noqa: PLC0415
    from ._sqlite_files import check_replaceable, copy_database  # noqa: PLC0415

    path, copy = Path(source), Path(target)
    if not path.is_file():
        raise StoreError(f"there is no database {path}")
    check_replaceable(copy, force=force)
    if copy.exists() and copy.samefile(path):
        raise StoreError(f"{copy} is the database itself: choose another file for the copy")
    # Writable, so that SQLite can remove its log beside a database that nobody else has open.
    url = f"file:{quote(os.fspath(path.absolute()))}?mode=rw"
    try:
        with closing(sqlite3.connect(url, uri=True)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            if application != APPLICATION_ID:
                raise StoreError(f"{path} is a database, but not of a dispatch service")
            copy_database(connection, copy, force=force)
    except sqlite3.Error as exc:
        raise StoreError(f"{path} cannot be read: {exc}") from exc
