"""The policy that a configuration selects, for commands and for the tools of oslo.policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oslo_config import cfg

from moorage.auth import rules
from moorage.auth.policy import OsloPolicy, new_enforcer
from moorage.wiring.config_files import find_config_files
from moorage.wiring.options import MOORAGE_GROUP, read_options, value_of


def helps_itself(conf: cfg.ConfigOpts) -> bool:
    """Whether members of projects may help themselves by default."""
    chosen: bool = value_of(conf, MOORAGE_GROUP, "self_service")
    return chosen


def policy_of(conf: cfg.ConfigOpts) -> OsloPolicy:
    """The policy that options select. Raises ConfigurationError."""
    return OsloPolicy(conf, self_service=helps_itself(conf))


def read_policy(config_file: Path | None, config_directory: Path | None) -> OsloPolicy:
    """The policy of a configuration file, or of the process. Raises ConfigurationError."""
    files = [] if config_file is None else [config_file]
    directories = [] if config_directory is None else [config_directory]
    return policy_of(read_options(find_config_files(files, directories)))


def enforcer() -> Any:
    """oslo.policy with Moorage's rules and this process's configuration, for the tools oslopolicy-*."""
    conf = read_options(find_config_files())
    return new_enforcer(conf, self_service=helps_itself(conf))


def default_rules() -> list[Any]:
    """Moorage's rules in the form for oslo.policy's tools."""
    return list(rules.defaults())


def known_rules() -> list[str]:
    """Names of all rules; rules that others refer to come first."""
    return [*(base.name for base in rules.BASE_RULES), *rules.ALL_DESCRIPTIONS]
