"""The options of placement.conf, under the names that operators of Placement know.

Where an option is set in several places, the first of these counts:

1. the command line (``overrides``),
2. ``OS_PLACEMENT_<GROUP>__<OPTION>``, for example ``OS_PLACEMENT_API__AUTH_STRATEGY``,
3. ``OS_<GROUP>__<OPTION>``, which oslo.config reads by itself, for example
   ``OS_PLACEMENT_DATABASE__CONNECTION`` (the group is ``placement_database``),
4. the files of the configuration directory (``--config-dir``), the last by name first,
5. the configuration file,
6. the default.

Sections and options that are not listed here are tolerated: a placement.conf also speaks to
other libraries.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg

from moorage.api import cors, proxies
from moorage.auth import policy
from moorage.cli import logs
from moorage.cli.kept_options import DEFAULT_GROUP, PATH_OPTIONS, REASONS, no_effect
from moorage.cli.limits import LIMIT_OPTIONS
from moorage.cli.watching import WATCH_OPTIONS
from moorage.cli.writes import WRITE_OPTIONS
from moorage.model.errors import ConfigurationError
from moorage.model.requests import DEFAULT_KEPT_CANDIDATES, DEFAULT_STEP_LIMIT

PROJECT: Final = "placement"
"""Whose files they are, to oslo.config."""

CONFIG_DIRECTORY_VARIABLE: Final = "OS_PLACEMENT_CONFIG_DIR"
"""Environment variable that names the directory of ``placement.conf``."""

CONFIG_FILE_VARIABLE: Final = "MOORAGE_CONFIG_FILE"
"""Environment variable by which ``moorage serve`` hands its file to its workers; empty: no file."""

CONFIG_PARTS_VARIABLE: Final = "MOORAGE_CONFIG_PARTS"
"""Environment variable by which it hands over the directory of ``--config-dir``; empty: none."""

CONFIG_FILE_NAME: Final = "placement.conf"

LONG_PREFIX: Final = "OS_PLACEMENT_"
"""What stands before ``<GROUP>__<OPTION>`` in the variables of Placement's own containers."""

KEYSTONE: Final = "keystone"
NOAUTH: Final = "noauth2"
TOKEN: Final = "token"  # noqa: S105 - a word of placement.conf

NO_INDIVIDUAL: Final = "00000000-0000-0000-0000-000000000000"
"""Project and user of consumers whose client could not name any."""

DATABASE_GROUP: Final = "placement_database"
API_GROUP: Final = "api"
PLACEMENT_GROUP: Final = "placement"
WORKAROUNDS_GROUP: Final = "workarounds"
MOORAGE_GROUP: Final = "moorage"
CORS_GROUP: Final = cors.GROUP
POLICY_GROUP: Final = policy.GROUP
PROXY_GROUP: Final = proxies.GROUP

_DATABASE_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.StrOpt(
        "connection",
        secret=True,
        help="URL of the database: sqlite:///FILE, postgresql+psycopg://USER:PASSWORD@HOST/NAME "
        "or mysql+pymysql://USER:PASSWORD@HOST/NAME.",
    ),
    cfg.StrOpt("connection_parameters", default="", help="More parameters for the URL: a=1&b=2."),
    cfg.BoolOpt(
        "sync_on_startup",
        default=False,
        help="Create or upgrade the schema whenever the service starts.",
    ),
    cfg.IntOpt("max_pool_size", min=0, help="Connections kept open per process; 0 means no limit."),
    cfg.IntOpt("max_overflow", help="Connections opened beyond max_pool_size under load."),
    cfg.IntOpt("pool_timeout", min=0, help="Seconds to wait for a free connection."),
    cfg.IntOpt(
        "connection_recycle_time",
        default=3600,
        help="Seconds after which a connection is replaced by a new one.",
    ),
    cfg.IntOpt(
        "max_retries",
        default=10,
        min=-1,
        help="How often to try to reach the database at start; -1 means until it is there.",
    ),
    cfg.IntOpt("retry_interval", default=10, min=0, help="Seconds between two such tries."),
    cfg.BoolOpt(
        "sqlite_synchronous",
        default=True,
        help="SQLite only: wait for the disk at every commit. Without it a power cut loses commits.",
    ),
    cfg.StrOpt("mysql_sql_mode", default="TRADITIONAL", help="MySQL and MariaDB only: their SQL mode."),
    cfg.StrOpt("slave_connection", secret=True, help=no_effect(DATABASE_GROUP, "slave_connection")),
    cfg.IntOpt(
        "connection_debug",
        default=0,
        min=0,
        max=100,
        help="50 and more logs SQL statements, 100 their results as well. Both tell what is in the "
        "database, and both are slow.",
    ),
    cfg.BoolOpt("connection_trace", default=False, help=no_effect(DATABASE_GROUP, "connection_trace")),
]

_API_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.StrOpt(
        "auth_strategy",
        default=KEYSTONE,
        choices=[KEYSTONE, NOAUTH, TOKEN],
        deprecated_group="DEFAULT",
        help="Who vouches for a token: keystone; token for those that moorage token gives out, which is our "
        "own; or noauth2, which believes every client and is meant for loopback only.",
    ),
]

_PLACEMENT_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.BoolOpt(
        "randomize_allocation_candidates",
        default=False,
        help="Shuffle the candidates before a limit cuts them off, instead of keeping their order.",
    ),
    cfg.StrOpt(
        "incomplete_consumer_project_id",
        default=NO_INDIVIDUAL,
        help="Project of consumers whose client is too old to name one.",
    ),
    cfg.StrOpt(
        "incomplete_consumer_user_id",
        default=NO_INDIVIDUAL,
        help="User of consumers whose client is too old to name one.",
    ),
    cfg.IntOpt(
        "allocation_conflict_retry_count",
        default=10,
        min=0,
        help=no_effect(PLACEMENT_GROUP, "allocation_conflict_retry_count"),
    ),
    cfg.IntOpt(
        "max_allocation_candidates",
        default=-1,
        help="Upper bound of the candidates generated for one request; -1 means none.",
    ),
    cfg.StrOpt(
        "allocation_candidates_generation_strategy",
        default="depth-first",
        choices=["depth-first", "breadth-first"],
        help="depth-first takes all candidates of one tree before the next tree's; breadth-first "
        "takes one of each tree in turn.",
    ),
]

_WORKAROUNDS_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.BoolOpt(
        "optimize_for_wide_provider_trees",
        default=False,
        help=no_effect(WORKAROUNDS_GROUP, "optimize_for_wide_provider_trees"),
    ),
]

_MOORAGE_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.IntOpt(
        "search_step_limit",
        default=DEFAULT_STEP_LIMIT,
        min=-1,
        help="Steps that one request for allocation candidates may take: blocks of providers looked "
        "at, trees looked into, placements tried, providers named in candidates. It bounds time and "
        "memory of requests that are combinatorial by nature; -1 means no bound.",
    ),
    cfg.StrOpt(
        "search_limit_action",
        default="error",
        choices=["error", "truncate"],
        help="What becomes of a request that needs more steps: error refuses it (400), truncate "
        "answers with the candidates found so far.",
    ),
    cfg.IntOpt(
        "search_kept_candidates",
        default=DEFAULT_KEPT_CANDIDATES,
        min=0,
        help="Candidates that each worker process keeps, with their answers, until something changes: "
        "whoever asks the same meanwhile is given the same. Some 2 kB each; 0 keeps none.",
    ),
    *WRITE_OPTIONS,
    *LIMIT_OPTIONS,
    *WATCH_OPTIONS,
]

_DEFAULT_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.BoolOpt(
        "log_options",
        default=True,
        help="With debug: log the value of every option at start. Secret ones are masked.",
    ),
    *PATH_OPTIONS,
]

OPTIONS: Final[Mapping[str, Sequence[cfg.Opt]]] = {
    DEFAULT_GROUP: _DEFAULT_OPTIONS,
    DATABASE_GROUP: _DATABASE_OPTIONS,
    API_GROUP: _API_OPTIONS,
    PLACEMENT_GROUP: _PLACEMENT_OPTIONS,
    WORKAROUNDS_GROUP: _WORKAROUNDS_OPTIONS,
    MOORAGE_GROUP: _MOORAGE_OPTIONS,
}
"""Every option that is read here, by group."""

LIBRARY_OPTIONS: Final[Mapping[str, Sequence[cfg.Opt]]] = {
    DEFAULT_GROUP: logs.OPTIONS,
    PROXY_GROUP: proxies.OPTIONS,
    CORS_GROUP: cors.OPTIONS,
    POLICY_GROUP: policy.OPTIONS,
}
"""Options that are read by libraries, by group. They can be set in the same places."""

_KNOWN: Final[Mapping[str, Sequence[cfg.Opt]]] = {
    group: (*OPTIONS.get(group, ()), *LIBRARY_OPTIONS.get(group, ()))
    for group in {**OPTIONS, **LIBRARY_OPTIONS}
}

_BAD_VALUE: Final = re.compile(
    r"Value for option \S+ from LocationInfo\(.*detail='(?P<source>.*)'\) is not valid: (?P<reason>.*)"
)

Overrides = Mapping[tuple[str, str], str]
"""Values from the command line by (group, option)."""


def variable_name(group: str, option: str) -> str:
    """Name of the environment variable that goes before all others for this option."""
    return f"{LONG_PREFIX}{group.upper()}__{option.upper()}"


def told_config_file(given: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The file that the command line or the environment names; None if they name none.

    A directory counts only through ``OS_PLACEMENT_CONFIG_DIR``. Raises ConfigurationError if
    the file is not there.
    """
    directory = environment.get(CONFIG_DIRECTORY_VARIABLE, "").strip()
    if given is not None:
        path, told_by = given, "--config-file"
    elif directory:
        path, told_by = Path(directory) / CONFIG_FILE_NAME, CONFIG_DIRECTORY_VARIABLE
    else:
        return None
    if not path.is_file():
        raise ConfigurationError(f"The configuration file {path} ({told_by}) does not exist.")
    return path


def config_files_of_process(environment: Mapping[str, str]) -> list[Path]:
    """Files for a WSGI server's process: those told, or else those in oslo.config's usual places.

    The usual places are ``~/.placement``, ``~``, ``/etc/placement`` and ``/etc``.
    """
    if CONFIG_FILE_VARIABLE in environment:
        handed = environment[CONFIG_FILE_VARIABLE]
        return [Path(handed)] if handed else []
    told = told_config_file(None, environment)
    if told is not None:
        return [told]
    return [Path(found) for found in cfg.find_config_files(project=PROJECT)]


def config_directories(given: Path | None, environment: Mapping[str, str], *, usual: bool) -> list[Path]:
    """Directories whose files ``*.conf`` count: the one told, or else the usual ones if ``usual``.

    The usual ones are ``placement.conf.d`` in the usual places. Raises ConfigurationError if the
    directory is not there.
    """
    if given is None and CONFIG_PARTS_VARIABLE in environment:
        handed = environment[CONFIG_PARTS_VARIABLE]
        return [Path(handed)] if handed else []
    if given is not None:
        if not given.is_dir():
            raise ConfigurationError(f"The configuration directory {given} (--config-dir) does not exist.")
        return [given]
    return [Path(found) for found in cfg.find_config_dirs(project=PROJECT)] if usual else []


def read_options(
    config_files: Sequence[Path] = (),
    overrides: Overrides | None = None,
    environment: Mapping[str, str] | None = None,
    config_directories: Sequence[Path] = (),
) -> cfg.ConfigOpts:
    """All options with their values, checked.

    What the files ``*.conf`` of ``config_directories`` say counts for more than ``config_files``.
    Raises ConfigurationError for a file that cannot be read or a value that cannot be.
    ``environment`` defaults to the process's; oslo.config reads its own variables from there
    in any case.
    """
    conf = registered()
    try:
        conf(
            args=[],
            project=PROJECT,
            default_config_files=[str(path) for path in config_files],
            default_config_dirs=[str(path) for path in config_directories],
        )
    except cfg.Error as error:
        raise ConfigurationError(f"The configuration cannot be read: {_one_line(error)}") from error
    complete(conf, overrides, environment)
    return conf


def registered() -> cfg.ConfigOpts:
    """All options, without values yet."""
    conf = cfg.ConfigOpts()
    for group, options in _KNOWN.items():
        conf.register_opts(options, group=_in_oslo(group))
    return conf


def complete(
    conf: cfg.ConfigOpts,
    overrides: Overrides | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Add what the environment and the command line say to what the files say, and check it all.

    Raises ConfigurationError.
    """
    environment = os.environ if environment is None else environment
    for group, options in _KNOWN.items():
        for option in options:
            variable = variable_name(group, option.dest)
            if variable in environment:
                _override(conf, group, option.dest, environment[variable], variable)
    for (group, name), value in (overrides or {}).items():
        _override(conf, group, name, literal(value), f"[{group}] {name}")
    for group, options in _KNOWN.items():
        for option in options:
            value_of(conf, group, option.dest)


def override_from(conf: cfg.ConfigOpts, group: str, environment: Mapping[str, str]) -> None:
    """Set the options of a group that have a long variable. Raises ConfigurationError."""
    for name in conf[group]:
        variable = variable_name(group, name)
        if variable in environment:
            _override(conf, group, name, environment[variable], variable)


def value_of(conf: cfg.ConfigOpts, group: str, name: str) -> Any:
    """Value of one option. Raises ConfigurationError for a value that is not of its type."""
    try:
        return conf[name] if group == DEFAULT_GROUP else conf[group][name]
    except (cfg.Error, ValueError) as error:
        found = _BAD_VALUE.match(_one_line(error))
        reason = f"{found['reason']} (set by {found['source']})" if found else _one_line(error)
        raise ConfigurationError(f"[{group}] {name}: {reason}") from error


def literal(value: str) -> str:
    """``value`` so written that oslo.config does not take ``$`` in it for a reference."""
    return value.replace("$", "$$")


def is_set(conf: cfg.ConfigOpts, group: str, name: str) -> bool:
    """Whether anyone gave this option a value, so that it is not merely the default."""
    location = conf.get_location(name, _in_oslo(group))
    return location is not None and location.location is not cfg.Locations.opt_default


def ineffective(conf: cfg.ConfigOpts) -> list[str]:
    """A line for every option that somebody has set and that does nothing here."""
    return [
        f"[{group}] {name} has no effect: {reason}"
        for (group, name), reason in REASONS.items()
        if is_set(conf, group, name)
    ]


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Our own options as oslo-config-generator wants them."""
    return [(group, options) for group, options in OPTIONS.items()]


def _in_oslo(group: str) -> str | None:
    """What oslo.config calls a group: for it, [DEFAULT] is none."""
    return None if group == DEFAULT_GROUP else group


def _override(conf: cfg.ConfigOpts, group: str, name: str, value: str, source: str) -> None:
    several = any(option.dest == name and option.multi for option in _KNOWN.get(group, ()))
    try:
        conf.set_override(name, [value] if several else value, group=_in_oslo(group))
    except ValueError as error:
        raise ConfigurationError(f"{source}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
