"""Copies are taken over as they are, or refused as a whole."""

from __future__ import annotations

from dataclasses import replace

from moorage.model.commands import (
    Claim,
    Command,
    ConsumerCopy,
    CopyConsumers,
    CopyProviders,
    CreateProvider,
    ProviderCopy,
    ReplaceAllocations,
    SetInventories,
)
from moorage.model.errors import (
    AllocationProviderNotFoundError,
    ConsumerGenerationError,
    NoInventoryError,
    ParentNotFoundError,
    ProviderExistsError,
    ResourceClassNotFoundError,
    TraitNotFoundError,
)
from moorage.model.values import Inventory
from tests.table import each
from tests.unit.rules.memory import Memory, facts, memory_after, refusal

ROOT = ProviderCopy(
    "r", "root", 7, None, {"VCPU": Inventory(4)}, frozenset({"HW_NUMA_ROOT"}), ("rack", "row")
)
CHILD = ProviderCopy("c", "child", 3, "r", {"DISK_GB": Inventory(10)})
HOLDER = ConsumerCopy("s", "p", "u", "INSTANCE", 5, {"r": {"VCPU": 6}, "c": {"DISK_GB": 1}})
"""It holds more than there is: an inventory was reduced below its use."""


def providers(*copies: ProviderCopy) -> CopyProviders:
    return CopyProviders(copies)


def consumers(*copies: ConsumerCopy) -> CopyConsumers:
    return CopyConsumers(copies)


def test_providers_come_with_all_that_they_have_and_their_generations() -> None:
    memory = memory_after(providers(ROOT, CHILD))
    assert [(row.uuid, row.generation, row.root_uuid) for row in memory.providers.values()] == [
        ("r", 7, "r"),
        ("c", 3, "r"),
    ]
    assert memory.inventories == {"r": dict(ROOT.inventories), "c": dict(CHILD.inventories)}
    assert memory.traits == {"r": ROOT.traits, "c": frozenset()}
    assert memory.aggregates == {"r": ("rack", "row"), "c": ()}
    assert memory.writes == 1


def test_parent_may_be_there_from_before() -> None:
    memory = memory_after(providers(ROOT), providers(CHILD))
    assert memory.providers["c"].root_uuid == "r"


def test_consumers_come_as_they_are_and_providers_keep_their_generations() -> None:
    other = ConsumerCopy("t", "p", "u", None, 1, {"r": {"VCPU": 1}})
    memory = memory_after(providers(ROOT, CHILD), consumers(HOLDER, other))
    row = memory.consumers["s"]
    assert (row.project_id, row.user_id, row.consumer_type, row.generation) == ("p", "u", "INSTANCE", 5)
    assert memory.held["s"] == {("r", "VCPU"): 6, ("c", "DISK_GB"): 1}
    assert memory.consumers["t"].consumer_type is None
    assert memory.used("r") == {"VCPU": 7}
    assert memory.providers["r"].generation == 7


def test_row_of_a_consumer_that_was_left_behind_is_taken() -> None:
    memory = memory_after(providers(ROOT, CHILD))
    memory.leave_behind("s")
    memory.execute(consumers(HOLDER))
    assert (memory.consumers["s"].generation, memory.consumers["s"].project_id) == (5, "p")


@each(
    ("command", "error"),
    [
        (providers(replace(CHILD, uuid="r", parent_uuid=None)), ProviderExistsError("r", None)),
        (providers(replace(CHILD, name="root")), ProviderExistsError(None, "root")),
        (providers(CHILD, CHILD), ProviderExistsError("c", "child")),
        (providers(replace(CHILD, parent_uuid="x")), ParentNotFoundError("x")),
        (
            providers(replace(CHILD, inventories={"CUSTOM_X": Inventory(1)})),
            ResourceClassNotFoundError("CUSTOM_X"),
        ),
        (
            providers(replace(CHILD, traits=frozenset({"CUSTOM_X", "CUSTOM_Y"}))),
            TraitNotFoundError("CUSTOM_X, CUSTOM_Y"),
        ),
        (consumers(replace(HOLDER, allocations={"x": {"VCPU": 1}})), AllocationProviderNotFoundError("x")),
        (consumers(replace(HOLDER, allocations={"r": {"DISK_GB": 1}})), NoInventoryError("r", "DISK_GB")),
        (
            consumers(replace(HOLDER, uuid="held", allocations={"r": {"VCPU": 1}})),
            ConsumerGenerationError("held", 1, None),
        ),
    ],
)
def test_what_would_not_hang_together_is_refused_as_a_whole(command: Command[None], error: Exception) -> None:
    memory = memory_after(
        providers(ROOT),
        ReplaceAllocations((Claim("held", {"r": {"VCPU": 1}}, "p", "u", None, None),)),
    )
    assert facts(refusal(memory, command)) == facts(error)  # type: ignore[arg-type]


def test_copies_and_ordinary_commands_go_together() -> None:
    memory = Memory()
    memory.execute(CreateProvider("o", "other"))
    memory.execute(SetInventories("o", 0, {"VCPU": Inventory(8)}))
    memory.execute(providers(ROOT, CHILD))
    memory.execute(consumers(HOLDER))
    memory.execute(SetInventories("r", 7, {"VCPU": Inventory(5)}))
    assert memory.providers["r"].generation == 8
