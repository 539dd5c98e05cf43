"""The command ``moorage``: its frame, and how errors reach the user."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import click

import moorage
from moorage.cli.console import described

EXIT_REFUSED: Final = 1
"""Exit status where something could not be done; a wrong command line is click's 2."""


COMMANDS: Final[Mapping[str, str]] = {
    "aggregate": "client.aggregate:aggregate",
    "allocation": "client.allocation:allocation",
    "candidates": "client.candidates:candidates",
    "config": "config:config",
    "db": "db:db",
    "import": "import_account:import_account",
    "inventory": "client.inventory:inventory",
    "load": "load:load",
    "policy": "policy:policy",
    "provider": "client.provider:provider",
    "resource-class": "client.resource_class:resource_class",
    "serve": "serve:serve",
    "status": "status:status",
    "token": "token:token",  # nosec B105 - where a command stands
    "trait": "client.trait:trait",
    "usage": "client.usage:usage",
    "verify": "verify:verify",
}
"""Where each command stands below ``moorage.cli``. Only what is asked for is imported: a client command
should not wait for the server's libraries."""


class FriendlyGroup(click.Group):
    """Commands whose errors end as lines on stderr and exit status 1, without a traceback.

    ``--debug`` shows the traceback. An error may name another status as its ``exit_status``.
    """

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*COMMANDS, *self.commands})

    def get_command(self, context: click.Context, command_name: str) -> click.Command | None:
        if command_name not in COMMANDS:
            return super().get_command(context, command_name)
        module, _, name = COMMANDS[command_name].partition(":")
        command: click.Command = getattr(import_module(f"moorage.cli.{module}"), name)
        return command

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        arguments = sys.argv[1:] if args is None else list(args)
        try:
            return super().main(arguments, *rest, **options)
        except Exception as error:  # noqa: BLE001 - the last stop before the user
            if "--debug" in arguments:
                traceback.print_exc()
            else:
                click.echo(described(error), err=True)
            sys.exit(getattr(error, "exit_status", EXIT_REFUSED))


@click.group(cls=FriendlyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(moorage.__version__, "--version", prog_name="moorage")
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback where a command fails.")
def main() -> None:
    """Moorage: an inventory-and-claims service that speaks the OpenStack Placement API.

    It keeps account of who provides what and who holds what, finds candidates for a request, and
    hands out claims that never exceed capacity. To try it: moorage serve --demo
    """
