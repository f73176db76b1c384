"""The built wheel: its content, its types, and a user's project that has nothing but the wheel.

The packages that the wheel requires are not installed again: the environment of the project has
links to those of this one, and no others.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.helpers.requirements import link_requirements
from tests.helpers.testing_page import BEGINNING, FILES, PAGE
from tests.helpers.tutorial import INSTALLED, follow_tutorial

ROOT = Path(__file__).parents[1]
PYTEST = ("-m", "pytest", "-s", "-v", "-W", "error")


# What a type checker shows of the values that a user handles.
TYPES = """
from trio_dispatch import ActorRun, Dispatch, Dispatcher, Page, __version__

async def reveal(dispatcher: Dispatcher, dispatch: Dispatch, run: ActorRun, page: Page) -> None:
    reveal_type(dispatcher.sync_state)
    reveal_type(dispatcher.sync_state.value.phase)
    reveal_type(dispatch.target)
    reveal_type(dispatch.update_time)
    reveal_type(run.payload)
    reveal_type(page.dispatches)
    async for received in dispatcher.running_status_change.new_receiver():
        reveal_type(received)
    async with dispatcher.client.stream(1) as events:
        async for event in events:
            reveal_type(event.kind)
            reveal_type(event.dispatch)
    reveal_type(__version__)
"""
REVEALED = [
    "Observable[SyncState]",
    "SyncPhase",
    "TargetIds | TargetCategories | None",
    "datetime",
    "Mapping[str, bool | float | str | Sequence[...] | Mapping[str, ...] | None]",
    "tuple[Dispatch, ...]",
    "Dispatch",
    "EventKind",
    "Dispatch | Undecodable",
    "str",
]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    # What the environment of this run says of Python is not for another one.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    pip = (sys.executable, "-m", "pip", "--quiet")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel and what its tests require."""
    folder = tmp_path_factory.mktemp("user")
    run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--quiet", "--no-cache-dir")
    run(*pip, "install", "--no-compile", "--no-deps", "--no-index", wheel, cwd=folder)
    (command,) = re.findall(r"^\$ pip install '(.*)'$", PAGE, re.MULTILINE)
    assert command == "trio-dispatch[testing]"
    link_requirements(wheel, {"testing"}, python)
    return python


def test_what_is_in_the_wheel(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = (n for n in names if n.endswith(".dist-info/entry_points.txt"))
        assert "[pytest11]\ntrio_dispatch = trio_dispatch.testing.plugin\n" in (
            archive.read(entry_points).decode()
        )
    info = entry_points.partition("/")[0]
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"trio_dispatch", info}
    assert f"{info}/licenses/LICENSE" in names
    assert {"trio_dispatch/py.typed", "trio_dispatch/api/_generated/py.typed"} <= names
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "trio_dispatch").rglob("*.py")}
    assert {name for name in names if name.startswith("trio_dispatch/")} >= ours
    assert not [name for name in names if re.search(r"(^|/)(tests?_?|conftest)[/.]", name)]


def test_what_goes_into_the_wheel_is_in_the_source_distribution() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert set(targets["targets"]["wheel"]["packages"]) <= set(
        targets["targets"]["sdist"]["include"]
    )


def test_a_project_that_installs_it_runs_the_first_test_of_the_documentation(
    python: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in BEGINNING:
        (project / name).write_text(FILES[name])
    where = run(python, "-c", "import trio_dispatch; print(trio_dispatch.__file__)", cwd=project)
    assert where.startswith(str(python.parents[1]))
    printed = run(python, *PYTEST, cwd=project)
    assert "Mon 12:00 5 kW\nMon 13:00 2.5 kW\n" in printed
    assert " 1 passed" in printed
    assert "plugins: " in printed
    assert "hypothesis" not in printed


async def test_the_tutorial(wheel: Path, python: Path, tmp_path: Path) -> None:
    assert INSTALLED == "trio-dispatch[cli,testing]"
    link_requirements(wheel, {"cli", "testing"}, python)
    await follow_tutorial(tmp_path, python.parent)


def test_a_type_checker_sees_the_types_of_the_wheel(python: Path, tmp_path: Path) -> None:
    (tmp_path / "reveal.py").write_text(TYPES)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python)
    printed = run(*mypy, "reveal.py", cwd=tmp_path)
    revealed = [
        re.sub(r"(\w+\.)+(?=\w)", "", re.sub(r" \| None", " | None", found))
        for found in re.findall('Revealed type is "(.*)"', printed)
    ]
    assert revealed == REVEALED
