"""``moorage-status upgrade check``: whether this version can serve the database that is there.

Source: the convention of oslo.upgradecheck, whose exit status is 0 for success, 1 for a warning, 2
for a failure, and 255 if it could not look.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_upgradecheck import common_checks, upgradecheck
from oslo_upgradecheck.upgradecheck import Code, Result

from moorage.cli import options
from moorage.cli.wiring import opened_store, settings_from
from moorage.model.errors import MoorageError
from moorage.store import queries
from moorage.store.store import Store


class Checks(upgradecheck.UpgradeCommands):
    """What has to be true before processes are started with this version."""

    def __init__(self, conf: cfg.ConfigOpts, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._conf = conf
        self._environment = environment

    def configuration(self) -> Result:
        """The options can be read; those without effect are no obstacle."""
        try:
            options.complete(self._conf, None, self._environment)
            settings_from(self._conf)
        except MoorageError as error:
            return Result(Code.FAILURE, str(error))
        idle = options.ineffective(self._conf)
        return Result(Code.SUCCESS, "; ".join(idle) if idle else None)

    def policy_file(self) -> Result:
        """The policy file is in a form that is still read."""
        return common_checks.check_policy_json(self, self._conf)

    def schema(self) -> Result:
        """The database is there, and is or can be brought to this version's schema."""
        return self._asked(_schema)

    def roots(self) -> Result:
        """Every provider says which tree it is in."""
        return self._asked(_roots)

    def consumers(self) -> Result:
        """Everything that is held is held by a consumer that is known."""
        return self._asked(_consumers)

    def _asked(self, question: Callable[[Store], Result]) -> Result:
        try:
            with opened_store(settings_from(self._conf)) as store:
                # Nothing can be wrong with what is in an empty database.
                return question(store) if question is _schema or store.has_tables() else Result(Code.SUCCESS)
        except MoorageError as error:
            return Result(Code.FAILURE, str(error))

    _upgrade_checks = (
        ("Configuration", configuration),
        ("Policy File JSON to YAML Migration", policy_file),
        ("Database Schema", schema),
        ("Missing Root Provider IDs", roots),
        ("Incomplete Consumers", consumers),
    )


def _schema(store: Store) -> Result:
    store.check_adoptable()
    try:
        store.check_schema()
    except MoorageError as error:
        return Result(Code.WARNING, str(error))
    return Result(Code.SUCCESS)


def _roots(store: Store) -> Result:
    count = store.read(queries.providers_without_root)
    if count:
        return Result(
            Code.FAILURE,
            f"{count} providers have no root: run 'placement-manage db online_data_migrations' of the "
            "Placement that they come from first",
        )
    return Result(Code.SUCCESS)


def _consumers(store: Store) -> Result:
    count = store.read(queries.consumers_without_record)
    if count:
        return Result(
            Code.WARNING,
            f"{count} consumers hold something and are not recorded: run 'placement-manage db "
            "online_data_migrations' of the Placement that they come from first",
        )
    return Result(Code.SUCCESS)


def config_files(environment: Mapping[str, str]) -> list[str] | None:
    """The file in OS_PLACEMENT_CONFIG_DIR; None leaves it to the usual places."""
    directory = environment.get(options.CONFIG_DIRECTORY_VARIABLE, "").strip()
    return [str(Path(directory) / options.CONFIG_FILE_NAME)] if directory else None


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> Any:
    """The command ``moorage-status``; returns its exit status."""
    environment = os.environ if environment is None else environment
    conf = options.registered()
    return upgradecheck.main(
        conf,
        project=options.PROJECT,
        upgrade_command=Checks(conf, environment),
        argv=list(sys.argv[1:] if arguments is None else arguments),
        default_config_files=config_files(environment),
    )
