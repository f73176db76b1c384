"""The page "Draw what runs when": its Python code runs and prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from trio_dispatch.cli.app.group import cli
from trio_dispatch.text.targets import parse_components

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "pictures.md").read_text()
BLOCK = re.compile(
    r"^```python\n(?P<source>.*?)^```$(?:\n+```text\n(?P<output>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)


def test_the_python_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in BLOCK.finditer(PAGE):
        exec(block["source"], names)
        assert capsys.readouterr().out == (block["output"] or "")
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"plan.svg", "plan.html", "plan.png", "today.svg"}
    assert names["svg"].startswith("<svg")
    assert names["page"] == (tmp_path / "plan.html").read_text()


def test_the_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (site,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "site.toml").write_text(site)
    assert len(parse_components(site)) == 4
    commands = re.findall(r"^\$ trio-dispatch (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        name, *arguments = command.split()
        # The options are valid; only the service is missing.
        result = CliRunner().invoke(
            cli, [name, "--microgrid", "1", *arguments], env={"DISPATCH_API_URL": ""}
        )
        assert "no service is given" in result.output
