from __future__ import annotations

from typing import Any

import pytest

from moorage.model.commands import (
    AddInventory,
    Claim,
    Command,
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteResourceClass,
    DeleteTrait,
    RenameResourceClass,
    ReplaceAllocations,
    SetAggregates,
    SetInventories,
    SetTraits,
)
from moorage.model.errors import (
    ProviderNotFoundError,
    ResourceClassExistsError,
    ResourceClassInUseError,
    ResourceClassNotFoundError,
    StaleGenerationError,
    StandardResourceClassError,
    StandardTraitError,
    TraitInUseError,
    TraitNotFoundError,
)
from moorage.model.values import Inventory, ProviderAggregates, ProviderTraits
from moorage.rules.state import NameRow
from tests.unit.rules.memory import Memory, facts, memory_after, refusal

FAST = frozenset({"CUSTOM_FAST"})
NUMA = frozenset({"HW_NUMA_ROOT"})


@pytest.fixture
def memory() -> Memory:
    """A provider of generation 1 with the trait CUSTOM_FAST; a custom trait and class besides."""
    return memory_after(
        CreateTrait("CUSTOM_FAST"),
        CreateTrait("CUSTOM_SLOW"),
        CreateResourceClass("CUSTOM_GOLD"),
        CreateProvider("pier", "Pier"),
        SetTraits("pier", 0, FAST),
    )


def generation(memory: Memory) -> int:
    return memory.providers["pier"].generation


def test_setting_other_traits_bumps_once(memory: Memory) -> None:
    answer = memory.execute(SetTraits("pier", 1, FAST | NUMA))
    assert answer == ProviderTraits(2, ("CUSTOM_FAST", "HW_NUMA_ROOT"))
    assert (generation(memory), memory.traits["pier"]) == (2, FAST | NUMA)


def test_setting_the_same_traits_changes_nothing(memory: Memory) -> None:
    assert memory.execute(SetTraits("pier", 1, FAST)) == ProviderTraits(1, ("CUSTOM_FAST",))
    assert not memory.decide(SetTraits("pier", 1, FAST))


def test_setting_traits_without_a_generation_does_not_check_it(memory: Memory) -> None:
    assert memory.execute(SetTraits("pier", None, frozenset())) == ProviderTraits(2, ())
    assert memory.execute(SetTraits("pier", None, frozenset())) == ProviderTraits(2, ())


def test_a_trait_that_is_added_comes_into_use(memory: Memory) -> None:
    changes = memory.decide(SetTraits("pier", 1, FAST | NUMA))
    assert changes.trait_names == {"HW_NUMA_ROOT": NameRow(exists=True, in_use=True)}
    assert not changes.changes_names


def test_unknown_traits_are_refused_by_name(memory: Memory) -> None:
    wanted = frozenset({"CUSTOM_Z", "CUSTOM_A", "CUSTOM_FAST"})
    assert facts(refusal(memory, SetTraits("pier", 1, wanted))) == (TraitNotFoundError, "CUSTOM_A, CUSTOM_Z")


def test_setting_aggregates_with_a_generation_bumps_even_if_nothing_changes(memory: Memory) -> None:
    for before in (1, 2):
        answer = memory.execute(SetAggregates("pier", before, ("b", "a")))
        assert answer == ProviderAggregates(before + 1, ("b", "a"))
    assert memory.aggregates["pier"] == ("b", "a")


def test_setting_aggregates_without_a_generation_does_not_bump(memory: Memory) -> None:
    assert memory.execute(SetAggregates("pier", None, ("a",))) == ProviderAggregates(1, ("a",))
    assert (generation(memory), memory.aggregates["pier"]) == (1, ("a",))


def test_aggregates_that_stay_are_not_written(memory: Memory) -> None:
    memory.execute(SetAggregates("pier", None, ("a", "b")))
    again = memory.decide(SetAggregates("pier", None, ("b", "a")))
    assert again.result.aggregates == ("b", "a")
    assert not again
    assert memory.decide(SetAggregates("pier", 1, ("b", "a"))).aggregates == {}
    assert memory.decide(SetAggregates("pier", None, ("b",))).aggregates == {"pier": ("b",)}


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (SetTraits("gone", 1, FAST), (ProviderNotFoundError, "gone")),
        (SetAggregates("gone", 1, ()), (ProviderNotFoundError, "gone")),
        (SetTraits("pier", 0, frozenset({"CUSTOM_NONE"})), (StaleGenerationError, "pier", 1, 0)),
        (SetAggregates("pier", 2, ()), (StaleGenerationError, "pier", 1, 2)),
    ],
)
def test_provider_and_generation_are_checked_first(
    memory: Memory, command: Command[Any], error: tuple[object, ...]
) -> None:
    assert facts(refusal(memory, command)) == error


def test_a_trait_is_new_once(memory: Memory) -> None:
    assert memory.execute(CreateTrait("CUSTOM_NEW")) is True
    assert memory.execute(CreateTrait("CUSTOM_NEW")) is False
    assert not memory.decide(CreateTrait("CUSTOM_NEW"))
    assert "CUSTOM_NEW" in memory.trait_names


def test_a_trait_goes_when_nobody_has_it(memory: Memory) -> None:
    assert facts(refusal(memory, DeleteTrait("CUSTOM_FAST"))) == (TraitInUseError, "CUSTOM_FAST")
    memory.execute(SetTraits("pier", 1, frozenset()))
    assert memory.execute(DeleteTrait("CUSTOM_FAST")) is None
    assert facts(refusal(memory, DeleteTrait("CUSTOM_FAST"))) == (TraitNotFoundError, "CUSTOM_FAST")


def test_a_standard_trait_stays_even_if_nobody_has_it(memory: Memory) -> None:
    assert facts(refusal(memory, DeleteTrait("HW_NUMA_ROOT"))) == (StandardTraitError, "HW_NUMA_ROOT")


def test_a_trait_that_is_neither_there_nor_custom_is_unknown(memory: Memory) -> None:
    assert isinstance(refusal(memory, DeleteTrait("HW_NONE")), TraitNotFoundError)


def test_a_class_is_new_once(memory: Memory) -> None:
    assert memory.execute(CreateResourceClass("CUSTOM_NEW")) is True
    error = refusal(memory, CreateResourceClass("CUSTOM_NEW"))
    assert facts(error) == (ResourceClassExistsError, "CUSTOM_NEW")
    assert memory.execute(CreateResourceClass("CUSTOM_NEW", may_exist=True)) is False
    assert not memory.decide(CreateResourceClass("CUSTOM_NEW", may_exist=True))
    assert memory.execute(CreateResourceClass("CUSTOM_NEWER", may_exist=True)) is True


def test_a_class_goes_when_there_is_no_inventory_of_it(memory: Memory) -> None:
    memory.execute(AddInventory("pier", "CUSTOM_GOLD", Inventory(1)))
    error = refusal(memory, DeleteResourceClass("CUSTOM_GOLD"))
    assert facts(error) == (ResourceClassInUseError, "CUSTOM_GOLD")
    memory.execute(SetInventories("pier", 2, {}))
    assert memory.execute(DeleteResourceClass("CUSTOM_GOLD")) is None
    assert memory.class_names == {"VCPU", "MEMORY_MB", "DISK_GB"}


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (DeleteResourceClass("CUSTOM_NONE"), (ResourceClassNotFoundError, "CUSTOM_NONE")),
        (DeleteResourceClass("VCPU"), (StandardResourceClassError, "VCPU", "delete")),
        (RenameResourceClass("CUSTOM_NONE", "CUSTOM_A"), (ResourceClassNotFoundError, "CUSTOM_NONE")),
        (RenameResourceClass("VCPU", "CUSTOM_A"), (StandardResourceClassError, "VCPU", "update")),
        (RenameResourceClass("CUSTOM_GOLD", "VCPU"), (ResourceClassExistsError, "VCPU")),
    ],
)
def test_a_class_that_is_unknown_standard_or_taken_is_refused(
    memory: Memory, command: Command[Any], error: tuple[object, ...]
) -> None:
    assert facts(refusal(memory, command)) == error


def test_a_renamed_class_keeps_inventories_and_what_is_held(memory: Memory) -> None:
    memory.execute(AddInventory("pier", "CUSTOM_GOLD", Inventory(4)))
    memory.execute(ReplaceAllocations((Claim("ship", {"pier": {"CUSTOM_GOLD": 3}}, "p", "u"),)))
    assert memory.execute(RenameResourceClass("CUSTOM_GOLD", "CUSTOM_TIN")) is None
    assert memory.inventories["pier"] == {"CUSTOM_TIN": Inventory(4)}
    assert memory.used("pier") == {"CUSTOM_TIN": 3}
    assert {"CUSTOM_TIN"} == {name for name in memory.class_names if name.startswith("CUSTOM_")}
    assert isinstance(refusal(memory, DeleteResourceClass("CUSTOM_TIN")), ResourceClassInUseError)


def test_a_class_renamed_to_its_own_name_stays(memory: Memory) -> None:
    assert not memory.decide(RenameResourceClass("CUSTOM_GOLD", "CUSTOM_GOLD"))
    memory.execute(RenameResourceClass("CUSTOM_GOLD", "CUSTOM_GOLD"))
    assert "CUSTOM_GOLD" in memory.class_names


@pytest.mark.parametrize(
    "command",
    [
        CreateTrait("CUSTOM_A"),
        DeleteTrait("CUSTOM_SLOW"),
        CreateResourceClass("CUSTOM_A"),
        RenameResourceClass("CUSTOM_GOLD", "CUSTOM_A"),
        DeleteResourceClass("CUSTOM_GOLD"),
    ],
)
def test_a_name_that_comes_or_goes_is_a_change_though_no_provider_differs(
    memory: Memory, command: Command[Any]
) -> None:
    changes = memory.decide(command)
    assert changes
    assert changes.changes_names
    assert not changes.touched_providers()


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (SetTraits("pier", 1, NUMA), "traits.set"),
        (SetTraits("pier", 1, FAST), "traits.set"),
        (SetAggregates("pier", 1, ()), "aggregates.set"),
        (CreateTrait("CUSTOM_A"), "trait.create"),
        (CreateTrait("CUSTOM_FAST"), "trait.create"),
        (DeleteTrait("CUSTOM_SLOW"), "trait.delete"),
        (CreateResourceClass("CUSTOM_A"), "resource_class.create"),
        (CreateResourceClass("CUSTOM_GOLD", may_exist=True), "resource_class.create"),
        (RenameResourceClass("CUSTOM_GOLD", "CUSTOM_A"), "resource_class.rename"),
        (RenameResourceClass("CUSTOM_GOLD", "CUSTOM_GOLD"), "resource_class.rename"),
        (DeleteResourceClass("CUSTOM_GOLD"), "resource_class.delete"),
    ],
)
def test_the_change_log_is_told_what_was_done(memory: Memory, command: Command[Any], kind: str) -> None:
    assert memory.decide(command).kind == kind
