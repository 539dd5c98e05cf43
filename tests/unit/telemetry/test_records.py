"""What of a request is in the log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from oslo_config import cfg
from oslo_log import formatters, log

from moorage.api.http.observer import Ended
from moorage.api.placement import application
from moorage.auth.identity import Identity
from moorage.telemetry.masking import MaskingFormatter, masked
from moorage.telemetry.records import ACCESS, RequestRecords, line_of
from tests.unit.api.fake import UUID, FakeService
from tests.unit.telemetry.calls import get

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
    app = application.create(service, observers=[RequestRecords(lines=True, mask=masked)])
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
    app = application.create(FakeService(), observers=[RequestRecords(lines=True, mask=masked)])
    get(app, "/", {"HTTP_X_OPENSTACK_REQUEST_ID": "req-evil\nline"})
    assert "evil" not in stream.getvalue()


def test_lines_are_written_only_if_wanted(written: tuple[str, io.StringIO]) -> None:
    _, stream = written
    app = application.create(FakeService(), observers=[RequestRecords(lines=False, mask=masked)])
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
    line = line_of(ended, masked)
    assert line.splitlines() == [line]
    assert line == (
        '- a%22b%0A - "GET /placement/x%22 status: 200%0D%0Anext" status: 404 len: 0 '
        "microversion: - time: 0.500000"
    )
    assert line_of(ended, masked).count('"') == 2


@pytest.mark.parametrize("name", ["token", "password=", "a://b:", "--token", "secret='"])
def test_no_name_of_a_client_hides_the_rest_of_its_line(name: str) -> None:
    """The name of a user, of a project, and the end of the path look like the beginning of a secret."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(MaskingFormatter(logging.Formatter("%(name)s %(message)s")))
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/x{name}", "QUERY_STRING": f"a=1&{name}"}
    identity = Identity(name, name)
    ended = Ended("req-1", "GET", "none", 39, 404, 0.5, identity, environ, 7)
    record = ACCESS.makeRecord(ACCESS.name, logging.INFO, "", 0, line_of(ended, masked), (), None)
    handler.emit(record)
    assert stream.getvalue() == (
        f'moorage.access - {name} {name} "GET /x{name}?a=1&{name}" status: 404 len: 7 '
        "microversion: 1.39 time: 0.500000\n"
    )


def test_a_secret_in_a_path_is_masked_in_the_line() -> None:
    environ = {"PATH_INFO": "/x", "QUERY_STRING": "a=http://u:hunter2@h&password=hunter2&b=1"}
    line = line_of(Ended("req-1", "GET", "none", 39, 404, 0.5, Identity("a"), environ, 7), masked)
    assert '"- /x?a=http://u:***@h&password=***&b=1" status: 404' in line
