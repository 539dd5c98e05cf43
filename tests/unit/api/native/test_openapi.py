"""The OpenAPI document of the native API: valid, and true of the answers of the service."""

from __future__ import annotations

import json

import pytest

from moorage.api.http.exchange import JSON
from moorage.api.native.kept_explanations import KeptForms
from moorage.api.native.openapi import EVERYTHING, document, problems_of
from moorage.model.commands import AttachClaim, CreateProvider, GrantLease, QuarantineClaims, SetInventories
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import Requester
from moorage.rules.reports import finding_id
from moorage.service.facade import Service
from tests.databases.orders import add_provider, claim, inventories, new_uuid, order
from tests.unit.api.documented import Document
from tests.unit.api.fake import FakeService
from tests.unit.api.native.client import NativeClient

CLIENT = NativeClient(FakeService())
AGGREGATE = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


@pytest.fixture(scope="module")
def told() -> Document:
    return Document(CLIENT.get("/moorage/v1/openapi.json").json)


def test_the_document_lists_every_endpoint_with_its_rule_and_its_problems(told: Document) -> None:
    found = {
        (method.upper(), path): operation
        for path, item in told.content["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }
    assert found.keys() == {(each.method, each.path) for each in EVERYTHING}
    identities = [operation["operationId"] for operation in found.values()]
    assert len(set(identities)) == len(identities)
    for each in EVERYTHING:
        operation = found[each.method, each.path]
        assert operation.get("x-policy-rule") == each.rule
        assert operation["responses"].keys() >= {str(listed.status) for listed in problems_of(each)}


def test_the_document_says_where_the_service_is_mounted() -> None:
    told = CLIENT.ask("GET", "/moorage/v1/openapi.json", environ={"SCRIPT_NAME": "/placement"})
    assert told.json["servers"] == [{"url": "/placement"}]
    assert "servers" not in document()


def keep_one_unmet(service: Service) -> str:
    """Keep one search that found nothing; returns the id of its request."""
    request_id = "req-22222222-2222-4222-8222-222222222222"
    keeping = Service(service._store, unmet_forms=KeptForms())
    request = CandidateRequest(
        (RequestGroup("", {"VCPU": 9}, in_tree=new_uuid()), RequestGroup("1", {"PGPU": 1}))
    )
    keeping.candidates(request, Requester("u", "p", request_id, request_id))
    keeping.settle_unmet()
    return request_id


def leased(service: Service, provider: str, *, quarantined: bool) -> tuple[str, str]:
    """A lease, and a consumer whose claim hangs on it."""
    lease, consumer = new_uuid(), new_uuid()
    order(service, claim(consumer, {provider: {"VCPU": 1}}, None, "INSTANCE", "p1"))
    if quarantined:
        order(service, QuarantineClaims(lease, "finding", "p1", "u1", (consumer,)))
    else:
        order(service, GrantLease(lease, "agent", "p1", "u1", 60_000, 0))
        order(service, AttachClaim(lease, consumer))
    return lease, consumer


def test_answers_to_the_examples_are_as_the_document_says(told: Document, sqlite_service: Service) -> None:
    root = add_provider(sqlite_service, "host-1", None, ("HW_CPU_X86_AVX2",), (AGGREGATE,), VCPU=32)
    add_provider(sqlite_service, "device", root, PGPU=2)
    # Examples of claims name it.
    order(sqlite_service, CreateProvider("7d3c0a52-52b5-4a0c-9f6f-0c0ffee00009", "named in examples"))
    order(sqlite_service, SetInventories("7d3c0a52-52b5-4a0c-9f6f-0c0ffee00009", 0, inventories(VCPU=8)))
    consumer = new_uuid()
    order(sqlite_service, claim(consumer, {root: {"VCPU": 1}}, None, "INSTANCE", "p1"))
    fields = {"{request_id}": keep_one_unmet(sqlite_service), "{consumer}": consumer, "{uuid}": root}
    # The example of a report makes this finding.
    reported, tree = "0b9f1c4e-3f5b-4a52-9d38-1f8f6f0c2a11", "7d3c0a52-52b5-4a0c-9f6f-0c0ffee00009"
    fields |= {"{source}": "nova", "{id}": finding_id("nova", reported, tree)}
    # Another example releases what the consumer holds.
    _, holder = leased(sqlite_service, root, quarantined=False)
    client = NativeClient(sqlite_service)
    asked = 0
    # Findings go with their source.
    forgets = "DELETE /moorage/v1/reports/{source}"
    for each in sorted(EVERYTHING, key=lambda endpoint: endpoint.name == forgets):
        if each.rule is not None:
            assert each.examples, f"{each.name} has no example"
        if JSON not in each.media_types:
            continue
        for example in each.examples or ("",):
            query = example if isinstance(example, str) else ""
            bare = each.path
            if "{lease}" in bare:
                lease, hanging = leased(sqlite_service, root, quarantined="resolution" in bare)
                attached = bare.replace("{lease}", lease).replace("{consumer}", hanging)
                bare = attached if each.method == "DELETE" else bare.replace("{lease}", lease)
                bare = bare.replace("{consumer}", holder)
            for field, value in fields.items():
                bare = bare.replace(field, value)
            path = f"{bare}?{query}" if query else bare
            answer = client.ask(each.method, path, value=example if each.body is not None else None)
            assert answer.status == each.status, (each.name, example, answer)
            assert told.faults(each.method, path, answer.status, answer.headers, answer.json) == []
            asked += 1
    assert asked > len(EVERYTHING) // 2


def test_problems_are_as_the_document_says(told: Document) -> None:
    refused = CLIENT.get("/moorage/v1?feature=1")
    said = told.operation("GET", "/moorage/v1")["responses"][str(refused.status)]
    schema = said["content"][refused.headers["content-type"]]["schema"]
    assert list(told.validator(schema).iter_errors(json.loads(refused.body))) == []
