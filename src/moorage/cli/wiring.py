"""The one place where the parts are put together: options in, a service or an application out."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg

from moorage.api import application as api_application
from moorage.api.cors import with_cors
from moorage.api.proxies import behind_proxy
from moorage.api.settings import ApiSettings
from moorage.auth.policy import OsloPolicy
from moorage.cli import access, logs, options
from moorage.cli.limits import ServerSettings, limits_from, server_from
from moorage.cli.options import API_GROUP, DATABASE_GROUP, MOORAGE_GROUP, PLACEMENT_GROUP, value_of
from moorage.cli.watching import (
    DIRECTORY_VARIABLE,
    Watch,
    WatchSettings,
    serve_metrics,
    shared_directory,
    watch_from,
)
from moorage.cli.writes import change_log_settings_from, commit_settings_from
from moorage.model.errors import ConfigurationError, MoorageError
from moorage.model.requests import SearchSettings
from moorage.model.valueclass import valueclass
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from moorage.watch.health import HEALTH_PATH, READINESS_PATH, Front, healthy, not_ready
from moorage.watch.sources import Sources

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

DEFAULT_DATA_DIRECTORY: Final = Path("moorage-data")
"""Where the embedded database lives if nobody names a database, relative to the working directory."""

EMBEDDED_FILE_NAME: Final = "moorage.sqlite"

RETRY_AFTER_SECONDS: Final = 5
"""When a client may ask again while the service cannot start: about one try to reach a database."""

NEW_OBJECTS: Final = 10_000
"""After how many more objects Python looks for garbage among the new ones. Requests in flight have thousands,
and leave no cycles behind: to look after every 700, as it does by itself, takes 3 % of a busy worker."""

_log = logging.getLogger(__name__)


@valueclass(frozen=True, slots=True)
class Settings:
    """What the options say, in the form in which the rooms take it.

    ``conf`` is for the libraries that read their own sections: policy, CORS.
    """

    store: StoreSettings
    service: ServiceSettings
    api: ApiSettings
    conf: cfg.ConfigOpts
    sync_on_startup: bool = False
    server: ServerSettings = field(default_factory=ServerSettings)
    watch: WatchSettings = field(default_factory=WatchSettings)


@valueclass(frozen=True, slots=True)
class Chosen:
    """What a command was told on its command line.

    ``database`` is a URL; ``data_directory`` is where the embedded database goes if neither the
    command line nor the configuration names a database.
    """

    config_file: Path | None = None
    config_directory: Path | None = None
    database: str | None = None
    data_directory: Path = DEFAULT_DATA_DIRECTORY


@valueclass(frozen=True, slots=True)
class Resolved:
    """Settings for one command, and how another process arrives at the same ones.

    ``embedded`` is True where the database is the SQLite file that nobody asked for by name.
    ``environment`` holds the variables that make ``settings_of_process`` answer the same.
    """

    settings: Settings
    embedded: bool
    environment: Mapping[str, str]


def resolve(
    chosen: Chosen, environment: Mapping[str, str] | None = None, *, serving: bool = False
) -> Resolved:
    """Settings for a command of the command line. Raises ConfigurationError.

    Without a database the embedded one is taken, and its directory made. ``serving`` asks for a
    way to authenticate as well: noauth2 without a configuration file, else what the file says.
    """
    environment = os.environ if environment is None else environment
    config_file = options.told_config_file(chosen.config_file, environment)
    files = [config_file] if config_file else []
    overrides: dict[tuple[str, str], str] = {}
    if chosen.database is not None:
        overrides[DATABASE_GROUP, "connection"] = chosen.database
    directories = options.config_directories(chosen.config_directory, environment, usual=False)
    conf = options.read_options(files, overrides, environment, directories)
    embedded = not value_of(conf, DATABASE_GROUP, "connection")
    if embedded:
        overrides[DATABASE_GROUP, "connection"] = embedded_url(chosen.data_directory)
    if serving and not files and not directories and not options.is_set(conf, API_GROUP, "auth_strategy"):
        overrides[API_GROUP, "auth_strategy"] = options.NOAUTH
    conf = options.read_options(files, overrides, environment, directories)
    if serving:
        # What cannot work shall be told of here, not by each worker.
        access.check(conf, environment)
    handed = {
        options.CONFIG_FILE_VARIABLE: str(config_file.resolve()) if config_file else "",
        options.CONFIG_PARTS_VARIABLE: str(directories[0].resolve()) if directories else "",
    }
    for (group, name), value in overrides.items():
        handed[options.variable_name(group, name)] = options.literal(value)
    return Resolved(settings_from(conf), embedded, handed)


def settings_of_process(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings for a WSGI server's process, from its environment. Raises ConfigurationError."""
    environment = os.environ if environment is None else environment
    conf = options.read_options(
        options.config_files_of_process(environment),
        None,
        environment,
        options.config_directories(None, environment, usual=True),
    )
    access.check(conf, environment)
    return settings_from(conf)


def embedded_url(directory: Path) -> str:
    """URL of the embedded database in ``directory``, which is made if it is not there.

    Raises ConfigurationError if it cannot be.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The data directory {directory} cannot be made: {error.strerror}."
        ) from error
    return f"sqlite:///{directory.resolve() / EMBEDDED_FILE_NAME}"


def settings_from(conf: cfg.ConfigOpts) -> Settings:
    """The options as the rooms take them. Raises ConfigurationError if no database is named."""

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
        ),
        service=ServiceSettings(
            search=SearchSettings(
                max_candidates=placement("max_allocation_candidates"),
                breadth_first=placement("allocation_candidates_generation_strategy") == "breadth-first",
                randomize=placement("randomize_allocation_candidates"),
                step_limit=moorage("search_step_limit"),
                truncate=moorage("search_limit_action") == "truncate",
                kept_candidates=moorage("search_kept_candidates"),
            ),
            commit=commit_settings_from(moorage),
            change_log=change_log_settings_from(moorage),
        ),
        api=ApiSettings(
            incomplete_consumer_project_id=placement("incomplete_consumer_project_id"),
            incomplete_consumer_user_id=placement("incomplete_consumer_user_id"),
            limits=limits_from(moorage),
        ),
        conf=conf,
        sync_on_startup=database("sync_on_startup"),
        server=server_from(moorage),
        watch=watch_from(moorage),
    )


def with_parameters(url: str, parameters: str) -> str:
    """``url`` with ``parameters`` (``a=1&b=2``) after those that it has already."""
    if not parameters:
        return url
    return f"{url}{'&' if '?' in url else '?'}{parameters}"


@contextmanager
def opened_store(settings: Settings) -> Iterator[Store]:
    """The store, closed at the end."""
    store = Store(settings.store)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def opened_service(settings: Settings, *, migrate: bool) -> Iterator[Service]:
    """A service for one command, closed at the end. Raises SchemaError, UnavailableError."""
    with opened_store(settings) as store:
        prepare(store, migrate=migrate)
        service = Service(store, settings.service)
        try:
            yield service
        finally:
            service.close()


def prepare(store: Store, *, migrate: bool) -> None:
    """Bring schema and standard names up to date, or only check the schema if not ``migrate``.

    Waits for the database as long as its settings say. Raises SchemaError if the schema is not what
    is needed and may not be changed, UnavailableError if the database stays away.
    """
    store.patiently(store.migrate if migrate else store.check_schema)
    store.patiently(store.synchronise_names)


def set_up_logs(settings: Settings) -> None:
    """Send this process's log where its options say. For processes that serve."""
    conf = settings.conf
    logs.set_up(conf, options.ineffective(conf), value_of(conf, DATABASE_GROUP, "connection_debug"))


def build_application(
    settings: Settings, *, prepared: bool = False, listens: bool = False
) -> WsgiApplication:
    """The whole application for one process, for as long as the process lives.

    ``prepared``: someone else has synchronised schema and names already. ``listens``: it opens the
    address for metrics, or takes it over from a process that ends.
    """
    watch = Watch(settings.watch)
    policy = OsloPolicy(settings.conf)
    store = Store(settings.store)
    try:
        authenticator = access.build_authenticator(settings.conf, store)
        if prepared:
            store.patiently(store.check_schema)
        else:
            prepare(store, migrate=settings.sync_on_startup)
        service = Service(store, settings.service, watch.service)
        store.patiently(service.warm_up)
        service.start_upkeep()
        # What is there now stays: who looks through it for garbage, again and again, finds none,
        # and holds up a request for tens of milliseconds each time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
    except BaseException:
        store.close()
        raise
    application: WsgiApplication = api_application.create(
        service, settings.api, authenticator, policy, watch.requests
    )
    application = behind_proxy(with_cors(application, settings.conf), settings.conf)
    sources = Sources(service.revision, service.totals)
    return watch.front(application, service.check_ready, sources, listens=listens)


def watch_workers(settings: Settings) -> dict[str, str]:
    """Serve the figures of worker processes from this one, which is over them.

    Returns the environment that the workers need. Raises ConfigurationError.
    """
    if not settings.watch.has_metrics:
        return {}
    directory = shared_directory(os.environ)
    store = Store(replace(settings.store, max_pool_size=1))
    serve_metrics(settings.watch, directory, store.revision, Sources(store.revision, store.totals))
    return {DIRECTORY_VARIABLE: str(directory)}


class LazyApplication:
    """An application that is built at a process's first request.

    A WSGI server may import the module, then fork: connections and threads made before the fork
    would be shared or lost, so they are made after it, once per process. Until then it says itself
    that it lives, and that it is not ready: who asks that has it built, and need not wait for it.
    """

    def __init__(self, build: Callable[[], WsgiApplication]) -> None:
        self._build = build
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._built: WsgiApplication | None = None
        self._beginning = threading.Lock()
        self._building: threading.Thread | None = None
        self._trouble = ""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        built = self._built
        if built is None and environ.get("PATH_INFO") in (HEALTH_PATH, READINESS_PATH):
            own = {HEALTH_PATH: healthy, READINESS_PATH: self._unready}
            return Front(self._unready, own)(environ, start_response)
        if built is None:
            try:
                built = self._build_once()
            except Exception:  # noqa: BLE001 - whatever it is, the server must go on
                _log.exception("The service cannot start.")
                start_response(
                    "503 Service Unavailable",
                    [("Content-Type", "text/plain"), ("Retry-After", str(RETRY_AFTER_SECONDS))],
                )
                return [b"The service cannot start now; its log says why.\n"]
        return built(environ, start_response)

    def _unready(self, _environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._beginning:
            if self._building is None or not self._building.is_alive():
                self._building = threading.Thread(target=self._try, daemon=True, name="start")
                self._building.start()
        return not_ready(start_response, [self._trouble or "it is starting"])

    def _try(self) -> None:
        try:
            self._build_once()
        except MoorageError as error:
            self._trouble = str(error)
        except Exception:  # noqa: BLE001 - the server goes on, and says so to whoever asks
            self._trouble = "it cannot start; its log says why"
            _log.exception("The service cannot start.")

    def _build_once(self) -> WsgiApplication:
        with self._lock:
            if self._built is None:
                self._built = self._build()
            return self._built
