"""What of a request is in the log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from oslo_config import cfg
from oslo_log import formatters, log

from moorage.api import application
from moorage.api.observer import Ended
from moorage.auth.identity import Identity
from moorage.watch.records import ACCESS, RequestRecords, line_of
from tests.unit.api.fake import UUID, FakeService
from tests.unit.watch.calls import get

TOKEN = "admin:secret-project-token"
GLOBAL_ID = "req-11111111-2222-4333-8444-555555555555"


@pytest.fixture(params=["text", "json"])
def written(request: pytest.FixtureRequest) -> Iterator[tuple[str, io.StringIO]]:
    """What goes to the log, in one of oslo.log's forms."""
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    form = formatters.JSONFormatter() if request.param == "json" else formatters.ContextFormatter(config=conf)
    handler.setFormatter(form)
    root = logging.getLogger()
    root.addHandler(handler)
    level = ACCESS.level
    ACCESS.setLevel(logging.INFO)
    yield str(request.param), stream
    root.removeHandler(handler)
    ACCESS.setLevel(level)


def test_each_record_of_a_request_has_its_id_and_no_token(written: tuple[str, io.StringIO]) -> None:
    form, stream = written
    service = FakeService()
    service.error = RuntimeError("something broke")
    app = application.create(service, observers=[RequestRecords(lines=True)])
    headers = {"HTTP_X_AUTH_TOKEN": TOKEN, "HTTP_X_OPENSTACK_REQUEST_ID": GLOBAL_ID}
    headers["QUERY_STRING"] = "name=x"
    told = get(app, "/resource_providers", headers)
    assert told.status == 500
    request_id = told.headers["x-openstack-request-id"]
    text = stream.getvalue()
    assert TOKEN not in text
    if form == "json":
        records = [json.loads(line) for line in text.splitlines()]
        assert len(records) == 2
        assert {record["context"]["request_id"] for record in records} == {request_id}
        assert {record["context"]["global_request_id"] for record in records} == {GLOBAL_ID}
        message = records[-1]["message"]
    else:
        records = text.splitlines()
        assert all(f"[{GLOBAL_ID} {request_id} " in record for record in (records[0], records[-1]))
        message = records[-1]
    assert (
        '127.0.0.1 admin secret-project-token "GET /resource_providers?name=x" status: 500 len: ' in message
    )
    assert "microversion: 1.0 time: 0." in message
    stream.truncate(0)
    logging.getLogger("moorage.between").warning("requests")
    assert request_id not in stream.getvalue()


def test_an_id_that_is_none_is_not_taken_over(written: tuple[str, io.StringIO]) -> None:
    _, stream = written
    app = application.create(FakeService(), observers=[RequestRecords(lines=True)])
    get(app, "/", {"HTTP_X_OPENSTACK_REQUEST_ID": "req-evil\nline"})
    assert "evil" not in stream.getvalue()


def test_lines_are_written_only_if_wanted(written: tuple[str, io.StringIO]) -> None:
    _, stream = written
    app = application.create(FakeService(), observers=[RequestRecords(lines=False)])
    assert get(app, f"/resource_providers/{UUID}", {"HTTP_X_AUTH_TOKEN": "admin"}).status == 200
    assert stream.getvalue() == ""


def test_a_client_cannot_forge_a_line() -> None:
    ended = Ended(
        request_id="req-1",
        method="GET",
        route="none",
        minor=None,
        status=404,
        seconds=0.5,
        identity=Identity('a"b\n', None),
        environ={
            "REQUEST_METHOD": "GET",
            "PATH_INFO": '/x" status: 200\r\nnext',
            "SCRIPT_NAME": "/placement",
        },
        length=0,
    )
    line = line_of(ended)
    assert line.splitlines() == [line]
    assert line == (
        '- a%22b%0A - "GET /placement/x%22 status: 200%0D%0Anext" status: 404 len: 0 '
        "microversion: - time: 0.500000"
    )
    assert line_of(ended).count('"') == 2
