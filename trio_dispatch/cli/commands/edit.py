"""``edit``: change a dispatch in an editor."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path

import click
import trio

from ... import clock
from ...client.client import DispatchClient
from ...client.errors import ServiceError
from ...model.dispatch import Dispatch
from ...text.files import InvalidFileError, read_table, write_table
from ...text.records import format_json
from ...text.runs import differences
from ...text.safe import printable
from ...text.show import format_headline
from ..app.files import decode_text
from ..app.options import shared_options
from ..app.output import write
from ..app.params import IDS, single
from ..app.run import FAILED, Failure, explain_refusal
from ..app.settings import Settings
from ..app.streams import tell
from ..plans.execution import REFUSALS
from ..plans.matching import Update, Wanted, differing
from ..plans.plan import check_changes

_ERROR = "# Error: "
_HEADING = """\
# Dispatch {id} of microgrid {microgrid}.  Save and close the file to change the dispatch; to leave
# it as it is, close the file unchanged or empty.  Times without an offset are in {zone}.
"""


@shared_options
@click.argument("id", metavar="ID", type=IDS, callback=single)
async def edit(settings: Settings, *, id: int) -> None:
    """Change a dispatch in an editor.

    The environment variable VISUAL or EDITOR names the editor, which opens the dispatch as TOML.
    When you close it, the fields that you changed are updated.  If a value is invalid, the editor
    opens again, with the error in a comment.

    \b
      EDITOR=nano trio-dispatch edit 7
    """
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    if not editor or shutil.which(editor[0]) is None:
        raise click.UsageError(
            f"the editor {shlex.join(editor)!r} was not found: set VISUAL or EDITOR"
        )
    async with settings.client() as client:
        dispatch = await client.get(settings.microgrid_id, id)
        heading = _HEADING.format(id=id, microgrid=settings.microgrid_id, zone=settings.zone)
        descriptor, name = tempfile.mkstemp(prefix=f"dispatch-{id}-", suffix=".toml")
        with os.fdopen(descriptor, "wb") as file:
            file.write((heading + write_table(dispatch)).encode())
        try:
            after = await _edit(settings, client, dispatch, editor, Path(name))
        except BaseException:
            tell(f"the text is in {name}")
            raise
        Path(name).unlink(missing_ok=True)  # noqa: ASYNC240
    if after is None:
        tell("nothing was changed")
        return
    if settings.json:
        await write(f"{format_json(after, settings.now())}\n")
        return
    await write(f"updated {format_headline(after)}\n")
    for field, old, new in differences(dispatch, after, settings.zone):
        await write(f"    {settings.paint(f'{field:<9}', 'dim')} {old} -> {new}\n")


async def _edit(
    settings: Settings, client: DispatchClient, dispatch: Dispatch, editor: list[str], path: Path
) -> Dispatch | None:
    """Have a dispatch edited until its text is valid; return it, or None if nothing differs.

    Raises:
      Failure: the editor failed, or a text with errors was left as it was.
    """
    text = await _edited(editor, path)
    while True:
        try:
            return await _change(settings, client, dispatch, text)
        except ValueError as exc:
            problems = getattr(exc, "problems", [str(exc)])
        errors = "".join(f"{_ERROR}{printable(each)}\n" for each in problems)
        await clock.run_in_thread(path.write_bytes, (errors + text).encode())
        before, text = text, await _edited(editor, path)
        if text == before:
            raise Failure(FAILED, "; ".join(problems))


async def _edited(editor: list[str], path: Path) -> str:
    """Open a file in an editor; return its text without the errors of the last time.

    Raises:
      Failure: the editor failed.
    """
    done = await trio.run_process([*editor, str(path)], stdin=None, check=False)
    if done.returncode:
        raise Failure(FAILED, f"{editor[0]} ended with status {done.returncode}")
    text = decode_text(await clock.run_in_thread(path.read_bytes), str(path))
    return "".join(line for line in text.splitlines(True) if not line.startswith(_ERROR))


async def _change(
    settings: Settings, client: DispatchClient, before: Dispatch, text: str
) -> Dispatch | None:
    """Change a dispatch to what a text says; return it, or None if nothing differs.

    Raises:
      ValueError: the text is invalid, or the service refused the change.
    """
    if not any(line.strip() and not line.startswith("#") for line in text.splitlines()):
        return None
    after = read_table(text, zone=settings.zone)
    for name in ("id", "type", "dry_run"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            raise ValueError(f"{name}: {new!r} cannot be set: it stays {old!r}; create another one")
    values = differing(after, before)
    if not values:
        return None
    change = Update(Wanted(place=f"dispatch {before.id}", dispatch=after), before, values)
    if problems := check_changes([change], settings.now()):
        raise InvalidFileError(problems)
    try:
        return await client.update(settings.microgrid_id, before.id, **values)
    except ServiceError as exc:
        if exc.status in REFUSALS:
            raise ValueError(explain_refusal(exc.message or exc.status.name)) from None
        raise
