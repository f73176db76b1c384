"""The examples of the pages that have no test of their own run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import trio_dispatch
from trio_dispatch import TargetIds, open_client
from trio_dispatch.service import Keys, open_service

DOCS = Path(__file__).parents[2] / "docs"


def examples(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def test_notifications() -> None:
    names: dict[str, Any] = {}
    for example in examples("explanation/notifications.md"):
        exec(example, names)


def names_of(example: str, **replaced: str) -> dict[str, Any]:
    """What an example defines, with other settings than those that it names."""
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
def test_every_name_that_one_moves_to_exists(name: str) -> None:
    first, _, rest = name.partition(".")
    if first == "trio":
        assert hasattr(trio, rest)
    elif name != "int":
        owner = getattr(trio_dispatch, first)
        # What an instance has is made in its `__init__`, or is a field.
        assert not rest or hasattr(owner, rest) or f"{rest}:" in owner.__doc__


# Runs in the environment of the peers: the names that are not there, and those that were left out.
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


def test_every_name_that_one_moves_from_is_there_and_none_is_left_out() -> None:
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
