"""Counts and times of requests and of the service, in the instruments of prometheus_client.

With several worker processes, prometheus_client keeps them in files of the directory that
``PROMETHEUS_MULTIPROC_DIR`` names, and any process can add them up. It reads that variable when it is first
imported, so the variable must be set before this module is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from moorage.api.http.observer import Ended
from moorage.api.placement.versions import spelled
from moorage.service.observer import Setback, Stage
from moorage.telemetry import table
from moorage.telemetry.table import Metric, MetricKind


class _Counting(Protocol):
    def inc(self, amount: float = 1) -> None: ...


class _Observing(Protocol):
    def observe(self, amount: float) -> None: ...


def _instrument(metric: Metric, registry: CollectorRegistry) -> Any:
    if metric.kind is MetricKind.COUNTER:
        return Counter(metric.name, metric.about, metric.labels, registry=registry)
    if metric.kind is MetricKind.HISTOGRAM:
        return Histogram(metric.name, metric.about, metric.labels, buckets=metric.buckets, registry=registry)
    return Gauge(
        metric.name,
        metric.about,
        metric.labels,
        registry=registry,
        multiprocess_mode="liveall" if metric.per_process else "livesum",
    )


class Instruments:
    """Observes requests and the service of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        kept = {
            metric: _instrument(metric, registry)
            for metric in table.METRICS
            if metric.kind is not MetricKind.SAMPLED
        }
        self._requests = kept[table.REQUESTS]
        self._seconds = kept[table.REQUEST_SECONDS]
        # prometheus_client looks an instrument up by its labels at each call. The results are remembered
        # here: routes, versions and statuses are few.
        self._request_counts: dict[tuple[str, str, int | None, int], _Counting] = {}
        self._request_times: dict[tuple[str, str], _Observing] = {}
        self._stages = {stage: kept[table.STAGE_SECONDS].labels(stage.value) for stage in Stage}
        self._providers = kept[table.INDEX_PROVIDERS]
        self._revision = kept[table.INDEX_REVISION]
        self._builds = kept[table.INDEX_BUILD_SECONDS]
        self._group_writes = kept[table.GROUP_WRITES]
        self._commits = kept[table.COMMIT_SECONDS]
        self._waiting = kept[table.COMMIT_WAITING]
        self._unmet = kept[table.UNMET]
        self._reports = kept[table.REPORTS]
        self._actions = kept[table.FINDING_ACTIONS]
        self._watchers = kept[table.CHANGES_WATCHERS]
        self._dropped = kept[table.CHANGES_DROPPED]
        self._renewals = kept[table.LEASE_RENEWALS]
        self._expiries = kept[table.LEASE_EXPIRIES]
        self._setbacks = {reason: kept[table.SETBACKS].labels(reason.value) for reason in Setback}

    def request_begun(self, request_id: str, environ: Mapping[str, Any]) -> None:
        """See ``api.observer.Observer``."""

    def request_ended(self, ended: Ended) -> None:
        """See ``api.observer.Observer``."""
        counted = (ended.method, ended.route, ended.minor, ended.status)
        count = self._request_counts.get(counted)
        if count is None:
            version = "" if ended.minor is None else spelled(ended.minor)
            count = self._requests.labels(ended.method, ended.route, version, str(ended.status))
            self._request_counts[counted] = count
        count.inc()
        timed = (ended.method, ended.route)
        times = self._request_times.get(timed)
        if times is None:
            times = self._request_times[timed] = self._seconds.labels(*timed)
        times.observe(ended.seconds)

    def stage_ended(self, stage: Stage, seconds: float) -> None:
        """See ``service.observer.Observer``."""
        self._stages[stage].observe(seconds)

    def index_changed(self, revision: int, providers: int) -> None:
        """See ``service.observer.Observer``."""
        self._revision.set(revision)
        self._providers.set(providers)

    def index_built(self, seconds: float) -> None:
        """See ``service.observer.Observer``."""
        self._builds.observe(seconds)

    def group_ended(self, commands: int, waiting: int, seconds: float) -> None:
        """See ``service.observer.Observer``."""
        self._group_writes.observe(commands)
        self._waiting.set(waiting)
        self._commits.observe(seconds)

    def search_unmet(self, verdict: str) -> None:
        """See ``service.observer.Observer``."""
        self._unmet.labels(verdict).inc()

    def report_received(self, source: str, suspect: int) -> None:
        """See ``service.observer.Observer``."""
        self._reports.labels(source, "suspect" if suspect else "believed").inc()

    def finding_acted_on(self, kind: str, action: str, *, done: bool) -> None:
        """See ``service.observer.Observer``."""
        self._actions.labels(kind, action, "done" if done else "refused").inc()

    def group_set_back(self, reason: Setback) -> None:
        """See ``service.observer.Observer``."""
        self._setbacks[reason].inc()

    def watchers_changed(self, more: int) -> None:
        """See ``service.observer.Observer``."""
        self._watchers.inc(more)

    def watcher_dropped(self) -> None:
        """See ``service.observer.Observer``."""
        self._dropped.inc()

    def leases_renewed(self, count: int) -> None:
        """See ``service.observer.Observer``."""
        self._renewals.inc(count)

    def leases_expired(self, count: int) -> None:
        """See ``service.observer.Observer``."""
        self._expiries.inc(count)
