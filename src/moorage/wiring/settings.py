"""The settings of a command or a process: from options and the command line to values for the rooms."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg

from moorage.api.placement.settings import ApiSettings
from moorage.model.errors import ConfigurationError
from moorage.model.journal import JournalMode
from moorage.model.requests import SearchSettings
from moorage.model.valueclass import valueclass
from moorage.service.settings import ServiceSettings
from moorage.store.settings import SYNC_COMMAND, StoreSettings
from moorage.store.urls import with_parameters
from moorage.wiring import options, startable
from moorage.wiring.config_files import NOTHING, ConfigFiles, closed_places, find_config_files
from moorage.wiring.limits import ServerSettings, limits_from, server_from
from moorage.wiring.options import API_GROUP, DATABASE_GROUP, MOORAGE_GROUP, PLACEMENT_GROUP, value_of
from moorage.wiring.reports import audit_settings_from
from moorage.wiring.telemetry import (
    TelemetrySettings,
    telemetry_from,
)
from moorage.wiring.unknown_options import unread
from moorage.wiring.watchers import LISTEN, WatcherSettings, watchers_from
from moorage.wiring.writes import change_log_settings_from, commit_settings_from

DEFAULT_DATA_DIRECTORY: Final = Path("moorage-data")
"""Folder of the default database, relative to the working directory."""


EMBEDDED_FILE_NAME: Final = "moorage.sqlite"


WAYS_TO_NAME: Final = (
    "Name one with --database URL, with --data-dir DIRECTORY, or in a configuration: [placement_database] "
    "connection in a placement.conf (--config-file FILE) or OS_PLACEMENT_DATABASE__CONNECTION."
)


@valueclass(frozen=True, slots=True)
class Settings:
    """The values of the options, in the form for the rooms.

    ``conf`` is for libraries that read their own sections: policy, CORS. ``remarks`` name options without
    effect. ``profiles_file`` is the path of the file with orders of candidates, if there is one.
    """

    store: StoreSettings
    service: ServiceSettings
    api: ApiSettings
    conf: cfg.ConfigOpts
    sync_on_startup: bool = False
    server: ServerSettings = field(default_factory=ServerSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    remarks: tuple[str, ...] = field(default=(), compare=False)
    profiles_file: str | None = None
    watchers: WatcherSettings = field(default_factory=WatcherSettings)


@valueclass(frozen=True, slots=True)
class Chosen:
    """The configuration files and the database that a command line names.

    ``database`` is a URL; ``data_directory`` is the folder of an SQLite file. At most one of them is set, and
    overrides the configuration.
    """

    config_files: tuple[Path, ...] = ()
    config_directories: tuple[Path, ...] = ()
    database: str | None = None
    data_directory: Path | None = None

    def __str__(self) -> str:
        """The options on the command line, without a password; empty if there are none."""
        told = (
            *(("--config-file", str(path)) for path in self.config_files),
            *(("--config-dir", str(path)) for path in self.config_directories),
            *([] if self.database is None else [("--database", without_password(self.database))]),
            *([] if self.data_directory is None else [("--data-dir", str(self.data_directory))]),
        )
        return shlex.join(word for pair in told for word in pair)


@valueclass(frozen=True, slots=True)
class Resolved:
    """Settings for one command, and what another process needs to get the same settings.

    ``named_by`` is the option, file or variable that names the database; empty for the default. ``embedded``
    is True where the database is the default, or was named by its folder only. ``environment`` holds the
    variables by which ``settings_of_process`` returns the same settings. ``passed_over`` are configuration
    files that a sample does not use.
    """

    settings: Settings
    named_by: str
    embedded: bool
    environment: Mapping[str, str]
    files: ConfigFiles = NOTHING
    passed_over: ConfigFiles = NOTHING

    @property
    def named_by_file(self) -> bool:
        """Whether a configuration file names the database, so that other commands find it."""
        return bool(self.named_by) and not self.named_by.startswith(("--", "OS_"))


def resolve(
    chosen: Chosen,
    environment: Mapping[str, str] | None = None,
    *,
    serving: bool = False,
    sample: bool = False,
) -> Resolved:
    """Settings for a command; nothing is opened or created. Raises ConfigurationError.

    If no database is named, the default one is used if it exists. With ``serving`` it is used in any case,
    and a way to authenticate is selected: noauth2 without a configuration file, else that of the file.
    ``sample`` ignores configuration files that are only found in the usual places.
    """
    environment = os.environ if environment is None else environment
    told = (chosen.config_files, chosen.config_directories)
    files = find_config_files(*told, environment, usual=not sample)
    passed_over = NOTHING if files or not sample else find_config_files(*told, environment)
    conf, wrong = options.read(files, None, environment)
    try:
        named_by, url, embedded = _database(chosen, conf, files, environment, may_be_new=serving)
        if not named_by and not sample:
            _require_open_places()
    except ConfigurationError as error:
        # A missing database is reported together with all other errors.
        if serving:
            _require_startable(conf, environment, [*wrong, str(error)])
        raise
    overrides: dict[tuple[str, str], str] = {}
    if url is not None:
        overrides[DATABASE_GROUP, "connection"] = url
    if serving and not files and not options.is_set(conf, API_GROUP, "auth_strategy"):
        overrides[API_GROUP, "auth_strategy"] = options.NOAUTH
    if overrides:
        conf, wrong = options.read(files, overrides, environment)
    noted: tuple[str, ...] = ()
    if serving:
        # Report unusable settings here, not in each worker.
        _require_startable(conf, environment, wrong)
        noted = remarks_on(conf, files, environment)
    elif wrong:
        raise ConfigurationError("\n".join(wrong))
    handed = files.handed()
    for (group, name), value in overrides.items():
        handed[options.variable_name(group, name)] = options.literal(value)
    settings = settings_from(conf)
    store = replace(settings.store, sync_command=f"{SYNC_COMMAND} {chosen}".rstrip())
    settings = replace(settings, store=store, remarks=noted)
    return Resolved(settings, named_by, embedded, handed, files, passed_over)


def _database(
    chosen: Chosen,
    conf: cfg.ConfigOpts,
    files: ConfigFiles,
    environment: Mapping[str, str],
    *,
    may_be_new: bool,
) -> tuple[str, str | None, bool]:
    """What names the database, its URL (None: the configuration's), and whether it is embedded.

    Raises ConfigurationError if no existing database is named (with ``may_be_new``: none that can be
    created).
    """
    if chosen.database is not None:
        return "--database", chosen.database, False
    if chosen.data_directory is not None:
        return "--data-dir", embedded_url(chosen.data_directory), True
    if options.is_set(conf, DATABASE_GROUP, "connection"):
        origin = options.origin(conf, DATABASE_GROUP, "connection", environment)
        if not value_of(conf, DATABASE_GROUP, "connection"):
            raise ConfigurationError(f"[placement_database] connection is empty ({origin}). {WAYS_TO_NAME}")
        return origin, None, False
    if files:
        raise ConfigurationError(f"The configuration ({files}) names no database. {WAYS_TO_NAME}")
    default = DEFAULT_DATA_DIRECTORY / EMBEDDED_FILE_NAME
    if not may_be_new and not default.exists():
        raise ConfigurationError(
            f"No database is named, and the default one ({default}) does not exist here. {WAYS_TO_NAME}"
        )
    return "", embedded_url(DEFAULT_DATA_DIRECTORY), True


def _require_open_places() -> None:
    """Raises ConfigurationError if a usual place of placement.conf is not readable for this user.

    The service may read a placement.conf there, and use another database than the command.
    """
    closed = closed_places()
    if closed:
        raise ConfigurationError(
            f"No database is named, and {closed[0]}, where a placement.conf may name one, is not readable "
            f"for this user. {WAYS_TO_NAME}"
        )


def settings_of_process(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings for a WSGI server's process, from its environment. Raises ConfigurationError."""
    environment = os.environ if environment is None else environment
    files = find_config_files(environment=environment)
    conf, wrong = options.read(files, None, environment)
    _require_startable(conf, environment, wrong)
    return replace(settings_from(conf), remarks=remarks_on(conf, files, environment))


def _require_startable(conf: cfg.ConfigOpts, environment: Mapping[str, str], wrong: Sequence[str]) -> None:
    """Raises ConfigurationError with ``wrong`` and all other errors, a line for each."""
    found = dict.fromkeys([*wrong, *startable.problems(conf, environment)])
    if found:
        raise ConfigurationError("\n".join(found))


def remarks_on(conf: cfg.ConfigOpts, files: ConfigFiles, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Remarks on a configuration: options without effect, and faults that do not prevent a start."""
    names = startable.known_names(conf)
    return (*options.ineffective(conf), *unread(files, environment, names), *startable.remarks(conf))


def embedded_url(directory: Path) -> str:
    """URL of the embedded database in ``directory``."""
    return f"sqlite:///{directory.resolve() / EMBEDDED_FILE_NAME}"


def settings_from(conf: cfg.ConfigOpts) -> Settings:
    """The options in the form for the rooms. Raises ConfigurationError if no database is named."""

    def database(name: str) -> Any:
        return value_of(conf, DATABASE_GROUP, name)

    def placement(name: str) -> Any:
        return value_of(conf, PLACEMENT_GROUP, name)

    def moorage(name: str) -> Any:
        return value_of(conf, MOORAGE_GROUP, name)

    url = database("connection")
    if not url:
        raise ConfigurationError(
            "No database: set connection in [placement_database], or "
            "OS_PLACEMENT_DATABASE__CONNECTION in the environment."
        )
    return Settings(
        store=StoreSettings(
            url=with_parameters(url, database("connection_parameters")),
            max_pool_size=database("max_pool_size"),
            max_overflow=database("max_overflow"),
            pool_timeout_seconds=database("pool_timeout"),
            recycle_seconds=database("connection_recycle_time"),
            connect_retries=database("max_retries"),
            connect_retry_seconds=database("retry_interval"),
            sqlite_synchronous_full=database("sqlite_synchronous"),
            mysql_sql_mode=database("mysql_sql_mode"),
            journal=JournalMode(moorage("journal")),
        ),
        service=ServiceSettings(
            search=SearchSettings(
                max_candidates=placement("max_allocation_candidates"),
                breadth_first=placement("allocation_candidates_generation_strategy") == "breadth-first",
                randomize=placement("randomize_allocation_candidates"),
                step_limit=moorage("search_step_limit"),
                truncate=moorage("search_limit_action") == "truncate",
                kept_bytes=moorage("search_kept_bytes"),
            ),
            commit=commit_settings_from(moorage),
            change_log=change_log_settings_from(moorage),
            changes_waiters=moorage("changes_waiters"),
            changes_elsewhere=moorage(LISTEN),
            unmet_kept=moorage("unmet_kept"),
            candidate_order=moorage("candidate_order") or None,
            audit=audit_settings_from(moorage),
        ),
        api=ApiSettings(
            incomplete_consumer_project_id=placement("incomplete_consumer_project_id"),
            incomplete_consumer_user_id=placement("incomplete_consumer_user_id"),
            limits=limits_from(moorage),
        ),
        conf=conf,
        sync_on_startup=database("sync_on_startup"),
        server=server_from(moorage),
        telemetry=telemetry_from(moorage),
        profiles_file=moorage("profiles_file") or None,
        watchers=watchers_from(moorage),
    )


def without_password(url: str) -> str:
    """A database URL that may be shown: the password is replaced by stars."""
    scheme, separator, rest = url.partition("://")
    people, at, place = rest.rpartition("@")
    if not at:
        return url
    user, colon, _ = people.partition(":")
    return f"{scheme}{separator}{user}{':***' if colon else ''}@{place}"
