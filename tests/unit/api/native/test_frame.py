"""The frame of the native API: discovery, problems and their pages, checks of a request's form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moorage.api.http.settings import Limits
from moorage.api.native.problems import BY_CODE, PROBLEMS
from moorage.auth.identity import Identity, UnauthorisedError, UnreachableError
from tests.table import each
from tests.unit.api.fake import FakeService
from tests.unit.api.native.client import NativeClient, problem

CLIENT = NativeClient(FakeService())
ANONYMOUS: dict[str, str | None] = {"x-auth-token": None}


def test_discovery_needs_no_token_and_says_which_features_there_are() -> None:
    told = CLIENT.ask("GET", "/moorage", headers=ANONYMOUS)
    (version,) = told.json["versions"]
    assert (told.status, version["id"], version["status"]) == (200, "v1", "CURRENT")
    assert CLIENT.ask("GET", version["href"], headers=ANONYMOUS).json == version
    assert isinstance(version["features"], list)
    assert CLIENT.ask("GET", version["openapi"], headers=ANONYMOUS).json["openapi"] == "3.1.0"
    assert CLIENT.ask("GET", version["problems"], headers=ANONYMOUS).status == 200


def test_links_begin_with_the_path_that_the_service_is_mounted_under() -> None:
    told = CLIENT.ask("GET", "/moorage", environ={"SCRIPT_NAME": "/placement"})
    assert told.json["versions"][0]["href"] == "/placement/moorage/v1"
    refused = CLIENT.ask("GET", "/moorage/v2", environ={"SCRIPT_NAME": "/placement"})
    assert problem(refused)["type"] == "/placement/moorage/v1/problems/not-found"


def test_native_answers_ignore_microversions_and_send_none() -> None:
    for version in ("placement 1.39", "placement 9.9", "nonsense"):
        told = CLIENT.get("/moorage/v1", openstack_api_version=version)
        assert told.status == 200
        assert not {"openstack-api-version", "vary"} & told.headers.keys()
    refused = CLIENT.get("/moorage/v1/nothing", openstack_api_version="placement 9.9")
    assert problem(refused)["code"] == "not_found"
    assert "openstack-api-version" not in refused.headers


@each("listed", PROBLEMS)
def test_every_problem_has_a_page_at_its_own_type(listed: Any) -> None:
    page = CLIENT.ask("GET", listed.path, headers=ANONYMOUS)
    assert page.status == 200
    assert page.headers["content-type"] == "text/plain; charset=utf-8"
    text = page.body.decode()
    assert all(part in text for part in (listed.title, listed.code, listed.means, listed.remedy))
    assert CLIENT.get(listed.path.replace(listed.code.replace("_", "-"), listed.code)).body == page.body
    shown = CLIENT.get(listed.path, accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert shown.headers["content-security-policy"] == "default-src 'none'"
    assert f"<h1>{listed.title} " in shown.body.decode()
    assert listed.code in CLIENT.get("/moorage/v1/problems").body.decode()
    assert listed.path in CLIENT.get("/moorage/v1/problems", accept="text/html").body.decode()


@each("path", ["/moorage/v1/problems", "/moorage/v1/problems/not-found"])
def test_a_page_has_no_markup_from_the_path_that_the_service_is_mounted_under(path: str) -> None:
    mounted = {"SCRIPT_NAME": '/"><form>'}
    page = CLIENT.ask("GET", path, headers={"accept": "text/html"}, environ=mounted).body.decode()
    assert "<form>" not in page
    assert "/&quot;&gt;&lt;form&gt;/moorage/v1/problems" in page


def test_a_page_of_a_code_that_does_not_exist_is_404() -> None:
    assert problem(CLIENT.ask("GET", "/moorage/v1/problems/no-idea", headers=ANONYMOUS))["status"] == 404
    assert problem(CLIENT.ask("GET", "/moorage/v1/problems/", headers=ANONYMOUS))["status"] == 404


@each(
    ("method", "path", "asked", "status", "code"),
    [
        ("GET", "/moorage/v1/nothing", {}, 404, "not_found"),
        ("GET", "/moorage/v1/", {}, 404, "not_found"),
        ("POST", "/moorage/v1", {}, 405, "method_not_allowed"),
        ("OPTIONS", "/moorage/v1", {}, 405, "method_not_allowed"),
        ("BREW", "/moorage/v1", {}, 405, "method_not_allowed"),
        ("GET", "/moorage/v1", {"headers": {"accept": "text/html"}}, 406, "not_acceptable"),
        ("GET", f"/moorage/v1?{'x' * 200}", {}, 414, "url_too_long"),
        ("GET", "/moorage/v1", {"headers": {"x-long": "x" * 500}}, 431, "headers_too_large"),
        ("GET", "/moorage/v1", {"headers": {"host": "a b"}}, 400, "invalid_request"),
        ("GET", "/moorage/v1?feature=1", {}, 400, "invalid_request"),
    ],
)
def test_every_refusal_of_a_form_is_a_problem(
    method: str, path: str, asked: dict[str, Any], status: int, code: str
) -> None:
    client = NativeClient(FakeService(), Limits(url_bytes=150, header_bytes=400, body_bytes=100))
    told = problem(client.ask(method, path, **asked))
    assert (told["status"], told["code"]) == (status, code)
    assert (told["outcome"], told["retry"]) == ("nothing_changed", {"when": "never"})


def test_a_method_that_is_not_allowed_gets_those_that_are() -> None:
    assert CLIENT.ask("PUT", "/moorage/v1").headers["allow"] == "GET"


def test_the_id_of_a_request_is_that_of_its_answer() -> None:
    told = CLIENT.ask("GET", "/moorage/v1")
    assert told.headers["x-openstack-request-id"].startswith("req-")


class Refusing:
    """Lets no request in."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def identify(self, environ: object) -> Identity:
        raise self.error


def test_without_a_token_a_path_is_a_problem_whatever_the_identity_service_answers() -> None:
    error = UnauthorisedError({"www-authenticate": "Keystone uri='here'"}, b'{"error": 1}')
    refused = NativeClient(FakeService(), authenticator=Refusing(error)).get("/moorage/v1/nothing")
    assert problem(refused)["code"] == "unauthenticated"
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Keystone uri='here'")


@each(
    ("body", "detail"),
    [
        (b'{"message": "not this host"}', "not this host"),
        (b'{"message": 1}', BY_CODE["unauthenticated"].means),
        (b"[]", BY_CODE["unauthenticated"].means),
        (b"<html>", BY_CODE["unauthenticated"].means),
        (None, BY_CODE["unauthenticated"].means),
    ],
)
def test_what_an_authenticator_says_is_the_detail(body: bytes | None, detail: str) -> None:
    client = NativeClient(FakeService(), authenticator=Refusing(UnauthorisedError(body=body)))
    assert problem(client.get("/moorage/v1/overview"))["detail"] == detail


def test_an_unreachable_identity_service_is_503_with_a_time() -> None:
    refused = NativeClient(FakeService(), authenticator=Refusing(UnreachableError())).get("/moorage/v1/no")
    told = problem(refused)
    assert (told["code"], told["retry"]) == ("unavailable", {"when": "later", "after_seconds": 5})
    assert refused.headers["retry-after"] == "5"


def test_an_unexpected_error_is_logged_under_the_id_that_the_client_gets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = NativeClient(FakeService(), authenticator=Refusing(KeyError("x"))).get("/moorage/v1/no")
    told = problem(refused)
    assert (told["code"], told["outcome"]) == ("internal_error", "unknown")
    assert told["request_id"] in caplog.text


def test_a_detail_may_quote_text_that_is_not_unicode() -> None:
    refused = CLIENT.ask("GET", "/moorage/v1", environ={"QUERY_STRING": "%ff=1"})
    assert problem(refused)["code"] == "invalid_request"
    assert json.loads(refused.body)
