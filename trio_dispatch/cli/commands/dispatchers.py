"""``dispatchers``: which dispatchers report, and how they are."""

from __future__ import annotations

from ...text.dispatchers import dispatcher_record, format_dispatchers
from ...text.safe import dump_json
from ..app.options import shared_options
from ..app.output import write
from ..app.settings import Settings
from ..app.streams import tell


@shared_options
async def dispatchers(settings: Settings) -> None:
    """Show the dispatchers that have reported, and whether they are live.

    A dispatcher with a name sends its status to the service about every 30 seconds.  It is offline
    when three such messages are missing.  LATENESS is how late it announced the last start or end
    of a run; WAITING and LOST are the numbers of reports that wait for delivery and that are lost.
    """
    async with settings.client() as client:
        found = await client.list_dispatchers(settings.microgrid_id)
    if settings.json:
        await write("".join(f"{dump_json(dispatcher_record(info))}\n" for info in found))
        return
    if found:
        text = format_dispatchers(found, settings.now(), settings.zone, settings.paint)
        await write(f"{text}\n")
    tell(
        f"{len(found):,} dispatcher{'' if len(found) == 1 else 's'} in microgrid "
        f"{settings.microgrid_id}; times in {settings.zone}"
    )
