from __future__ import annotations

from typing import Any

import pytest

from moorage.model.commands import (
    AddInventory,
    Claim,
    Command,
    CreateProvider,
    DeleteInventory,
    ReplaceAllocations,
    SetInventories,
    UpdateInventory,
)
from moorage.model.errors import (
    InvalidCapacityError,
    InventoryExistsError,
    InventoryInUseError,
    InventoryNotFoundError,
    ProviderNotFoundError,
    ResourceClassNotFoundError,
    StaleGenerationError,
)
from moorage.model.values import Inventory, ProviderInventories
from moorage.rules.decide import touch
from moorage.rules.state import NameRow
from tests.unit.rules.memory import Memory, facts, memory_after, refusal

VCPU = Inventory(8)
RESERVED = Inventory(8, reserved=8)
IMPOSSIBLE = Inventory(8, reserved=9)


@pytest.fixture
def memory() -> Memory:
    """A provider of generation 2 with 8 VCPU, of which a ship holds 3, and with disk."""
    memory = memory_after(
        CreateProvider("pier", "Pier"),
        SetInventories("pier", 0, {"VCPU": VCPU, "DISK_GB": Inventory(100)}),
        ReplaceAllocations((Claim("ship", {"pier": {"VCPU": 3}}, "p", "u"),)),
    )
    assert memory.providers["pier"].generation == 2
    return memory


def test_adding_an_inventory_answers_all_and_bumps_once(memory: Memory) -> None:
    ram = Inventory(64, allocation_ratio=1.5)
    assert memory.execute(AddInventory("pier", "MEMORY_MB", ram)) == ProviderInventories(
        3, {"VCPU": VCPU, "DISK_GB": Inventory(100), "MEMORY_MB": ram}
    )
    assert memory.providers["pier"].generation == 3


def test_adding_puts_the_class_in_use(memory: Memory) -> None:
    changes = memory.decide(AddInventory("pier", "MEMORY_MB", VCPU))
    assert changes.resource_classes == {"MEMORY_MB": NameRow(exists=True, in_use=True)}
    assert not changes.changes_names


def test_adding_a_class_that_is_there_is_refused(memory: Memory) -> None:
    error = refusal(memory, AddInventory("pier", "VCPU", VCPU))
    assert facts(error) == (InventoryExistsError, "pier", "VCPU")


def test_updating_an_inventory_bumps_even_if_nothing_changes(memory: Memory) -> None:
    for generation in (2, 3):
        answer = memory.execute(UpdateInventory("pier", generation, "VCPU", VCPU))
        assert answer.generation == generation + 1
    assert memory.inventories["pier"]["DISK_GB"] == Inventory(100)


def test_an_inventory_may_shrink_below_what_is_used(memory: Memory) -> None:
    answer = memory.execute(UpdateInventory("pier", 2, "VCPU", Inventory(1)))
    assert answer.inventories["VCPU"] == Inventory(1)
    assert memory.used("pier") == {"VCPU": 3}


def test_updating_a_class_that_the_provider_has_not_is_refused(memory: Memory) -> None:
    error = refusal(memory, UpdateInventory("pier", 2, "MEMORY_MB", VCPU))
    assert facts(error) == (InventoryNotFoundError, "pier", "MEMORY_MB")


def test_setting_inventories_replaces_all_and_bumps_once(memory: Memory) -> None:
    wanted = {"VCPU": Inventory(4), "MEMORY_MB": Inventory(9)}
    assert memory.execute(SetInventories("pier", 2, wanted)) == ProviderInventories(3, wanted)
    assert memory.inventories["pier"] == wanted


def test_setting_the_same_inventories_bumps_all_the_same(memory: Memory) -> None:
    same = memory.inventories["pier"]
    assert memory.execute(SetInventories("pier", 2, same)).generation == 3


def test_only_classes_that_are_added_come_into_use_by_setting(memory: Memory) -> None:
    changes = memory.decide(SetInventories("pier", 2, {"VCPU": VCPU, "MEMORY_MB": VCPU}))
    assert set(changes.resource_classes) == {"MEMORY_MB"}


def test_setting_without_a_generation_does_not_check_it_but_bumps(memory: Memory) -> None:
    assert memory.execute(SetInventories("pier", None, {"VCPU": VCPU})).generation == 3


def test_a_class_that_is_used_cannot_be_left_out(memory: Memory) -> None:
    error = refusal(memory, SetInventories("pier", 2, {"DISK_GB": Inventory(1)}))
    assert facts(error) == (InventoryInUseError, "pier", "VCPU")


def test_all_classes_in_use_are_named_in_order(memory: Memory) -> None:
    memory.execute(ReplaceAllocations((Claim("boat", {"pier": {"DISK_GB": 1}}, "p", "u"),)))
    error = refusal(memory, SetInventories("pier", 3, {}))
    assert facts(error) == (InventoryInUseError, "pier", "DISK_GB, VCPU")


def test_deleting_one_inventory_bumps_and_keeps_the_others(memory: Memory) -> None:
    assert memory.execute(DeleteInventory("pier", "DISK_GB")) is None
    assert memory.inventories["pier"] == {"VCPU": VCPU}
    assert memory.providers["pier"].generation == 3


def test_deleting_an_inventory_in_use_is_refused(memory: Memory) -> None:
    error = refusal(memory, DeleteInventory("pier", "VCPU"))
    assert facts(error) == (InventoryInUseError, "pier", "VCPU")


def test_deleting_a_class_that_the_provider_has_not_is_refused(memory: Memory) -> None:
    error = refusal(memory, DeleteInventory("pier", "MEMORY_MB"))
    assert facts(error) == (InventoryNotFoundError, "pier", "MEMORY_MB")


@pytest.mark.parametrize(
    "command",
    [
        AddInventory("gone", "VCPU", VCPU),
        UpdateInventory("gone", 0, "VCPU", VCPU),
        SetInventories("gone", 0, {"VCPU": VCPU}),
        DeleteInventory("gone", "VCPU"),
    ],
)
def test_an_unknown_provider_is_refused(memory: Memory, command: Command[Any]) -> None:
    assert facts(refusal(memory, command)) == (ProviderNotFoundError, "gone")


@pytest.mark.parametrize(
    "command",
    [
        AddInventory("pier", "CUSTOM_NONE", VCPU),
        UpdateInventory("pier", 2, "CUSTOM_NONE", VCPU),
        SetInventories("pier", 2, {"VCPU": VCPU, "CUSTOM_NONE": VCPU}),
        DeleteInventory("pier", "CUSTOM_NONE"),
    ],
)
def test_an_unknown_class_is_refused(memory: Memory, command: Command[Any]) -> None:
    assert facts(refusal(memory, command)) == (ResourceClassNotFoundError, "CUSTOM_NONE")


@pytest.mark.parametrize(
    "command",
    [
        UpdateInventory("pier", 1, "VCPU", IMPOSSIBLE),
        SetInventories("pier", 1, {"VCPU": IMPOSSIBLE}),
    ],
)
def test_a_stale_generation_is_told_before_all_else(memory: Memory, command: Command[Any]) -> None:
    assert facts(refusal(memory, command)) == (StaleGenerationError, "pier", 2, 1)


@pytest.mark.parametrize(
    "command",
    [
        AddInventory("pier", "CUSTOM_NONE", IMPOSSIBLE),
        UpdateInventory("pier", 2, "CUSTOM_NONE", IMPOSSIBLE),
        SetInventories("pier", 2, {"DISK_GB": VCPU, "CUSTOM_NONE": IMPOSSIBLE}),
    ],
)
def test_an_impossible_inventory_is_told_before_an_unknown_class(
    memory: Memory, command: Command[Any]
) -> None:
    assert facts(refusal(memory, command)) == (InvalidCapacityError, "pier", "CUSTOM_NONE", True)


@pytest.mark.parametrize(
    "command",
    [
        AddInventory("pier", "MEMORY_MB", RESERVED, may_reserve_all=False),
        UpdateInventory("pier", 2, "MEMORY_MB", RESERVED, may_reserve_all=False),
        SetInventories("pier", 2, {"VCPU": VCPU, "MEMORY_MB": RESERVED}, may_reserve_all=False),
    ],
)
def test_an_inventory_that_is_all_reserved_is_refused_to_who_may_not(
    memory: Memory, command: Command[Any]
) -> None:
    assert facts(refusal(memory, command)) == (InvalidCapacityError, "pier", "MEMORY_MB", False)


def test_an_inventory_that_is_all_reserved_is_taken_from_who_may(memory: Memory) -> None:
    memory.execute(AddInventory("pier", "MEMORY_MB", RESERVED))
    memory.execute(UpdateInventory("pier", 3, "MEMORY_MB", RESERVED))
    memory.execute(SetInventories("pier", 4, {"VCPU": RESERVED}))
    assert memory.inventories["pier"] == {"VCPU": RESERVED}


def test_least_and_greatest_unit_are_not_compared(memory: Memory) -> None:
    odd = Inventory(8, min_unit=5, max_unit=2)
    assert memory.execute(UpdateInventory("pier", 2, "VCPU", odd)).inventories["VCPU"] == odd


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (AddInventory("pier", "MEMORY_MB", VCPU), "inventory.add"),
        (UpdateInventory("pier", 2, "VCPU", VCPU), "inventory.update"),
        (SetInventories("pier", 2, {"VCPU": VCPU}), "inventory.set"),
        (DeleteInventory("pier", "DISK_GB"), "inventory.delete"),
    ],
)
def test_the_change_log_is_told_what_was_done(memory: Memory, command: Command[Any], kind: str) -> None:
    assert memory.decide(command).kind == kind


@pytest.mark.parametrize(
    "command",
    [
        AddInventory("pier", "MEMORY_MB", VCPU),
        UpdateInventory("pier", 2, "MEMORY_MB", VCPU),
        SetInventories("pier", 2, {"MEMORY_MB": VCPU}),
    ],
)
def test_a_class_that_comes_into_use_is_kept_from_going(command: Command[Any]) -> None:
    assert touch(command).kept_classes == {"MEMORY_MB"}
