"""Puts health, metrics, logs and traces together, as ``[moorage]`` configures them."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg

from moorage.api.front import NO_MORE, Dispatcher
from moorage.api.http.exchange import WsgiApplication
from moorage.api.http.observer import RequestObserver
from moorage.model.errors import ConfigurationError
from moorage.model.valueclass import valueclass
from moorage.service.observer import Observer
from moorage.telemetry.figures import figures_in
from moorage.telemetry.health import (
    HEALTH_PATH,
    METRICS_PATH,
    READINESS_PATH,
    Readiness,
    healthy,
    nothing,
)
from moorage.telemetry.listen_address import address_of
from moorage.telemetry.masking import masked
from moorage.telemetry.records import RequestRecords
from moorage.telemetry.several import Several
from moorage.telemetry.sources import Sources

LOG: Final = logging.getLogger(__name__)

DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable of prometheus_client, which reads it at its first import. So functions here import it late."""

TELEMETRY_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.StrOpt(
        "metrics_listen",
        default="",
        help="HOST:PORT of a separate address for /metrics, /healthz and /readyz, without tokens: only "
        "the monitoring should reach it. Empty: none.",
    ),
    cfg.BoolOpt(
        "metrics_on_api",
        default=False,
        help="Answer /metrics at the API's address as well, without a token. All clients can then read "
        "capacity and use of each resource class.",
    ),
    cfg.BoolOpt(
        "access_log",
        default=False,
        help="Log a line for each request: identity, request, status, length, microversion, seconds.",
    ),
    cfg.BoolOpt(
        "traces",
        default=False,
        help="Send OpenTelemetry traces to OTEL_EXPORTER_OTLP_ENDPOINT. Needs the extra otel.",
    ),
]


@valueclass(frozen=True, slots=True)
class TelemetrySettings:
    """Source: ``[moorage]``. ``listen`` is the host and port for metrics, None for none."""

    listen: tuple[str, int] | None = None
    metrics_on_api: bool = False
    access_log: bool = False
    traces: bool = False

    @property
    def has_metrics(self) -> bool:
        """Whether an address serves metrics, so that they must be collected."""
        return self.metrics_on_api or self.listen is not None


def telemetry_from(moorage: Callable[[str], Any]) -> TelemetrySettings:
    """Settings; ``moorage`` returns an option of the group by its name. Raises ConfigurationError."""
    listen = moorage("metrics_listen")
    return TelemetrySettings(
        listen=address_of(listen) if listen else None,
        metrics_on_api=moorage("metrics_on_api"),
        access_log=moorage("access_log"),
        traces=moorage("traces"),
    )


class Telemetry:
    """The observers of one serving process.

    ``service`` observes the service, ``requests`` the wire.
    """

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings
        self.requests: list[RequestObserver] = [RequestRecords(lines=settings.access_log, mask=masked)]
        observers: list[Observer] = []
        self._registry: Any = None
        if settings.has_metrics:
            from prometheus_client import CollectorRegistry

            from moorage.telemetry.instruments import Instruments

            self._registry = CollectorRegistry()
            instruments = Instruments(self._registry)
            self.requests.append(instruments)
            observers.append(instruments)
        if settings.traces:
            traces = _traces()
            self.requests.append(traces)
            observers.append(traces)
        self.service: Observer | None = Several(observers) if observers else None

    def front(
        self,
        application: WsgiApplication,
        check: Callable[[], int],
        sources: Sources,
        *,
        listens: bool,
        below: Mapping[str, WsgiApplication] = NO_MORE,
        at: Mapping[str, WsgiApplication] = NO_MORE,
    ) -> WsgiApplication:
        """``application``, and those of ``below`` and ``at``, behind the paths for monitoring.

        ``listens``: open the other address.
        """
        own: dict[str, WsgiApplication] = {HEALTH_PATH: healthy, READINESS_PATH: Readiness(check)}
        if not self._settings.has_metrics:
            return Dispatcher(application, own, below, at)
        from moorage.telemetry.scrape import Scrape

        scrape = Scrape(sources, self._registry, directory_of(os.environ))
        if listens and self._settings.listen is not None:
            from moorage.telemetry.listener import serve_in_turn

            serve_in_turn(Dispatcher(nothing, {**own, METRICS_PATH: scrape}), *self._settings.listen)
        if self._settings.metrics_on_api:
            own[METRICS_PATH] = scrape
        return Dispatcher(application, own, below, at)


def _traces() -> Any:
    try:
        from moorage.telemetry.traces import exporting
    except ImportError as error:
        raise ConfigurationError(
            "[moorage] traces needs OpenTelemetry: pip install 'moorage[otel]'."
        ) from error
    return exporting()


def directory_of(environment: Mapping[str, str]) -> Path | None:
    """Directory in which worker processes keep their metrics; None if each process has only its own."""
    told = environment.get(DIRECTORY_VARIABLE)
    return Path(told) if told else None


def shared_directory(environment: Mapping[str, str]) -> Path:
    """A directory for the metrics of all workers, without those of an earlier run.

    It is the directory that the environment names, or a new one, which is deleted when this process ends.
    """
    told = directory_of(environment)
    if told is None:
        made = Path(tempfile.mkdtemp(prefix="moorage-metrics-"))
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        return made
    told.mkdir(parents=True, exist_ok=True)
    for left, _ in figures_in(told):
        left.unlink()
    return told


def forget_worker(settings: TelemetrySettings, environment: Mapping[str, str]) -> Callable[[int], None]:
    """A function by which the managing process removes the metrics of an ended worker."""
    directory = directory_of(environment)
    if directory is None or not settings.has_metrics:
        return lambda process_id: None
    from moorage.telemetry.folding import fold

    def forget(process_id: int) -> None:
        try:
            fold(directory, process_id)
        except OSError as error:
            LOG.warning("Metrics of an ended worker may be wrong: %s", error)

    return forget


def serve_metrics(
    settings: TelemetrySettings, directory: Path, check: Callable[[], int], sources: Sources
) -> None:
    """Open the address for metrics in the managing process. Raises ConfigurationError."""
    if settings.listen is None:
        return
    from prometheus_client import CollectorRegistry

    from moorage.telemetry.listener import serve_here
    from moorage.telemetry.scrape import Scrape

    own: dict[str, WsgiApplication] = {
        HEALTH_PATH: healthy,
        READINESS_PATH: Readiness(check),
        METRICS_PATH: Scrape(sources, CollectorRegistry(), directory),
    }
    serve_here(Dispatcher(nothing, own), *settings.listen)
