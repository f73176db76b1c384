"""Databases of an older version, and services of an older version on a newer database."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from tests.helpers.reporting import report_about
from trio_dispatch import ConnectionState, DispatcherStatus
from trio_dispatch.api.dispatchers import encode_status
from trio_dispatch.service.store.postgres import schema
from trio_dispatch.service.store.postgres.store import open_postgres
from trio_dispatch.service.store.runs import Delivery, ToldStatus
from trio_dispatch.testing import make_dispatch

LIVE = DispatcherStatus(connection=ConnectionState.LIVE, interval=timedelta(seconds=30))


def delivery(sequence: int) -> Delivery:
    report = report_about(make_dispatch(1), sequence=sequence)
    return Delivery(1, "site-7", "queue", [report], 0, "1.0", sequence)


@pytest.mark.parametrize("version", range(1, len(schema._MIGRATIONS)))
async def test_older_database_is_migrated_while_an_older_service_goes_on(
    database: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_MIGRATIONS", schema._MIGRATIONS[:version])
        async with open_postgres(database):
            pass
    with psycopg.connect(database) as connection:
        [found] = connection.execute("SELECT version FROM trio_dispatch_schema").fetchone() or [0]
        assert found == version
        # As older versions add a dispatcher.
        connection.execute("INSERT INTO dispatchers VALUES (1, 'old', '0.1', 1, 1, 0)")
    async with open_postgres(database) as store:
        with psycopg.connect(database) as connection:
            connection.execute("INSERT INTO dispatchers VALUES (1, 'other', '0.1', 1, 1, 0)")
        await store.runs.report(delivery(1))
        await store.runs.note_statuses([ToldStatus(1, "site-7", 5, encode_status(LIVE))])
        known = {info.name: info.status for info in await store.runs.dispatchers(1)}
        assert known.keys() == {"old", "other", "site-7"}
        assert known["old"] is known["other"] is None
        assert known["site-7"] == LIVE
