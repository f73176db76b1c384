"""The examples of the README run unchanged, except for the port."""

from __future__ import annotations

import re
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.benchmarks.comparison import with_figures
from trio_dispatch.api import wire
from trio_dispatch.service import Keys, open_service

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def main_of(example: str, port: int) -> Any:
    """The `main` of an example, with the port replaced."""
    source, run, rest = example.rpartition("\ntrio")
    assert (run + rest).strip() in {"trio.run(main)", "trio_dispatch.run(main)"}
    assert ":50051" in source
    names: dict[str, Any] = {}
    exec(source.replace(":50051", f":{port}"), names)
    return names["main"]


async def test_the_examples_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # for the cache
    act, follow, create = EXAMPLES
    battery = "TargetCategories(BATTERY:LI_ION)"
    with trio.fail_after(30):
        async with open_service(keys=Keys.of("secret")) as service, trio.open_nursery() as nursery:
            ((_, port, *_), *_) = await nursery.start(
                partial(service.server.serve_tcp, 0, host="127.0.0.1")
            )
            nursery.start_soon(main_of(follow, port))
            nursery.start_soon(main_of(act, port))
            await main_of(create, port)()
            printed = capsys.readouterr().out
            assert printed.startswith("created Dispatch(id=1, type='CHARGE'")
            row = await service.store.get(1, 1)
            await service.store.update(1, 1, without_rule, now=row.update_time)
            started = [f"run of {battery}", *(f"battery {n} charges with 5.0 kW" for n in (7, 8))]
            while not all(line in printed for line in started):
                await trio.lowlevel.checkpoint()
                printed += capsys.readouterr().out
            await service.store.delete(1, 1)
            stopped = [f"end of {battery}", "battery 7 stops", "battery 8 stops"]
            while not all(line in printed for line in stopped):
                await trio.lowlevel.checkpoint()
                printed += capsys.readouterr().out
            nursery.cancel_scope.cancel()


def without_rule(data: wire.DispatchData) -> wire.DispatchData:
    """Make it run now, at whatever time the test runs."""
    data.recurrence = None
    return data


def test_the_make_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^\$ make (\w+)", README, re.MULTILINE)
    assert commands[:2] == ["demo", "test"]
    for command in commands:
        assert f"\n{command}:" in makefile


def test_links_are_absolute_and_point_to_files_of_the_repository() -> None:
    """PyPI shows the README, too, and has none of the files beside it."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    source, pages = urls["Source"], urls["Documentation"]
    raw = source.replace("https://github.com/", "https://raw.githubusercontent.com/")
    links = re.findall(r"\]\(([^)]+)\)|^\[[\w-]+\]: (\S+)$", README, re.MULTILINE)
    ours = 0
    for link in ("".join(each) for each in links):
        assert link.startswith("https://"), link
        for url, folder in (
            (f"{pages}/en/latest/", "docs/"),
            (f"{source}/blob/main/", ""),
            (f"{raw}/main/", ""),
        ):
            if link.startswith(url):
                ours += 1
                path = folder + link.removeprefix(url)
                assert (ROOT / re.sub(r"\.html$", ".md", path)).is_file(), link
    assert ours > 15


def test_links_by_name_have_an_address() -> None:
    named = set(re.findall(r"\]\[([\w-]+)\]", README))
    given = set(re.findall(r"^\[([\w-]+)\]: ", README, re.MULTILINE))
    assert named <= given
    for name in given - named:
        assert f"[{name}]" in README.lower().replace(f"[{name}]:", "")


def test_the_comparison_has_the_figures_of_the_benchmarks() -> None:
    assert with_figures(README, (ROOT / "docs/benchmarks.md").read_text()) == README


def test_a_benchmark_run_writes_its_figures_into_the_comparison() -> None:
    page = (ROOT / "docs/benchmarks.md").read_text()
    (burst,) = [line for line in page.splitlines() if line.startswith("| 2,000 updates")]
    changed = re.sub(r"[\d,]+ /s", "12,345 /s", burst, count=1)
    assert "| 12,345 per second, none lost |" in with_figures(README, page.replace(burst, changed))
