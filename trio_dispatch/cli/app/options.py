"""The options that commands share, and where their values come from.

The command line has precedence over the environment, and the environment over the configuration
file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from .config import SECRETS, parse_config, readable_by_others
from .files import decode_text
from .params import FILE, MICROGRID, SECONDS, TEXT, ZONE
from .settings import Settings
from .streams import tell

_F = TypeVar("_F", bound=Callable[..., Any])
_CONFIG_PATH = "trio_dispatch.config_path"


class SharedOption(click.Option):
    """An option of many commands, which the help lists after a command's own."""


class Command(click.Command):
    """A command that lists shared options last, and names the source of an invalid value."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                (shared if isinstance(parameter, SharedOption) else own).append(record)
        for title, records in (("Options", own), ("Connection and output", shared[::-1])):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as exc:
            if exc.param is None or exc.param.name is None:
                raise
            source = ctx.get_parameter_source(exc.param.name)
            if source is ParameterSource.DEFAULT_MAP:
                where = str(ctx.meta[_CONFIG_PATH])
            elif source is ParameterSource.ENVIRONMENT:
                names = exc.param.envvar or ()
                where = names if isinstance(names, str) else " or ".join(names)
                where += " in the environment"
            else:
                raise
            raise click.BadParameter(f"{exc.message} (from {where})", ctx, exc.param) from None


def _read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Take the values of the configuration file as defaults."""
    required = path is not None
    if path is None:
        path = Path(click.get_app_dir("trio-dispatch")) / "config.toml"
    ctx.meta[_CONFIG_PATH] = path
    try:
        content = parse_config(decode_text(path.read_bytes(), "the file"))
        exposed = any(name in content for name in SECRETS) and readable_by_others(path)
    except OSError as exc:
        if not required and isinstance(exc, FileNotFoundError | NotADirectoryError):
            return
        raise click.BadParameter(f"{path} cannot be read: {exc.strerror}", ctx, parameter) from None
    except ValueError as exc:
        raise click.BadParameter(f"{path}: {exc}", ctx, parameter) from None
    if exposed:
        tell(f"Warning: {path} contains a secret that other users can read: chmod 600 {path}")
    defaults = {_parameter_name(name): value for name, value in content.items()}
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def _parameter_name(key: str) -> str:
    """The name of the parameter that a key of the configuration sets."""
    return {"json": "as_json"}.get(key, key.replace("-", "_"))


def option(declaration: str, type: Any, help: str, **more: Any) -> Callable[[_F], _F]:
    """Give a command an option.

    Args:
      declaration: Its names, with a space between.
      type: The type of its value, whose name is shown in the help; None for a flag.
    """
    return click.option(*declaration.split(), **_attributes(type, help, more))


def _attributes(type: Any, help: str, more: dict[str, Any]) -> dict[str, Any]:
    if type is None:
        more.setdefault("is_flag", True)
    elif isinstance(type, click.Choice):
        more["type"] = type
    else:
        more = {"type": type, "metavar": type.name.upper(), **more}
    return {"help": help, "show_default": "default" in more, **more}


def _shared(declaration: str, type: Any, help: str, **more: Any) -> SharedOption:
    more.setdefault("show_envvar", True)
    return SharedOption(declaration.split(), **_attributes(type, help, more))


_FOLDER = click.get_app_dir("trio-dispatch")

SHARED_OPTIONS = (
    _shared(
        "--url -u", TEXT, "The service: grpc://HOST:PORT, with ?ssl=false if it has no TLS.",
        metavar="URL", envvar="DISPATCH_API_URL",
    ),
    _shared(
        "--key", TEXT, "API key.",
        metavar="KEY", envvar=["DISPATCH_API_AUTH_KEY", "DISPATCH_API_KEY", "FREQUENZ_API_KEY"],
    ),
    _shared(
        "--sign-secret", TEXT, "The secret of the key, to sign each request.",
        metavar="SECRET", envvar=["DISPATCH_API_SIGN_SECRET", "FREQUENZ_API_SECRET"],
    ),
    _shared(
        "--microgrid -m", MICROGRID, "The id of the microgrid.", envvar="DISPATCH_MICROGRID_ID"
    ),
    _shared(
        "--timezone", ZONE, "The zone of times: local, UTC or a name such as Europe/Berlin.",
        default="local", envvar="DISPATCH_TIMEZONE",
        is_eager=True,  # times are parsed in it
    ),
    _shared(
        "--timeout", SECONDS, "How long each call may take.",
        default="30", envvar="DISPATCH_TIMEOUT",
    ),
    _shared("--json as_json", None, "Print JSON, one object per line."),
    _shared(
        "--color", click.Choice(["auto", "always", "never"]),
        "Print colours; auto prints them on a terminal, unless NO_COLOR is set.",
        default="auto", envvar="DISPATCH_COLOR",
    ),
    _shared("--verbose -v", None, "Log more on stderr."),
    _shared(
        "--config", FILE,
        'A TOML file with these options by name, as in url = "grpc://...".  '
        f"Default: {_FOLDER}/config.toml",
        envvar="DISPATCH_CONFIG", is_eager=True, expose_value=False, callback=_read_config,
    ),
)  # fmt: skip


def shared_options(function: _F) -> _F:
    """Have a command take the shared options; it gets them as `Settings`, its first argument."""
    function.takes_settings = True  # type: ignore[attr-defined]
    return function


def takes_settings(function: Callable[..., Any]) -> bool:
    """Whether a command takes the shared options."""
    return getattr(function, "takes_settings", False)


def take_settings(options: dict[str, Any]) -> Settings:
    """Remove the values of the shared options from those of a command, and return them."""
    names = ("microgrid", "url", "key", "sign_secret", "timeout", "color", "verbose")
    return Settings(
        zone=options.pop("timezone"),
        json=options.pop("as_json"),
        **{name: options.pop(name) for name in names},
    )
