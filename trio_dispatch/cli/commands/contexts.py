"""``contexts``."""

from __future__ import annotations

import click

from ...text.safe import dump_json, printable
from ...text.show import Cell, columns
from ..app.config import Config
from ..app.options import CONFIG, CONFIG_PATH, shared_options
from ..app.output import write
from ..app.settings import Settings
from ..app.streams import tell

_HEADING = ("", "NAME", "MICROGRID", "URL")


@shared_options
async def contexts(settings: Settings) -> None:
    """List the contexts of the configuration file.

    A context is a section with options, such as [contexts.site-7]; --context site-7 selects it.
    The context in use has a star.

    \b
      trio-dispatch contexts
      trio-dispatch list --context site-7
    """
    config: Config = click.get_current_context().meta[CONFIG]
    if settings.json:
        for name, values in config.contexts.items():
            shown = {key: values[key] for key in ("url", "microgrid") if key in values}
            current = name == config.context
            await write(f"{dump_json({'name': name, 'current': current} | shown)}\n")
        return
    rows = [
        [
            Cell("*" if name == config.context else ""),
            Cell(printable(name), "bold" if name == config.context else ""),
            Cell(str(values.get("microgrid", ""))),
            Cell(printable(str(values.get("url", "")))),
        ]
        for name, values in config.contexts.items()
    ]
    if rows:
        await write("\n".join(columns(_HEADING, rows, settings.paint)) + "\n")
    else:
        path = click.get_current_context().meta[CONFIG_PATH]
        tell(f"no contexts: add tables such as [contexts.site-7] to {path}")
