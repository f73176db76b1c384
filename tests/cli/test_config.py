"""Options, the environment and the configuration file: precedence and errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.commanding import Cli
from trio_dispatch.cli.app.config import OPTIONS, Config, parse_config
from trio_dispatch.cli.app.options import shared_options_of
from trio_dispatch.cli.commands.read import get

# The zone in which times are printed shows which value was used.
BERLIN, NEW_YORK, TOKYO = "Europe/Berlin", "America/New_York", "Asia/Tokyo"


@pytest.fixture
def config(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the default configuration file; the environment names no zone."""
    path = cli.directory / "config/trio-dispatch/config.toml"
    path.parent.mkdir(parents=True)
    monkeypatch.delenv("DISPATCH_TIMEZONE")
    return path


def zone_of(cli: Cli, *arguments: str) -> str:
    result = cli("list", *arguments)
    assert result.exit_code == 0, result.output
    return result.stderr.splitlines()[-1].rpartition(" ")[2]


def test_the_command_line_overrides_the_environment_and_the_environment_the_file(
    cli: Cli, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(f'timezone = "{BERLIN}"')
    assert zone_of(cli) == BERLIN
    monkeypatch.setenv("DISPATCH_TIMEZONE", NEW_YORK)
    assert zone_of(cli) == NEW_YORK
    assert zone_of(cli, "--timezone", TOKYO) == TOKYO


def test_times_are_read_in_the_zone_of_the_file(cli: Cli, config: Path) -> None:
    config.write_text(f'timezone = "{TOKYO}"')
    (created,) = cli.json(
        "create", "A", "--target", "1", "--start", "2030-01-01 09:00", "--duration", "1h"
    )
    assert created["start_time"] == "2030-01-01T00:00:00Z"


def test_another_config_file(cli: Cli, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(f'timezone = "{BERLIN}"')
    other = cli.directory / "other.toml"
    other.write_text(f'timezone = "{TOKYO}"')
    assert zone_of(cli, "--config", str(other)) == TOKYO
    monkeypatch.setenv("DISPATCH_CONFIG", str(other))
    assert zone_of(cli) == TOKYO


def test_a_file_can_set_every_option(
    cli: Cli, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, key = cli.environment["DISPATCH_API_URL"], cli.environment["DISPATCH_API_KEY"]
    for name in ("DISPATCH_API_URL", "DISPATCH_API_KEY", "DISPATCH_MICROGRID_ID"):
        monkeypatch.delenv(name)
    config.write_text(
        f'url = "{url}"\nkey = "{key}"\nmicrogrid = 7\ntimeout = 5\noutput = "json"\n'
        'verbose = false\ncolor = "never"\n'
    )
    config.chmod(0o600)
    result = cli("create", "A", "--target", "1", "--start", "now", "--duration", "1h")
    assert result.exit_code == 0, result.output
    assert "is the only dispatch of microgrid 7" in result.stderr
    assert result.stdout.startswith('{"id": ')


def test_options_have_the_same_name_everywhere() -> None:
    """Except for those that select the values of the file, and for what is short for another."""
    names = {each.opts[0].removeprefix("--"): each for each in shared_options_of(get)}
    assert set(names) - {"config", "context", "json"} == set(OPTIONS)
    for name in ("timezone", "timeout", "output", "color", "config"):
        assert names[name].envvar == f"DISPATCH_{name.upper()}"
    assert names["url"].envvar == "DISPATCH_API_URL"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("url = ", "invalid TOML"),
        ("sign_secret = 'x'", "unknown key 'sign_secret': did you mean sign-secret?"),
        ("microgird = 1", "unknown key 'microgird': did you mean microgrid?"),
        ("colour = 'x'", "unknown key 'colour': did you mean color?"),
        ("x = 1", "unknown key 'x': use "),
        ("url = 1", 'url = 1 is not a string, as in "..."'),
        ("microgrid = '1'", "microgrid = '1' is not an integer"),
        ("microgrid = true", "microgrid = True is not an integer"),
        ("verbose = 'yes'", "verbose = 'yes' is not true or false"),
        ("timeout = 'long'", "timeout = 'long' is not a number"),
        ("[list]\njson = true", "unknown key 'list'"),
        ("contexts = 1", "contexts is not a table of tables: use [contexts.NAME]"),
        (
            "[contexts.a]\nmicrogird = 1",
            "contexts.a: unknown key 'microgird': did you mean microgrid?",
        ),
        ("[contexts.a]\nmicrogrid = 'x'", "contexts.a: microgrid = 'x' is not an integer"),
        ("context = 'b'\n[contexts.a]", "unknown context 'b': use a"),
        ("key = 'a'\nkey-file = 'b'", "key and key-file exclude each other: give one of them"),
    ],
)
def test_an_invalid_config_file(cli: Cli, config: Path, text: str, why: str) -> None:
    config.write_text(text)
    said = cli.fails(2, "list")
    assert why in said
    assert str(config) in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('timezone = "Mars"', "'Mars' is not a time zone"),
        ("microgrid = -1", "'-1' is not a microgrid id"),
        ("timeout = 0", "'0' is not a positive number of seconds"),
        ('color = "red"', "'red' is not one of"),
    ],
)
def test_an_invalid_value_names_the_file_that_it_comes_from(
    cli: Cli, config: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.delenv("DISPATCH_MICROGRID_ID")
    config.write_text(text)
    said = cli.fails(2, "list")
    assert why in said
    assert f"(from {config})" in said


def test_an_invalid_value_names_the_variable_that_it_comes_from(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPATCH_TIMEZONE", "Mars")
    assert "(from DISPATCH_TIMEZONE in the environment)" in cli.fails(2, "list")


def test_a_missing_config_file(cli: Cli) -> None:
    said = cli.fails(2, "list", "--config", "none.toml")
    assert "none.toml cannot be read: No such file" in said


def test_a_readable_secret_causes_a_warning(cli: Cli, config: Path) -> None:
    config.write_text('key = "cli-key"')
    config.chmod(0o644)
    assert f"that other users can read: chmod 600 {config}" in cli("list").stderr
    config.chmod(0o600)
    assert "Warning" not in cli("list").stderr
    config.write_text("microgrid = 1")
    config.chmod(0o644)
    assert "Warning" not in cli("list").stderr


def test_an_empty_config_file() -> None:
    assert parse_config("") == Config({}, {}, None)


@pytest.mark.parametrize(
    ("variable", "option"),
    [
        ("DISPATCH_API_URL", "--url"),
        ("DISPATCH_MICROGRID_ID", "--microgrid"),
    ],
)
def test_a_required_setting_that_is_missing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, option: str
) -> None:
    monkeypatch.delenv(variable)
    said = cli.fails(2, "list")
    assert f"use {option}" in said
    assert "the config file" in said


def test_colours(cli: Cli, service_thread: object, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok("create", "A", "--target", "1", "--start", "now", "--duration", "1h")
    assert "\x1b[" not in cli.ok("list")
    assert "\x1b[" in cli.ok("list", "--color", "always")
    monkeypatch.setenv("DISPATCH_COLOR", "always")
    assert "\x1b[" in cli.ok("list")
    assert "\x1b[" not in cli.ok("list", "--color", "never")
