from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from typing import Any

from moorage.model import commands, requests, values
from moorage.model.commands import (
    KEEP,
    Claim,
    Command,
    ConsumerCopy,
    Keep,
    NewInventories,
    ProviderCopy,
    SetInventories,
    UpdateProvider,
)
from moorage.model.requests import CandidateRequest, RequestGroup, SearchSettings
from moorage.model.values import MAX_INT, ConsumerAllocations, Inventory
from tests.table import each

EVERY_VALUE: list[Any] = [
    kind
    for module in (commands, requests, values)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if is_dataclass(kind) and kind.__module__ == module.__name__
]


def value_of(kind: Any, other: object = None) -> Any:
    """A value whose fields hold their names, or ``other``."""
    asked = {item.name: other or item.name for item in fields(kind) if item.init}
    parts: dict[Any, dict[str, object]] = {
        # Resources are told apart by their order as well, so that there have to be some.
        RequestGroup: {"resources": {str(other): 1}},
        CandidateRequest: {"groups": (RequestGroup(str(other)),)},
    }
    return kind(**(asked | parts.get(kind, {})))


@each("kind", EVERY_VALUE)
def test_values_have_no_attributes_but_their_fields(kind: Any) -> None:
    value = value_of(kind)
    assert not hasattr(value, "__dict__")


@each("kind", EVERY_VALUE)
def test_equal_values_have_the_same_hash(kind: Any) -> None:
    first, second = (value_of(kind) for _ in range(2))
    assert hash(first) == hash(second)
    assert len({first, second}) == 1


@each("kind", EVERY_VALUE)
def test_values_are_equal_if_their_fields_are(kind: Any) -> None:
    first, second = (value_of(kind) for _ in range(2))
    assert first == second
    assert first != value_of(kind, "something else")


def test_groups_that_name_resources_in_another_order_are_different_until_they_are_put_in_order() -> None:
    groups = [RequestGroup("", {"VCPU": 1, "DISK_GB": 2}), RequestGroup("", {"DISK_GB": 2, "VCPU": 1})]
    assert groups[0] != groups[1]
    assert len({group.in_order() for group in groups}) == 1
    requests_in_order = {CandidateRequest((group,)).in_order() for group in groups}
    assert len(requests_in_order) == 1


def test_an_inventory_has_the_defaults_of_the_wire() -> None:
    assert Inventory(5) == Inventory(5, 0, 1, MAX_INT, 1, 1.0)
    assert MAX_INT == 2**31 - 1


def test_a_field_left_out_is_told_from_none() -> None:
    assert UpdateProvider("a", "A").parent_uuid is KEEP
    assert Claim("ship", {}, "p", "u").generation is None
    assert Claim("ship", {}, "p", "u").consumer_type is KEEP
    assert list(Keep) == [KEEP]


def test_a_command_may_reserve_all_unless_it_says_otherwise() -> None:
    assert SetInventories("a", None, {}).may_reserve_all
    assert UpdateProvider("a", "A").may_reparent


def test_every_command_is_one() -> None:
    kinds = {kind for kind in EVERY_VALUE if kind.__module__ == commands.__name__}
    assert {kind for kind in kinds if not issubclass(kind, Command)} == {
        Claim,
        ConsumerCopy,
        NewInventories,
        ProviderCopy,
        commands.Healed,
        commands.Released,
        commands.WriteOutcome,
    }


def test_values_by_default_share_no_mapping() -> None:
    assert RequestGroup().resources is not RequestGroup().resources
    assert ConsumerAllocations().providers is not ConsumerAllocations().providers
    assert ConsumerAllocations() == ConsumerAllocations({}, None, None, None, None, None)


def test_a_plain_request_has_no_bounds() -> None:
    assert CandidateRequest((RequestGroup(),)).limit is None
    assert SearchSettings() == SearchSettings(-1, False, False)
