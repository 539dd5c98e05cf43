"""Spans of a request."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from moorage.api.placement import application
from moorage.service.observer import Setback, Stage
from moorage.telemetry import traces
from moorage.telemetry.traces import Traces
from tests.unit.api.fake import FakeService
from tests.unit.telemetry.calls import get

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SECOND = 1_000_000_000
START = 1_000 * SECOND


class WorkingService(FakeService):
    """One that tells an observer what it does when it is asked for resource classes."""

    def __init__(self, observer: Traces) -> None:
        super().__init__()
        self._observer = observer

    def resource_classes(self) -> Any:
        self._observer.stage_ended(Stage.POLL, 0.25)
        self._observer.index_changed(9, 100)
        self._observer.group_set_back(Setback.CONFLICT)
        self._observer.group_ended(3, 0, 0.5)
        return super().resource_classes()


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.shutdown()


def traced(exporter: InMemorySpanExporter) -> Traces:
    ticks = count(START, SECOND)
    return Traces(SimpleSpanProcessor(exporter), clock=lambda: next(ticks))


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_request_is_a_span_below_its_clients_and_above_what_it_did(exported: InMemorySpanExporter) -> None:
    observer = traced(exported)
    app = application.create(WorkingService(observer), observers=[observer])
    headers = {"HTTP_X_AUTH_TOKEN": "admin", "HTTP_OPENSTACK_API_VERSION": "placement 1.39"}
    told = get(app, "/resource_classes", headers | {"HTTP_TRACEPARENT": f"00-{TRACE}-{PARENT}-01"})
    assert told.status == 200
    spans = by_name(exported)
    assert spans.keys() == {"poll", "commit", "GET /resource_classes"}
    request = spans["GET /resource_classes"]
    assert request.parent is not None
    assert (request.parent.trace_id, request.parent.span_id) == (int(TRACE, 16), int(PARENT, 16))
    assert request.attributes is not None
    assert request.attributes["openstack.request_id"] == told.headers["x-openstack-request-id"]
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["openstack.microversion"] == "1.39"
    assert request.attributes["moorage.revision"] == 9
    assert [event.name for event in request.events] == ["set_back"]
    for name, seconds in (("poll", 0.25), ("commit", 0.5)):
        assert spans[name].parent == request.get_span_context()
        assert spans[name].end_time - spans[name].start_time == seconds * SECOND  # type: ignore[operator]
    assert spans["commit"].attributes == {"moorage.writes": 3}


def test_a_failure_is_marked_and_a_refusal_before_its_version_is_a_span_too(
    exported: InMemorySpanExporter,
) -> None:
    observer = traced(exported)
    service = FakeService()
    service.error = RuntimeError("broken")
    app = application.create(service, observers=[observer])
    get(app, "/resource_providers", {"HTTP_X_AUTH_TOKEN": "admin"})
    get(app, "/resource_providers")
    spans = by_name(exported)
    assert not spans["GET /resource_providers"].status.is_ok
    assert spans["other none"].attributes is not None
    assert spans["other none"].attributes["http.response.status_code"] == 401


def test_what_happens_outside_of_requests_stands_alone(exported: InMemorySpanExporter) -> None:
    observer = traced(exported)
    observer.index_built(2.0)
    observer.index_changed(1, 2)
    observer.group_set_back(Setback.CONFLICT)
    (span,) = exported.get_finished_spans()
    assert (span.name, span.parent) == ("build_index", None)


def test_spans_go_to_where_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1/")
    made: list[Any] = []

    def processor(exporter: Any) -> SpanProcessor:
        made.append(exporter)
        return SpanProcessor()

    monkeypatch.setattr(traces, "BatchSpanProcessor", processor)
    traces.exporting()
    assert made[0]._endpoint == "http://127.0.0.1:1/v1/traces"
