from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

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

EVERY_VALUE: list[Any] = [
    kind
    for module in (commands, requests, values)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if is_dataclass(kind)
]


@pytest.mark.parametrize("kind", EVERY_VALUE)
def test_values_have_no_attributes_but_their_fields(kind: Any) -> None:
    value = kind(**{item.name: item.name for item in fields(kind)})
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize("kind", EVERY_VALUE)
def test_equal_values_have_the_same_hash(kind: Any) -> None:
    first, second = (kind(**{item.name: item.name for item in fields(kind)}) for _ in range(2))
    assert hash(first) == hash(second)
    assert len({first, second}) == 1


@pytest.mark.parametrize("kind", EVERY_VALUE)
def test_values_are_equal_if_their_fields_are(kind: Any) -> None:
    first, second = (kind(**{item.name: item.name for item in fields(kind)}) for _ in range(2))
    assert first == second
    assert first != kind(**{item.name: None for item in fields(kind)})


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
    }


def test_values_by_default_share_no_mapping() -> None:
    assert RequestGroup().resources is not RequestGroup().resources
    assert ConsumerAllocations().providers is not ConsumerAllocations().providers
    assert ConsumerAllocations() == ConsumerAllocations({}, None, None, None, None, None)


def test_a_plain_request_has_no_bounds() -> None:
    assert CandidateRequest((RequestGroup(),)).limit is None
    assert SearchSettings() == SearchSettings(-1, False, False)
