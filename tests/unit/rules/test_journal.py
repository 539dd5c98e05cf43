"""What the record of each kind of write has."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.model.commands import (
    Batch,
    Claim,
    Command,
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteAllocations,
    DeleteProvider,
    DeleteTrait,
    RenameResourceClass,
    ReplaceAllocations,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.journal import ChangeSelection, JournalMode
from moorage.model.mixes import Shape, ShapePart
from moorage.model.values import Inventory
from moorage.rules.decide import decide, touch
from moorage.rules.journal import (
    EVERYTHING,
    Hanging,
    Record,
    adopted,
    arrivals,
    as_seen_by,
    hung_on,
    inventory_told,
    is_about,
    is_of_kind,
    may_make_room,
    names_added,
    projects_of,
    record_of,
    recorded,
    references,
)
from tests.unit.rules.memory import Memory, memory_after

HOST, CHILD, OTHER, VM = "host", "child", "other", "vm"

TOLD = inventory_told(Inventory(8))


def record(memory: Memory, command: Command[Any], mode: JournalMode = JournalMode.FULL) -> Record:
    """The record of a command, which is carried out."""
    state = memory.read(touch(command))
    found = recorded(state, decide(state, command), mode)
    assert found is not None
    memory.execute(command)
    return found


def claimed(amount: int, generation: int | None, project: str = "p", **other: Any) -> ReplaceAllocations:
    held = {HOST: {"VCPU": amount}} if amount else {}
    return ReplaceAllocations((Claim(VM, held, project, other.pop("user", "u"), generation, **other),))


@pytest.fixture
def memory() -> Memory:
    return memory_after(
        CreateProvider(HOST, "a host"),
        CreateProvider(CHILD, "a child", HOST),
        CreateProvider(OTHER, "another"),
        SetInventories(HOST, 0, {"VCPU": Inventory(8)}),
    )


def test_without_a_journal_there_is_no_record(memory: Memory) -> None:
    state = memory.read(touch(CreateTrait("CUSTOM_T")))
    assert recorded(state, decide(state, CreateTrait("CUSTOM_T")), JournalMode.OFF) is None


def test_a_claim_a_change_of_its_owner_and_its_release(memory: Memory) -> None:
    found = record(memory, claimed(2, None))
    assert found.body == {
        "providers": {HOST: {"tree": HOST, "generation": [1, 2], "used": {"VCPU": [0, 2]}}},
        "consumers": {
            VM: {
                "project_id": [None, "p"],
                "user_id": [None, "u"],
                "consumer_type": [None, None],
                "generation": [None, 1],
                "held": {HOST: {"VCPU": [0, 2]}},
            }
        },
    }
    assert (found.consumers, found.trees) == ((VM,), (HOST,))
    moved = record(memory, claimed(2, 1, "q", user="v", consumer_type="INSTANCE"))
    assert moved.body["consumers"][VM] == {
        "project_id": ["p", "q"],
        "user_id": ["u", "v"],
        "consumer_type": [None, "INSTANCE"],
        "generation": [1, 2],
    }
    assert projects_of(moved.body) == {"p", "q"}
    assert "used" not in moved.body["providers"][HOST]
    gone = record(memory, DeleteAllocations(VM))
    assert gone.body["providers"] == {HOST: {"tree": HOST, "used": {"VCPU": [2, 0]}}}
    assert gone.body["consumers"][VM]["project_id"] == ["q", None]
    assert gone.body["consumers"][VM]["held"] == {HOST: {"VCPU": [2, 0]}}


def test_consumers_that_come_are_arrivals_by_what_they_hold(memory: Memory) -> None:
    came = record(memory, claimed(2, None))
    grew = record(memory, claimed(3, 1))
    gone = record(memory, DeleteAllocations(VM))
    held = {HOST: {"VCPU": [0, 4]}, CHILD: {"GPU": [0, 1]}, OTHER: {"GPU": [0, 1]}}
    several = {"consumers": {OTHER: {"project_id": [None, "p"], "held": held}}}
    found = arrivals(
        [came.body, grew.body, gone.body, came.body, several, references(several), {"traits": {}}]
    )
    parts = (ShapePart("GPU", 1, 2), ShapePart("VCPU", 4))
    assert found == {Shape((ShapePart("VCPU", 2),)): 2.0, Shape(parts): 1.0}


def test_a_row_without_allocations_is_no_consumer(memory: Memory) -> None:
    memory.leave_behind(VM)
    assert record(memory, claimed(2, None)).body["consumers"][VM]["project_id"] == [None, "p"]


def test_a_consumer_that_comes_and_goes_in_one_write_is_not_there(memory: Memory) -> None:
    found = record(memory, Batch((claimed(2, None), DeleteAllocations(VM))))
    assert "consumers" not in found.body
    assert found.body["providers"] == {HOST: {"tree": HOST, "generation": [1, 2]}}


@pytest.mark.parametrize(
    ("steps", "present", "found"),
    [
        ([], None, []),
        ([], "a", [Hanging("a", 0)]),
        ([(5, ["a", None])], None, [Hanging("a", 0, 5)]),
        ([(5, ["a", None]), (9, [None, "b"])], "b", [Hanging("a", 0, 5), Hanging("b", 9)]),
        ([(5, [None, "a"]), (9, ["a", "b"])], "b", [Hanging("a", 5, 9), Hanging("b", 9)]),
    ],
)
def test_a_claim_hangs_on_a_lease_from_one_record_to_the_next_and_from_before_the_first(
    steps: list[tuple[int, list[str | None]]], present: str | None, found: list[Hanging]
) -> None:
    records = [(revision, {"consumers": {"c": {"lease": pair}}}) for revision, pair in steps]
    assert hung_on("c", [(1, {"consumers": {"other": {"lease": [None, "z"]}}}), *records], present) == found


def test_references_have_no_values(memory: Memory) -> None:
    found = record(memory, claimed(2, None), JournalMode.REFS)
    assert found.body == {
        "providers": {HOST: {"tree": HOST}},
        "consumers": {VM: {"project_id": [None, "p"]}},
    }
    assert (found.consumers, found.trees) == ((VM,), (HOST,))


def test_a_provider_is_created_moved_and_deleted_whole(memory: Memory) -> None:
    found = record(memory, CreateProvider("new", "a new one", HOST))
    assert found.body == {
        "providers": {
            "new": {
                "tree": HOST,
                "generation": [None, 0],
                "name": [None, "a new one"],
                "parent": [None, HOST],
                "root": [None, HOST],
                "inventories": [None, {}],
                "traits": [None, []],
                "aggregates": [None, []],
            }
        }
    }
    record(memory, SetInventories("new", 0, {"VCPU": Inventory(8)}))
    moved = record(memory, UpdateProvider("new", "renamed", OTHER))
    assert moved.body["providers"]["new"] == {
        "tree": OTHER,
        "name": ["a new one", "renamed"],
        "parent": [HOST, OTHER],
        "root": [HOST, OTHER],
    }
    assert set(moved.trees) == {HOST, OTHER}
    assert references(moved.body)["providers"] == {"new": {"tree": OTHER, "root": [HOST, OTHER]}}
    gone = record(memory, DeleteProvider("new"))
    assert gone.body["providers"]["new"] == {
        "tree": OTHER,
        "generation": [1, None],
        "name": ["renamed", None],
        "parent": [OTHER, None],
        "root": [OTHER, None],
        "inventories": [{"VCPU": TOLD}, None],
        "traits": [[], None],
        "aggregates": [[], None],
    }


def test_a_provider_that_makes_way_for_a_new_one_of_its_uuid(memory: Memory) -> None:
    record(memory, SetInventories(OTHER, 0, {"VCPU": Inventory(8)}))
    found = record(memory, Batch((DeleteProvider(OTHER), CreateProvider(OTHER, "afresh"))))
    assert found.body["providers"][OTHER] == {
        "tree": OTHER,
        "generation": [1, 0],
        "name": ["another", "afresh"],
        "inventories": [{"VCPU": TOLD}, {}],
    }


def test_a_provider_that_comes_and_goes_in_one_write_is_not_there(memory: Memory) -> None:
    assert record(memory, Batch((CreateProvider("x", "x"), DeleteProvider("x")))).body == {}


def test_what_a_provider_has_is_told_whole_if_it_differs(memory: Memory) -> None:
    found = record(memory, SetInventories(HOST, None, {"VCPU": Inventory(4)}))
    assert found.body["providers"][HOST] == {
        "tree": HOST,
        "generation": [1, 2],
        "inventories": [{"VCPU": TOLD}, {"VCPU": {**TOLD, "total": 4}}],
    }
    same = record(memory, SetInventories(HOST, None, {"VCPU": Inventory(4)}))
    assert same.body["providers"][HOST] == {"tree": HOST, "generation": [2, 3]}
    traits = record(memory, SetTraits(HOST, None, frozenset(("HW_CPU_X86_AVX2",))))
    assert traits.body["providers"][HOST]["traits"] == [[], ["HW_CPU_X86_AVX2"]]
    aggregates = record(memory, SetAggregates(HOST, None, ("b", "a")))
    assert aggregates.body["providers"][HOST] == {"tree": HOST, "aggregates": [[], ["a", "b"]]}


def test_names_that_come_go_and_change(memory: Memory) -> None:
    assert record(memory, CreateTrait("CUSTOM_T")).body == {"traits": {"CUSTOM_T": [False, True]}}
    assert record(memory, DeleteTrait("CUSTOM_T")).body == {"traits": {"CUSTOM_T": [True, False]}}
    created = record(memory, CreateResourceClass("CUSTOM_C"))
    assert created == Record({"resource_classes": {"CUSTOM_C": [False, True]}})
    renamed = record(memory, RenameResourceClass("CUSTOM_C", "CUSTOM_D"))
    assert renamed.body == {
        "resource_classes": {"CUSTOM_C": [True, False], "CUSTOM_D": [False, True]},
        "renamed": {"CUSTOM_C": "CUSTOM_D"},
    }
    assert renamed.trees == (EVERYTHING,)


def test_a_batch_has_names_only_where_they_differ_afterwards(memory: Memory) -> None:
    both = Batch((CreateTrait("CUSTOM_T"), DeleteTrait("CUSTOM_T")))
    assert record(memory, both).body == {}


def test_records_of_the_service_itself() -> None:
    assert names_added(["CUSTOM_C"], []) == Record({"resource_classes": {"CUSTOM_C": [False, True]}})
    assert adopted({"providers": 3}) == Record({"adopted": {"providers": 3}}, (), (EVERYTHING,))
    assert record_of({}) == Record({})
    assert projects_of({}) == frozenset()


def test_a_kind_is_wanted_whole_or_by_its_first_part() -> None:
    assert is_of_kind("provider.create", None)
    assert is_of_kind("provider.create", frozenset(("provider.create",)))
    assert is_of_kind("provider.create", frozenset(("provider",)))
    assert not is_of_kind("provider.create", frozenset(("create", "provider.delete")))


def test_a_record_is_about_its_tree_consumers_and_projects(memory: Memory) -> None:
    body = record(memory, claimed(2, None)).body
    for part, value in (("tree", HOST), ("consumer", VM), ("project_id", "p"), ("provider", HOST)):
        assert is_about(body, ChangeSelection(0, 1, **{part: value}))  # type: ignore[arg-type]
        wanted = ChangeSelection(0, 1, **{part: "other"})  # type: ignore[arg-type]
        assert not is_about(body, wanted)
        assert is_about(adopted({}).body, wanted)
        assert wanted.looks_inside
    assert not ChangeSelection(0, 1).looks_inside


def test_room_is_made_by_what_is_given_back_and_by_any_other_change_of_a_provider(memory: Memory) -> None:
    classes = frozenset(("VCPU",))
    claims = [record(memory, claimed(2, None)), record(memory, claimed(4, 1)), record(memory, claimed(1, 2))]
    released = record(memory, claimed(0, 3))
    assert [may_make_room(each.body, classes) for each in (*claims, released)] == [False, False, True, True]
    assert not may_make_room(released.body, frozenset(("PGPU",)))
    inventories = record(memory, SetInventories(HOST, None, {"VCPU": Inventory(9)}))
    traits = record(memory, SetTraits(HOST, None, frozenset()))
    for changed in (inventories, traits):
        assert may_make_room(changed.body, frozenset(("PGPU",))) == bool(changed.body.get("providers"))
    assert may_make_room(adopted({}).body, classes)
    assert not may_make_room(names_added(["CUSTOM_A"], ["CUSTOM_B"]).body, classes)


def test_a_record_of_a_claim_without_values_may_have_made_room(memory: Memory) -> None:
    """It does not say which way the amounts went."""
    body = record(memory, claimed(2, None), JournalMode.REFS).body
    assert may_make_room(body, frozenset(("PGPU",)))


def test_a_project_sees_its_own_consumers_with_what_they_hold_by_class(memory: Memory) -> None:
    body = record(memory, claimed(2, None)).body
    assert as_seen_by(body, "q") == {}
    assert as_seen_by(body, "p")["consumers"][VM]["resources"] == {"VCPU": [None, 2]}
    passed_on = record(memory, claimed(2, 1, "q")).body
    assert as_seen_by(passed_on, "p") == {
        "consumers": {VM: {"project_id": ["p", None], "generation": [1, None]}}
    }
    assert as_seen_by(adopted({"providers": 1}).body, "p") == {"adopted": {"providers": 1}}
