"""Whatever a client sends, it gets an answer or a problem, and never an internal error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from moorage.service.facade import Service
from tests.databases.orders import add_provider, new_uuid
from tests.unit.api.native.client import NativeClient, problem

EXPECTED = {400, 404, 422}

NAMES = some.sampled_from(
    [
        "",
        "VCPU",
        "PGPU",
        "HW_NIC_SRIOV",
        "CUSTOM_NO",
        "_A",
        "_B",
        "isolate",
        "none",
        "any",
        new_uuid(),
        "\ud800",
    ]
)
FIELDS = some.sampled_from(
    [
        "groups",
        "resources",
        "required",
        "forbidden",
        "member_of",
        "not_member_of",
        "in_tree",
        "group_policy",
        "root_required",
        "root_forbidden",
        "same_subtree",
        "query",
        "any",
        "VCPU",
        "",
        "_A",
    ]
)
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers(-1, 2**70) | some.floats() | NAMES,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)
RESOURCES = some.dictionaries(
    some.sampled_from(["VCPU", "PGPU", "CUSTOM_NO"]), some.integers(1, 9), max_size=2
)
TRAITS = some.lists(some.sampled_from(["HW_NIC_SRIOV", "HW_NUMA_ROOT", "NO"]), max_size=2)
GROUPS = some.dictionaries(
    some.sampled_from(["", "_A", "_B"]),
    some.fixed_dictionaries({"resources": RESOURCES, "required": TRAITS, "forbidden": TRAITS}),
    max_size=3,
)
ASKS = VALUES | some.fixed_dictionaries(
    {"groups": GROUPS},
    optional={
        "group_policy": some.sampled_from(["none", "isolate"]),
        "root_required": TRAITS,
        "same_subtree": some.lists(some.lists(some.sampled_from(["_A", "_B"]), max_size=2), max_size=2),
    },
)
BODIES = VALUES | some.fixed_dictionaries(
    {"ask": ASKS},
    optional={"at": NAMES, "nearest": some.integers(-1, 21), "holders": some.booleans(), "project_id": NAMES},
)
CALM = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def is_sound(client: NativeClient, method: str, path: str, **asked: Any) -> None:
    told = client.ask(method, path, **asked)
    if told.status == 200:
        assert told.json["revision"] == int(told.headers["moorage-revision"])
    else:
        assert told.status in EXPECTED, told.body
        problem(told)


@pytest.mark.slow
@CALM
@given(BODIES)
def test_any_body_is_explained_or_refused(sqlite_service: Service, body: object) -> None:
    if not sqlite_service.provider_count():
        root = add_provider(sqlite_service, "host", None, ("HW_NIC_SRIOV",), VCPU=8)
        add_provider(sqlite_service, "device", root, PGPU=2)
    is_sound(NativeClient(sqlite_service), "POST", "/moorage/v1/explanations", body=json.dumps(body).encode())


@pytest.mark.slow
@CALM
@given(
    some.sampled_from(["providers", "claims", "overview"]),
    some.lists(
        some.tuples(
            some.sampled_from(
                ["ids", "in_tree", "name", "fields", "limit", "after", "project_id", "type", "x"]
            ),
            some.sampled_from(
                ["", "1", "0", "used", "used,parent", "generation", "-1", "%00", "%ff", "a;b", "٣"]
            )
            | some.text("abc,%&=;+ü\0", max_size=8),
        ),
        max_size=3,
    ),
)
def test_any_query_is_answered_or_refused(
    sqlite_service: Service, noun: str, pairs: list[tuple[str, str]]
) -> None:
    query = "&".join(f"{name}={value}" for name, value in pairs)
    raw = query.encode("utf-8", "surrogatepass").decode("latin-1")
    client = NativeClient(sqlite_service)
    is_sound(client, "GET", f"/moorage/v1/{noun}", environ={"QUERY_STRING": raw})
