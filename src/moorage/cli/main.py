"""The command ``moorage``: its frame, and how errors reach the user."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import click

import moorage
from moorage.cli.client.address import is_told, service_options
from moorage.cli.shared.console import PROGRAM
from moorage.cli.shared.exits import DONE, REFUSED
from moorage.cli.shared.groups import Commands
from moorage.cli.shared.output import TABLE, asked_format, format_options, show_error

COMMANDS: Final[Mapping[str, str]] = {
    "aggregate": "client.aggregate:aggregate",
    "allocation": "client.allocation:allocation",
    "candidates": "client.candidates:candidates",
    "changes": "client.changes:changes",
    "claim": "client.claim:claim",
    "completion": "completion:completion",
    "config": "config:config",
    "db": "db:db",
    "discover": "discover:discover",
    "findings": "client.findings:findings",
    "history": "client.history:history",
    "import": "import_account:import_account",
    "inventory": "client.inventory:inventory",
    "lease": "client.lease:lease",
    "load": "load:load",
    "policy": "policy:policy",
    "provider": "client.provider:provider",
    "report": "client.report:report",
    "resource-class": "client.resource_class:resource_class",
    "run": "client.run:run",
    "serve": "serve:serve",
    "status": "status:status",
    "token": "token:token",  # nosec B105 - where a command stands
    "trait": "client.trait:trait",
    "unmet": "client.unmet:unmet",
    "usage": "client.usage:usage",
    "verify": "verify:verify",
    "why": "client.why:why",
}
"""The module of each command below ``moorage.cli``. Only the module of the present command is imported, so
that client commands do not wait for the server's libraries."""


SERVICE: Final = "service"
DATABASE: Final = "database"
EITHER: Final = "either"
NEITHER: Final = "neither"

KINDS: Final[Mapping[str, str]] = {
    "completion": NEITHER,
    "discover": NEITHER,
    "load": EITHER,
    "policy": NEITHER,
    "status": EITHER,
}
"""The kinds of commands that their module's place does not show."""

SECTIONS: Final[Mapping[str, str]] = {
    "Commands that talk to a service (--url)": SERVICE,
    "Commands that open a database (--database, --config-file)": DATABASE,
    "Commands that do either": EITHER,
    "Other commands": NEITHER,
}


def kind_of(name: str) -> str:
    """The kind of a command or a group: what it works on."""
    talks = COMMANDS.get(name, "client.").startswith("client.")
    return KINDS.get(name, SERVICE if talks else DATABASE)


class Moorage(Commands):
    """Commands whose errors end as lines on stderr and an exit status, without a traceback.

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

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, grouped by what they work on."""
        names = self.list_commands(context)
        for heading, wanted in SECTIONS.items():
            rows = []
            for name in names:
                command = self.get_command(context, name)
                if command is not None and kind_of(name) == wanted:
                    rows.append((name, command.get_short_help_str(limit=formatter.width)))
            with formatter.section(heading):
                formatter.write_dl(rows)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        arguments = sys.argv[1:] if args is None else list(args)
        form = asked_format(arguments)
        try:
            status = super().main(arguments, *rest, **{**options, "standalone_mode": False})
        except click.Abort:
            click.echo("Aborted.", err=True)
            status = REFUSED
        except click.ClickException as error:
            status = error.exit_code
            if form == TABLE:
                error.show()
            else:
                show_error(error, form, status)
        except Exception as error:  # noqa: BLE001 - the last stop before the user
            status = getattr(error, "exit_status", REFUSED)
            if "--debug" in arguments:
                traceback.print_exc()
            else:
                show_error(error, form, status)
        sys.exit(status if isinstance(status, int) else DONE)


@click.group(cls=Moorage, name=PROGRAM, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(moorage.__version__, "--version", prog_name=PROGRAM)
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback where a command fails.")
@service_options
@format_options
@click.pass_context
def main(context: click.Context) -> None:
    """Moorage: an inventory-and-claims service that speaks the OpenStack Placement API.

    It records what providers have and what consumers hold, finds candidates for requests, and grants
    claims that never exceed capacity. To try it: moorage serve --demo

    Commands that talk to a service take --url and --token. Commands that open a database take --database,
    --data-dir, --config-file and --config-dir. The first line on stderr names the service
    or the database.

    Exit status: 0 done, 1 refused or failed, 2 wrong command line, 3 the answer is no.
    """
    name = context.invoked_subcommand or ""
    if is_told(context) and kind_of(name) not in (SERVICE, EITHER):
        raise click.UsageError(
            f"moorage {name} does not talk to a service, so it accepts neither --url nor --token."
        )
