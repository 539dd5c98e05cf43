"""Groups of commands that suggest names for an unknown command."""

from __future__ import annotations

import difflib

import click

SUGGESTIONS = 3
"""Most suggestions for an unknown command."""


class Commands(click.Group):
    """A group whose error for an unknown command suggests similar ones."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that ``args`` begin with. Raises UsageError if there is none."""
        wanted = args[0]
        if (
            wanted.startswith("-")
            or context.resilient_parsing
            or self.get_command(context, wanted) is not None
        ):
            return super().resolve_command(context, args)
        close = difflib.get_close_matches(wanted, self.list_commands(context), SUGGESTIONS)
        question = f" Did you mean {' or '.join(close)}?" if close else ""
        raise click.UsageError(f"There is no command '{wanted}'.{question}", context)
