"""Files that commands read and write, whatever they are: regular, linked, pipes or devices."""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from ... import clock
from .output import write_to

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_bytes(name: str) -> bytes:
    """Return the content of a file; ``-`` is stdin.

    Raises:
      ValueError: the file cannot be read.
    """
    try:
        return _read_stdin() if name == "-" else Path(name).read_bytes()
    except OSError as exc:
        raise ValueError(f"{_shown(name)} cannot be read: {exc.strerror or exc}") from None


def _read_stdin() -> bytes:
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):  # not a file, as in a test
        return sys.stdin.buffer.read()
    # Without the lock of `sys.stdin`, for which the exit would wait after an interruption.
    with io.FileIO(descriptor, closefd=False) as file:
        return file.readall()


def decode_text(data: bytes, name: str) -> str:
    """Return a text that is in UTF-8, or in the encoding of its byte order mark.

    Raises:
      ValueError: it is not.
    """
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise ValueError(
            f"{_shown(name)} is not text in {encoding.upper()}: byte {exc.start + 1} is invalid"
        ) from None


def read_text(name: str) -> str:
    """Return the text of a file; see `read_bytes` and `decode_text`."""
    return decode_text(read_bytes(name), name)


def _shown(name: str) -> str:
    return "stdin" if name == "-" else name


def is_regular(name: str) -> bool:
    """Whether a name is that of a regular file, or of none so far."""
    try:
        return name != "-" and stat.S_ISREG(Path(name).stat().st_mode)
    except OSError:
        return True


Write = Callable[[bytes], Awaitable[None]]


@asynccontextmanager
async def open_output(name: str) -> AsyncIterator[Write]:
    """Open a file to write, as an async function that takes bytes.

    A regular file appears, or gets its new content, when the block has succeeded; until then it is
    as it was.  Links stay links: the file that they lead to is replaced.  A file that has further
    names or another owner is overwritten.  Pipes and devices are written at once.

    Raises:
      OSError: the file cannot be written; the message names it.
      BrokenPipeError: the reader has closed the pipe.
    """
    with _naming(name):
        path, status = await clock.run_in_thread(_look_at, name)
        regular = status is None or stat.S_ISREG(status.st_mode)
        if regular and not _DESCRIPTOR.fullmatch(name):
            descriptor, part = await clock.run_in_thread(_open_part, path, status)
        else:
            # To open a pipe waits for its reader.
            regular, part = False, None
            descriptor = await clock.run_in_thread(_open_stream, name, abandon_on_cancel=True)

    async def write(data: bytes) -> None:
        with _naming(name):
            await write_to(descriptor, data)

    closing = True
    try:
        yield write
        if regular:
            with _naming(name):
                await clock.run_in_thread(_finish, descriptor, part, path)
    except trio.Cancelled:
        closing = False  # A thread may still write, and must not meet another file of that number.
        raise
    finally:
        if closing:
            os.close(descriptor)
        if part is not None:
            part.unlink(missing_ok=True)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise OSError(f"{name} cannot be written: {exc.strerror or exc}") from None


def _look_at(name: str) -> tuple[Path, os.stat_result | None]:
    """The path that a name leads to, and what is there."""
    path = Path(os.path.realpath(name))
    try:
        return path, Path(name).stat()
    except FileNotFoundError:
        return path, None


_DESCRIPTOR = re.compile(r"/dev/stdout|(?:/dev|/proc/self)/fd/(\d{1,9})")


def _open_stream(name: str) -> int:
    if match := _DESCRIPTOR.fullmatch(name):
        return os.dup(int(match[1] or 1))
    return os.open(name, os.O_WRONLY)


def _open_part(path: Path, status: os.stat_result | None) -> tuple[int, Path | None]:
    """Open a file for the new content: beside the old one to replace it, or one without a name."""
    if status is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if status is None or (status.st_nlink == 1 and status.st_uid == os.geteuid()):
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        mode = 0o666 if status is None else stat.S_IMODE(status.st_mode)
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except PermissionError:  # of the folder
            if status is None:
                raise
        else:
            if status is not None:
                os.fchmod(descriptor, mode)
            return descriptor, part
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno()), None


def _finish(descriptor: int, part: Path | None, path: Path) -> None:
    if part is not None:
        os.fsync(descriptor)
        part.replace(path)
        return
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", closefd=False) as new, path.open("r+b") as old:
        shutil.copyfileobj(new, old)
        old.truncate()
        old.flush()
        os.fsync(old.fileno())
