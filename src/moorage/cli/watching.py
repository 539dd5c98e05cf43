"""Which of health, metrics, logs and traces there are, as ``[moorage]`` says, put together."""

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

from moorage.api.observer import Observer as RequestObserver
from moorage.model.errors import ConfigurationError
from moorage.model.valueclass import valueclass
from moorage.service.observer import Observer
from moorage.watch.health import (
    HEALTH_PATH,
    METRICS_PATH,
    READINESS_PATH,
    Front,
    Readiness,
    WsgiApplication,
    healthy,
    nothing,
)
from moorage.watch.listener import address_of, serve_here, serve_if_nobody_does
from moorage.watch.records import RequestRecords
from moorage.watch.several import Several
from moorage.watch.sources import Sources

LOG: Final = logging.getLogger(__name__)

DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own. It is read when that is first imported, hence the imports in functions."""

WATCH_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.StrOpt(
        "metrics_listen",
        default="",
        help="HOST:PORT of an address of its own for /metrics, /healthz and /readyz, without tokens: let "
        "only the monitoring reach it. Empty: none.",
    ),
    cfg.BoolOpt(
        "metrics_on_api",
        default=False,
        help="Answer /metrics at the API's address as well, to everybody and without a token. It tells "
        "how much of each resource class there is and is used.",
    ),
    cfg.BoolOpt(
        "access_log",
        default=False,
        help="Log a line for each request: who, what, status, length, microversion, seconds.",
    ),
    cfg.BoolOpt(
        "traces",
        default=False,
        help="Send OpenTelemetry traces to where OTEL_EXPORTER_OTLP_ENDPOINT says. Needs the extra otel.",
    ),
]


@valueclass(frozen=True, slots=True)
class WatchSettings:
    """Source: ``[moorage]``. ``listen`` is the host and port for metrics, None for none."""

    listen: tuple[str, int] | None = None
    metrics_on_api: bool = False
    access_log: bool = False
    traces: bool = False

    @property
    def has_metrics(self) -> bool:
        """Whether anybody can fetch metrics, so that they have to be kept."""
        return self.metrics_on_api or self.listen is not None


def watch_from(moorage: Callable[[str], Any]) -> WatchSettings:
    """Settings; ``moorage`` gives an option of the group by its name. Raises ConfigurationError."""
    listen = moorage("metrics_listen")
    return WatchSettings(
        listen=address_of(listen) if listen else None,
        metrics_on_api=moorage("metrics_on_api"),
        access_log=moorage("access_log"),
        traces=moorage("traces"),
    )


class Watch:
    """Who watches one process that serves.

    ``service`` observes the service, ``requests`` the wire.
    """

    def __init__(self, settings: WatchSettings) -> None:
        self._settings = settings
        self.requests: list[RequestObserver] = [RequestRecords(lines=settings.access_log)]
        observers: list[Observer] = []
        self._registry: Any = None
        if settings.has_metrics:
            from prometheus_client import CollectorRegistry

            from moorage.watch.instruments import Instruments

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
        self, application: WsgiApplication, check: Callable[[], int], sources: Sources, *, listens: bool
    ) -> WsgiApplication:
        """``application`` behind the paths for those who watch; ``listens``: open the other address."""
        own: dict[str, WsgiApplication] = {HEALTH_PATH: healthy, READINESS_PATH: Readiness(check)}
        if not self._settings.has_metrics:
            return Front(application, own)
        from moorage.watch.scrape import Scrape

        scrape = Scrape(sources, self._registry, directory_of(os.environ))
        if listens and self._settings.listen is not None:
            serve_if_nobody_does(Front(nothing, {**own, METRICS_PATH: scrape}), *self._settings.listen)
        if self._settings.metrics_on_api:
            own[METRICS_PATH] = scrape
        return Front(application, own)


def _traces() -> Any:
    try:
        from moorage.watch.traces import exporting
    except ImportError as error:
        raise ConfigurationError(
            "[moorage] traces needs OpenTelemetry: pip install 'moorage[otel]'."
        ) from error
    return exporting()


def directory_of(environment: Mapping[str, str]) -> Path | None:
    """Where worker processes keep their figures; None if each has its own only."""
    told = environment.get(DIRECTORY_VARIABLE)
    return Path(told) if told else None


def shared_directory(environment: Mapping[str, str]) -> Path:
    """A directory for the figures of all workers, without those of an earlier run.

    The one that the environment names, or a new one, which goes when this process ends.
    """
    told = directory_of(environment)
    if told is None:
        made = Path(tempfile.mkdtemp(prefix="moorage-metrics-"))
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        return made
    told.mkdir(parents=True, exist_ok=True)
    for left in told.glob("*.db"):
        left.unlink()
    return told


def forget_worker(settings: WatchSettings, environment: Mapping[str, str]) -> Callable[[int], None]:
    """What the process that is over the workers does with the figures of one that is gone."""
    directory = directory_of(environment)
    if directory is None or not settings.has_metrics:
        return lambda process_id: None
    from moorage.watch.folding import fold

    def forget(process_id: int) -> None:
        try:
            fold(directory, process_id)
        except OSError as error:
            LOG.warning("Figures of a worker that is gone may be wrong: %s", error)

    return forget


def serve_metrics(
    settings: WatchSettings, directory: Path, check: Callable[[], int], sources: Sources
) -> None:
    """Open the address for metrics in the process that is over the workers. Raises ConfigurationError."""
    if settings.listen is None:
        return
    from prometheus_client import CollectorRegistry

    from moorage.watch.scrape import Scrape

    own: dict[str, WsgiApplication] = {
        HEALTH_PATH: healthy,
        READINESS_PATH: Readiness(check),
        METRICS_PATH: Scrape(sources, CollectorRegistry(), directory),
    }
    serve_here(Front(nothing, own), *settings.listen)
