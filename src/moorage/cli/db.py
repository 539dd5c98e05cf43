"""``moorage db``: the schema."""

from __future__ import annotations

from pathlib import Path

import click

from moorage.cli.database import database_of, database_options
from moorage.cli.shared.groups import Commands
from moorage.cli.shared.output import format_options, show
from moorage.wiring.parts import opened_store, synchronise
from moorage.wiring.settings import without_password


@click.group(cls=Commands, short_help="Create, upgrade or look at the database schema.")
def db() -> None:
    """Create, upgrade or look at the database schema."""


@db.command(short_help="Create the schema, or bring it up to date.")
@format_options
@database_options
def sync(config_file: Path | None, database: str | None, data_dir: Path | None) -> None:
    """Create the schema, or bring it up to date.

    An existing database of OpenStack Placement is adopted as it is: no data is lost, and
    Placement can still be started on it. Standard resource classes and traits that are missing
    are added, and rows that an old Placement left incomplete are completed. A database whose rows are
    damaged is not adopted; where such rows appear later, all else is brought up to date, and the exit
    status is 1. It can be run at any time and any number of times. Placement may have written meanwhile, so
    a new history begins each time, and clients that follow changes read the state again.
    """
    settings = database_of(config_file, database, data_dir).settings
    with opened_store(settings) as store:
        completed = synchronise(store, settings.api)
        store.patiently(store.check_sound)
    where = without_password(settings.store.url)
    told = "\n".join([*completed, f"Up to date: {where}"])
    show({"database": where, "up_to_date": True, "completed": completed}, lambda: click.echo(told))


@db.command("new-history", short_help="Begin a new history, after a restore.")
@format_options
@database_options
def new_history(config_file: Path | None, database: str | None, data_dir: Path | None) -> None:
    """Begin a new history, after the database was restored or another program has written to it.

    Clients that follow changes then read the state again. No provider and no claim is changed.
    """
    settings = database_of(config_file, database, data_dir).settings
    with opened_store(settings) as store:
        store.patiently(store.check_schema)
        epoch = store.patiently(store.new_history)
        revision = store.revision()
    told = f"A new history begins at revision {revision}, its epoch is {epoch}."
    show({"epoch": epoch, "revision": revision}, lambda: click.echo(told))


@db.command(short_help="Show the version of the schema.")
@format_options
@database_options
def version(config_file: Path | None, database: str | None, data_dir: Path | None) -> None:
    """Show the version of the schema that the database has.

    Exit status 1, and a hint, if this version of Moorage needs another one.
    """
    settings = database_of(config_file, database, data_dir).settings
    with opened_store(settings, looks_only=True) as store:
        found = store.patiently(store.schema_version)
        show({"schema": found}, lambda: click.echo(found or "no schema"))
        store.check_schema()
