"""The OpenAPI document: valid, complete, and true to what the application answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from openapi_spec_validator import validate

from moorage.api.placement import answers, errors, refusals
from moorage.api.placement.routes import BY_NAME, ROUTES
from moorage.model import errors as model
from moorage.model.values import MAX_INT
from tests.table import each
from tests.unit.api.documented import Document
from tests.unit.api.fake import CONSUMER, OTHER, UUID, Client, FakeService, Result
from tests.unit.api.requests import GOOD, Good
from tests.unit.api.test_errors import SAMPLES

NEWEST = 39
OPERATIONS = [f"{method} {path}" for path, methods in ROUTES.items() for method in methods]
MUTUALLY_EXCLUSIVE = "oneOf"

every_operation = each("good", GOOD)


@pytest.fixture(scope="module")
def document() -> Document:
    """As a client gets it."""
    return Document(Client(FakeService()).ask("GET", "/openapi.json").json)


def decoded(result: Result) -> Any:
    return json.loads(result.body) if result.body else None


def faults(document: Document, method: str, path: str, result: Result) -> list[str]:
    return document.faults(method, path, result.status, result.headers, decoded(result))


def asked(client: Client, good: Good, **changes: Any) -> Result:
    return client.ask(good.method, good.path, NEWEST, good.body(NEWEST), **changes)


def objects(schema: object, place: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All schemas of objects within a schema, with where they stand."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "object":
            yield place, schema
        for key, value in schema.items():
            if key != MUTUALLY_EXCLUSIVE:
                yield from objects(value, f"{place}/{key}")
    elif isinstance(schema, list):
        for item in schema:
            yield from objects(item, place)


@pytest.mark.slow
def test_the_document_is_valid_openapi(document: Document) -> None:
    assert document.content["openapi"].startswith("3.1.")
    validate(document.content)


def test_the_document_needs_no_token_and_no_version() -> None:
    client = Client(FakeService())
    headers: dict[str, str | None] = {"x-auth-token": None}
    result = client.ask("GET", "/openapi.json", headers=headers)
    assert result.status == 200
    assert result.json["servers"] == [{"url": "/"}]
    assert result.body == client.ask("GET", "/openapi.json", NEWEST).body
    assert client.service.calls == []


def test_the_document_names_the_path_that_the_service_is_mounted_under() -> None:
    result = Client(FakeService()).ask("GET", "/openapi.json", environ={"SCRIPT_NAME": "/placement"})
    assert result.json["servers"] == [{"url": "/placement"}]
    assert Client(FakeService()).ask("GET", "/openapi.json").json["servers"] == [{"url": "/"}]


def test_the_document_can_be_read_only() -> None:
    result = Client(FakeService()).ask("PUT", "/openapi.json", NEWEST)
    assert (result.status, result.headers["allow"]) == (405, "GET")


WITHIN_OTHERS = {model.UnusableDatabaseError.__name__}
"""A kind of UnavailableError, with the same answer, that ends a process before it serves."""


def test_the_document_has_the_operations_of_the_table_of_routes_and_no_others(document: Document) -> None:
    described = {
        f"{method.upper()} {path}"
        for path, item in document.content["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert described == set(OPERATIONS)


def test_every_error_with_an_answer_is_foreseen_by_an_operation() -> None:
    foreseen = {refusal.reason for name in OPERATIONS for refusal in refusals.of_model(BY_NAME[name])}
    assert foreseen == {type(sample).__name__ for sample in SAMPLES} - WITHIN_OTHERS


def test_names_of_operations_are_unique(document: Document) -> None:
    names = [document.operation(*operation.split())["operationId"] for operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_every_code_of_the_wire_is_explained() -> None:
    codes = {
        value for value in vars(errors).values() if isinstance(value, str) and value.startswith("placement.")
    }
    assert codes == set(answers.CODES)


@every_operation
def test_only_what_is_open_to_all_needs_no_token(document: Document, good: Good) -> None:
    operation = document.operation(good.method, good.template)
    assert (operation.get("security") == []) is (good.rule is None)
    assert operation.get("x-policy-rule") == good.rule
    assert document.content["components"]["securitySchemes"]["token"]["name"] == "X-Auth-Token"


@every_operation
def test_a_good_request_is_what_the_document_asks_for(document: Document, good: Good) -> None:
    operation = document.operation(good.method, good.path)
    body = good.body(NEWEST)
    assert ("requestBody" in operation) is (body is not None)
    if body is not None:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert document.validator(schema).is_valid(body)
        assert not document.validator(schema).is_valid([body])


@every_operation
def test_an_answer_is_what_the_document_says(document: Document, good: Good) -> None:
    result = asked(Client(FakeService()), good)
    assert result.status < 300
    assert faults(document, good.method, good.path, result) == []


@pytest.mark.parametrize("operation", ["PUT /traits/CUSTOM_A", "PUT /resource_classes/CUSTOM_A"])
def test_what_is_there_already_is_answered_as_the_document_says(document: Document, operation: str) -> None:
    method, path = operation.split()
    result = Client(FakeService(result=False)).ask(method, path, NEWEST)
    assert result.status == 204
    assert faults(document, method, path, result) == []


@pytest.mark.parametrize("path", [f"/allocations/{OTHER}", "/usages?project_id=project&consumer_type=NOBODY"])
def test_an_answer_that_shows_nothing_is_what_the_document_says(document: Document, path: str) -> None:
    result = Client(FakeService()).ask("GET", path, NEWEST)
    assert (result.status, faults(document, "GET", path, result)) == (200, [])


def test_a_consumer_is_shown_with_all_or_without_anything(document: Document) -> None:
    schema = document.validator(answers.reference("AllocationsOfConsumer"))
    shown = Client(FakeService()).ask("GET", f"/allocations/{CONSUMER}", NEWEST).json
    assert schema.is_valid(shown)
    for name in shown:
        assert not schema.is_valid({key: value for key, value in shown.items() if key != name})
    assert schema.is_valid({"allocations": {}})
    assert not schema.is_valid(shown | {"allocations": {}})


@each("name", answers.COMPONENTS)
def test_every_object_of_a_schema_is_closed_and_says_what_it_must_have(name: str) -> None:
    found = list(objects(answers.COMPONENTS[name]))
    assert found
    for place, schema in found:
        assert "additionalProperties" in schema, place
        if schema["additionalProperties"] is False:
            assert schema["required"], place
            assert set(schema["required"]) <= set(schema["properties"]), place


@every_operation
def test_a_body_with_something_more_or_less_is_not_what_the_document_says(
    document: Document, good: Good
) -> None:
    result = asked(Client(FakeService()), good)
    if not result.body:
        return
    body = result.json

    def found(changed: object) -> list[str]:
        return document.faults(good.method, good.path, result.status, result.headers, changed)

    assert found(body) == []
    assert found(body | {"more": 1})
    for name in body:
        assert found({key: value for key, value in body.items() if key != name})
        assert found(body | {name: True})
    assert found(None)


@pytest.mark.slow
@every_operation
def test_every_foreseen_error_is_answered_as_the_document_says(document: Document, good: Good) -> None:
    kinds: list[type[model.MoorageError]] = [model.UnavailableError, model.OutcomeUnknownError]
    kinds += [item.error for item in BY_NAME[str(good)].foreseen if item.before > NEWEST]
    kinds += [model.UnstorableError] if BY_NAME[str(good)].asks_text else []
    if good.rule is None:
        return
    for kind in kinds:
        result = asked(Client(FakeService(error=refusals.example(kind))), good)
        assert result.status >= 400
        assert faults(document, good.method, good.path, result) == []
        told = {
            refusal.code
            for refusal in refusals.of_model(BY_NAME[str(good)])
            if refusal.reason == kind.__name__
        }
        assert told == {result.json["errors"][0]["code"]}


@every_operation
def test_every_error_of_an_older_version_is_foreseen_with_its_words(good: Good) -> None:
    for refusal in refusals.of_model(BY_NAME[str(good)]):
        assert refusal.status >= 400
        assert refusal.message
        assert "call[" not in refusal.message
        assert refusal.reason in vars(model)


@every_operation
def test_a_refused_request_is_answered_as_the_document_says(document: Document, good: Good) -> None:
    client = Client(FakeService())
    results = [
        client.ask(good.method, good.path, headers={"openstack-api-version": "placement x"}),
        client.ask(good.method, good.path, headers={"openstack-api-version": "placement 1.999"}),
    ]
    if good.rule is not None:
        results += [
            asked(client, good, headers={"x-auth-token": None}),
            asked(client, good, headers={"x-auth-token": "somebody"}),
            asked(Client(FakeService(error=RuntimeError("unforeseen"))), good),
        ]
    if good.body(NEWEST) is not None:
        large = {"content-length": str(MAX_INT)}
        results += [
            asked(client, good, headers={"content-type": "text/plain"}),
            client.ask(good.method, good.path, NEWEST, body=b"{"),
            client.ask(good.method, good.path, NEWEST, {}),
            asked(client, good, headers=dict(large)),
        ]
    if "?" in good.path:
        results.append(client.ask(good.method, f"{good.path}&unknown=1", NEWEST))
    allowed = {200, 201, 204}
    statuses = {result.status for result in results}
    assert statuses >= {400, 406}
    assert statuses & allowed == set()
    for result in results:
        assert faults(document, good.method, good.path, result) == []


def test_the_parameters_of_a_query_are_those_of_its_schema(document: Document) -> None:
    def parameters(path: str) -> dict[str, Any]:
        found = document.operation("GET", path)["parameters"]
        return {item["name"]: item for item in found if item.get("in") == "query"}

    assert set(parameters("/resource_providers")) == {
        "name",
        "uuid",
        "member_of",
        "resources",
        "in_tree",
        "required",
    }
    assert {name for name, item in parameters("/usages").items() if item["required"]} == {"project_id"}
    candidates = parameters("/allocation_candidates")
    assert set(candidates) == {"limit", "group_policy", "root_required", "same_subtree", "groups"}
    groups = document.validator(candidates["groups"]["schema"])
    assert groups.is_valid({"resources": "VCPU:1", "required_NET": ["A", "!B"], "in_tree_NET": UUID})
    assert not groups.is_valid({"resources": 1})
