from __future__ import annotations

import pytest

from moorage.model.commands import (
    Claim,
    CreateProvider,
    NewInventories,
    ReplaceAllocations,
    Reshape,
    SetInventories,
    UpdateInventory,
)
from moorage.model.errors import (
    AllocationProviderNotFoundError,
    CapacityExceededError,
    ConsumerGenerationError,
    InventoryInUseError,
    NoInventoryError,
    ReshapeProviderNotFoundError,
    ResourceClassNotFoundError,
    StaleGenerationError,
    UnitViolatedError,
)
from moorage.model.values import Inventory
from moorage.rules.decide import touch
from moorage.rules.state import NameRow
from tests.unit.rules.memory import Memory, facts, memory_after, refusal

VGPU = Inventory(4)
VCPU = Inventory(8)


@pytest.fixture
def memory() -> Memory:
    """Host of generation 2 with VCPU and DISK_GB, of which a ship holds 3 each; a child of generation 0."""
    return memory_after(
        CreateProvider("host", "Host"),
        CreateProvider("child", "Child", "host"),
        SetInventories("host", 0, {"VCPU": VCPU, "DISK_GB": VGPU}),
        ReplaceAllocations((Claim("ship", {"host": {"VCPU": 3, "DISK_GB": 3}}, "p", "u"),)),
    )


def moved(consumer_generation: int | None = 1) -> Reshape:
    """DISK_GB goes from the host to its child, and so does what the ship holds of it."""
    return Reshape(
        {"host": NewInventories(2, {"VCPU": VCPU}), "child": NewInventories(0, {"DISK_GB": VGPU})},
        (Claim("ship", {"host": {"VCPU": 3}, "child": {"DISK_GB": 3}}, "p", "u", consumer_generation),),
    )


def generations(memory: Memory) -> tuple[int, int]:
    return memory.providers["host"].generation, memory.providers["child"].generation


def test_inventory_moves_with_what_is_held_of_it(memory: Memory) -> None:
    assert memory.execute(moved()) is None
    assert memory.inventories == {"host": {"VCPU": VCPU}, "child": {"DISK_GB": VGPU}}
    assert memory.held["ship"] == {("host", "VCPU"): 3, ("child", "DISK_GB"): 3}
    assert memory.consumers["ship"].generation == 2


def test_a_provider_with_new_inventory_is_bumped_twice_and_for_its_claims_once_more(memory: Memory) -> None:
    memory.execute(moved())
    assert generations(memory) == (2 + 3, 0 + 3)


def test_a_provider_with_new_inventory_but_without_claims_is_bumped_twice(memory: Memory) -> None:
    memory.execute(Reshape({"child": NewInventories(0, {"DISK_GB": VGPU})}))
    assert generations(memory) == (2, 2)


def test_a_provider_whose_inventory_is_taken_away_is_bumped_once(memory: Memory) -> None:
    memory.execute(Reshape({"child": NewInventories(0, {})}))
    assert generations(memory) == (2, 1)


def test_a_provider_that_is_emptied_of_inventory_and_claims_is_bumped_twice(memory: Memory) -> None:
    memory.execute(Reshape({"host": NewInventories(2, {})}, (Claim("ship", {}, "p", "u", 1),)))
    assert generations(memory) == (4, 0)
    assert memory.inventories["host"] == {}
    assert not memory.consumers


def test_a_provider_that_all_is_moved_away_from_is_not_bumped_for_claims(memory: Memory) -> None:
    everything = {"VCPU": VCPU, "DISK_GB": VGPU}
    memory.execute(
        Reshape(
            {"host": NewInventories(2, {}), "child": NewInventories(0, everything)},
            (Claim("ship", {"child": {"VCPU": 3, "DISK_GB": 3}}, "p", "u", 1),),
        )
    )
    assert generations(memory) == (3, 3)
    assert memory.used("host") == {}


def test_a_provider_that_is_only_in_the_claims_is_bumped_once(memory: Memory) -> None:
    memory.execute(Reshape({}, (Claim("ship", {"host": {"VCPU": 1}}, "p", "u", 1),)))
    assert generations(memory) == (3, 0)


def test_a_class_that_is_still_held_cannot_go(memory: Memory) -> None:
    error = refusal(memory, Reshape({"host": NewInventories(2, {"VCPU": VCPU})}))
    assert facts(error) == (InventoryInUseError, "host", "DISK_GB")
    same = Claim("ship", {"host": {"VCPU": 3, "DISK_GB": 3}}, "p", "u", 1)
    error = refusal(memory, Reshape({"host": NewInventories(2, {})}, (same,)))
    assert facts(error) == (InventoryInUseError, "host", "DISK_GB, VCPU")


def test_a_class_that_comes_is_not_held_back_by_use_of_those_that_stay(memory: Memory) -> None:
    memory.execute(
        Reshape({"host": NewInventories(2, {"VCPU": VCPU, "DISK_GB": VGPU, "MEMORY_MB": Inventory(5)})})
    )
    assert set(memory.inventories["host"]) == {"VCPU", "DISK_GB", "MEMORY_MB"}


def test_claims_are_held_against_the_new_inventories(memory: Memory) -> None:
    small = {"DISK_GB": Inventory(2)}
    command = Reshape(
        {"host": NewInventories(2, {"VCPU": VCPU}), "child": NewInventories(0, small)},
        moved().claims,
    )
    assert facts(refusal(memory, command)) == (CapacityExceededError, "child", "DISK_GB")


def test_units_of_the_new_inventories_count(memory: Memory) -> None:
    pairs = {"DISK_GB": Inventory(4, step_size=2)}
    command = Reshape(
        {"host": NewInventories(2, {"VCPU": VCPU}), "child": NewInventories(0, pairs)},
        moved().claims,
    )
    assert facts(refusal(memory, command)) == (UnitViolatedError, "child", "DISK_GB")


def test_an_inventory_may_shrink_below_its_use_where_no_claim_touches_it(memory: Memory) -> None:
    memory.execute(Reshape({"host": NewInventories(2, {"VCPU": Inventory(1), "DISK_GB": VGPU})}))
    assert memory.inventories["host"]["VCPU"] == Inventory(1)
    keep = Claim("ship", {"host": {"VCPU": 3, "DISK_GB": 3}}, "p", "u", 1)
    memory.execute(Reshape({}, (keep,)))
    assert memory.used("host") == {"VCPU": 3, "DISK_GB": 3}


def test_reserving_more_than_all_is_not_looked_at(memory: Memory) -> None:
    odd = Inventory(4, reserved=5)
    memory.execute(Reshape({"child": NewInventories(0, {"VCPU": odd})}))
    assert memory.inventories["child"] == {"VCPU": odd}
    error = refusal(memory, Reshape({}, (Claim("tug", {"child": {"VCPU": 1}}, "p", "u"),)))
    assert facts(error) == (CapacityExceededError, "child", "VCPU")


def test_a_claim_of_what_is_in_neither_inventory_is_refused(memory: Memory) -> None:
    command = Reshape(
        {"child": NewInventories(0, {"VCPU": VCPU})},
        (Claim("tug", {"child": {"DISK_GB": 1}}, "p", "u"),),
    )
    assert facts(refusal(memory, command)) == (NoInventoryError, "child", "DISK_GB")


def test_an_unknown_provider_of_inventories_is_refused(memory: Memory) -> None:
    error = refusal(memory, Reshape({"gone": NewInventories(0, {})}))
    assert facts(error) == (ReshapeProviderNotFoundError, "gone")


def test_a_stale_generation_is_refused(memory: Memory) -> None:
    memory.execute(UpdateInventory("host", 2, "VCPU", VCPU))
    assert facts(refusal(memory, moved())) == (StaleGenerationError, "host", 3, 2)


def test_what_claims_are_refused_for_a_reshape_is_refused_for(memory: Memory) -> None:
    assert facts(refusal(memory, moved(None))) == (ConsumerGenerationError, "ship", 1, None)
    gone = Reshape({}, (Claim("tug", {"gone": {"VCPU": 1}}, "p", "u"),))
    assert facts(refusal(memory, gone)) == (AllocationProviderNotFoundError, "gone")


@pytest.mark.parametrize(
    "command",
    [
        Reshape({"child": NewInventories(0, {"CUSTOM_NONE": VGPU})}),
        Reshape({}, (Claim("tug", {"host": {"CUSTOM_NONE": 1}}, "p", "u"),)),
    ],
)
def test_an_unknown_class_is_refused_in_inventories_and_in_claims(memory: Memory, command: Reshape) -> None:
    assert facts(refusal(memory, command)) == (ResourceClassNotFoundError, "CUSTOM_NONE")


def test_inventories_are_told_before_claims(memory: Memory) -> None:
    wrong_claim = Claim("ship", {"gone": {"CUSTOM_NONE": 1}}, "p", "u", 9)
    stale = Reshape({"host": NewInventories(1, {})}, (wrong_claim,))
    assert isinstance(refusal(memory, stale), StaleGenerationError)


def test_two_providers_exchange_what_they_offer_and_what_is_held(memory: Memory) -> None:
    memory.execute(moved())
    memory.execute(
        Reshape(
            {"host": NewInventories(5, {"DISK_GB": VGPU}), "child": NewInventories(3, {"VCPU": VCPU})},
            (Claim("ship", {"host": {"DISK_GB": 3}, "child": {"VCPU": 3}}, "p", "u", 2),),
        )
    )
    assert memory.inventories == {"host": {"DISK_GB": VGPU}, "child": {"VCPU": VCPU}}
    assert (memory.used("host"), memory.used("child")) == ({"DISK_GB": 3}, {"VCPU": 3})


def test_a_reshape_says_what_it_changes(memory: Memory) -> None:
    changes = memory.decide(moved())
    assert changes.kind == "reshape"
    assert changes.touched_providers() == {"host", "child"}
    assert changes.resource_classes["DISK_GB"] == NameRow(exists=True, in_use=True)
    assert not changes.changes_names


def test_a_reshape_keeps_the_classes_of_its_inventories_from_going() -> None:
    asked = touch(moved())
    assert asked.kept_classes == {"VCPU", "DISK_GB"}
    assert asked.inventories == {"host", "child"}
