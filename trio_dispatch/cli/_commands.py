"""The commands, each imported only when it is needed."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any, NoReturn

import click

from ._failure import Failure

__all__ = ["COMMANDS", "cli"]

COMMANDS = {
    "list": ("_read:list_command", "List dispatches."),
    "get": ("_read:get_command", "Show all that there is of dispatches."),
    "create": ("_write:create_command", "Create a dispatch."),
    "update": ("_write:update_command", "Change a dispatch."),
    "delete": ("_write:delete_command", "Delete dispatches."),
    "watch": ("_watch:watch_command", "Follow dispatches as they change, start and stop."),
    "timeline": ("_timeline_command:timeline", "Draw what runs when."),
    "export": ("_export:export_command", "Write dispatches to a file."),
    "import": ("_import:import_command", "Create dispatches from a file."),
    "serve": ("_serve_command:serve", "Run a dispatch service."),
    "backup": ("_serve_command:backup", "Copy the database of a service."),
    "demo": ("_demo:demo_command", "Watch a dispatcher at work, for 20 seconds."),
    "completion": ("_completion:completion_command", "Print what makes a shell complete."),
}
"""Where each command is, and what the list of commands says of it."""

_EPILOG = """\b
Exit status:
    0  it is done
    1  the service refused it or failed, or a file could not be used
    2  the command line, the configuration or an input makes no sense
    3  there is no such dispatch
    4  the service was not reached, or did not answer in time
  130  Ctrl-C
  141  whoever read the output has gone

\b
To begin:
  trio-dispatch demo
  trio-dispatch COMMAND --help
"""


class _Group(click.Group):
    """A group whose list of commands needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command = getattr(import_module(f"{__package__}.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command and end the process; what went wrong is told in one line."""
        options["standalone_mode"] = False
        try:
            status = super().main(*args, **options)
        except click.Abort:
            sys.exit(130)
        except click.ClickException as exc:
            if exc.message or not isinstance(exc, Failure):
                click.echo(f"Error: {_one_line(exc)}", err=True)
            sys.exit(exc.status if isinstance(exc, Failure) else exc.exit_code)
        sys.exit(status if isinstance(status, int) else 0)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as exc:
            raise click.UsageError(
                f"no such option here: {exc.option_name}; options follow the command", ctx
            ) from None


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
@click.version_option(version("trio-dispatch"), prog_name="trio-dispatch")
@click.pass_context
def cli(context: click.Context) -> None:
    """Dispatches of a microgrid: what its batteries, inverters and chargers do, and when."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
