"""A running service answers what its OpenAPI document says."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.journeys.client import Answer, Client
from tests.unit.api.documented import Document

pytestmark = pytest.mark.journey


class Reader:
    """A client that believes the document: every answer is held against it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.document = Document(client.get("/openapi.json"))
        self.asked: set[str] = set()

    def ask(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        """Body of an answer that must have this status, None if it has none."""
        answer: Answer = self._client.request(method, path, body)
        shown = answer.json if answer.body else None
        assert answer.status == status, (method, path, shown)
        assert self.document.faults(method, path, status, answer.headers, shown) == []
        operation = self.document.operation(method, path)
        self.asked.add(operation["operationId"])
        if body is not None and status < 400:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert self.document.validator(schema).is_valid(body)
        return shown


@pytest.fixture
def reader(client: Client) -> Reader:
    return Reader(client)


def claim(generation: int | None, allocations: dict[str, dict[str, int]]) -> dict[str, Any]:
    return {
        "allocations": {uuid: {"resources": amounts} for uuid, amounts in allocations.items()},
        "project_id": "openapi",
        "user_id": "user",
        "consumer_generation": generation,
        "consumer_type": "INSTANCE",
    }


def test_every_operation_answers_what_the_document_says(reader: Reader) -> None:
    ask = reader.ask
    root, child, first, second, aggregate = (str(uuid4()) for _ in range(5))
    trait, resource_class = (f"CUSTOM_{uuid4().hex.upper()}" for _ in range(2))
    at_root, at_child = f"/resource_providers/{root}", f"/resource_providers/{child}"

    ask("GET", "/")
    ask("POST", "/resource_classes", {"name": resource_class}, status=201)
    ask("PUT", f"/resource_classes/{resource_class}", status=204)
    ask("GET", f"/resource_classes/{resource_class}")
    ask("GET", "/resource_classes")
    ask("PUT", f"/traits/{trait}", status=201)
    ask("PUT", f"/traits/{trait}", status=204)
    ask("GET", f"/traits/{trait}", status=204)
    assert trait in ask("GET", "/traits?name=startswith:CUSTOM_")["traits"]

    ask("POST", "/resource_providers", {"name": root, "uuid": root})
    ask("POST", "/resource_providers", {"name": child, "uuid": child, "parent_provider_uuid": root})
    ask("POST", "/resource_providers", {"name": root}, status=409)
    ask("PUT", at_child, {"name": f"{child}-renamed"})
    ask("GET", at_child)
    assert len(ask("GET", f"/resource_providers?in_tree={root}")["resource_providers"]) == 2

    ask("POST", f"{at_root}/inventories", {"resource_class": "VCPU", "total": 8}, status=201)
    changed = {"resource_provider_generation": 1, "total": 8, "allocation_ratio": 1.5}
    ask("PUT", f"{at_root}/inventories/VCPU", changed)
    ask("PUT", f"{at_root}/inventories/VCPU", changed, status=409)
    ask("GET", f"{at_root}/inventories/VCPU")
    ask("GET", f"{at_root}/inventories/DISK_GB", status=404)
    inventories = {
        "resource_provider_generation": 0,
        "inventories": {"DISK_GB": {"total": 100}, resource_class: {"total": 1}},
    }
    ask("PUT", f"{at_child}/inventories", inventories)
    ask("DELETE", f"{at_child}/inventories/{resource_class}", status=204)
    ask("GET", f"{at_child}/inventories")

    ask("PUT", f"{at_root}/traits", {"traits": [trait], "resource_provider_generation": 2})
    ask("GET", f"{at_root}/traits")
    ask("DELETE", f"/traits/{trait}", status=409)
    ask("PUT", f"{at_root}/aggregates", {"aggregates": [aggregate], "resource_provider_generation": 3})
    ask("GET", f"{at_root}/aggregates")

    found = ask("GET", f"/allocation_candidates?resources=VCPU:1&resources_D=DISK_GB:5&in_tree={root}")
    assert len(found["allocation_requests"]) == 1
    ask("GET", "/allocation_candidates?resources=NOTHING:1", status=400)
    ask("PUT", f"/allocations/{first}", claim(None, {root: {"VCPU": 1}}), status=204)
    ask("PUT", f"/allocations/{first}", claim(None, {root: {"VCPU": 1}}), status=409)
    ask("PUT", f"/allocations/{second}", claim(None, {root: {"VCPU": 99}}), status=409)
    ask("POST", "/allocations", {second: claim(None, {child: {"DISK_GB": 5}})}, status=204)
    ask("GET", f"/allocations/{first}")
    assert ask("GET", f"/allocations/{uuid4()}") == {"allocations": {}}
    ask("GET", f"{at_root}/allocations")
    ask("GET", f"{at_root}/usages")
    assert set(ask("GET", "/usages?project_id=openapi")["usages"]) == {"INSTANCE"}
    ask("GET", "/usages", status=400)
    generation = ask("GET", at_root)["generation"]
    reshaped = {"resource_provider_generation": generation, "inventories": {"VCPU": {"total": 4}}}
    moved = {first: claim(1, {root: {"VCPU": 2}})}
    ask("POST", "/reshaper", {"inventories": {root: reshaped}, "allocations": moved}, status=204)

    ask("DELETE", at_root, status=409)
    for consumer in (first, second):
        ask("DELETE", f"/allocations/{consumer}", status=204)
    ask("DELETE", f"/allocations/{first}", status=404)
    ask("DELETE", f"{at_root}/inventories", status=204)
    ask("DELETE", f"{at_root}/traits", status=204)
    ask("DELETE", at_child, status=204)
    ask("DELETE", at_root, status=204)
    ask("GET", at_root, status=404)
    ask("DELETE", f"/traits/{trait}", status=204)
    ask("DELETE", f"/resource_classes/{resource_class}", status=204)

    described = {
        operation["operationId"]
        for item in reader.document.content["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    }
    assert reader.asked == described
