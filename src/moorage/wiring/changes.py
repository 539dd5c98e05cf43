"""Puts together what the process needs that serves changes to many clients."""

from __future__ import annotations

import threading
from typing import Final

from moorage.api.http.cors import with_cors
from moorage.api.http.exchange import WsgiApplication
from moorage.api.http.proxies import behind_proxy
from moorage.api.native import application as native_application
from moorage.api.native import changes
from moorage.api.native.problems import ROOT
from moorage.api.placement.query import newest_request
from moorage.model.journal import ChangePage, ChangeSelection
from moorage.model.valueclass import valueclass
from moorage.service.facade import Service
from moorage.service.observer import Observer
from moorage.service.watching import Following, IsGone, Watch, never
from moorage.store.leases import LeaseTable
from moorage.store.reports import ReportTable
from moorage.store.store import Store
from moorage.telemetry.health import nothing
from moorage.telemetry.sources import Sources
from moorage.wiring import access
from moorage.wiring.policy import policy_of
from moorage.wiring.settings import Settings
from moorage.wiring.telemetry import Telemetry

EMPTY: Final = ChangePage("", 0, 0, False, ())

ENDPOINTS: Final = tuple(each for each in changes.ENDPOINTS if each.handler is changes.list_)


class Unwatched(Watch):
    """Gives every client a place, and reads nothing: for a look whether a client may follow."""

    def follow(self, wanted: ChangeSelection, epoch: str | None, is_gone: IsGone = never) -> Following:
        """Pages that no client reads."""
        return Following(self, wanted, EMPTY, is_gone)

    def leave(self) -> None:
        """No client had a place."""


@valueclass(frozen=True, slots=True, eq=False)
class ChangesParts:
    """``heads`` answers requests, ``checks`` says whether it would; both are of the native API.

    ``watch`` has a place for each client.
    """

    store: Store
    watch: Watch
    heads: WsgiApplication
    checks: WsgiApplication
    observer: Observer | None


def build_changes(settings: Settings) -> ChangesParts:
    """All parts for one process, for as long as it lives. Another process has prepared the database.

    Raises SchemaError, UnavailableError.
    """
    telemetry = Telemetry(settings.telemetry)
    policy = policy_of(settings.conf)
    store = Store(settings.store)
    try:
        authenticator = access.build_authenticator(settings.conf, store)
        store.patiently(store.check_schema)
    except BaseException:
        store.close()
        raise
    never = threading.Event()
    watch = Watch(store, settings.watchers.watchers, never, telemetry.service, threads_wait=False)
    limits = settings.api.limits
    heads = native_application.create(
        Service(store, settings.service, watch=watch),
        newest_request,
        limits,
        authenticator,
        policy,
        telemetry.requests,
        ENDPOINTS,
    )
    checks = native_application.create(
        Service(store, settings.service, watch=Unwatched(store, 1, never)),
        newest_request,
        limits,
        authenticator,
        policy,
        endpoints=ENDPOINTS,
    )
    front = telemetry.front(
        nothing,
        store.check_ready,
        Sources(store.revision, store.totals, ReportTable(store).figures, LeaseTable(store).counts),
        listens=False,
        below={ROOT: behind_proxy(with_cors(heads, settings.conf), settings.conf)},
    )
    return ChangesParts(store, watch, front, behind_proxy(checks, settings.conf), telemetry.service)
