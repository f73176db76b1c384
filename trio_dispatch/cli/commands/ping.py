"""``ping``: whether the service answers, how fast, and whether it accepts the key."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any

import trio

from ...client.client import DispatchClient, open_service_channel
from ...client.errors import ServiceError
from ...grpc import Channel, Deadline, GRPCError, ServingStatus, Status, check_health
from ...text.safe import dump_json, printable
from ..app.options import shared_options
from ..app.output import Results
from ..app.run import FAILED, Failure, explain
from ..app.settings import Settings

_CALLS = 5
_DISPATCHES, _RUNS = "frequenz.api.dispatch.v1", "trio_dispatch.runs.v1"
_REFUSALS = {Status.UNAUTHENTICATED, Status.PERMISSION_DENIED}


@shared_options
async def ping(settings: Settings) -> None:
    """Check the connection to the service, and the API key.

    It prints who the service is, its health, how long a call takes, which APIs it has, and whether
    it accepts the key for the microgrid.  If the key is not accepted or the service is not healthy,
    the exit status is 1; if it cannot be reached, 4.
    """
    results = Results()
    async with _open_channel(settings) as channel:
        found = await _connection(channel, settings.timeout)
        client = DispatchClient(
            channel,
            key=settings.key,
            sign_secret=settings.sign_secret,
            call_timeout=timedelta(seconds=settings.timeout),
        )
        # Without a microgrid any id shows whether the key is known.
        found |= await _access(client, settings.microgrid or 1)
    if settings.json:
        await results.write(f"{dump_json(found)}\n")
    else:
        for name, text in _lines(found, settings):
            await results.write(f"{settings.paint(f'{name:<9}', 'dim')} {printable(text)}\n")
    results.check()
    if found["health"] not in {"serving", "unknown"} or found["key"] != "accepted":
        raise Failure(FAILED)


@asynccontextmanager
async def _open_channel(settings: Settings) -> AsyncIterator[Channel]:
    if settings.channel is not None:
        yield settings.channel
        return
    url = settings.service_url
    async with open_service_channel(url, signed=bool(settings.sign_secret)) as channel:
        yield channel


async def _connection(channel: Channel, patience: float) -> dict[str, Any]:
    """Return who the server is, its health, and how long calls take, in milliseconds."""
    took: list[float] = []
    found: dict[str, Any] = {"health": "unknown", "address": None, "tls": None}
    for _ in range(1 + _CALLS):
        began = trio.current_time()
        try:
            answer = await check_health(channel, deadline=Deadline.from_timeout(patience))
        except GRPCError as exc:
            if exc.status is not Status.UNIMPLEMENTED:
                text = f"{exc.status.name}: {exc.message or 'no answer'}"
                raise ServiceError(text, exc) from exc
        else:
            cert = answer.peer.cert()
            found |= {
                "health": ServingStatus(answer.status).name.lower(),
                "address": answer.peer.host or None,
                "tls": None if cert is None else _certificate(cert),
            }
        took.append((trio.current_time() - began) * 1000)
    first, *others = took
    return found | {"connect_ms": round(first, 1), "call_ms": round(statistics.median(others), 2)}


def _certificate(cert: dict[str, Any]) -> dict[str, Any]:
    """Return the name of a certificate, who issued it, and when it expires."""

    def name_in(parts: Any) -> str:
        names = {key: value for part in parts for key, value in part}
        return str(names.get("commonName") or names.get("organizationName") or "")

    others = [value for _, value in cert.get("subjectAltName", ())]
    return {
        "subject": name_in(cert.get("subject", ())) or ", ".join(others),
        "issuer": name_in(cert.get("issuer", ())),
        "expires": cert.get("notAfter", ""),
    }


async def _access(client: DispatchClient, microgrid_id: int) -> dict[str, Any]:
    """Return whether the service accepts the key, and which APIs it has."""
    found: dict[str, Any] = {"key": "accepted", "dispatches": None, "apis": [_DISPATCHES]}
    try:
        async with aclosing(client.list(microgrid_id, page_size=1)) as pages:
            found["dispatches"] = (await anext(pages)).total
    except ServiceError as exc:
        if exc.status not in _REFUSALS:
            raise
        return found | {"key": f"refused: {explain(exc)}"}
    try:
        await client.list_dispatchers(microgrid_id)
    except ServiceError as exc:
        if exc.status not in _REFUSALS | {Status.UNIMPLEMENTED}:
            raise
    else:
        found["apis"].append(_RUNS)
    return found


def _lines(found: dict[str, Any], settings: Settings) -> list[tuple[str, str]]:
    tls = found["tls"]
    how = "without TLS"
    if tls is not None:
        how = f"TLS, {tls['subject']}, issued by {tls['issuer']}, expires {tls['expires']}"
    where = ", ".join(filter(None, (settings.url, found["address"], how)))
    count = "" if found["dispatches"] is None else f", {found['dispatches']:,} dispatches"
    key = found["key"] if settings.key else f"none, {found['key']}"
    lines = [
        ("service", where),
        ("health", found["health"]),
        ("latency", f"{found['connect_ms']} ms with the connection, then {found['call_ms']} ms"),
        ("key", key),
        ("APIs", ", ".join(found["apis"])),
    ]
    if settings.microgrid is not None:
        lines.append(("microgrid", f"{settings.microgrid}{count}"))
    return lines
