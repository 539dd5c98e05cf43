"""The quick look at bodies never takes what python-jsonschema refuses."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.api.http.validation import Validator, approver
from moorage.api.native.openapi import EVERYTHING
from moorage.api.placement import schemas
from moorage.api.placement.routes import ROUTES
from moorage.api.placement.versions import NEWEST, Since
from tests.table import each
from tests.unit.api.requests import GOOD

VALIDATORS: list[Validator] = list(
    {
        id(validator): validator
        for table in vars(schemas).values()
        if isinstance(table, Since)
        for minor in range(table.oldest, NEWEST + 1)
        if (validator := table.at(minor)) is not None
    }.values()
)
VALIDATORS += [endpoint.body for endpoint in EVERYTHING if endpoint.body is not None]

UUID = "0f7aebb8-5a0a-4d0c-8f3e-2b6a3c1d9e77"
TEXTS = ["", "A\n", "vcpu", "VCPU", UUID, UUID + "\n", UUID[:-1], UUID.replace("-", ""), "x" * 300]
NUMBERS = [None, True, False, 0, 1, -1, 2.0, 1.5, 10**40]
CONTAINERS: list[Any] = [[], ["A", "A"], [1, 1], {}, {"VCPU": 1}, {"VCPU\n": 1}, {UUID: {}}]
JUNK = [*TEXTS, *NUMBERS, *CONTAINERS]
KEYS = [UUID, "VCPU", "DISK_GB", "a", "required1", "member_of_A", "resources_x\n"]


def instance_of(schema: dict[str, Any], random: Random) -> Any:
    """What is mostly valid, and odd here and there.

    Only ``random`` is hypothesis' own: one that draws each part takes far longer for it than for the test.
    """
    if random.randrange(20) == 0:
        return deepcopy(random.choice(JUNK))
    if "anyOf" in schema:
        return instance_of(random.choice(schema["anyOf"]), random)
    kind = schema.get("type", "null")
    kind = random.choice(kind) if isinstance(kind, list) else kind
    if kind == "object":
        names = [name for name in schema.get("properties", {}) if random.randrange(10) > 1]
        made = {name: instance_of(schema["properties"][name], random) for name in names}
        for part in schema.get("patternProperties", {}).values():
            for key in random.choices(KEYS, k=random.randrange(3)):
                made[key] = instance_of(part, random)
        return made
    if kind == "array":
        items = [instance_of(schema.get("items", {}), random) for _ in range(random.randrange(4))]
        # Now and then something twice.
        return items + deepcopy(items[:1]) if random.randrange(4) == 0 else items
    if kind == "string":
        return random.choice([UUID, "VCPU", "CUSTOM_X", "A\n", "", "1", *schema.get("enum", ())])
    if kind in {"integer", "number"}:
        return random.choice([0, 1, 7, 2**31 - 1, 2**31, -1, 1.5, 2.0, True])
    return random.choice([None, True, False])


@pytest.mark.parametrize("number", range(len(VALIDATORS)))
@given(random=st.randoms(use_true_random=True))
def test_what_is_approved_of_is_valid(number: int, random: Random) -> None:
    validator = VALIDATORS[number]
    instance = instance_of(validator.schema, random)
    before = deepcopy(instance)
    if approver(validator.schema)(instance):
        assert not list(validator._validator.iter_errors(instance)), instance
    assert instance == before


@each("good", GOOD)
def test_what_clients_send_is_approved_of_at_once(good: Any) -> None:
    for minor in range(good.since, NEWEST + 1):
        body = good.body(minor)
        operation = ROUTES.get(good.template, {}).get(good.method)
        validator = None if operation is None or operation.body is None else operation.body.at(minor)
        if body is not None and validator is not None:
            assert validator._approve(json.loads(json.dumps(body))), (minor, body)


@each(
    "schema",
    [
        {},
        {"type": "unheard"},
        {"type": ["integer", "null"], "minimum": 1},
        {"type": "null", "deprecated": True},
        {"type": "integer", "multipleOf": 1},
        {"type": "string", "format": "date"},
        {"type": "string", "contentEncoding": "x"},
        {"type": "string", "enum": ["VCPU"], "minLength": 1},
        {"type": "array", "contains": {}},
        {"type": "object", "dependentRequired": {}},
        {"anyOf": [{"type": "null"}], "type": "null"},
    ],
)
@each("instance", [None, 1, "VCPU", [], {}])
def test_a_schema_with_what_is_not_known_leaves_everything_in_doubt(schema: Any, instance: Any) -> None:
    assert not approver(schema)(instance)


@each(
    ("schema", "instance", "expected"),
    [
        ({"type": "array"}, [1, None], True),
        ({"type": "null", "description": "nothing"}, None, True),
        ({"type": "object"}, {"a": 1}, True),
        ({"type": "object", "additionalProperties": {"type": "null"}}, {"a": None}, True),
        ({"type": "object", "additionalProperties": {"type": "null"}}, {"a": 1}, False),
        ({"type": "boolean"}, True, True),
        ({"type": "boolean"}, 1, False),
        ({"type": "number", "maximum": 2}, 1.5, True),
        ({"type": "integer"}, True, False),
    ],
)
def test_the_quick_look_at_plain_schemas(schema: Any, instance: Any, expected: bool) -> None:
    assert approver(schema)(instance) is expected
