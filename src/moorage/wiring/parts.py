"""The one place where the parts are put together: options in, a service or an application out."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from moorage.api.console import application as console
from moorage.api.http.cors import with_cors
from moorage.api.http.exchange import WsgiApplication
from moorage.api.http.proxies import behind_proxy
from moorage.api.native import application as native_application
from moorage.api.native.kept_explanations import KeptForms
from moorage.api.native.problems import ROOT
from moorage.api.placement import application as placement_application
from moorage.api.placement.query import newest_request
from moorage.api.placement.settings import ApiSettings
from moorage.model.errors import MissingFileError
from moorage.service.facade import Service
from moorage.store.leases import LeaseTable
from moorage.store.reports import ReportTable
from moorage.store.store import Store
from moorage.store.waiting import explained
from moorage.telemetry.sources import Sources
from moorage.wiring import access, logs
from moorage.wiring.options import DATABASE_GROUP, MOORAGE_GROUP, value_of
from moorage.wiring.policy import policy_of
from moorage.wiring.profiles import profiles_from
from moorage.wiring.settings import Settings
from moorage.wiring.telemetry import (
    DIRECTORY_VARIABLE,
    Telemetry,
    serve_metrics,
    shared_directory,
)

NEW_OBJECTS: Final = 10_000
"""New objects after which Python collects garbage among them. Requests in flight have thousands of objects,
and leave no cycles behind. Python's default of 700 takes 3 % of a busy worker."""

_log = logging.getLogger(__name__)


@contextmanager
def opened_store(settings: Settings, *, looks_only: bool = False) -> Iterator[Store]:
    """The store, closed at the end. ``looks_only``: nothing will be written.

    Raises UnusableDatabaseError in place of each driver's error, with the reason and the remedy.
    """
    store = Store(replace(settings.store, looks_only=looks_only))
    try:
        yield store
    except Exception as error:
        reason = explained(error, store.engines.single.url)
        if reason is error:
            raise
        raise reason from error
    finally:
        store.close()


@contextmanager
def opened_service(settings: Settings, *, migrate: bool, looks_only: bool = False) -> Iterator[Service]:
    """A service for one command, closed at the end. Raises SchemaError, UnavailableError.

    With ``looks_only`` nothing is written, not even a schema or standard names.
    """
    with opened_store(settings, looks_only=looks_only) as store:
        if looks_only:
            store.patiently(store.check_schema)
        else:
            tell_completed(prepare(store, migrate=migrate, settings=settings.api))
        service = Service(store, settings.service)
        try:
            yield service
        finally:
            service.close()


def synchronise(store: Store, settings: ApiSettings) -> list[str]:
    """As ``prepare`` with ``migrate``, for a database that another program may have written to meanwhile.

    Its journal has no record of that, so that a new history begins. Raises what ``prepare`` raises.
    """
    was_ours = False
    with suppress(MissingFileError):
        was_ours = store.patiently(store.schema_version) is not None
    completed = prepare(store, migrate=True, settings=settings)
    if was_ours:
        store.patiently(store.new_history)
    return completed


def prepare(store: Store, *, migrate: bool, settings: ApiSettings | None = None) -> list[str]:
    """Bring schema, standard names and incomplete rows up to date, or only check them if not ``migrate``.

    Returns what was completed, in words.

    Waits for the database as long as its settings say. Raises SchemaError for an unsuitable schema that must
    not be changed, UnavailableError if the database stays unreachable.
    """
    store.patiently(store.migrate if migrate else store.check_schema)
    store.patiently(store.synchronise_names)
    if migrate:
        return heal(store, settings or ApiSettings())
    store.patiently(store.check_rows)
    return []


def heal(store: Store, settings: ApiSettings) -> list[str]:
    """Complete the rows that an old Placement left incomplete; a line for each sort of them."""
    owners = (settings.incomplete_consumer_project_id, settings.incomplete_consumer_user_id)
    found = store.patiently(lambda: store.heal(*owners))
    return [f"Completed: {count} {sort}." for sort, count in found.items()]


def tell_completed(lines: Iterable[str]) -> None:
    """Log what was completed in the database."""
    for line in lines:
        _log.warning("%s", line)


def set_up_logs(settings: Settings) -> None:
    """Send this process's log where its options say. For processes that serve."""
    conf = settings.conf
    logs.set_up(conf, settings.remarks, value_of(conf, DATABASE_GROUP, "connection_debug"))


FREED_BYTES: Final = 31 << 20
"""A little less than the largest bound that glibc sets itself."""


def keep_freed_memory() -> None:
    """Let the process keep memory that large arrays have freed, since the next search takes as much.

    glibc gives blocks above a bound back at once, and each search would wait for their pages again. Freeing a
    large block raises that bound.
    """
    bytearray(FREED_BYTES)


def build_application(
    settings: Settings,
    *,
    prepared: bool = False,
    listens: bool = False,
    ending: threading.Event | None = None,
) -> WsgiApplication:
    """The whole application for one process, for as long as the process lives.

    ``prepared``: another process has synchronised schema and names. ``listens``: this process opens the
    address for metrics, or takes it over from a process that ends. ``ending`` is set once the process ends.
    """
    keep_freed_memory()
    telemetry = Telemetry(settings.telemetry)
    policy = policy_of(settings.conf)
    profiles = profiles_from(settings.profiles_file, settings.service.candidate_order)
    store = Store(settings.store)
    try:
        authenticator = access.build_authenticator(settings.conf, store)
        if prepared:
            store.patiently(store.check_schema)
            store.patiently(store.check_rows)
        else:
            tell_completed(prepare(store, migrate=settings.sync_on_startup, settings=settings.api))
        service = Service(store, settings.service, telemetry.service, KeptForms(), profiles, ending)
        store.patiently(service.warm_up)
        service.start_upkeep()
        # The present objects stay. Without this, each collection of garbage would scan them in vain, and
        # delay a request by tens of milliseconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
    except BaseException:
        store.close()
        raise
    placement = placement_application.create(service, settings.api, authenticator, policy, telemetry.requests)
    native = native_application.create(
        service, newest_request, settings.api.limits, authenticator, policy, telemetry.requests
    )

    def reachable(application: WsgiApplication) -> WsgiApplication:
        return behind_proxy(with_cors(application, settings.conf), settings.conf)

    sources = Sources(service.revision, service.totals, service.reports.figures, service.leases.counts)
    below = {ROOT: reachable(native)}
    at: dict[str, WsgiApplication] = {}
    placed = reachable(placement)
    if value_of(settings.conf, MOORAGE_GROUP, "console"):
        below[console.PATH] = console.Console(
            access.strategy(settings.conf), writes=value_of(settings.conf, MOORAGE_GROUP, "console_writes")
        )
        at = dict.fromkeys(("", "/"), console.Door(placed))
    return telemetry.front(placed, service.check_ready, sources, listens=listens, below=below, at=at)


def serve_metrics_of_workers(settings: Settings) -> dict[str, str]:
    """Serve the metrics of worker processes from this process, which manages them.

    Returns the environment that the workers need. Raises ConfigurationError.
    """
    if not settings.telemetry.has_metrics:
        return {}
    directory = shared_directory(os.environ)
    store = Store(replace(settings.store, max_pool_size=1))
    sources = Sources(store.revision, store.totals, ReportTable(store).figures, LeaseTable(store).counts)
    serve_metrics(settings.telemetry, directory, store.check_ready, sources)
    return {DIRECTORY_VARIABLE: str(directory)}
