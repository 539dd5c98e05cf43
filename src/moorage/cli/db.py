"""``moorage db``: the schema."""

from __future__ import annotations

from pathlib import Path

import click

from moorage.cli.common import chosen, database_options, stdout, without_password
from moorage.cli.wiring import opened_store, prepare, resolve


@click.group(short_help="Create, upgrade or look at the database schema.")
def db() -> None:
    """Create, upgrade or look at the database schema."""


@db.command(short_help="Create the schema, or bring it up to date.")
@database_options
def sync(config_file: Path | None, database: str | None, data_dir: Path) -> None:
    """Create the schema, or bring it up to date.

    An existing database of OpenStack Placement is adopted as it is: nothing in it is lost, and
    Placement can still be started on it. Standard resource classes and traits that are missing
    are added. It can be run at any time and any number of times.
    """
    settings = resolve(chosen(config_file, database, data_dir)).settings
    with opened_store(settings) as store:
        prepare(store, migrate=True)
    stdout().print(f"Up to date: {without_password(settings.store.url)}", markup=False)


@db.command(short_help="Show the version of the schema.")
@database_options
def version(config_file: Path | None, database: str | None, data_dir: Path) -> None:
    """Show the version of the schema that the database has.

    Exit status 1, and a line on what to do, if this version of Moorage needs another one.
    """
    settings = resolve(chosen(config_file, database, data_dir)).settings
    with opened_store(settings) as store:
        stdout().print(store.schema_version() or "no schema", markup=False)
        store.check_schema()
