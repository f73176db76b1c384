"""The options of the live page: what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from trio_dispatch.cli.app.group import cli


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("serve --web 0.0.0.0:8080", "serves other machines, which requires a key"),
        ("serve --web 192.0.2.1:8080", "serves other machines, which requires a key"),
        ("serve --web-host plan.example", "require --web"),
        ("serve --components {components}", "require --web"),
        ("serve --web 127.0.0.1", "is not HOST:PORT"),
        ("serve --web 127.0.0.1:0 --components {wrong}", "unknown category 'spoon'"),
        ("watch --url grpc://x --web 127.0.0.1:0 --json", "--web excludes --screen, --json"),
        ("watch --url grpc://x --web 127.0.0.1:0 --tls-key {wrong}", "requires --tls-cert"),
        ("watch --web 127.0.0.1:0", "no service is given"),
        ("watch --url grpc://x -m 1 --web-host plan.example", "require --web"),
        ("demo --web 0.0.0.0:8080", "the keys of the demo are public"),
    ],
)
def test_wrong_options(command: str, error: str, tmp_path: Path) -> None:
    components, wrong = tmp_path / "components.toml", tmp_path / "wrong.toml"
    components.write_text('1-3 = "battery"\n')
    wrong.write_text('1-3 = "spoon"\n')
    arguments = [part.format(components=components, wrong=wrong) for part in command.split()]
    done = CliRunner(env={"DISPATCH_API_URL": "", "DISPATCH_SERVICE_KEYS": ""}).invoke(
        cli, arguments
    )
    assert done.exit_code in {1, 2}
    assert error in done.output
    assert "Traceback" not in done.output
