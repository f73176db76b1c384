"""``completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ..app.output import write


@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
async def completion(*, shell: str) -> None:
    """Print a script that makes a shell complete commands.

    It completes options and their values, too.

    \b
    To load it in every shell:
      eval "$(trio-dispatch completion bash)"  in ~/.bashrc
      eval "$(trio-dispatch completion zsh)"  in ~/.zshrc
      trio-dispatch completion fish > ~/.config/fish/completions/trio-dispatch.fish
    """
    from ..app.group import cli  # noqa: PLC0415

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, "trio-dispatch", "_TRIO_DISPATCH_COMPLETE").source()
    await write(f"{script}\n")
