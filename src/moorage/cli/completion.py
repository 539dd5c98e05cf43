"""``moorage completion``: scripts by which shells complete commands, options and names of providers."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from moorage.cli.shared.console import PROGRAM

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print a script for completion in a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script by which SHELL completes commands, options and names of providers.

    For bash, put this line into ~/.bashrc: eval "$(moorage completion bash)"
    """
    complete = get_completion_class(shell)
    assert complete is not None, "click knows these shells"
    variable = f"_{PROGRAM.upper()}_COMPLETE"
    click.echo(complete(context.find_root().command, {}, PROGRAM, variable).source())
