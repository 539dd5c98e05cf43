"""The commands under OpenStack Placement's names, where the distribution of these names is installed.

``placement-manage`` accepts the command lines of Placement's tool, so that jobs need no change.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import moorage
from moorage.api.placement.settings import ApiSettings
from moorage.cli import upgrade_check
from moorage.cli.database import tell_database
from moorage.cli.shared.console import described, stderr, stdout
from moorage.model.errors import ConfigurationError
from moorage.store.store import Store
from moorage.wiring.both_names import clash
from moorage.wiring.parts import heal, opened_store, synchronise
from moorage.wiring.settings import Chosen, resolve

DONE: Final = 0
REFUSED: Final = 1
BAD_COUNT: Final = 127
"""Exit status of Placement's tool for a ``--max-count`` that is no positive number."""

UNMARKED: Final = "None"
"""What Placement's tool prints as the version of a database that has none."""


def require_alone() -> None:
    """Raises ImportError if both distributions are installed: their files have overwritten each other."""
    wrong = clash()
    if wrong:
        raise ImportError(wrong)


def status() -> int:
    """The command ``placement-status``; returns its exit status."""
    wrong = clash()
    if wrong:
        stderr().print(wrong, markup=False)
        return upgrade_check.NOT_LOOKED
    return upgrade_check.main()


def manage(arguments: Sequence[str] | None = None) -> int:
    """The command ``placement-manage``; returns its exit status."""
    parser = _parser()
    told = parser.parse_args(arguments)
    action: Callable[[Store, ApiSettings], int] | None = getattr(told, "action", None)
    if action is None:
        parser.print_help()
        return DONE
    try:
        wrong = clash()
        if wrong:
            raise ConfigurationError(wrong)
        if told.action is _migrate_data and told.max_count is not None and told.max_count < 1:
            stdout().print("Must supply a positive value for max_count", markup=False)
            return BAD_COUNT
        resolved = resolve(Chosen(tuple(told.config_file), tuple(told.config_dir)))
        tell_database(resolved)
        looks_only = action in (_version, _stamp)
        with opened_store(resolved.settings, looks_only=looks_only) as store:
            return action(store, resolved.settings.api)
    except Exception as error:  # noqa: BLE001 - the last stop before the user
        stderr().print(described(error), markup=False)
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "placement-manage", description="The schema of the database, with the commands of Placement's tool."
    )
    parser.add_argument("--version", action="version", version=f"moorage {moorage.__version__}")
    for name in ("--config-file", "--config-dir"):
        parser.add_argument(name, type=Path, action="append", default=[], metavar="PATH")
    groups = parser.add_subparsers(title="commands")
    commands = groups.add_parser("db", help="database commands").add_subparsers(title="db commands")
    for name, action, text in (
        ("sync", _sync, "Create the schema, or bring it up to date: moorage db sync."),
        ("version", _version, "Show the revision of Placement's schema that the database has."),
        ("stamp", _stamp, "Not supported: moorage db sync detects the schema."),
        ("online_data_migrations", _migrate_data, "Nothing is left to do after db sync."),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(action=action)
        if action is _stamp:
            command.add_argument("revision")
        if action is _migrate_data:
            command.add_argument("--max-count", type=_count, metavar="NUMBER")
    return parser


def _count(text: str) -> int:
    """A number, or one that is refused later with the exit status of Placement's tool."""
    try:
        return int(text)
    except ValueError:
        return 0


def _sync(store: Store, settings: ApiSettings) -> int:
    for line in synchronise(store, settings):
        stdout().print(line, markup=False)
    return DONE


def _version(store: Store, _settings: ApiSettings) -> int:
    stdout().print(store.patiently(store.placement_version) or UNMARKED, markup=False)
    return DONE


def _stamp(_store: Store, _settings: ApiSettings) -> int:
    raise ConfigurationError("A database cannot be stamped: 'moorage db sync' detects its schema.")


def _migrate_data(store: Store, settings: ApiSettings) -> int:
    store.patiently(store.check_schema)
    completed = heal(store, settings)
    for line in completed or ["Nothing to do: moorage db sync leaves no data to migrate."]:
        stdout().print(line, markup=False)
    return DONE
