"""The options that commands share, and where their values come from.

The command line has precedence over the environment, and the environment over the configuration
file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
from click.core import ParameterSource

from .config import Config, option_values, parse_config, readable_by_others
from .files import decode_text
from .params import FILE, MICROGRID, SECONDS, TEXT, ZONE, Choice
from .settings import Settings, complete_url
from .streams import tell

_F = TypeVar("_F", bound=Callable[..., Any])
_CONFIG, _CONTEXT = "trio_dispatch.file_option", "trio_dispatch.context_option"
_CHOSEN = "trio_dispatch.chosen"

CONFIG = "trio_dispatch.config"
"""The key in `click.Context.meta` of the `Config`."""
CONFIG_PATH = "trio_dispatch.config_path"
"""The key of its path, whether or not the file exists."""


class SharedOption(click.Option):
    """An option of many commands, which the help lists after a command's own."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the value in the environment, unless a context that was named has another."""
        if self.name in ctx.meta.get(_CHOSEN, ()):
            return None
        return super().resolve_envvar_value(ctx)


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
        except ValueError as exc:  # from a key-file or a key-command
            raise click.UsageError(f"{exc} (from {ctx.meta[CONFIG_PATH]})", ctx) from None
        except click.BadParameter as exc:
            if exc.param is None or exc.param.name is None:
                raise
            source = ctx.get_parameter_source(exc.param.name)
            if source is ParameterSource.DEFAULT_MAP:
                where = str(ctx.meta[CONFIG_PATH])
            elif source is ParameterSource.ENVIRONMENT:
                names = exc.param.envvar or ()
                where = names if isinstance(names, str) else " or ".join(names)
                where += " in the environment"
            else:
                raise
            raise click.BadParameter(f"{exc.message} (from {where})", ctx, exc.param) from None


# The file and the context are both read before everything else, in any order.


def _take_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    ctx.meta[_CONFIG] = parameter, path
    _read_config(ctx)


def _take_context(ctx: click.Context, parameter: click.Parameter, name: str | None) -> None:
    ctx.meta[_CONTEXT] = parameter, name
    _read_config(ctx)


def _read_config(ctx: click.Context) -> None:
    """Take the values of the configuration file as defaults, once file and context are known."""
    if not (_CONFIG in ctx.meta and _CONTEXT in ctx.meta):
        return
    (file_option, given), (context_option, name) = ctx.meta[_CONFIG], ctx.meta[_CONTEXT]
    path = given or Path(click.get_app_dir("trio-dispatch")) / "config.toml"
    ctx.meta[CONFIG_PATH] = path
    try:
        config = parse_config(decode_text(path.read_bytes(), "the file"))
        exposed = config.has_secrets and readable_by_others(path)
    except OSError as exc:
        missing = isinstance(exc, FileNotFoundError | NotADirectoryError)
        if given is not None or not missing:
            reason = f"{path} cannot be read: {exc.strerror}"
            raise click.BadParameter(reason, ctx, file_option) from None
        config, exposed = Config({}, {}, None), False
    except ValueError as exc:
        raise click.BadParameter(f"{path}: {exc}", ctx, file_option) from None
    if exposed:
        tell(f"Warning: {path} contains a secret that other users can read: chmod 600 {path}")
    ctx.meta[CONFIG] = config._replace(context=name or config.context)
    defaults = option_values(config.values, path.parent)
    if chosen := name or config.context:
        try:
            own = option_values(config.of(chosen), path.parent)
        except ValueError as exc:
            raise click.BadParameter(f"{path}: {exc}", ctx, context_option) from None
        defaults |= own
        if name is not None:
            ctx.meta[_CHOSEN] = frozenset(own)
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


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
        more["type"] = Choice(type.choices)
    else:
        more = {"type": type, "metavar": type.name.upper(), **more}
    return {"help": help, "show_default": "default" in more, **more}


def _shared(declaration: str, type: Any, help: str, **more: Any) -> SharedOption:
    more.setdefault("show_envvar", True)
    return SharedOption(declaration.split(), **_attributes(type, help, more))


_FOLDER = click.get_app_dir("trio-dispatch")

SHARED_OPTIONS = (
    _shared(
        "--url -u", TEXT,
        "The service: grpc://HOST:PORT, with ?ssl=false if it has no TLS; or HOST:PORT, without "
        "TLS on this machine and with TLS elsewhere.",
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
        "--timezone", ZONE,
        "The time zone in which times are read and shown: local, UTC or a name such as "
        "Europe/Berlin.",
        default="local", envvar="DISPATCH_TIMEZONE",
        is_eager=True,  # times are parsed in it
    ),
    _shared(
        "--timeout", SECONDS, "How long each call may take.",
        default="30", envvar="DISPATCH_TIMEOUT",
    ),
    _shared("--json as_json", None, "Short for --output json."),
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
        envvar="DISPATCH_CONFIG", is_eager=True, expose_value=False, callback=_take_config,
    ),
    _shared(
        "--context", TEXT,
        "Use the options in [contexts.NAME] of that file; they have precedence over the "
        "environment.",
        metavar="NAME", envvar="TRIO_DISPATCH_CONTEXT", is_eager=True, expose_value=False,
        callback=_take_context,
    ),
)  # fmt: skip


_OUTPUT = ("table", "json")


def shared_options(function: _F) -> _F:
    """Have a command take the shared options; it gets them as `Settings`, its first argument."""
    function.takes_settings = True  # type: ignore[attr-defined]
    return function


def output_formats(*formats: str) -> Callable[[_F], _F]:
    """Have a command with shared options write these formats, instead of a table and JSON."""

    def declare(function: _F) -> _F:
        function.output_formats = formats  # type: ignore[attr-defined]
        return function

    return declare


def takes_settings(function: Callable[..., Any]) -> bool:
    """Whether a command takes the shared options."""
    return getattr(function, "takes_settings", False)


def shared_options_of(function: Callable[..., Any]) -> list[SharedOption]:
    """Return the shared options of a command, which may have its own in place of some."""
    formats: tuple[str, ...] = getattr(function, "output_formats", _OUTPUT)
    output = _shared(
        "--output -o", click.Choice(formats), "What to print.",
        default="table", envvar="DISPATCH_OUTPUT",
    )  # fmt: skip
    own = {name for each in getattr(function, "__click_params__", []) for name in each.opts}
    every = [*SHARED_OPTIONS]
    every.insert([each.name for each in every].index("as_json"), output)
    # The file is read before the zone that it may name.
    return [each for each in reversed(every) if not own & {*each.opts}]


def take_settings(options: dict[str, Any]) -> Settings:
    """Remove the values of the shared options from those of a command, and return them.

    Raises:
      click.UsageError: the options contradict each other.
    """
    context = click.get_current_context()
    as_json = options.pop("as_json")
    output = "table"
    if isinstance(context.command, Command) and any(
        isinstance(each, SharedOption) and each.name == "output" for each in context.command.params
    ):
        output = options.pop("output")
        given = context.get_parameter_source("output") is ParameterSource.COMMANDLINE
        if as_json and given and output != "json":
            raise click.UsageError(f"--json and --output {output} exclude each other")
    names = ("microgrid", "key", "sign_secret", "timeout", "color", "verbose")
    return Settings(
        zone=options.pop("timezone"),
        url=_service_url(options.pop("url"), context),
        output="json" if as_json else output,
        **{name: options.pop(name) for name in names},
    )


def _service_url(url: str | None, context: click.Context) -> str | None:
    """Return a URL with the certificate of the configuration, if the URL comes from there."""
    ca = context.lookup_default("ca")
    if not url:
        return url
    url = complete_url(url)
    from_file = context.get_parameter_source("url") is ParameterSource.DEFAULT_MAP
    if ca is None or not from_file:
        return url
    if "ssl_root_certificates_path=" in url or "ssl=false" in url:
        raise click.UsageError(
            f"ca = {ca!r} and url = {url!r} exclude each other: remove the parameter of the URL "
            f"(from {context.meta[CONFIG_PATH]})"
        )
    return f"{url}{'&' if '?' in url else '?'}ssl_root_certificates_path={quote(ca)}"
