"""Which operation there is at which microversion, and who may ask for it."""

from __future__ import annotations

from moorage.api.placement.routes import ROUTES
from tests.table import each
from tests.unit.api.fake import UUID, Client, FakeService
from tests.unit.api.requests import GOOD, WITH_BODY, Good

MINORS = range(40)

every_operation = each("good", GOOD)


def test_the_table_of_routes_has_the_operations_of_the_api_reference_and_no_others() -> None:
    table = {(method, path) for path, methods in ROUTES.items() for method in methods}
    assert table == {(good.method, good.template) for good in GOOD}


@every_operation
def test_an_operation_is_there_from_its_first_version_on(good: Good) -> None:
    client = Client(FakeService())
    for minor in MINORS:
        result = client.ask(good.method, good.path, minor, good.body(minor))
        if minor < good.since:
            assert result.status == good.status_before, minor
            assert "allow" not in result.headers
        else:
            assert result.status in {200, 201, 204}, (minor, result.body)
        assert result.headers["openstack-api-version"] == f"placement 1.{minor}"
        assert result.headers["vary"] == "openstack-api-version"


@every_operation
def test_an_operation_asks_its_rule(good: Good) -> None:
    client = Client(FakeService())
    headers: dict[str, str | None] = {"x-auth-token": "somebody"}
    result = client.ask(good.method, good.path, 39, good.body(39), headers=headers)
    if good.rule is None:
        assert result.status == 200
        return
    assert result.status == 403
    assert f"Policy does not allow {good.rule} to be performed." in result.detail
    assert client.service.calls == []


@every_operation
def test_cache_headers_come_with_1_15_on_what_has_a_date(good: Good) -> None:
    client = Client(FakeService())
    undated = {"POST /resource_classes", "POST /allocations", "POST /reshaper"}
    undated |= {"PUT /resource_classes/{name}", "PUT /allocations/{consumer_uuid}"}
    for minor in range(good.since, 40):
        result = client.ask(good.method, good.path, minor, good.body(minor))
        dated = good.method != "DELETE" and str(good) not in undated and minor >= 15
        if str(good) == "POST /resource_providers":
            dated = minor >= 20
        assert (result.headers.get("cache-control") == "no-cache") is dated, minor
        assert ("last-modified" in result.headers) is dated, minor


@every_operation
def test_answers_have_a_type_only_if_they_have_a_body(good: Good) -> None:
    client = Client(FakeService())
    for minor in range(good.since, 40):
        result = client.ask(good.method, good.path, minor, good.body(minor))
        assert ("content-type" in result.headers) is bool(result.body)


@each("path", sorted({good.path.partition("?")[0] for good in GOOD}))
@each("method", ["PATCH", "HEAD", "OPTIONS", "NONSENSE", "get"])
def test_a_method_that_a_path_does_not_have_is_told_which_it_has(path: str, method: str) -> None:
    result = Client(FakeService()).ask(method, path, 39)
    known = [good.method for good in GOOD if good.path.partition("?")[0] == path]
    assert result.status == 405
    assert sorted(result.headers["allow"].split(", ")) == sorted(known)
    if method == "HEAD":
        assert result.body == b""
    else:
        assert f"The method {method} is not allowed for this resource." in result.detail
        assert "The method specified is not allowed for this resource." in result.detail


def test_allowed_methods_come_in_the_order_of_their_declaration() -> None:
    result = Client(FakeService()).ask("PUT", "/resource_providers")
    assert result.headers["allow"] == "GET, POST"
    result = Client(FakeService()).ask("POST", f"/resource_providers/{UUID}")
    assert result.headers["allow"] == "GET, DELETE, PUT"


@each(
    "path",
    [
        "/nope",
        "/resource_providers/",
        "/resource_providers//inventories",
        f"/resource_providers/{UUID}/",
        f"/resource_providers/{UUID}/nope",
        f"/resource_providers/{UUID}/inventories/",
        "/traits/",
        "//resource_providers",
    ],
)
def test_a_path_that_leads_nowhere_is_not_found(path: str) -> None:
    client = Client(FakeService())
    result = client.ask("GET", path, 39)
    assert result.status == 404
    assert result.detail == "The resource could not be found.\n\n   "
    assert result.headers["openstack-api-version"] == "placement 1.39"
    assert client.service.calls == []


@each("good", WITH_BODY)
def test_a_body_has_to_be_json(good: Good) -> None:
    client = Client(FakeService())
    minor = good.since
    body = b"{}"
    for media_type in ("text/plain", "application/jsonx", "text/<b>json"):
        headers: dict[str, str | None] = {"content-type": media_type}
        result = client.ask(good.method, good.path, minor, body=body, headers=headers)
        assert result.status == 415
    result = client.ask(good.method, good.path, minor)
    assert result.status == 415
    assert "The media type None is not supported, use application/json" in result.detail
    assert client.service.calls == []


@every_operation
def test_only_what_sends_json_cares_whether_the_client_takes_it(good: Good) -> None:
    result = Client(FakeService()).ask(
        good.method, good.path, 39, good.body(39), headers={"accept": "text/plain"}
    )
    if good.method == "GET" and not good.takes_any_accept:
        assert result.status == 406
        assert result.body.endswith(b"Only application/json is provided")
    else:
        assert result.status < 300
