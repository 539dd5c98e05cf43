"""``moorage-status upgrade check``: whether this version can serve the present database.

Source: the convention of oslo.upgradecheck. Its exit status is 0 for success, 1 for a warning, 2 for a
failure, and 255 if the checks could not run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from oslo_config import cfg
from oslo_upgradecheck import common_checks, upgradecheck
from oslo_upgradecheck.upgradecheck import Code, Result

from moorage.cli.database import tell_database
from moorage.cli.shared.console import stderr
from moorage.model.errors import ConfigurationError, MoorageError, SchemaError
from moorage.store.nouns import consumers, providers
from moorage.store.store import Store
from moorage.wiring import options
from moorage.wiring.config_files import find_config_files
from moorage.wiring.parts import opened_store
from moorage.wiring.settings import Chosen, Resolved, resolve

NOT_LOOKED: Final = 255
"""Exit status if the checks could not run."""


class Checks(upgradecheck.UpgradeCommands):
    """Conditions for starting processes of this version."""

    def __init__(self, conf: cfg.ConfigOpts, chosen: Chosen, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._conf = conf
        self._chosen = chosen
        self._environment = environment

    def configuration(self) -> Result:
        """Check that the options can be read; options without effect do not matter."""
        try:
            resolved = self._resolved()
        except MoorageError as error:
            return Result(Code.FAILURE, str(error))
        tell_database(resolved)
        idle = options.ineffective(resolved.settings.conf)
        return Result(Code.SUCCESS, "; ".join(idle) if idle else None)

    def _resolved(self) -> Resolved:
        return resolve(self._chosen, self._environment)

    def policy_file(self) -> Result:
        """Check that the policy file has a supported format."""
        return common_checks.check_policy_json(self, self._conf)

    def schema(self) -> Result:
        """Check that the database exists, and has this version's schema or can be migrated to it."""
        return self._asked(_schema)

    def roots(self) -> Result:
        """Check that every provider has a root."""
        return self._asked(_roots)

    def consumers(self) -> Result:
        """Check that all allocations belong to recorded consumers."""
        return self._asked(_consumers)

    def _asked(self, question: Callable[[Store], Result]) -> Result:
        try:
            with opened_store(self._resolved().settings, looks_only=True) as store:
                return store.patiently(lambda: _answer(store, question))
        except MoorageError as error:
            return Result(Code.FAILURE, str(error))

    _upgrade_checks = (
        ("Configuration", configuration),
        ("Policy File JSON to YAML Migration", policy_file),
        ("Database Schema", schema),
        ("Missing Root Provider IDs", roots),
        ("Incomplete Consumers", consumers),
    )


def _answer(store: Store, question: Callable[[Store], Result]) -> Result:
    # An empty database has no wrong rows.
    return question(store) if question is _schema or store.has_tables() else Result(Code.SUCCESS)


def _schema(store: Store) -> Result:
    store.check_adoptable()
    try:
        store.check_schema()
    except SchemaError as error:
        return Result(Code.WARNING, str(error))
    return Result(Code.SUCCESS)


def _roots(store: Store) -> Result:
    count = store.read(providers.providers_without_root)
    if count:
        return Result(
            Code.WARNING,
            f"{count} providers have no root (an old Placement did not write it): 'moorage db sync' adds it",
        )
    return Result(Code.SUCCESS)


def _consumers(store: Store) -> Result:
    count = store.read(consumers.consumers_without_record)
    if count:
        return Result(
            Code.WARNING,
            f"{count} consumers hold something and are not recorded (an old Placement did not write them): "
            "'moorage db sync' adds them",
        )
    return Result(Code.SUCCESS)


def told(arguments: Sequence[str]) -> tuple[Chosen, list[str]]:
    """The files and folders that a command line names, and its other arguments.

    oslo.config does not get them, because it would read them in another order than the service does.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-file", type=Path, action="append", default=[])
    parser.add_argument("--config-dir", type=Path, action="append", default=[])
    found, rest = parser.parse_known_args(arguments)
    return Chosen(tuple(found.config_file), tuple(found.config_dir)), rest


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """The command ``moorage-status``; returns its exit status."""
    environment = os.environ if environment is None else environment
    chosen, rest = told(sys.argv[1:] if arguments is None else arguments)
    conf = options.registered()
    upgradecheck.register_cli_options(conf, Checks(conf, chosen, environment))
    try:
        files = find_config_files(chosen.config_files, chosen.config_directories, environment)
        options.read_into(conf, files, rest)
    except ConfigurationError as error:
        stderr().print(str(error), markup=False)
        return NOT_LOOKED
    upgradecheck.CONF = conf
    return upgradecheck.run(conf)
