"""The command ``moorage``: its frame, and how errors reach the user."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final

import click

import moorage
from moorage.cli.common import described
from moorage.cli.db import db
from moorage.cli.load import load
from moorage.cli.policy import policy
from moorage.cli.serve import serve
from moorage.cli.verify import verify

EXIT_REFUSED: Final = 1
"""Exit status where something could not be done; a wrong command line is click's 2."""


class FriendlyGroup(click.Group):
    """Commands whose errors end as lines on stderr and exit status 1, without a traceback.

    ``--debug`` shows the traceback. An error may name another status as its ``exit_status``.
    """

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


main.add_command(serve)
main.add_command(db)
main.add_command(load)
main.add_command(verify)
main.add_command(policy)
