"""Metrics as Prometheus fetches them: the figures of all processes, and gauges looked up at each scrape."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import mark_process_dead

import moorage
from moorage.model.errors import MoorageError
from moorage.model.leases import TIMED, LeaseState
from moorage.model.reports import KINDS
from moorage.model.values import ClassTotal
from moorage.telemetry import table
from moorage.telemetry.figures import GONE, figures_in
from moorage.telemetry.folding import ProcessFigures
from moorage.telemetry.sources import Sources
from moorage.telemetry.table import Metric

DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own: the directory in which worker processes keep their figures."""

TOTALS_SECONDS: Final = 10.0
"""How long sums over all providers are remembered. They cost the database some 100 ms for 100,000
providers, and several Prometheus servers may fetch them."""

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

_log = logging.getLogger(__name__)


class Sampler:
    """A collector of the gauges that are looked up at each scrape."""

    def __init__(self, sources: Sources, processes: Callable[[], Iterable[int]]) -> None:
        self._sources = sources
        self._processes = processes
        self._lock = threading.Lock()
        self._totals: tuple[float, Sequence[ClassTotal]] | None = None

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing, so that registering this collector looks nothing up."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The present values."""
        yield _family(table.BUILD_INFO, [((moorage.__version__,), 1)])
        sizes = [
            ((str(pid),), size) for pid in self._processes() if (size := resident_bytes(pid)) is not None
        ]
        yield _family(table.PROCESS_RESIDENT_BYTES, sizes)
        try:
            revision, totals = self._sources.revision(), self._known_totals()
            reported = self._sources.reports()
            leases = self._sources.leases()
        except MoorageError as error:
            _log.warning("Metrics are incomplete: %s", error)
            yield _family(table.DATABASE_UP, [((), 0)])
            return
        yield _family(table.DATABASE_UP, [((), 1)])
        yield _family(table.REVISION, [((), revision)])
        yield _family(table.CLASS_PROVIDERS, [((total.name,), total.providers) for total in totals])
        yield _family(table.CLASS_CAPACITY, [((total.name,), total.capacity) for total in totals])
        yield _family(table.CLASS_USED, [((total.name,), total.used) for total in totals])
        yield _family(table.LEASES, [((state.value,), leases.states.get(state, 0)) for state in LeaseState])
        waiting = sum(leases.states.get(state, 0) for state in TIMED)
        yield _family(table.LEASES_WAITING, [((), waiting)])
        yield _family(table.SERVICE_TIME, [((), leases.ticks / 1000)])
        yield _family(table.SERVICE_TIME_TERM, [((), leases.term)])
        lag = 0 if leases.due is None else max(0, leases.ticks - leases.due)
        yield _family(table.LEASE_LAG, [((), lag / 1000)])

        kinds = [((each.source, kind), each.findings.get(kind, 0)) for each in reported for kind in KINDS]
        yield _family(table.FINDINGS, kinds)
        now = time.time()
        ages = [((each.source,), max(0.0, now - each.at)) for each in reported]
        yield _family(table.REPORT_AGE_SECONDS, ages)
        yield _family(table.SUSPECT_TREES, [((each.source,), each.suspect) for each in reported])

    def _known_totals(self) -> Sequence[ClassTotal]:
        with self._lock:
            now = time.monotonic()
            if self._totals is None or now - self._totals[0] >= TOTALS_SECONDS:
                self._totals = now, self._sources.totals()
            return self._totals[1]


def _family(metric: Metric, samples: Iterable[tuple[tuple[str, ...], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.about, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process; None if the process has ended, or the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return None


def live_processes(directory: Path) -> list[int]:
    """Live processes that keep figures in ``directory``. Removes the gauges of ended ones.

    The counts of ended processes stay: a counter must not go back.
    """
    found = {int(process) for _, process in figures_in(directory) if process != GONE}
    live = []
    for pid in sorted(found):
        if _is_there(pid):
            live.append(pid)
        else:
            mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
    return live


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Scrape:
    """The WSGI application behind ``/metrics``.

    ``own`` holds the figures of this process. If a directory is given, the figures of all processes that
    keep theirs there count instead.
    """

    def __init__(self, sources: Sources, own: CollectorRegistry, directory: Path | None = None) -> None:
        self._directory = directory
        if directory is None:
            self._registry = own
            sampler = Sampler(sources, lambda: [os.getpid()])
        else:
            self._registry = CollectorRegistry()
            self._registry.register(ProcessFigures(directory))
            sampler = Sampler(sources, lambda: live_processes(directory))
        self._registry.register(sampler)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self._directory is not None:
            live_processes(self._directory)
        encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        body = encode(self._registry)
        start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]
