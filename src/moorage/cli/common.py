"""What several commands share: options that name a database, consoles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

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


def chosen(config_file: Path | None, database: str | None, data_dir: Path) -> Chosen:
    """The values of ``database_options``."""
    return Chosen(config_file=config_file, database=database, data_directory=data_dir)


def without_password(url: str) -> str:
    """A database URL that may be shown: the password is replaced by stars."""
    scheme, separator, rest = url.partition("://")
    people, at, place = rest.rpartition("@")
    if not at:
        return url
    user, colon, _ = people.partition(":")
    return f"{scheme}{separator}{user}{':***' if colon else ''}@{place}"
