"""What several commands share: options that name a database, consoles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from moorage.cli.console import described, stderr, stdout
from moorage.cli.wiring import DEFAULT_DATA_DIRECTORY, Chosen

__all__ = [
    "chosen",
    "database_options",
    "described",
    "stderr",
    "stdout",
    "without_password",
]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def database_options(command: FunctionT) -> FunctionT:
    """Options that say which database is meant; ``chosen`` makes a ``Chosen`` of them."""
    decorators = (
        click.option(
            "--config-file",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="A placement.conf. Default: placement.conf in OS_PLACEMENT_CONFIG_DIR, if that is set.",
        ),
        click.option(
            "--config-dir",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIRECTORY",
            expose_value=False,
            callback=_remember_directory,
            help="A directory whose files *.conf count, in the order of their names, after the file.",
        ),
        click.option(
            "--database",
            metavar="URL",
            help="sqlite:///FILE, postgresql+psycopg://USER:PASSWORD@HOST/NAME or "
            "mysql+pymysql://USER:PASSWORD@HOST/NAME. Goes before file and environment.",
        ),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path, file_okay=False),
            default=DEFAULT_DATA_DIRECTORY,
            show_default=True,
            metavar="DIRECTORY",
            help="Where the SQLite file goes if no database is named at all.",
        ),
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


_DIRECTORY: Final = f"{__name__}.config_directory"
"""Where click keeps the value of --config-dir for the command that runs."""


def _remember_directory(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    context.meta[_DIRECTORY] = value


def chosen(config_file: Path | None, database: str | None, data_dir: Path) -> Chosen:
    """The values of ``database_options``."""
    context = click.get_current_context(silent=True)
    directory = None if context is None else context.meta.get(_DIRECTORY)
    return Chosen(config_file, directory, database, data_dir)


def without_password(url: str) -> str:
    """A database URL that may be shown: the password is replaced by stars."""
    scheme, separator, rest = url.partition("://")
    people, at, place = rest.rpartition("@")
    if not at:
        return url
    user, colon, _ = people.partition(":")
    return f"{scheme}{separator}{user}{':***' if colon else ''}@{place}"
