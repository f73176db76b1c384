"""The command ``trio-dispatch``, whose commands are imported when they are needed."""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

import click

from .nearest import did_you_mean
from .run import EXIT_STATUSES, INTERRUPTED, PIPE_CLOSED, Failure, run
from .streams import close_pipe, tell

COMMANDS = {
    "list": "read",
    "get": "read",
    "create": "write",
    "update": "write",
    "delete": "write",
    "runs": "runs",
    "history": "history",
    "explain": "history",
    "dispatchers": "dispatchers",
    "watch": "watch",
    "timeline": "timeline",
    "edit": "edit",
    "skip": "skip",
    "diff": "plans",
    "apply": "plans",
    "export": "transfer",
    "import": "transfer",
    "serve": "serve",
    "backup": "serve",
    "purge": "serve",
    "migrate": "serve",
    "demo": "demo",
    "ping": "ping",
    "contexts": "contexts",
    "completion": "completion",
}
"""The module of each command, which is the function of that name there."""

_EPILOG = (
    "The connection and output options, such as --url, --microgrid and --output, come before or "
    "after the command; COMMAND --help lists them at its end.\n\n"
) + "\b\nExit status:\n{}\n\n\b\nTo begin:\n{}".format(
    "\n".join(f"  {status:3}  {text}" for status, text in EXIT_STATUSES.items()),
    "  trio-dispatch demo\n  trio-dispatch COMMAND --help",
)


def find_command(name: str) -> click.Command:
    """Return a command.  Its function has its options, and in its docstring its help."""
    from .options import Command, shared_options_of, take_settings, takes_settings  # noqa: PLC0415

    module = import_module(f"trio_dispatch.cli.commands.{COMMANDS[name]}")
    function = getattr(module, name, None) or getattr(module, f"{name}_")
    shared = takes_settings(function)

    def call(**options: Any) -> None:
        settings = (take_settings(options),) if shared else ()
        verbose = settings[0].verbose if settings else options.get("verbose", False)
        run(partial(function, *settings, **options), verbose=verbose)

    own = reversed(getattr(function, "__click_params__", []))
    params = [*own, *(shared_options_of(function) if shared else ())]
    return Command(name, callback=call, params=params, help=inspect.getdoc(function))


def _summary(name: str) -> str:
    """The first line of a command's help, read from the source: to import them all takes long."""
    source = pkgutil.get_data("trio_dispatch.cli.commands", f"{COMMANDS[name]}.py")
    assert source is not None
    match = re.search(
        rf'^async def {name}_?\(.*?"""(.*?)$', source.decode(), re.DOTALL | re.MULTILINE
    )
    assert match is not None
    return match[1]


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return find_command(name) if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(name)) for name in COMMANDS])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_options_last(args, ctx))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            ctx.fail(f"no such command: {args[0]!r}{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **options: Any
    ) -> NoReturn:
        """Run a command and end the process.

        Unlike click's own, it prints an error as one line, and has the usual status for a closed
        pipe.
        """
        name = prog_name or "trio-dispatch"
        arguments = sys.argv[1:] if args is None else [*args]
        self._main_shell_completion({}, name)
        try:
            with self.make_context(name, arguments) as context:
                self.invoke(context)
                context.exit()
        except click.exceptions.Exit as exc:
            sys.exit(exc.exit_code)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            close_pipe()
            sys.exit(PIPE_CLOSED)
        except click.ClickException as exc:
            if text := _one_line(exc):
                tell(f"Error: {text}")
            sys.exit(exc.status if isinstance(exc, Failure) else exc.exit_code)


def _with_options_last(args: list[str], ctx: click.Context) -> list[str]:
    """Move shared options that are before the command behind it, where the command takes them."""
    if not args or not args[0].startswith("-") or args[0] in {"-h", "--help", "--version"}:
        return args
    from .options import shared_options_of  # noqa: PLC0415

    shared = shared_options_of(_with_options_last)
    takes_value = {name: not each.is_flag for each in shared for name in each.opts}
    moved: list[str] = []
    rest = [*args]
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        name, has_value, _ = word.partition("=")
        if not name.startswith("--") and len(name) > 2:  # -m7
            name, has_value = name[:2], "="
        if name not in takes_value:
            hint = did_you_mean(name, takes_value) or "; the options of a command follow it"
            raise click.UsageError(f"no such option here: {name}{hint}", ctx)
        moved.append(word)
        if takes_value[name] and not has_value and rest:
            moved.append(rest.pop(0))
    if not rest and not ctx.resilient_parsing:
        raise click.UsageError(f"no command after {' '.join(moved[:1])}", ctx)
    return [*rest[:1], *moved, *rest[1:]]


def _one_line(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split()).removesuffix(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None or "--help" in text:
        return text
    return f"{text}; see {context.command_path} --help"


@click.group(
    cls=_Group,
    epilog=_EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="trio-dispatch", prog_name="trio-dispatch")
@click.pass_context
def cli(context: click.Context) -> None:
    """Manage the dispatches of a microgrid: what its components do, and when."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
