"""Nonsense at every place where a client can put it: refused in form, before anything is done."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from moorage.api.http.validation import Validator
from moorage.api.placement import schemas
from moorage.api.placement.routes import ROUTES
from moorage.api.placement.versions import NEWEST
from tests.table import each
from tests.unit.api.fake import CONSUMER, UUID, Client, FakeService, Result
from tests.unit.api.requests import GOOD, WITH_BODY, Good, claim

PROVIDER = f"/resource_providers/{UUID}"

WRONG: list[Any] = [
    True,
    {"wrong": []},
    "x" * 10_000,
    "a\0b",
    "\ud800",
    "not-a-uuid",
    [[]],
]
"""Values that are right nowhere (``not-a-uuid`` but where any short text is)."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to every value within a body, itself included."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


def replaced(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    body = copy.deepcopy(body)
    inner = body
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return body


def versions_of(good: Good) -> list[int]:
    """The minors at which the body changes."""
    minors = [minor for minor in range(good.since, 40) if good.body(minor) is not None]
    return [minor for minor in minors if minor == good.since or good.body(minor) != good.body(minor - 1)]


def assert_refused(client: Client, result: Result, why: object) -> None:
    assert 400 <= result.status < 500, (why, result)
    assert result.detail
    assert [name for name, _ in client.service.calls if name != "provider"] == []


@pytest.mark.slow
@each("good", WITH_BODY)
def test_a_wrong_value_anywhere_in_a_body_is_refused(good: Good) -> None:
    client = Client(FakeService())
    for minor in versions_of(good):
        body = good.body(minor)
        for path in places(body):
            for wrong in WRONG:
                if wrong == "not-a-uuid" and path and str(path[-1]).endswith(("name", "_id")):
                    continue
                if wrong == "not-a-uuid" and path and path[0] == "traits" and len(path) > 1:
                    continue
                result = client.ask(good.method, good.path, minor, replaced(body, path, wrong))
                assert_refused(client, result, (minor, path, wrong))


@each("good", WITH_BODY)
def test_a_key_too_many_anywhere_in_a_body_is_refused(good: Good) -> None:
    client = Client(FakeService())
    for minor in versions_of(good):
        body = good.body(minor)
        for path in places(body):
            at = body
            for step in path:
                at = at[step]
            if isinstance(at, dict) and (not path or path[-1] != "mappings"):
                changed = replaced(body, path, at | {"extra": 1})
                result = client.ask(good.method, good.path, minor, changed)
                assert_refused(client, result, (minor, path))


@each("good", WITH_BODY)
@each("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"\0"])
def test_a_body_that_is_not_json_is_refused(good: Good, content: bytes) -> None:
    client = Client(FakeService())
    headers: dict[str, str | None] = {"content-type": "application/json"}
    result = client.ask(good.method, good.path, good.since, body=content, headers=headers)
    assert_refused(client, result, content)
    assert "Malformed JSON: " in result.detail


@each("good", GOOD)
@each("text", ["\xff", "\xed\xa0\x80", "a\0"])
def test_a_path_that_is_not_text_leads_nowhere(good: Good, text: str) -> None:
    client = Client(FakeService())
    path = good.path.partition("?")[0] + text
    environ = {"PATH_INFO": path}
    result = client.ask(good.method, "/", 39, good.body(39), environ=environ)
    assert result.status == 404
    assert result.detail
    assert client.service.calls == []


@each(
    ("path", "minor"),
    [("/traits/", 6), ("/resource_classes/", 7)],
)
@each(
    "name",
    [
        "x",
        "HW_A",
        "VCPU",
        "CUSTOM_",
        "CUSTOM_a",
        "CUSTOM_" + "A" * 249,
        "x" * 10_000,
        "CUSTOM_A%0A",
        "CUSTOM_%C3%89",
        'CUSTOM_"',
        "CUSTOM_A%20",
    ],
)
def test_a_name_that_is_none_is_refused(path: str, minor: int, name: str) -> None:
    client = Client(FakeService())
    result = client.ask("PUT", path + name, minor)
    assert result.status == 400
    assert result.detail
    assert client.service.calls == []


@pytest.mark.parametrize("name", ["CUSTOM_A\n", "VCPU", "CUSTOM_a", ""])
def test_a_class_that_may_not_be_made_is_refused(name: str) -> None:
    client = Client(FakeService())
    result = client.ask("POST", "/resource_classes", 2, {"name": name})
    assert_refused(client, result, name)
    assert "does not match '^CUSTOM_[A-Z0-9_]+$'" in result.detail


@pytest.mark.parametrize("ratio", [1e39, -1e39, 10**400, -(10**400)])
def test_a_ratio_that_no_database_holds_is_refused(ratio: float) -> None:
    client = Client(FakeService())
    body = {"resource_class": "VCPU", "total": 1, "allocation_ratio": ratio}
    assert_refused(client, client.ask("POST", f"{PROVIDER}/inventories", 39, body), ratio)


@each("field", ["total", "reserved", "min_unit", "max_unit", "step_size"])
@each("amount", [-1, 2**31, 10**30, 1.5, "1"])
def test_an_inventory_beyond_its_limits_is_refused(field: str, amount: object) -> None:
    client = Client(FakeService())
    body = {"resource_class": "VCPU", "total": 1, field: amount}
    assert_refused(client, client.ask("POST", f"{PROVIDER}/inventories", 39, body), body)


@pytest.mark.parametrize("record", [{}, 5, {"total": 0}, [], {"total": 1, "extra": 1}])
def test_an_inventory_of_a_class_in_lower_case_is_judged_too(record: object) -> None:
    client = Client(FakeService())
    body = {"resource_provider_generation": 0, "inventories": {"vcpu": record}}
    assert_refused(client, client.ask("PUT", f"{PROVIDER}/inventories", 39, body), record)


@pytest.mark.parametrize("aggregates", [[UUID, UUID], ["{" + UUID + "}"], ["urn:uuid:" + UUID], [UUID, 5, 5]])
def test_aggregates_that_cannot_be_stored_are_refused(aggregates: list[object]) -> None:
    client = Client(FakeService())
    assert_refused(client, client.ask("PUT", f"{PROVIDER}/aggregates", 1, aggregates), aggregates)


@pytest.mark.parametrize("key", [CONSUMER + "\n", CONSUMER[:-1], "x" * 36, CONSUMER[:-1] + "\u0661"])
def test_a_consumer_in_a_body_has_to_look_like_one(key: str) -> None:
    client = Client(FakeService())
    assert_refused(client, client.ask("POST", "/allocations", 39, {key: claim(39)}), key)


def test_a_new_name_may_be_of_200_characters_and_no_more() -> None:
    client = Client(FakeService())
    path = "/resource_providers"
    assert client.ask("POST", path, 39, {"name": "\u00e9" * 200}).status == 200
    refused = client.ask("POST", path, 39, {"name": "\u00e9" * 201})
    assert refused.status == 400
    assert "is too long" in refused.detail


def test_keys_of_mappings_that_are_no_suffix_are_not_judged() -> None:
    client = Client(FakeService())
    body = claim(39) | {"mappings": {"": 5, "a": [UUID]}}
    assert client.ask("PUT", f"/allocations/{CONSUMER}", 39, body).status == 204


def all_validators() -> Iterator[Validator]:
    for methods in ROUTES.values():
        for operation in methods.values():
            for table in (operation.body, operation.query):
                if table is not None:
                    for minor in range(table.oldest, NEWEST + 1):
                        validator = table.at(minor)
                        if validator is not None:
                            yield validator
    yield schemas.TRAIT_NAME


def test_all_schemas_are_schemas() -> None:
    seen = {id(validator): validator for validator in all_validators()}
    assert len(seen) > 30
    for validator in seen.values():
        jsonschema.Draft202012Validator.check_schema(validator.schema)


def test_keywords_of_our_own_leave_other_types_alone() -> None:
    pattern = Validator({"pattern": "^A$", "uniqueItems": True}, jsonschema.FormatChecker())
    assert pattern.error(5) is None
    assert pattern.error("A") is None
    lax = Validator({"uniqueItems": False}, jsonschema.FormatChecker())
    assert lax.error(["a", "a"]) is None
