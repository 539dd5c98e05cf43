"""OpenTelemetry traces: a span for each request, around spans for its search's stages and its commit.

The distribution opentelemetry is an extra. Its own variables say where spans go,
``OTEL_EXPORTER_OTLP_ENDPOINT`` first of all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import moorage
from moorage.api.http.observer import Ended
from moorage.api.placement.versions import spelled
from moorage.service.observer import Setback, Stage

SERVICE_NAME: Final = "moorage"
FIRST_FAILURE: Final = 500
NANOSECONDS: Final = 1_000_000_000

_propagator: Final = TraceContextTextMapPropagator()


def exporting() -> Traces:
    """Traces that are sent to where OpenTelemetry's variables say."""
    return Traces(BatchSpanProcessor(OTLPSpanExporter()))


class Traces:
    """Observes requests and the service. A thread's stages belong to the request that it answers."""

    def __init__(self, processor: SpanProcessor, clock: Callable[[], int] = time_ns) -> None:
        resource = Resource.create({"service.name": SERVICE_NAME, "service.version": moorage.__version__})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer(SERVICE_NAME, moorage.__version__)
        self._clock = clock
        self._local = threading.local()

    def request_begun(self, request_id: str, environ: Mapping[str, Any]) -> None:
        """Open the request's span, below the client's span if the request names one."""
        carrier = {"traceparent": environ.get("HTTP_TRACEPARENT", "")}
        context = _propagator.extract(carrier)
        method = environ.get("REQUEST_METHOD", "")
        span = self._tracer.start_span(method, context, SpanKind.SERVER, start_time=self._clock())
        span.set_attribute("openstack.request_id", request_id)
        self._local.span = span

    def request_ended(self, ended: Ended) -> None:
        """Close the request's span."""
        span: Span | None = getattr(self._local, "span", None)
        if span is None:
            return
        self._local.span = None
        span.update_name(f"{ended.method} {ended.route}")
        span.set_attribute("http.request.method", ended.method)
        span.set_attribute("http.route", ended.route)
        span.set_attribute("http.response.status_code", ended.status)
        if ended.minor is not None:
            span.set_attribute("openstack.microversion", spelled(ended.minor))
        if ended.status >= FIRST_FAILURE:
            span.set_status(Status(StatusCode.ERROR))
        span.end(self._clock())

    def stage_ended(self, stage: Stage, seconds: float) -> None:
        """A span that has already ended."""
        self._past(stage.value, seconds)

    def index_changed(self, revision: int, providers: int) -> None:
        """The revision, as an attribute of the request that made the index catch up."""
        span: Span | None = getattr(self._local, "span", None)
        if span is not None:
            span.set_attribute("moorage.revision", revision)

    def index_built(self, seconds: float) -> None:
        """A span that has already ended."""
        self._past("build_index", seconds)

    def group_ended(self, commands: int, waiting: int, seconds: float) -> None:
        """The commit, in the request whose thread led the group."""
        self._past("commit", seconds, {"moorage.writes": commands})

    def group_set_back(self, reason: Setback) -> None:
        """An event of the request."""
        span: Span | None = getattr(self._local, "span", None)
        if span is not None:
            span.add_event("set_back", {"reason": reason.value}, timestamp=self._clock())

    def watchers_changed(self, more: int) -> None:
        """Nothing: a place of a client is no part of its request."""

    def watcher_dropped(self) -> None:
        """Nothing: its request has ended."""

    def report_received(self, source: str, suspect: int) -> None:
        """See ``service.observer.Observer``."""

    def finding_acted_on(self, kind: str, action: str, *, done: bool) -> None:
        """See ``service.observer.Observer``."""

    def leases_renewed(self, count: int) -> None:
        """Nothing: the request says how many."""

    def leases_expired(self, count: int) -> None:
        """Nothing: no request ends leases."""

    def search_unmet(self, verdict: str) -> None:
        """Nothing: the explanation of a search comes after its request."""

    def _past(self, name: str, seconds: float, attributes: Mapping[str, int] | None = None) -> None:
        now = self._clock()
        parent: Span | None = getattr(self._local, "span", None)
        context = None if parent is None else trace.set_span_in_context(parent)
        begun = now - int(seconds * NANOSECONDS)
        self._tracer.start_span(name, context, attributes=attributes, start_time=begun).end(now)
