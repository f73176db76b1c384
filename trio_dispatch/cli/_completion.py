"""``completion``: what makes a shell complete commands, options and their values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion_command"]

_SHELLS = {
    "bash": 'eval "$(trio-dispatch completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(trio-dispatch completion zsh)"  in ~/.zshrc',
    "fish": "trio-dispatch completion fish > ~/.config/fish/completions/trio-dispatch.fish",
}


@click.command(
    "completion", epilog="\b\nTo have it at all times:\n  " + "\n  ".join(_SHELLS.values())
)
@click.argument("shell", type=click.Choice([*_SHELLS]))
def completion_command(shell: str) -> None:
    """Print what makes a shell complete commands, options and their values."""
    from ._commands import cli  # noqa: PLC0415

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "trio-dispatch", "_TRIO_DISPATCH_COMPLETE").source())
