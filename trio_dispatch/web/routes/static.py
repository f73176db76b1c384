"""The files of the page."""

from __future__ import annotations

import hashlib
import mimetypes
from functools import lru_cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ... import clock
from ..errors import PageError

__all__ = ["favicon", "file", "index"]

FOLDER: Final = Path(__file__).resolve().parents[1] / "static"
_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


async def index(request: Request) -> Response:
    """Return the page, which has no data."""
    return await _response(request, "index.html")


async def favicon(request: Request) -> Response:
    """Return the icon."""
    return await _response(request, "icon.svg")


async def file(request: Request) -> Response:
    """Return a file of the page."""
    return await _response(request, request.path_params["name"])


async def _response(request: Request, name: str) -> Response:
    found = await clock.run_in_thread(_read, name)
    if found is None:
        raise PageError(404, "not_found", "there is no such file")
    content, tag = found
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=_media_type(name))


def _media_type(name: str) -> str:
    suffix = Path(name).suffix
    return _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _read(name: str) -> tuple[bytes, str] | None:
    """Return the content of a file, and a tag that is different for each content."""
    path = FOLDER / name
    # Only what is in the folder has a name there: no link, and no way out.
    try:
        if "\0" in name or not path.is_file() or not path.resolve().is_relative_to(FOLDER):
            return None
        state = path.stat()
    except OSError:  # for example, the name is too long
        return None
    return _content(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)
def _content(path: Path, _: int, __: int) -> tuple[bytes, str]:
    content = path.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
