from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.model.commands import (
    KEEP,
    Claim,
    CreateProvider,
    DeleteAllocations,
    DeleteProvider,
    ReplaceAllocations,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.errors import (
    NameMissingError,
    ParentIsSelfError,
    ParentNotFoundError,
    ProviderExistsError,
    ProviderHasChildrenError,
    ProviderInUseError,
    ProviderNotFoundError,
    ReparentRefusedError,
    TreeLoopError,
    UnparentRefusedError,
)
from moorage.model.values import Inventory, Provider
from moorage.rules.decide import touch
from moorage.rules.state import State
from moorage.rules.trees import subtree
from tests.unit.rules.memory import Memory, facts, memory_after, refusal


@pytest.fixture
def memory() -> Memory:
    """Two trees: root over left and right, leaf below right; other stands alone."""
    return memory_after(
        CreateProvider("root", "Root"),
        CreateProvider("left", "Left", "root"),
        CreateProvider("right", "Right", "root"),
        CreateProvider("leaf", "Leaf", "right"),
        CreateProvider("other", "Other"),
    )


def roots(memory: Memory) -> dict[str, str]:
    return {row.uuid: row.root_uuid for row in memory.providers.values()}


def test_a_new_provider_without_a_parent_is_its_own_root_with_generation_zero(memory: Memory) -> None:
    assert memory.execute(CreateProvider("new", "New")) == Provider("new", "New", 0, None, "new")


def test_a_new_provider_has_the_root_of_its_parent(memory: Memory) -> None:
    assert memory.execute(CreateProvider("new", "New", "leaf")) == Provider("new", "New", 0, "leaf", "root")


def test_a_new_provider_starts_with_nothing(memory: Memory) -> None:
    changes = memory.decide(CreateProvider("new", "New"))
    assert (changes.inventories, changes.used) == ({"new": {}}, {"new": {}})
    assert (changes.traits, changes.aggregates) == ({"new": frozenset()}, {"new": ()})
    assert changes.kind == "provider.create"


def test_a_new_provider_needs_a_name(memory: Memory) -> None:
    assert facts(refusal(memory, CreateProvider("new", ""))) == (NameMissingError, "new")


def test_a_new_provider_is_not_its_own_parent(memory: Memory) -> None:
    assert facts(refusal(memory, CreateProvider("new", "New", "new"))) == (ParentIsSelfError, "new")


def test_a_new_provider_needs_a_parent_that_is_there(memory: Memory) -> None:
    assert facts(refusal(memory, CreateProvider("new", "New", "gone"))) == (ParentNotFoundError, "gone")


@pytest.mark.parametrize(
    ("uuid", "name", "taken"),
    [
        ("left", "New", ("left", None)),
        ("new", "Left", (None, "Left")),
        ("left", "Right", ("left", "Right")),
    ],
)
def test_uuid_and_name_of_a_provider_are_unique(
    memory: Memory, uuid: str, name: str, taken: tuple[str | None, str | None]
) -> None:
    assert facts(refusal(memory, CreateProvider(uuid, name))) == (ProviderExistsError, *taken)


def test_renaming_keeps_generation_parent_and_root(memory: Memory) -> None:
    memory.execute(SetInventories("leaf", 0, {}))
    assert memory.execute(UpdateProvider("leaf", "Twig")) == Provider("leaf", "Twig", 1, "right", "root")
    assert memory.decide(UpdateProvider("leaf", "Branch")).kind == "provider.update"


def test_a_name_that_was_given_up_is_free(memory: Memory) -> None:
    memory.execute(UpdateProvider("leaf", "Twig"))
    assert memory.execute(CreateProvider("new", "Leaf")).name == "Leaf"


def test_renaming_to_a_name_of_another_is_refused(memory: Memory) -> None:
    assert facts(refusal(memory, UpdateProvider("leaf", "Left"))) == (ProviderExistsError, None, "Left")


def test_an_existing_provider_may_take_the_empty_name(memory: Memory) -> None:
    assert memory.execute(UpdateProvider("leaf", "")).name == ""


def test_an_update_that_changes_nothing_writes_nothing(memory: Memory) -> None:
    assert not memory.decide(UpdateProvider("leaf", "Leaf"))
    assert not memory.decide(UpdateProvider("leaf", "Leaf", "right"))
    assert not memory.decide(UpdateProvider("root", "Root", None))


def test_updating_an_unknown_provider_is_refused(memory: Memory) -> None:
    for parent in (KEEP, None, "root"):
        assert facts(refusal(memory, UpdateProvider("gone", "Gone", parent))) == (
            ProviderNotFoundError,
            "gone",
        )


def test_a_root_may_be_put_below_another_tree_and_takes_its_subtree_along(memory: Memory) -> None:
    for may_reparent in (False, True):
        changes = memory.decide(UpdateProvider("root", "Root", "other", may_reparent))
        assert changes.result == Provider("root", "Root", 0, "other", "other")
    memory.execute(UpdateProvider("root", "Root", "other", may_reparent=False))
    assert roots(memory) == dict.fromkeys(("root", "left", "right", "leaf", "other"), "other")


def test_a_provider_moves_to_another_tree_with_all_below_it(memory: Memory) -> None:
    memory.execute(UpdateProvider("right", "Starboard", "other"))
    assert roots(memory) == {
        "root": "root",
        "left": "root",
        "right": "other",
        "leaf": "other",
        "other": "other",
    }
    assert memory.providers["right"].name == "Starboard"
    assert memory.providers["leaf"].parent_uuid == "right"


def test_moving_within_a_tree_changes_one_provider_only(memory: Memory) -> None:
    changes = memory.decide(UpdateProvider("right", "Right", "left"))
    assert set(changes.providers) == {"right"}


def test_a_provider_that_loses_its_parent_becomes_the_root_of_its_subtree(memory: Memory) -> None:
    result = memory.execute(UpdateProvider("right", "Right", None))
    assert result == Provider("right", "Right", 0, None, "right")
    assert roots(memory)["leaf"] == "right"
    assert roots(memory)["left"] == "root"


def test_moving_keeps_generations(memory: Memory) -> None:
    memory.execute(SetInventories("leaf", 0, {}))
    memory.execute(UpdateProvider("right", "Right", None))
    assert [memory.providers[uuid].generation for uuid in ("right", "leaf")] == [0, 1]


def test_a_parent_once_set_stays_for_who_may_not_reparent(memory: Memory) -> None:
    moved = UpdateProvider("leaf", "Leaf", "left", may_reparent=False)
    assert facts(refusal(memory, moved)) == (ReparentRefusedError, "leaf")
    freed = UpdateProvider("leaf", "Leaf", None, may_reparent=False)
    assert facts(refusal(memory, freed)) == (UnparentRefusedError, "leaf")
    assert memory.execute(UpdateProvider("leaf", "Twig", "right", may_reparent=False)).name == "Twig"
    assert memory.execute(UpdateProvider("other", "Isle", None, may_reparent=False)).name == "Isle"


def test_a_new_parent_must_be_there(memory: Memory) -> None:
    error = refusal(memory, UpdateProvider("leaf", "Leaf", "gone", may_reparent=False))
    assert facts(error) == (ParentNotFoundError, "gone")


@pytest.mark.parametrize("parent", ["root", "left", "leaf"])
def test_a_provider_cannot_be_put_below_itself(memory: Memory, parent: str) -> None:
    assert facts(refusal(memory, UpdateProvider("root", "Root", parent))) == (TreeLoopError, "root")


def test_a_loop_is_told_before_a_name_that_is_taken(memory: Memory) -> None:
    assert isinstance(refusal(memory, UpdateProvider("right", "Left", "leaf")), TreeLoopError)


def test_a_leaf_is_deleted_with_all_it_has(memory: Memory) -> None:
    memory.execute(SetInventories("leaf", 0, {"VCPU": Inventory(1)}))
    memory.execute(SetTraits("leaf", 1, frozenset({"HW_NUMA_ROOT"})))
    memory.execute(SetAggregates("leaf", None, ("agg",)))
    assert memory.decide(DeleteProvider("leaf")).kind == "provider.delete"
    assert memory.execute(DeleteProvider("leaf")) is None
    assert "leaf" not in memory.providers
    assert memory.execute(CreateProvider("leaf", "Leaf", "right")).generation == 0
    assert (memory.inventories["leaf"], memory.traits["leaf"], memory.aggregates["leaf"]) == (
        {},
        frozenset(),
        (),
    )


def test_a_provider_with_children_is_not_deleted(memory: Memory) -> None:
    assert facts(refusal(memory, DeleteProvider("right"))) == (ProviderHasChildrenError, "right")
    memory.execute(DeleteProvider("leaf"))
    memory.execute(DeleteProvider("right"))
    assert set(memory.providers) == {"root", "left", "other"}


def test_a_provider_of_which_something_is_held_is_not_deleted(memory: Memory) -> None:
    memory.execute(SetInventories("leaf", 0, {"VCPU": Inventory(1)}))
    memory.execute(ReplaceAllocations((Claim("ship", {"leaf": {"VCPU": 1}}, "p", "u"),)))
    assert facts(refusal(memory, DeleteProvider("leaf"))) == (ProviderInUseError, "leaf")
    memory.execute(DeleteAllocations("ship"))
    memory.execute(DeleteProvider("leaf"))
    assert "leaf" not in memory.providers


def test_children_are_told_before_use(memory: Memory) -> None:
    memory.execute(SetInventories("right", 0, {"VCPU": Inventory(1)}))
    memory.execute(ReplaceAllocations((Claim("ship", {"right": {"VCPU": 1}}, "p", "u"),)))
    assert isinstance(refusal(memory, DeleteProvider("right")), ProviderHasChildrenError)


def test_deleting_an_unknown_provider_is_refused(memory: Memory) -> None:
    assert facts(refusal(memory, DeleteProvider("gone"))) == (ProviderNotFoundError, "gone")


def test_a_subtree_comes_with_parents_before_their_children(memory: Memory) -> None:
    state = memory.read(touch(DeleteProvider("root")))
    found = [row.uuid for row in subtree(state, "root")]
    assert sorted(found) == ["leaf", "left", "right", "root"]
    assert found[0] == "root"
    assert found.index("right") < found.index("leaf")
    assert [row.uuid for row in subtree(state, "right")] == ["right", "leaf"]


def test_a_subtree_ends_where_a_provider_is_below_itself(memory: Memory) -> None:
    memory.providers["root"] = replace(memory.providers["root"], parent_uuid="leaf")
    state = State(providers=dict(memory.providers))
    assert {row.uuid for row in subtree(state, "right")} == {"right", "leaf", "root", "left"}
