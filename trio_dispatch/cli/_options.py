"""The options that every command shares, and where their values come from.

The command line counts before the environment, and that before the configuration file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ._config import SECRETS, parse_config, readable_by_others
from ._params import CHOICE_OF_ZONE, MICROGRID, SECONDS
from ._settings import Settings

__all__ = ["Command", "SharedOption", "shared_options"]


class SharedOption(click.Option):
    """An option of many commands; the help lists it after a command's own."""


class Command(click.Command):
    """A command that lists shared options last, and says where a wrong value came from."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                (shared if isinstance(parameter, SharedOption) else own).append(record)
        for title, records in (("Options", own), ("Connection and output", shared[::-1])):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as exc:
            name = None if exc.param is None else exc.param.name
            source = None if name is None else ctx.get_parameter_source(name)
            where = ""
            if source is ParameterSource.DEFAULT_MAP:
                where = f" (from {ctx.meta[_PATH]})"
            elif source is ParameterSource.ENVIRONMENT and exc.param is not None:
                where = f" (from {_variable(exc.param)} in the environment)"
            if not where:
                raise
            raise click.BadParameter(exc.message + where, ctx, exc.param) from None


def _variable(parameter: click.Parameter) -> str:
    names: str | Sequence[str] = parameter.envvar or ()
    return names if isinstance(names, str) else " or ".join(names)


_PATH = "trio_dispatch.config_path"


def _read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Take what the configuration file says for what nobody says otherwise."""
    named = path is not None
    if path is None:
        path = Path(click.get_app_dir("trio-dispatch")) / "config.toml"
    ctx.meta[_PATH] = path
    try:
        content = parse_config(path.read_text(encoding="utf-8"))
        exposed = any(name in content for name in SECRETS) and readable_by_others(path)
    except FileNotFoundError:
        if named:
            raise click.BadParameter(f"there is no file {path}", ctx, parameter) from None
        return
    except (OSError, UnicodeDecodeError) as exc:
        raise click.BadParameter(f"{path} cannot be read: {exc}", ctx, parameter) from None
    except ValueError as exc:
        raise click.BadParameter(f"{path}: {exc}", ctx, parameter) from None
    if exposed:
        click.echo(
            f"Warning: {path} has a secret in it, and others may read it: chmod 600 {path}",
            err=True,
        )
    content = {_parameter(name): value for name, value in content.items()}
    ctx.default_map = {**(ctx.default_map or {}), **content}


def _parameter(name: str) -> str:
    """What a key of the configuration is called among the parameters."""
    return {"json": "as_json"}.get(name, name.replace("-", "_"))


def _option(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=SharedOption, **attributes)


_OPTIONS = (
    _option(
        "--url",
        "-u",
        metavar="URL",
        envvar="DISPATCH_API_URL",
        show_envvar=True,
        help="Where the service is: grpc://HOST:PORT, with ?ssl=false for one without TLS.",
    ),
    _option(
        "--key",
        metavar="KEY",
        envvar=["DISPATCH_API_AUTH_KEY", "DISPATCH_API_KEY"],
        show_envvar=True,
        help="The key that lets in.",
    ),
    _option(
        "--sign-secret",
        metavar="SECRET",
        envvar="DISPATCH_API_SIGN_SECRET",
        show_envvar=True,
        help="Sign each request with this.",
    ),
    _option(
        "--microgrid",
        "-m",
        metavar="ID",
        type=MICROGRID,
        envvar="DISPATCH_MICROGRID_ID",
        show_envvar=True,
        help="The microgrid.",
    ),
    _option(
        "--timezone",
        metavar="ZONE",
        type=CHOICE_OF_ZONE,
        default="local",
        show_default=True,
        is_eager=True,  # times are read in it
        envvar="DISPATCH_TIMEZONE",
        show_envvar=True,
        help="In which times are read and shown: local, UTC or a name such as Europe/Berlin.",
    ),
    _option(
        "--timeout",
        metavar="SECONDS",
        type=SECONDS,
        default="30",
        show_default=True,
        envvar="DISPATCH_TIMEOUT",
        show_envvar=True,
        help="How long each call may take.",
    ),
    _option("--json", "as_json", is_flag=True, help="Print JSON, one object a line."),
    _option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        show_default=True,
        envvar="DISPATCH_COLOR",
        show_envvar=True,
        help="Print colours; auto is on a terminal, unless NO_COLOR is set.",
    ),
    _option("--verbose", "-v", is_flag=True, help="Log more, on stderr."),
    _option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        envvar="DISPATCH_CONFIG",
        show_envvar=True,
        help='A TOML file with any of these, by their names: url = "grpc://..."; by default '
        f"{click.get_app_dir('trio-dispatch')}/config.toml.",
    ),
)


def shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the service is and how to print.

    The command gets them as a `Settings`, its first argument.  Use it right below
    ``@click.command(cls=Command)``.
    """

    def command(
        url: str | None,
        key: str | None,
        sign_secret: str | None,
        microgrid: int | None,
        as_json: bool,
        timezone: Any,
        **others: Any,
    ) -> Any:
        if microgrid is None:
            raise click.UsageError(
                "which microgrid?  Give --microgrid ID, set DISPATCH_MICROGRID_ID, or put "
                "microgrid into the config file"
            )
        shared = {name: others.pop(name) for name in ("timeout", "color", "verbose")}
        settings = Settings(
            microgrid=microgrid,
            url=url,
            key=key,
            sign_secret=sign_secret,
            zone=timezone,
            json=as_json,
            **shared,
        )
        return function(settings, **others)

    decorated: Callable[..., Any] = update_wrapper(command, function)
    # Click reads them from last to first: the file before the zone that it may name.
    for option in _OPTIONS:
        decorated = option(decorated)
    return decorated
