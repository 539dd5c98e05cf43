"""The form of answers and errors: a table for people, JSON or YAML for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

from moorage.cli.shared.console import described, hint_of

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

TABLE: Final = "table"
JSON: Final = "json"
YAML: Final = "yaml"
FORMATS: Final = (TABLE, JSON, YAML)

_FORMAT: Final = f"{__name__}.format"
"""Where click keeps the form for the running command; an option after the command overrides one before it."""


def format_options(command: FunctionT) -> FunctionT:
    """Options --format and --json, which may stand before the command as well as behind it."""
    chosen = click.option(
        "-f",
        "--format",
        type=click.Choice(FORMATS),
        expose_value=False,
        callback=_remember,
        help=f"The form of the answer, and of an error. Default: {TABLE}.",
    )
    short = click.option(
        "--json", is_flag=True, expose_value=False, callback=_remember, help=f"The same as -f {JSON}."
    )
    return chosen(short(command))


def _remember(context: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:
    if value:
        context.meta[_FORMAT] = JSON if parameter.name == JSON else value


def chosen_format() -> str:
    """The form that the command line selects."""
    form: str = click.get_current_context().meta.get(_FORMAT, TABLE)
    return form


def asked_format(arguments: Sequence[str]) -> str:
    """The form that a command line selects, even if the rest of it is wrong."""
    form = TABLE
    for number, word in enumerate(arguments):
        following = arguments[number + 1] if number + 1 < len(arguments) else ""
        name, sign, value = word.partition("=")
        if word == f"--{JSON}":
            form = JSON
        elif name == "--format":
            form = value if sign else following
        elif word.startswith("-f") and not word.startswith("--"):
            form = word.removeprefix("-f") or following
    return form if form in FORMATS else TABLE


def text_of(data: Any, form: str) -> str:
    """``data`` as JSON or YAML, with a line end."""
    if form == JSON:
        return json.dumps(data, indent=2) + "\n"
    # Imported only when needed: most commands print tables.
    import yaml

    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text


def show(data: Any, draw: Callable[[], object]) -> None:
    """Print ``data`` in the selected form; as a table, ``draw`` prints it."""
    form = chosen_format()
    if form == TABLE:
        draw()
    else:
        click.echo(text_of(data, form), nl=False)


def show_error(error: Exception, form: str, exit_status: int) -> None:
    """Print an error on stderr, in the form of the answer."""
    if form == TABLE:
        hint = hint_of(error)
        click.echo(f"{described(error)}\n{hint}" if hint else described(error), err=True)
        return
    data: dict[str, object] = {"error": described(error)}
    if hint := hint_of(error):
        data["hint"] = hint
    for name in ("status", "code", "detail"):
        if value := getattr(error, name, None):
            data[name] = value
    click.echo(text_of({**data, "exit_status": exit_status}, form), nl=False, err=True)
