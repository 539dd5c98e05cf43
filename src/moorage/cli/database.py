"""The options of commands that open a database, and what they name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from moorage.cli.client.address import Address, address_of, is_told
from moorage.cli.shared.console import stderr
from moorage.cli.shared.output import TABLE, chosen_format
from moorage.wiring.config_files import find_config_files
from moorage.wiring.options import DATABASE_GROUP, variable_name
from moorage.wiring.settings import (
    DEFAULT_DATA_DIRECTORY,
    EMBEDDED_FILE_NAME,
    Chosen,
    Resolved,
    resolve,
    without_password,
)

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def database_options(command: FunctionT) -> FunctionT:
    """Options that name the database; ``chosen`` makes a ``Chosen`` of them."""
    decorators = (
        click.option(
            "--config-file",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="A placement.conf. Default: the one in OS_PLACEMENT_CONFIG_DIR, or else the first one in "
            "~/.placement, ~, /etc/placement and /etc.",
        ),
        click.option(
            "--config-dir",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIRECTORY",
            expose_value=False,
            callback=_remember_directory,
            help="A directory whose files *.conf are read after the file, in the order of their names. "
            "Default: placement.conf.d beside the file, or in the same places.",
        ),
        click.option(
            "--database",
            metavar="URL",
            help="sqlite:///FILE, postgresql+psycopg://USER:PASSWORD@HOST/NAME or "
            "mysql+pymysql://USER:PASSWORD@HOST/NAME. Overrides file and environment.",
        ),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIRECTORY",
            help=f"The folder of an SQLite file. Overrides file and environment. Default if nothing "
            f"names a database: {DEFAULT_DATA_DIRECTORY}.",
        ),
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


_DIRECTORY: Final = f"{__name__}.config_directory"
"""Where click keeps the value of --config-dir for the running command."""


def _remember_directory(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    context.meta[_DIRECTORY] = value


def chosen(config_file: Path | None, database: str | None, data_dir: Path | None) -> Chosen:
    """The values of ``database_options``. Raises UsageError if they name two databases."""
    if database is not None and data_dir is not None:
        raise click.UsageError("--database and --data-dir both name a database: give one of them.")
    if database == "":
        raise click.UsageError("--database is empty.")
    context = click.get_current_context(silent=True)
    directory = None if context is None else context.meta.get(_DIRECTORY)
    return Chosen(
        () if config_file is None else (config_file,),
        () if directory is None else (directory,),
        database,
        data_dir,
    )


def database_of(config_file: Path | None, database: str | None, data_dir: Path | None) -> Resolved:
    """Settings of a command that opens the database; prints its first line. Raises ConfigurationError."""
    resolved = resolve(chosen(config_file, database, data_dir))
    tell_database(resolved)
    return resolved


def service_wanted(config_file: Path | None, database: str | None, data_dir: Path | None) -> Address | None:
    """The service for a command that accepts a service or a database; None if it must open a database.

    The first of these applies: options, MOORAGE_URL, variables and files that configure a database, the
    default database if it exists, the default address of a service. Raises UsageError if options name both.
    """
    context = click.get_current_context()
    named = chosen(config_file, database, data_dir) != Chosen()
    if is_told(context) and named:
        raise click.UsageError(
            "--url and --token are for a service, --database, --data-dir, --config-file and --config-dir "
            "for a database: name one of them."
        )
    address = address_of(context)
    return None if named or (not address.named_by and _database_is_configured()) else address


def _database_is_configured() -> bool:
    """Whether the environment, a file or the present folder names a database."""
    if any(name in os.environ for name in DATABASE_VARIABLES) or find_config_files():
        return True
    return (DEFAULT_DATA_DIRECTORY / EMBEDDED_FILE_NAME).exists()


DATABASE_VARIABLES: Final = (
    variable_name(DATABASE_GROUP, "connection"),
    f"OS_{DATABASE_GROUP}__CONNECTION".upper(),
)
"""Variables of the environment that name a database."""


def tell_database(resolved: Resolved) -> None:
    """Print on stderr the database and what names it, unless the answer is for a program."""
    if click.get_current_context(silent=True) and chosen_format() != TABLE:
        return
    named_by = resolved.named_by or "the default"
    stderr().print(f"Database: {without_password(resolved.settings.store.url)} ({named_by})", markup=False)
