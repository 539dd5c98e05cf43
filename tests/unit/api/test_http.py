"""Headers, forms of errors, and the order in which a request is judged."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

import pytest

from moorage.api.http import render
from moorage.api.http.accept import check, error_type
from moorage.api.http.wire_error import WireError
from moorage.api.placement import application
from moorage.auth.identity import Identity, UnauthorisedError, UnreachableError
from moorage.model.errors import OutcomeUnknownError, ProviderNotFoundError, UnavailableError
from tests.table import each
from tests.unit.api.fake import MODIFIED_HEADER, UUID, Client, FakeService, Result

PROVIDER = f"/resource_providers/{UUID}"
CLAIM = {
    "allocations": {UUID: {"resources": {"VCPU": 1}}},
    "project_id": "p",
    "user_id": "u",
    "consumer_generation": None,
    "consumer_type": "INSTANCE",
}
REQUEST_ID = re.compile(r"^req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


@pytest.fixture(name="client")
def _client() -> Client:
    return Client(FakeService())


def test_every_answer_has_a_request_id_of_its_own(client: Client) -> None:
    given: dict[str, str | None] = {"x-openstack-request-id": "req-mine"}
    ids = {
        client.ask("GET", path, headers=given | {"x-auth-token": token}).headers["x-openstack-request-id"]
        for path in ("/", "/nope", "/resource_providers")
        for token in ("admin", "somebody", None)
    }
    assert len(ids) == 9
    assert all(REQUEST_ID.match(request_id) for request_id in ids)


def test_the_service_learns_who_asks_and_by_which_request(client: Client) -> None:
    headers: dict[str, str | None] = {"x-auth-token": "admin:project"}
    result = client.ask("PUT", PROVIDER, 0, {"name": "two"}, headers=headers)
    (requester,) = client.service.requesters
    assert (requester.user_id, requester.project_id) == ("admin", "project")
    assert requester.request_id == result.headers["x-openstack-request-id"]


@pytest.mark.parametrize("path", ["/", ""])
def test_the_root_is_open_and_takes_any_accept(client: Client, path: str) -> None:
    result = client.ask(
        "GET",
        path or "/",
        headers={"x-auth-token": None, "accept": "text/plain"},
        environ={"PATH_INFO": path},
    )
    assert result.status == 200
    (version,) = result.json["versions"]
    assert version == {
        "id": "v1.0",
        "min_version": "1.0",
        "max_version": "1.39",
        "status": "CURRENT",
        "links": [{"rel": "self", "href": ""}],
    }


def test_without_a_token_the_answer_is_401_in_a_form_of_its_own(client: Client) -> None:
    result = client.ask("GET", "/resource_providers", headers={"x-auth-token": None})
    assert result.status == 401
    assert result.json["code"] == "401 Unauthorized"
    assert result.json["title"] == "Unauthorized"
    assert "could not verify that you are authorized" in result.json["message"]
    assert "openstack-api-version" not in result.headers
    assert "vary" not in result.headers


def test_who_asks_is_judged_before_the_version_and_the_path(client: Client) -> None:
    headers: dict[str, str | None] = {
        "x-auth-token": None,
        "openstack-api-version": "placement 9.9",
    }
    assert client.ask("GET", "/nope", headers=headers).status == 401


def test_an_unknown_version_is_406_and_says_which_there_are(client: Client) -> None:
    headers: dict[str, str | None] = {"openstack-api-version": "placement 9.9"}
    result = client.ask("GET", "/nope", headers=headers)
    assert result.status == 406
    assert "Invalid microversion: Unacceptable version header: 9.9" in result.detail
    (error,) = result.json["errors"]
    assert (error["min_version"], error["max_version"]) == ("1.0", "1.39")
    assert "code" not in error
    assert "openstack-api-version" not in result.headers


def test_a_malformed_version_is_400(client: Client) -> None:
    headers: dict[str, str | None] = {"openstack-api-version": "placement pony"}
    result = client.ask("GET", "/", headers=headers)
    assert result.status == 400
    assert "Invalid microversion: invalid version string: pony" in result.detail


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/html", "text/html"),
        ("text/html;q=0.4, application/json;q=0.5", "application/json"),
        ("text/*, application/json", "text/html"),
        ("text/plain", "text/plain"),
        ("application/xml", "text/plain"),
        ("garbage", "text/html"),
        ("APPLICATION/JSON", "application/json"),
        ("application/json;charset=utf-8", "text/plain"),
        ("application/json;q=0.0001", "text/html"),
        ("/", "text/html"),
        (",", "text/plain"),
    ],
)
def test_errors_come_in_the_form_that_the_client_takes(
    client: Client, accept: str | None, media_type: str
) -> None:
    result = client.ask("GET", "/nope", headers={"accept": accept})
    assert result.headers["content-type"].split(";")[0] == media_type


def test_an_error_in_html_has_its_message_escaped(client: Client) -> None:
    client.service.error = ProviderNotFoundError("<b>x</b>")
    result = client.ask("DELETE", PROVIDER, headers={"accept": "text/html"})
    assert result.headers["content-type"] == "text/html; charset=UTF-8"
    assert b"<h1>404 Not Found</h1>\n  The resource could not be found.<br /><br />\n" in result.body
    assert b"No resource provider with uuid &lt;b&gt;x&lt;/b&gt; found" in result.body


def test_an_error_in_plain_text_has_its_status_above(client: Client) -> None:
    result = client.ask("GET", "/nope", headers={"accept": "text/plain"})
    assert result.headers["content-type"] == "text/plain; charset=UTF-8"
    assert result.body == b"404 Not Found\n\nThe resource could not be found.\n\n   "


def test_tags_are_stripped_from_an_error_in_json(client: Client) -> None:
    client.service.error = ProviderNotFoundError("<b>x<br>y</b><!-- z -->\r\nw")
    result = client.ask("DELETE", PROVIDER)
    expected = "The resource could not be found.\n\n No resource provider with uuid x\ny z  w found"
    assert result.detail.startswith(expected)


def test_what_is_not_ascii_is_told_by_its_number_in_html(client: Client) -> None:
    client.service.error = ProviderNotFoundError("\u00e9")
    result = client.ask("DELETE", PROVIDER, headers={"accept": "text/html"})
    assert b"No resource provider with uuid &#233; found" in result.body


@pytest.mark.parametrize("content_type", ["application/json ;charset=utf-8", "text/plain; charset=utf-8"])
def test_a_media_type_that_is_not_taken_is_told_with_all_that_follows_it(
    client: Client, content_type: str
) -> None:
    result = client.ask("POST", "/resource_providers", body=b"{}", headers={"content-type": content_type})
    assert result.status == 415
    assert f"The request media type {content_type} is not supported" in result.detail
    assert f"The media type {content_type.split(';', maxsplit=1)[0]} is not supported" in result.detail


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("http", "a.test", "http://a.test"),
        ("http", "a.test:80", "http://a.test"),
        ("http", "a.test:8080", "http://a.test:8080"),
        ("https", "a.test:443", "https://a.test"),
        ("https", "a.test:80", "https://a.test:80"),
        ("http", "[::1]:80", "http://[::1]"),
        ("http", "[::80]", "http://[::80]"),
        ("http", "", "http://b.test"),
    ],
)
def test_a_location_is_where_the_client_asked(client: Client, scheme: str, host: str, origin: str) -> None:
    environ = {"HTTP_HOST": host, "wsgi.url_scheme": scheme, "SERVER_NAME": "b.test"}
    result = client.ask("PUT", "/traits/CUSTOM_A", 39, environ=environ)
    assert result.headers["location"] == f"{origin}/traits/CUSTOM_A"


def test_a_media_type_in_an_error_in_html_is_escaped(client: Client) -> None:
    result = client.ask(
        "POST",
        "/resource_providers",
        body=b"{}",
        headers={"content-type": "<script>", "accept": "text/html"},
    )
    assert result.status == 415
    assert b"<script>" not in result.body


@pytest.mark.parametrize(("minor", "has_code"), [(None, False), (22, False), (23, True)])
def test_errors_have_a_code_from_1_23_on(client: Client, minor: int | None, has_code: bool) -> None:
    (error,) = client.ask("GET", "/nope", minor).json["errors"]
    assert ("code" in error) is has_code
    assert error.get("code", "placement.undefined_code") == "placement.undefined_code"


def test_an_error_that_nobody_foresaw_is_500_tells_nothing_and_is_logged(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.service.error = RuntimeError("secret")
    with caplog.at_level(logging.ERROR):
        result = client.ask("GET", PROVIDER, 39)
    assert result.status == 500
    assert "secret" not in result.detail
    (record,) = caplog.records
    assert result.headers["x-openstack-request-id"] in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is client.service.error


def test_an_answer_that_cannot_be_encoded_is_500(client: Client) -> None:
    client.service.result = object()
    assert client.ask("PUT", PROVIDER, 0, {"name": "two"}).status == 500


@pytest.mark.parametrize("kind", [UnavailableError, OutcomeUnknownError])
def test_a_service_that_cannot_answer_is_503_with_a_time_to_wait(
    client: Client, kind: type[UnavailableError]
) -> None:
    client.service.error = kind("password=secret")
    result = client.ask("PUT", PROVIDER, 39, {"name": "two"})
    assert result.status == 503
    assert int(result.headers["retry-after"]) > 0
    assert "secret" not in result.detail


@pytest.mark.parametrize("prefix", ["", "/placement"])
def test_links_and_locations_are_under_the_prefix(client: Client, prefix: str) -> None:
    environ = {"SCRIPT_NAME": prefix, "HTTP_HOST": "host:8778", "wsgi.url_scheme": "https"}
    body = {"name": "one", "uuid": UUID}
    result = client.ask("POST", "/resource_providers", 20, body, environ=environ)
    assert result.headers["location"] == f"https://host:8778{prefix}{PROVIDER}"
    hrefs = [link["href"] for link in result.json["links"]]
    assert hrefs[:2] == [f"{prefix}{PROVIDER}", f"{prefix}{PROVIDER}/inventories"]
    result = client.ask("PUT", "/traits/CUSTOM_A", 6, environ=environ)
    assert result.headers["location"] == f"https://host:8778{prefix}/traits/CUSTOM_A"
    result = client.ask("PUT", "/resource_classes/CUSTOM_A", 7, environ=environ)
    assert result.headers["location"] == f"https://host:8778{prefix}/resource_classes/CUSTOM_A"
    inventory = {"resource_class": "VCPU", "total": 1}
    result = client.ask("POST", f"{PROVIDER}/inventories", 0, inventory, environ=environ)
    assert result.headers["location"] == f"https://host:8778{prefix}{PROVIDER}/inventories/VCPU"


def test_last_modified_is_what_the_service_says(client: Client) -> None:
    result = client.ask("GET", PROVIDER, 15)
    assert result.headers["last-modified"] == MODIFIED_HEADER


def test_one_inventory_is_dated_by_its_own_last_change(client: Client) -> None:
    one = client.ask("GET", f"{PROVIDER}/inventories/VCPU", 15)
    assert one.headers["last-modified"] == MODIFIED_HEADER.replace("Thu, 29", "Wed, 28")
    assert client.ask("GET", f"{PROVIDER}/inventories", 15).headers["last-modified"] == MODIFIED_HEADER


def test_a_body_without_a_type_is_400_before_anything_is_looked_for(client: Client) -> None:
    for path in ("/nope", "/traits/CUSTOM_A", "/resource_providers"):
        result = client.ask("PUT", path, 39, body=b"{}", headers={"content-type": None})
        assert result.status == 400
        assert "content-type header required when content-length > 0" in result.detail


def test_a_length_has_to_be_a_number(client: Client) -> None:
    result = client.ask("GET", "/nope", environ={"CONTENT_LENGTH": "many"})
    assert result.status == 400
    assert "content-length header must be an integer" in result.detail


def test_a_type_with_parameters_is_still_json(client: Client) -> None:
    headers: dict[str, str | None] = {"content-type": "application/json; charset=utf-8"}
    body = b'{"name": "one"}'
    assert client.ask("POST", "/resource_providers", body=body, headers=headers).status == 201


def test_a_plain_user_gets_415_for_a_wrong_type_but_403_for_bad_json(client: Client) -> None:
    user: dict[str, str | None] = {"x-auth-token": "somebody"}
    wrong = user | {"content-type": "text/plain"}
    assert client.ask("POST", "/resource_providers", body=b"{", headers=wrong).status == 415
    assert client.ask("POST", "/resource_providers", body=b"{", headers=user).status == 403


def test_a_plain_user_gets_403_before_the_query_is_judged(client: Client) -> None:
    user: dict[str, str | None] = {"x-auth-token": "somebody"}
    assert client.ask("GET", "/resource_providers?nope=%ff", headers=user).status == 403


@pytest.mark.parametrize(
    ("token", "roles", "query", "status"),
    [
        ("somebody:project", "reader", "?project_id=project", 200),
        ("somebody:project", "reader", "?project_id=other", 403),
        ("somebody:project", "reader", "", 403),
        ("somebody:project", "member", "?project_id=project", 403),
        ("somebody:project", "service", "", 400),
        ("admin", "admin", "", 400),
        ("admin", "admin", "?project_id=%ff", 400),
    ],
)
def test_usages_are_judged_by_the_project_asked_about(
    client: Client, token: str, roles: str, query: str, status: int
) -> None:
    headers: dict[str, str | None] = {"x-auth-token": token, "x-roles": roles}
    assert client.ask("GET", f"/usages{query}", 9, headers=headers).status == status


PROVIDER_FIRST = [
    ("PUT", PROVIDER, 0),
    ("POST", f"{PROVIDER}/inventories", 0),
    ("PUT", f"{PROVIDER}/inventories", 0),
    ("PUT", f"{PROVIDER}/inventories/VCPU", 0),
    ("PUT", f"{PROVIDER}/aggregates", 1),
]


@pytest.mark.parametrize(("method", "path", "minor"), PROVIDER_FIRST)
def test_a_missing_provider_is_told_of_before_a_bad_body(method: str, path: str, minor: int) -> None:
    missing = Client(FakeService(knows_provider=False))
    present = Client(FakeService())
    for body in (b"{", b"5", b'{"name": 5}'):
        result = missing.ask(method, path, minor, body=body)
        assert result.status == 404
        assert f"No resource provider with uuid {UUID} found" in result.detail
        assert present.ask(method, path, minor, body=body).status == 400


def test_a_bad_body_of_traits_is_told_of_before_a_missing_provider() -> None:
    client = Client(FakeService(knows_provider=False))
    assert client.ask("PUT", f"{PROVIDER}/traits", 6, body=b"{").status == 400


def test_a_malformed_consumer_is_told_of_before_a_bad_body(client: Client) -> None:
    result = client.ask("PUT", "/allocations/nobody", 39, body=b"{")
    assert result.status == 400
    assert "Malformed consumer_uuid: nobody" in result.detail


def test_a_method_that_falcon_keeps_for_itself_is_refused_in_the_usual_form(client: Client) -> None:
    result = client.ask("WEBSOCKET", "/resource_providers")
    assert result.status == 400
    assert result.detail


def takes_json(accept: str | None) -> bool:
    try:
        check(accept)
    except WireError:
        return False
    return True


def test_a_client_whose_accept_makes_no_sense_takes_all() -> None:
    assert takes_json("garbage")
    assert error_type("garbage") == "text/html"


@each(
    ("accept", "takes"),
    [
        (None, True),
        ("", True),
        ("*/*", True),
        ("application/*", True),
        ("Application/JSON", True),
        ("application/json;q=0", False),
        ("application/json;version=1", False),
        ("text/html, */*;q=0.1", True),
    ],
)
def test_json_is_taken_by_range_and_weight(accept: str | None, takes: bool) -> None:
    assert takes_json(accept) is takes


def test_a_status_without_words_of_its_own_is_explained_by_its_title() -> None:
    asked = render.RefusedRequest("GET", "application/json", None, "req-1")
    _, body = render.render(WireError(418, "no coffee"), asked)
    (error,) = json.loads(body)["errors"]
    assert error["detail"].startswith("I'm a Teapot\n\n no coffee")


class _Stub:
    """Authenticates as it is told to."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def identify(self, environ: Mapping[str, Any]) -> Identity:
        raise self._error


def _refused(client: Client, error: Exception) -> Result:
    client.app = application.create(client.service, None, _Stub(error))
    result = client.ask("GET", "/nope", 39)
    assert client.service.calls == []
    assert "x-openstack-request-id" in result.headers
    return result


def test_whoever_vouches_for_tokens_may_answer_in_words_of_its_own(client: Client) -> None:
    result = _refused(client, UnauthorisedError({"www-authenticate": "there"}, b'{"error": {"code": 401}}'))
    assert result.status == 401
    assert result.json == {"error": {"code": 401}}
    assert result.headers["www-authenticate"] == "there"
    assert result.headers["content-type"] == "application/json"


def test_without_the_identity_service_the_answer_is_503(client: Client) -> None:
    result = _refused(client, UnreachableError())
    assert result.status == 503
    assert "The identity service cannot be reached" in result.detail


def test_where_the_database_of_tokens_is_away_the_answer_is_503(client: Client) -> None:
    assert _refused(client, UnavailableError("secret reason")).status == 503


def test_a_body_has_a_length_or_comes_in_chunks_and_not_both(client: Client) -> None:
    environ = {"HTTP_TRANSFER_ENCODING": "chunked"}
    result = client.ask("POST", "/resource_providers", 39, {"name": "a"}, environ=environ)
    assert result.status == 400
    assert "exclude each other" in result.detail
    assert client.service.calls == []


@each(
    ("method", "path", "body", "since"),
    [
        ("GET", "/traits", None, 6),
        ("GET", "/allocation_candidates?resources=VCPU:1", None, 10),
        ("GET", f"/usages?project_id={UUID}", None, 9),
        ("GET", "/resource_providers?resources=VCPU:1", None, 39),
        ("PUT", f"/allocations/{UUID}", CLAIM, 39),
    ],
)
def test_request_that_fails_for_want_of_a_version_says_so_in_a_header_only(
    method: str, path: str, body: object, since: int
) -> None:
    client = Client(FakeService())
    hinted = client.ask(method, path, None, body)
    named = client.ask(method, path, 0, body)
    assert hinted.status in (400, 404)
    assert hinted.headers["moorage-hint"].endswith(f"needs openstack-api-version: placement 1.{since}")
    # The wire's own text stays as it is, and so does everything where a version is named.
    assert "moorage-hint" not in named.headers
    assert (named.status, named.detail) == (hinted.status, hinted.detail)


@each(
    ("method", "path", "body"),
    [
        ("GET", "/resource_providers", None),
        ("GET", "/nowhere", None),
        ("GET", "/resource_providers?nonsense=1", None),
        ("PUT", f"/allocations/{UUID}", {"nonsense": 1}),
        ("PUT", f"/allocations/{UUID}", ["no", "object"]),
    ],
)
def test_request_that_no_version_would_help_has_no_hint(method: str, path: str, body: object) -> None:
    assert "moorage-hint" not in Client(FakeService()).ask(method, path, None, body).headers
