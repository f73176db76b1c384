"""The page "Testing your actors": its files make a project whose tests are green."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.testing_page import BEGINNING, FILES, PAGE, TESTS
from trio_dispatch.testing import LocalService, VirtualClock
from trio_dispatch.testing.faults import METHODS

COMMANDS = dict(re.findall(r"```console\n\$ (.*?)\n(.*?)```", PAGE, re.DOTALL))


def run(folder: Path, *command: str) -> str:
    """What Python prints in a folder with the files of the page."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_all_of_its_tests_are_green(project: Path) -> None:
    assert TESTS == 10
    # The tests of the wheel run the first one.
    first = "test_charging.py::test_a_day"
    printed = run(project, "-m", "pytest", "-s", "-v", "-W", "error", "--deselect", first)
    assert f"{TESTS - 1} passed, 1 deselected" in printed


def test_its_program_without_pytest_prints_what_it_says(project: Path) -> None:
    assert run(project, "plain.py") == COMMANDS["python plain.py"]


def test_its_beginning_has_one_test() -> None:
    # The tests of the wheel run it.
    assert sum(FILES[name].count("\nasync def test_") for name in BEGINNING) == 1
    assert re.findall(r"\d+ passed", COMMANDS["pytest"]) == ["1 passed"]


def test_every_file_of_it_is_used() -> None:
    assert set(BEGINNING) < set(FILES)
    assert set(FILES) - set(BEGINNING) == {
        "by_hand.py",
        "plain.py",
        "test_by_hand.py",
        "test_put.py",
        "test_trouble.py",
    }


def test_its_tables_name_what_there_is() -> None:
    for call in re.findall(r"^\| `(?:await )?service\.(\w+)\(", PAGE, re.MULTILINE):
        assert callable(getattr(LocalService, call))
    for name in ("now", "set", "step", "advance", "advance_to"):
        assert callable(getattr(VirtualClock, name))
        assert f"`{name}`" in PAGE
    (methods,) = re.findall(r"The methods are the client's: (.*?);", PAGE, re.DOTALL)
    assert re.findall(r'`"(\w+)"`', methods) == list(METHODS)
