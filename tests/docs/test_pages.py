"""The examples of the pages that have no test module of their own run unchanged."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import trio_dispatch
from trio_dispatch import ActorRun, Dispatcher, TargetIds, open_client, open_dispatcher
from trio_dispatch.grpc import open_channel
from trio_dispatch.service import Key, Keys, open_service
from trio_dispatch.testing import TEST_KEY, make_dispatch, open_test_service

DOCS = Path(__file__).parents[2] / "docs"


def examples(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def test_notifications() -> None:
    names: dict[str, Any] = {}
    for example in examples("explanation/notifications.md"):
        exec(example, names)


def names_of(example: str, **replaced: str) -> dict[str, Any]:
    """Run an example with some settings replaced, and return what it defines."""
    for old, new in replaced.items():
        assert old in example
        example = example.replace(old, new)
    names: dict[str, Any] = {"__name__": "example"}
    exec(example, names)
    return names


@pytest.mark.parametrize(
    ("page", "started", "stopped"),
    [
        ("howto/migrating.md", "set TargetIds(7) to 5.0 kW", "set TargetIds(7) to 0 kW"),
        ("howto/offline.md", "charge TargetIds(7) {'power_kw': 5.0}", "stop charging TargetIds(7)"),
    ],
)
async def test_an_actor(
    page: str, started: str, stopped: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (example,) = examples(page)
    printed = ""
    with trio.fail_after(30):
        async with open_service(keys=Keys.of("secret")) as service, trio.open_nursery() as nursery:
            serve = partial(service.server.serve_tcp, 0, host="127.0.0.1")
            ((_, port, *_), *_) = await nursery.start(serve)
            url = f"grpc://localhost:{port}?ssl=false"
            replaced = {"grpc://localhost:50051?ssl=false": url}
            if "dispatches.cache" in example:
                replaced["dispatches.cache"] = str(tmp_path / "dispatches.cache")
            nursery.start_soon(names_of(example, **replaced)["main"])
            async with open_client(url, key="secret") as client:
                dispatch = await client.create(
                    1,
                    type="CHARGE",
                    start_time="NOW",
                    duration=None,
                    target=TargetIds(7),
                    payload={"power_kw": 5},
                )
                while started not in printed:
                    await trio.lowlevel.checkpoint()
                    printed += capsys.readouterr().out
                await client.delete(1, dispatch.id)
                while stopped not in printed:
                    await trio.lowlevel.checkpoint()
                    printed += capsys.readouterr().out
            nursery.cancel_scope.cancel()


async def test_why_it_did_not_run(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = examples("howto/not-running.md")
    explain = names_of(example)["explain"]

    async def charge(run: ActorRun) -> None:
        await trio.sleep_forever()

    async with (
        open_test_service() as service,
        open_dispatcher(microgrid_id=1, channel=service.channel, key=TEST_KEY) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(dispatcher.run_actors, "CHARGE", charge)
        await service.put(make_dispatch(1, dry_run=True))
        await service.put(make_dispatch(2))
        await trio.sleep(1)
        for id_, said in (
            (1, "not run: it is a dry run;"),
            (2, "charge TaskState.RUNNING attempt 1"),
            (3, "dispatch 3 is not known"),
        ):
            explain(dispatcher, id_)
            printed = capsys.readouterr().out
            assert printed.startswith("connection: live since ")
            assert said in printed
        nursery.cancel_scope.cancel()


async def test_many_microgrids(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    page, failing = examples("howto/many-microgrids.md")
    keys = Keys([Key("secret", microgrids=frozenset({1, 2, 3}))])
    with trio.fail_after(30):
        async with open_service(keys=keys) as service, trio.open_nursery() as nursery:
            serve = partial(service.server.serve_tcp, 0, host="127.0.0.1")
            ((_, port, *_), *_) = await nursery.start(serve)
            url = f"grpc://localhost:{port}?ssl=false"
            replaced = {"grpc://localhost:50051?ssl=false": url}
            names = names_of(
                page + failing,
                **replaced,
                **{'f"dispatches-': f'f"{tmp_path}/dispatches-'},
            )
            async with open_client(url, key="secret") as client:
                for microgrid_id in (1, 2, 3):
                    await client.create(
                        microgrid_id,
                        type="CHARGE",
                        start_time="NOW",
                        duration=None,
                        target=TargetIds(7),
                        payload={"site": str(microgrid_id)},
                    )
            nursery.start_soon(names["main"])
            printed = ""
            while printed.count("charges TargetIds(7)") < 3:
                await trio.sleep(0.01)
                printed += capsys.readouterr().out
            async with open_channel(url) as channel:
                await names["follow_or_report"](4, channel, "secret")
            assert "microgrid 4 is not followed" in caplog.text
            nursery.cancel_scope.cancel()


def test_every_file_that_the_architecture_names_exists() -> None:
    page = (DOCS / "explanation/architecture.md").read_text()
    named = set(re.findall(r"`([\w/]+\.py|[\w/]+/)`", page))
    assert len(named) > 15
    root = DOCS.parent
    missing = [
        name
        for name in named
        if not any((top / name).exists() for top in (root, root / "trio_dispatch"))
    ]
    assert missing == []


def test_the_settings_for_deploying_leave_time_for_the_last_command() -> None:
    page = (DOCS / "howto/deploying.md").read_text()
    default = inspect.signature(Dispatcher.run_actors).parameters["grace"].default
    times = re.findall(r"TimeoutStopSec=(\d+)|--stop-timeout (\d+) ", page)
    assert times
    for found in times:
        assert timedelta(seconds=int("".join(found))) >= 2 * default
    (example,) = examples("howto/deploying.md")
    subprocess.run([sys.executable, "-W", "error", "-c", example], check=True)


ROWS = [
    (theirs, ours)
    for theirs, ours in re.findall(
        r"^\| `([\w.]+)` \|\s*`?([\w.]*)`?\s*\|",
        (DOCS / "howto/migrating.md").read_text(),
        re.MULTILINE,
    )
    if ours != "trio_dispatch"  # the head of a table
]


@pytest.mark.parametrize("name", sorted({ours for _, ours in ROWS if ours}))
def test_every_name_of_ours_on_the_migration_page_exists(name: str) -> None:
    first, _, rest = name.partition(".")
    if first == "trio":
        assert hasattr(trio, rest)
    elif name != "int":
        owner = getattr(trio_dispatch, first)
        # Instance attributes are set in `__init__`, or are fields.
        assert not rest or hasattr(owner, rest) or f"{rest}:" in owner.__doc__


# Runs in the environment of the peers: prints the names that do not exist, and those left out.
THEIRS = """
import inspect, sys
import frequenz.client.dispatch as client, frequenz.dispatch as dispatch
from frequenz.client.dispatch import DispatchApiClient, recurrence, types

named = set(sys.argv[1:])

def there(name):
    owner, missing = None, object()
    for base in (dispatch, client):
        owner = base
        for part in name.split("."):
            owner = getattr(owner, part, missing)
        if owner is not missing:
            return True
    return False

own = lambda cls: {n for n in vars(cls) if not n.startswith("_")}
wanted = set(dispatch.__all__)
wanted |= {f"Dispatcher.{n}" for n in own(dispatch.Dispatcher)}
wanted |= {f"Dispatch.{n}" for n in own(dispatch.Dispatch)} - {"Dispatch.deleted"}
calls = ("list", "get", "create", "update", "delete", "stream")
wanted |= {f"DispatchApiClient.{n}" for n in calls}
print(*sorted(name for name in named if not there(name)), "|", *sorted(wanted - named))
"""


def test_the_migration_page_has_every_name_of_theirs() -> None:
    theirs = sorted({theirs for theirs, _ in ROWS})
    python = os.environ.get(
        "TRIO_DISPATCH_INTEROP_PYTHON", DOCS.parent / ".venv-interop/bin/python"
    )
    ran = subprocess.run(
        [python, "-c", THEIRS, *theirs],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["|"]
