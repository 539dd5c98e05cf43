"""The readable syntax: what it takes, and what it says of what it does not take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import pytest

from moorage.cli.client import syntax
from moorage.cli.shared.show import bar
from tests.table import each


def test_amounts_are_written_with_equals_or_as_the_api_does() -> None:
    assert syntax.amounts("VCPU=4, MEMORY_MB:8192,") == {"VCPU": 4, "MEMORY_MB": 8192}


@each(
    ("parse", "text", "told"),
    [
        (syntax.amounts, "", "at least one"),
        (syntax.amounts, "VCPU", "'VCPU' is not CLASS=AMOUNT"),
        (syntax.amounts, "vcpu=1", "'vcpu=1' is not CLASS=AMOUNT"),
        (syntax.amounts, "VCPU=x", "'x' is not a whole number"),
        (syntax.amounts, "VCPU=1.5", "'1.5' is not a whole number"),
        (syntax.amounts, "VCPU=1,VCPU=2", "VCPU is named twice"),
        (syntax.inventory, "", "is not CLASS=TOTAL"),
        (syntax.inventory, "VCPU", "is not CLASS=TOTAL"),
        (syntax.inventory, "VCPU=8,ratio=4", "'ratio=4' is none of total=..., reserved=..."),
        (syntax.inventory, "VCPU=8,reserved", "'reserved' is none of"),
        (syntax.inventory, "VCPU=8,allocation_ratio=x", "'x' is not a number"),
        (syntax.group, "PGPU=1", "is not NAME:ITEM"),
        (syntax.group, "a b:PGPU=1", "is not NAME:ITEM"),
        (syntax.group, "gpu:PGPU=1,PGPU=2", "PGPU is named twice in group gpu"),
        (syntax.group, "gpu:PGPU=1,!", "is not TRAIT, !TRAIT or TRAIT|TRAIT"),
        (lambda text: syntax.groups([text, text]), "gpu:PGPU=1", "Group gpu is named twice"),
        (syntax.holding, "VCPU=1", "is not PROVIDER:CLASS=AMOUNT"),
        (syntax.holding, ":VCPU=1", "is not PROVIDER:CLASS=AMOUNT"),
        (lambda text: syntax.holdings([text, text]), "host:VCPU=1", "Provider host is named twice"),
    ],
)
def test_what_is_no_syntax_is_told_with_what_would_be(
    parse: Callable[[str], Any], text: str, told: str
) -> None:
    with pytest.raises(click.BadParameter) as met:
        parse(text)
    assert told in met.value.message


def test_inventory_names_a_total_and_fields() -> None:
    assert syntax.inventory("VCPU=16,reserved=2,allocation_ratio=4") == (
        "VCPU",
        {"total": 16, "reserved": 2, "allocation_ratio": 4.0},
    )


def test_provider_of_a_holding_may_have_colons_in_its_name() -> None:
    assert syntax.holding("host:7:VCPU=1,PCPU=2") == ("host:7", {"VCPU": 1, "PCPU": 2})


def test_group_becomes_the_parameters_of_the_api() -> None:
    x, y, z = (f"aaaa0000-0000-4000-8000-00000000000{digit}" for digit in "123")
    name, group = syntax.group(
        f"gpu:PGPU=1,VGPU=2,CUSTOM_A,!CUSTOM_B,C|D,member_of={x}|{y},member_of=!{z},in_tree=t"
    )
    assert name == "gpu"
    assert group.traits == {"CUSTOM_A", "CUSTOM_B", "C", "D"}
    assert group.query("_gpu") == {
        "resources_gpu": "PGPU:1,VGPU:2",
        "required_gpu": ["CUSTOM_A,!CUSTOM_B", "in:C,D"],
        "member_of_gpu": [f"in:{x},{y}", f"!{z}"],
        "in_tree_gpu": "t",
    }
    assert syntax.GroupConditions().query("") == {
        "resources": None,
        "required": None,
        "member_of": None,
        "in_tree": None,
    }


@pytest.mark.parametrize(
    ("used", "most", "shown"),
    [
        (0, 8, "................   0%"),
        (2, 8, "####............  25%"),
        (8, 8, "################ 100%"),
        (12, 8, "################ 150%"),
        (1, 10_000, "#...............  <1%"),
        (0, 0, "................   0%"),
        (1, 0, "################ 100%"),
    ],
)
def test_bar_shows_the_share_that_is_used(used: int, most: int, shown: str) -> None:
    assert bar(used, most, fancy=False) == shown
