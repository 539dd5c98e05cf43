"""The options of placement.conf, under the names that operators of Placement know.

Where an option is set in several places, the first of these counts:

1. the command line (``overrides``),
2. ``OS_PLACEMENT_<GROUP>__<OPTION>``, for example ``OS_PLACEMENT_API__AUTH_STRATEGY``,
3. ``OS_<GROUP>__<OPTION>``, which oslo.config reads by itself, for example
   ``OS_PLACEMENT_DATABASE__CONNECTION`` (the group is ``placement_database``),
4. the files of the folder of parts (``placement.conf.d``), the last by name first,
5. the configuration file,
6. the default.

``config_files`` says which file and which folder these are.

Sections and options that are not listed here are tolerated: a placement.conf also configures other libraries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from oslo_config import cfg

from moorage.api.http import cors, proxies
from moorage.auth import policy
from moorage.model.errors import ConfigurationError
from moorage.model.requests import DEFAULT_KEPT_BYTES, DEFAULT_STEP_LIMIT
from moorage.model.unmet import DEFAULT_UNMET_KEPT
from moorage.wiring import logs
from moorage.wiring.config_files import NOTHING, PROJECT, ConfigFiles
from moorage.wiring.kept_options import DEFAULT_GROUP, PATH_OPTIONS, REASONS, no_effect
from moorage.wiring.limits import LIMIT_OPTIONS
from moorage.wiring.reports import REPORT_OPTIONS
from moorage.wiring.telemetry import TELEMETRY_OPTIONS
from moorage.wiring.watchers import WATCHER_OPTIONS
from moorage.wiring.writes import WRITE_OPTIONS

LONG_PREFIX: Final = "OS_PLACEMENT_"
"""The prefix of ``<GROUP>__<OPTION>`` in the variables of Placement's own containers."""

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
        help="Attempts to reach the database at start; -1 means no limit.",
    ),
    cfg.IntOpt("retry_interval", default=10, min=0, help="Seconds between two such attempts."),
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
        help="50 and more logs SQL statements, 100 their results as well. Both write data of the "
        "database into the log, and both are slow.",
    ),
    cfg.BoolOpt("connection_trace", default=False, help=no_effect(DATABASE_GROUP, "connection_trace")),
]

_API_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.StrOpt(
        "auth_strategy",
        default=KEYSTONE,
        choices=[KEYSTONE, NOAUTH, TOKEN],
        deprecated_group="DEFAULT",
        help="How tokens are validated: keystone; token (Moorage's own), for tokens of moorage token; or "
        "noauth2, which trusts every client and is only for loopback.",
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
        help="Steps that one request for allocation candidates may take, each some quarter of a "
        "microsecond: filters over blocks of providers, trees looked into, placements tried, providers "
        "named and shown. It bounds time and memory of requests that are combinatorial by nature; -1 means "
        "no bound.",
    ),
    cfg.StrOpt(
        "search_limit_action",
        default="error",
        choices=["error", "truncate"],
        help="What to do with a request that needs more steps: error refuses it (400), truncate "
        "answers with the candidates found so far.",
    ),
    cfg.IntOpt(
        "search_kept_bytes",
        default=DEFAULT_KEPT_BYTES,
        min=0,
        help="Bytes of answers that each worker process keeps for equal requests until the data "
        "changes. An answer takes a quarter of it at most; 0 keeps none.",
    ),
    cfg.IntOpt(
        "unmet_kept",
        default=DEFAULT_UNMET_KEPT,
        min=0,
        help="Searches that found nothing which the database keeps with their reasons, the newest. The "
        "background explains five a second at most. 0 explains, counts and keeps none.",
    ),
    cfg.StrOpt(
        "profiles_file",
        help="A YAML file of orders of candidates by name, which requests may name. It is read again when it "
        "changes; while it cannot be understood, the previous profiles stay in force.",
    ),
    cfg.StrOpt(
        "candidate_order",
        help="The profile by which GET /allocation_candidates orders all candidates, the best first, so that "
        "a limit cuts off the worst. Requests below microversion 1.29 get no order.",
    ),
    cfg.ListOpt(
        "noauth_hosts",
        default=[],
        help="With noauth2: additional names of this service in the Host header, separated by commas; * is "
        "any. A request with another Host that is not an address or name of this machine gets 401, because a "
        "web page could send it through a browser on this machine. serve --insecure allows any.",
    ),
    cfg.BoolOpt(
        "console",
        default=True,
        help="Serve the console, pages for browsers, at /moorage/console/, and lead browsers that open / "
        "there. Its files need no token and show nothing of the account.",
    ),
    cfg.BoolOpt(
        "console_writes",
        default=False,
        help="The page Search of the console offers to claim what it finds, and others to decide about what "
        "they show. The policy decides as for any client. With noauth2, each client that reaches the service "
        "may do so.",
    ),
    cfg.BoolOpt(
        "self_service",
        default=False,
        help="Members of a project (role member) may search over the native API, claim for their own "
        "project, and hold leases. They may see, change and release its claims, and nothing of other "
        "projects. It changes the defaults of policy rules only: a policy file may say otherwise. All "
        "processes need the same value.",
    ),
    *WRITE_OPTIONS,
    *REPORT_OPTIONS,
    *WATCHER_OPTIONS,
    *LIMIT_OPTIONS,
    *TELEMETRY_OPTIONS,
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
"""All options of Moorage, by group."""

LIBRARY_OPTIONS: Final[Mapping[str, Sequence[cfg.Opt]]] = {
    DEFAULT_GROUP: logs.OPTIONS,
    PROXY_GROUP: proxies.OPTIONS,
    CORS_GROUP: cors.OPTIONS,
    POLICY_GROUP: policy.OPTIONS,
}
"""Options that libraries read, by group. They can be set in the same places."""

_KNOWN: Final[Mapping[str, Sequence[cfg.Opt]]] = {
    group: (*OPTIONS.get(group, ()), *LIBRARY_OPTIONS.get(group, ()))
    for group in {**OPTIONS, **LIBRARY_OPTIONS}
}

Overrides = Mapping[tuple[str, str], str]
"""Values from the command line by (group, option)."""


def variable_name(group: str, option: str) -> str:
    """Name of the environment variable that overrides all others for this option."""
    return f"{LONG_PREFIX}{group.upper()}__{option.upper()}"


def read_options(
    files: ConfigFiles = NOTHING,
    overrides: Overrides | None = None,
    environment: Mapping[str, str] | None = None,
) -> cfg.ConfigOpts:
    """All options with their values, checked.

    Raises ConfigurationError for an unreadable file or an invalid value. ``environment`` defaults to the
    process's; oslo.config reads its own variables from there in any case.
    """
    conf, wrong = read(files, overrides, environment)
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return conf


def read(
    files: ConfigFiles = NOTHING,
    overrides: Overrides | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[cfg.ConfigOpts, list[str]]:
    """As ``read_options``, with a line for each invalid value. Raises ConfigurationError for files."""
    conf = registered()
    read_into(conf, files)
    return conf, complete(conf, overrides, environment)


def read_into(conf: cfg.ConfigOpts, files: ConfigFiles, arguments: Sequence[str] = ()) -> None:
    """Read the files, and a command line in oslo.config's form. Raises ConfigurationError."""
    try:
        conf(
            args=list(arguments),
            project=PROJECT,
            default_config_files=[str(path) for path in files.files],
            default_config_dirs=[str(path) for path in files.directories],
        )
    except cfg.Error as error:
        raise ConfigurationError(f"The configuration cannot be read: {_one_line(error)}") from error


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
) -> list[str]:
    """Add the values of environment and command line to those of the files; returns all errors."""
    environment = os.environ if environment is None else environment
    wrong: list[str] = []

    def tried(action: Callable[[], object]) -> None:
        try:
            action()
        except ConfigurationError as error:
            wrong.append(str(error))

    given = [
        (group, option.dest, environment[variable], variable)
        for group, options in _KNOWN.items()
        for option in options
        if (variable := variable_name(group, option.dest)) in environment
    ]
    told = (overrides or {}).items()
    given += [(group, name, literal(value), f"[{group}] {name}") for (group, name), value in told]
    for each in given:
        tried(partial(_override, conf, *each))
    for group, options in _KNOWN.items():
        for option in options:
            tried(partial(value_of, conf, group, option.dest))
    return wrong


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
        raise ConfigurationError(f"[{group}] {name}: {_reason(_one_line(error))}") from error


def _reason(told: str) -> str:
    """The text of oslo.config about an invalid value, without the names of its classes."""
    _, detail, rest = told.partition("detail='")
    source, end, reason = rest.partition("') is not valid: ")
    return f"{reason} (set by {source})" if detail and end else told


def literal(value: str) -> str:
    """``value`` escaped so that oslo.config does not treat ``$`` as a reference."""
    return value.replace("$", "$$")


def is_set(conf: cfg.ConfigOpts, group: str, name: str) -> bool:
    """Whether this option was set, so that its value is not just the default."""
    location = conf.get_location(name, _in_oslo(group))
    return location is not None and location.location is not cfg.Locations.opt_default


def origin(conf: cfg.ConfigOpts, group: str, name: str, environment: Mapping[str, str]) -> str:
    """The source of an option's value: a file or an environment variable; empty for a default."""
    variable = variable_name(group, name)
    if variable in environment:
        return variable
    location = conf.get_location(name, _in_oslo(group))
    if location is None or location.location not in (cfg.Locations.user, cfg.Locations.environment):
        return ""
    return str(location.detail)


def ineffective(conf: cfg.ConfigOpts) -> list[str]:
    """A line for every option that is set and has no effect."""
    return [
        f"[{group}] {name} has no effect: {reason}"
        for (group, name), reason in REASONS.items()
        if is_set(conf, group, name)
    ]


def known() -> Mapping[str, Sequence[cfg.Opt]]:
    """Every option that can be set, of Moorage and of libraries, by group."""
    return _KNOWN


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Moorage's own options in the form for oslo-config-generator."""
    return [(group, options) for group, options in OPTIONS.items()]


def _in_oslo(group: str) -> str | None:
    """The name of a group in oslo.config, where [DEFAULT] is None."""
    return None if group == DEFAULT_GROUP else group


def _override(conf: cfg.ConfigOpts, group: str, name: str, value: str, source: str) -> None:
    several = any(option.dest == name and option.multi for option in _KNOWN.get(group, ()))
    try:
        conf.set_override(name, [value] if several else value, group=_in_oslo(group))
    except ValueError as error:
        raise ConfigurationError(f"{source}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
