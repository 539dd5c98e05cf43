from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from moorage.model.commands import (
    KEEP,
    Claim,
    CreateProvider,
    DeleteAllocations,
    GrantClaims,
    Keep,
    PlaceClaims,
    ReleaseClaims,
    Released,
    ReplaceAllocations,
    SetInventories,
)
from moorage.model.errors import (
    AllocationProviderNotFoundError,
    AllocationsNotFoundError,
    CapacityExceededError,
    ChoiceGoneError,
    ConsumerGenerationError,
    ConsumerTakenError,
    EntriesRefusedError,
    NoInventoryError,
    NothingFitsError,
    ResourceClassNotFoundError,
    UnitViolatedError,
)
from moorage.model.placing import Choice, ChosenOn, GrantedEntry
from moorage.model.values import Inventory
from moorage.rules.decide import touch
from moorage.rules.state import ConsumerRow, State
from tests.unit.rules.memory import Memory, facts, memory_after, refusal

Allocations = Mapping[str, Mapping[str, int]]


@pytest.fixture
def memory() -> Memory:
    """Two piers of generation 1: north with 8 VCPU and 10 DISK_GB in pairs, south with 4 VCPU."""
    return memory_after(
        CreateProvider("north", "North"),
        CreateProvider("south", "South"),
        SetInventories(
            "north",
            0,
            {"VCPU": Inventory(8), "DISK_GB": Inventory(10, min_unit=2, max_unit=6, step_size=2)},
        ),
        SetInventories("south", 0, {"VCPU": Inventory(4)}),
    )


def claim(consumer: str, allocations: Allocations, generation: int | Keep | None = None) -> Claim:
    return Claim(consumer, allocations, "project", "user", generation)


def one(consumer: str, allocations: Allocations, generation: int | Keep | None = None) -> ReplaceAllocations:
    return ReplaceAllocations((claim(consumer, allocations, generation),))


def generations(memory: Memory) -> tuple[int, int]:
    return memory.providers["north"].generation, memory.providers["south"].generation


def test_a_first_claim_makes_a_consumer_of_generation_one(memory: Memory) -> None:
    assert memory.execute(one("ship", {"north": {"VCPU": 3, "DISK_GB": 4}})) is None
    assert memory.held["ship"] == {("north", "VCPU"): 3, ("north", "DISK_GB"): 4}
    row = memory.consumers["ship"]
    assert replace(row, id=None) == ConsumerRow("ship", "project", "user", None, 1)


def test_a_claim_replaces_all_that_the_consumer_holds(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 3, "DISK_GB": 4}}))
    memory.execute(one("ship", {"north": {"VCPU": 5}}, 1))
    assert memory.held["ship"] == {("north", "VCPU"): 5}
    assert memory.used("north") == {"VCPU": 5}
    assert memory.consumers["ship"].generation == 2


def test_providers_of_a_claim_are_bumped_once_however_much_is_claimed(memory: Memory) -> None:
    memory.execute(
        ReplaceAllocations(
            (
                claim("ship", {"north": {"VCPU": 1, "DISK_GB": 2}}),
                claim("boat", {"north": {"VCPU": 1}, "south": {"VCPU": 1}}),
            )
        )
    )
    assert generations(memory) == (2, 2)


def test_a_provider_that_is_left_behind_by_a_move_is_not_bumped(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 3}}))
    assert generations(memory) == (2, 1)
    memory.execute(one("ship", {"south": {"VCPU": 3}}, 1))
    assert generations(memory) == (2, 2)
    assert (memory.used("north"), memory.used("south")) == ({}, {"VCPU": 3})


def test_an_emptied_consumer_goes_and_bumps_the_providers_it_leaves(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 3}, "south": {"VCPU": 1}}))
    memory.execute(one("ship", {}, 1))
    assert generations(memory) == (3, 3)
    assert "ship" not in memory.consumers
    assert (memory.used("north"), memory.used("south")) == ({}, {})
    memory.execute(one("ship", {"north": {"VCPU": 1}}, None))
    assert memory.consumers["ship"].generation == 1


def test_an_empty_claim_of_a_new_consumer_leaves_nothing_behind(memory: Memory) -> None:
    assert not memory.decide(one("ship", {}))
    memory.execute(one("ship", {}))
    assert not memory.consumers
    assert generations(memory) == (1, 1)


@pytest.mark.parametrize("given", [0, 1, 7])
def test_a_new_consumer_has_no_generation_to_be_known(memory: Memory, given: int) -> None:
    error = refusal(memory, one("ship", {"north": {"VCPU": 1}}, given))
    assert facts(error) == (ConsumerGenerationError, "ship", None, given)


@pytest.mark.parametrize("given", [None, 0, 2])
def test_a_consumer_that_holds_something_is_changed_by_who_knows_its_generation(
    memory: Memory, given: int | None
) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 1}}))
    error = refusal(memory, one("ship", {"north": {"VCPU": 2}}, given))
    assert facts(error) == (ConsumerGenerationError, "ship", 1, given)
    assert isinstance(refusal(memory, one("ship", {}, given)), ConsumerGenerationError)


def test_who_cannot_tell_a_generation_changes_any_consumer(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 1}}, KEEP))
    memory.execute(one("ship", {"north": {"VCPU": 2}}, KEEP))
    assert memory.consumers["ship"].generation == 2
    memory.execute(one("ship", {}, KEEP))
    assert "ship" not in memory.consumers


def test_a_consumer_left_behind_without_holdings_counts_as_new(memory: Memory) -> None:
    memory.leave_behind("ship")
    error = refusal(memory, one("ship", {"north": {"VCPU": 1}}, 0))
    assert facts(error) == (ConsumerGenerationError, "ship", None, 0)
    assert not memory.decide(one("ship", {}, None))
    memory.execute(one("ship", {"north": {"VCPU": 1}}, None))
    row = memory.consumers["ship"]
    assert (row.project_id, row.user_id, row.generation) == ("project", "user", 1)


def test_a_claim_writes_who_the_consumer_belongs_to(memory: Memory) -> None:
    held = {"north": {"VCPU": 1}}
    memory.execute(ReplaceAllocations((Claim("ship", held, "a", "b", None, "INSTANCE"),)))
    memory.execute(ReplaceAllocations((Claim("ship", held, "c", "d", 1),)))
    row = memory.consumers["ship"]
    assert (row.project_id, row.user_id, row.consumer_type) == ("c", "d", "INSTANCE")


def test_a_consumer_type_changes_where_it_is_named(memory: Memory) -> None:
    held = {"north": {"VCPU": 1}}
    types: list[tuple[str | Keep | None, str | None]] = [
        (KEEP, None),
        ("INSTANCE", "INSTANCE"),
        (KEEP, "INSTANCE"),
        ("MIGRATION", "MIGRATION"),
        (None, None),
    ]
    for given, expected in types:
        memory.execute(ReplaceAllocations((Claim("ship", held, "p", "u", KEEP, given),)))
        assert memory.consumers["ship"].consumer_type == expected


def test_capacity_may_be_used_up_and_no_more(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 5}}))
    error = refusal(memory, one("boat", {"north": {"VCPU": 4}}))
    assert facts(error) == (CapacityExceededError, "north", "VCPU")
    memory.execute(one("boat", {"north": {"VCPU": 3}}))
    assert memory.used("north") == {"VCPU": 8}


def test_claims_of_one_request_must_fit_together(memory: Memory) -> None:
    command = ReplaceAllocations(
        (claim("ship", {"south": {"VCPU": 2}}), claim("boat", {"south": {"VCPU": 3}}))
    )
    assert facts(refusal(memory, command)) == (CapacityExceededError, "south", "VCPU")


def test_what_a_consumer_gives_back_counts_for_itself(memory: Memory) -> None:
    memory.execute(one("ship", {"south": {"VCPU": 3}}))
    memory.execute(one("ship", {"south": {"VCPU": 4}}, 1))
    assert memory.used("south") == {"VCPU": 4}


def test_two_consumers_swap_what_is_full(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 8}}))
    memory.execute(one("boat", {"south": {"VCPU": 4}}))
    assert isinstance(refusal(memory, one("ship", {"south": {"VCPU": 4}}, 1)), CapacityExceededError)
    memory.execute(
        ReplaceAllocations(
            (claim("ship", {"south": {"VCPU": 4}}, 1), claim("boat", {"north": {"VCPU": 8}}, 1))
        )
    )
    assert (memory.used("north"), memory.used("south")) == ({"VCPU": 8}, {"VCPU": 4})


def test_what_one_consumer_holds_moves_to_another_at_once(memory: Memory) -> None:
    memory.execute(one("ship", {"south": {"VCPU": 4}}))
    memory.execute(ReplaceAllocations((claim("tug", {"south": {"VCPU": 4}}), claim("ship", {}, 1))))
    assert memory.held["tug"] == {("south", "VCPU"): 4}
    assert set(memory.consumers) == {"tug"}
    assert generations(memory) == (1, 3)


def test_all_claims_of_a_request_are_refused_with_one(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 1}}))
    refused = (
        claim("ship", {"north": {"VCPU": 2}}, 1),
        claim("boat", {"north": {"VCPU": 1}}),
        claim("tug", {"south": {"VCPU": 5}}),
    )
    assert facts(refusal(memory, ReplaceAllocations(refused))) == (CapacityExceededError, "south", "VCPU")


@pytest.mark.parametrize("amount", [1, 3, 8])
def test_an_amount_must_keep_to_the_units(memory: Memory, amount: int) -> None:
    error = refusal(memory, one("ship", {"north": {"DISK_GB": amount}}))
    assert facts(error) == (UnitViolatedError, "north", "DISK_GB")


def test_units_count_for_each_claim_and_not_for_their_sum(memory: Memory) -> None:
    memory.execute(
        ReplaceAllocations((claim("a", {"north": {"DISK_GB": 6}}), claim("b", {"north": {"DISK_GB": 4}})))
    )
    assert memory.used("north") == {"DISK_GB": 10}


def test_units_are_told_before_capacity(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"DISK_GB": 6}}))
    assert isinstance(refusal(memory, one("boat", {"north": {"DISK_GB": 5}})), UnitViolatedError)


def test_a_class_without_inventory_is_refused(memory: Memory) -> None:
    error = refusal(memory, one("ship", {"south": {"VCPU": 1, "DISK_GB": 2}}))
    assert facts(error) == (NoInventoryError, "south", "DISK_GB")


def test_an_over_full_provider_keeps_who_takes_no_more_than_before(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 6}}))
    memory.execute(SetInventories("north", None, {"VCPU": Inventory(2)}))
    memory.execute(one("ship", {"north": {"VCPU": 6}}, 1))
    memory.execute(one("ship", {"north": {"VCPU": 5}}, 2))
    error = refusal(memory, one("ship", {"north": {"VCPU": 6}}, 3))
    assert facts(error) == (CapacityExceededError, "north", "VCPU")


def test_an_over_full_provider_takes_nobody_new(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 6}}))
    memory.execute(SetInventories("north", None, {"VCPU": Inventory(2)}))
    assert isinstance(refusal(memory, one("boat", {"north": {"VCPU": 1}})), CapacityExceededError)


def test_in_an_over_full_provider_others_may_take_what_one_gives_back(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 6}}))
    memory.execute(SetInventories("north", None, {"VCPU": Inventory(2)}))
    parts = (claim("ship", {"north": {"VCPU": 2}}, 1), claim("boat", {"north": {"VCPU": 4}}))
    more = (*parts, claim("tug", {"north": {"VCPU": 1}}))
    assert isinstance(refusal(memory, ReplaceAllocations(more)), CapacityExceededError)
    memory.execute(ReplaceAllocations(parts))
    assert memory.used("north") == {"VCPU": 6}


def test_what_shrank_to_nothing_takes_nothing(memory: Memory) -> None:
    memory.execute(SetInventories("north", None, {"VCPU": Inventory(8, reserved=8)}))
    assert isinstance(refusal(memory, one("ship", {"north": {"VCPU": 1}})), CapacityExceededError)


def test_unknown_providers_are_refused(memory: Memory) -> None:
    error = refusal(memory, one("ship", {"north": {"VCPU": 1}, "gone": {"VCPU": 1}}))
    assert facts(error) == (AllocationProviderNotFoundError, "gone")


def test_unknown_classes_are_refused_by_the_first_in_order(memory: Memory) -> None:
    error = refusal(memory, one("ship", {"north": {"CUSTOM_Z": 1, "CUSTOM_A": 1, "VCPU": 99}}))
    assert facts(error) == (ResourceClassNotFoundError, "CUSTOM_A")


def test_consumers_are_told_before_providers_and_providers_before_classes(memory: Memory) -> None:
    wrong = one("ship", {"gone": {"CUSTOM_NONE": 1}}, 5)
    assert isinstance(refusal(memory, wrong), ConsumerGenerationError)
    later = ReplaceAllocations((claim("boat", {"gone": {"CUSTOM_NONE": 1}}), claim("ship", {}, 5)))
    assert isinstance(refusal(memory, later), ConsumerGenerationError)
    unknown = one("ship", {"gone": {"CUSTOM_NONE": 1}})
    assert isinstance(refusal(memory, unknown), AllocationProviderNotFoundError)


def test_deleting_what_a_consumer_holds_bumps_no_generation(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 3}, "south": {"VCPU": 1}}))
    assert memory.execute(DeleteAllocations("ship")) is None
    assert generations(memory) == (2, 2)
    assert (memory.used("north"), memory.used("south")) == ({}, {})
    assert "ship" not in memory.consumers


def test_deleting_leaves_to_others_what_they_hold(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 3}}))
    memory.execute(one("boat", {"north": {"VCPU": 2, "DISK_GB": 4}}))
    changes = memory.decide(DeleteAllocations("ship"))
    assert changes.used == {"north": {"VCPU": 2, "DISK_GB": 4}}
    memory.execute(DeleteAllocations("ship"))
    assert memory.used("north") == {"VCPU": 2, "DISK_GB": 4}


def test_there_is_nothing_to_delete_of_a_consumer_that_holds_nothing(memory: Memory) -> None:
    memory.leave_behind("wreck")
    for consumer in ("ship", "wreck"):
        error = refusal(memory, DeleteAllocations(consumer))
        assert facts(error) == (AllocationsNotFoundError, consumer)


def test_a_search_must_look_at_every_provider_whose_use_changes(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 3}}))
    moved = memory.decide(one("ship", {"south": {"VCPU": 3}}, 1))
    assert moved.touched_providers() == {"north", "south"}
    assert memory.decide(DeleteAllocations("ship")).touched_providers() == {"north"}


def test_the_change_log_is_told_what_was_done(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 3}}))
    assert memory.decide(one("ship", {}, 1)).kind == "allocations.replace"
    assert memory.decide(DeleteAllocations("ship")).kind == "allocations.delete"


def test_a_claim_asks_for_inventories_of_what_it_names_only() -> None:
    asked = touch(one("ship", {"north": {"VCPU": 1}, "south": {"DISK_GB": 1}}))
    assert asked.inventories == asked.providers == asked.used == {"north", "south"}
    assert asked.consumers == {"ship"}
    assert asked.resource_classes == {"VCPU", "DISK_GB"}


def test_several_consumers_are_released_at_once_and_absent_ones_named(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 2}, "south": {"VCPU": 1}}))
    memory.execute(one("boat", {"north": {"VCPU": 3}}))
    memory.execute(one("raft", {"north": {"VCPU": 1}}))
    before = generations(memory)
    released = memory.execute(ReleaseClaims(("boat", "wreck", "ship", "boat")))
    assert released == Released(("boat", "ship"), ("wreck",))
    assert generations(memory) == before
    assert memory.held["raft"] == {("north", "VCPU"): 1}
    assert memory.used("north") == {"VCPU": 1}
    assert not any(memory.used("south").values())


def test_a_release_of_what_nobody_holds_writes_nothing(memory: Memory) -> None:
    assert not memory.decide(ReleaseClaims(("wreck",)))


def grant(*claims: Claim, least: int) -> GrantClaims:
    return GrantClaims(claims, least)


def test_claims_are_granted_one_after_the_other(memory: Memory) -> None:
    first, second = claim("ship", {"north": {"VCPU": 5}}), claim("boat", {"north": {"VCPU": 3}})
    granted = memory.execute(grant(first, second, least=2))
    assert granted.entries == (
        GrantedEntry("ship", 1, first.allocations),
        GrantedEntry("boat", 1, second.allocations),
    )
    assert memory.used("north") == {"VCPU": 8}
    assert memory.writes == 5


def test_a_single_claim_is_decided_on_the_state_itself_and_leaves_that_alone(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    single = claim("ship", {"north": {"VCPU": 5}})
    as_one_of_some = memory.decide(grant(single, least=0))
    monkeypatch.setattr(State, "scratch", None)
    alone = memory.decide(grant(single, least=1))
    assert alone == as_one_of_some
    assert memory.used("north") == {}


def test_if_too_few_claims_fit_none_is_granted(memory: Memory) -> None:
    claims = [claim(name, {"north": {"VCPU": 5}}) for name in ("ship", "boat", "raft")]
    refused = refusal(memory, grant(*claims, least=2))
    assert isinstance(refused, EntriesRefusedError)
    assert [(number, type(error)) for number, error in refused.refused] == [
        (1, CapacityExceededError),
        (2, CapacityExceededError),
    ]
    assert memory.used("north") == {}
    # The first that makes it impossible ends it.
    refused = refusal(memory, grant(*claims, least=3))
    assert isinstance(refused, EntriesRefusedError)
    assert [number for number, _ in refused.refused] == [1]


def test_if_enough_claims_fit_the_others_are_told_why_not(memory: Memory) -> None:
    small = claim("raft", {"north": {"VCPU": 2}})
    granted = memory.execute(
        grant(
            claim("ship", {"north": {"VCPU": 5}}),
            claim("boat", {"north": {"VCPU": 5}}),
            claim("ship", {"south": {"VCPU": 1}}),
            claim("tug", {"nowhere": {"VCPU": 1}}),
            small,
            least=1,
        )
    )
    kinds = [type(entry) for entry in granted.entries]
    assert kinds == [
        GrantedEntry,
        CapacityExceededError,
        ConsumerGenerationError,
        AllocationProviderNotFoundError,
        GrantedEntry,
    ]
    assert memory.used("north") == {"VCPU": 7}
    assert memory.used("south") == {}


def test_a_chosen_place_that_is_gone_refuses_all(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 5}}))
    claims = (claim("boat", {"south": {"VCPU": 1}}), claim("raft", {"north": {"VCPU": 5}}))
    for gone in (claims[1].allocations, {"nowhere": {"VCPU": 1}}, {"south": {"CUSTOM_NO": 1}}):
        chosen = (claims[0], claim("raft", gone))
        refused = refusal(memory, GrantClaims(chosen, 1, (None, Choice({}))))
        assert isinstance(refused, ChoiceGoneError)
    granted = memory.execute(GrantClaims(claims, 1, (None, CapacityExceededError("x", "y")), ChosenOn(7)))
    assert granted.decision == ChosenOn(7)
    assert isinstance(granted.entries[1], CapacityExceededError)
    refused = refusal(memory, GrantClaims((claim("ship", {"south": {"VCPU": 1}}),), 1, (Choice({}),)))
    assert isinstance(refused, EntriesRefusedError)
    assert isinstance(refused.refused[0][1], ConsumerGenerationError)


def test_a_search_that_counted_a_refused_claim_is_done_again(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 5}}))
    claims = (claim("ship", {"south": {"VCPU": 1}}), claim("raft", {}), claim("tug", {"south": {"VCPU": 1}}))
    gone = NothingFitsError(1, None, None)
    searched = GrantClaims(claims, 1, (Choice({}), gone, Choice({})))
    refused = refusal(memory, searched)
    assert isinstance(refused, ChoiceGoneError)
    assert refused.refused == {0}
    granted = memory.execute(replace(searched, uncounted=refused.refused))
    assert [type(entry) for entry in granted.entries] == [
        ConsumerGenerationError,
        NothingFitsError,
        GrantedEntry,
    ]
    # The first one is not refused any more, and takes room that was not counted.
    right = (replace(claims[0], generation=1), claims[1], replace(claims[2], generation=1))
    refused = refusal(memory, replace(searched, claims=right, uncounted=frozenset((0,))))
    assert isinstance(refused, ChoiceGoneError)
    assert refused.refused == set()


def test_claims_without_a_place_cannot_be_decided(memory: Memory) -> None:
    command = PlaceClaims((claim("boat", {}),), (None,), 1)
    assert touch(command).consumers == {"boat"}
    with pytest.raises(TypeError):
        memory.execute(command)


def test_what_a_consumer_held_is_passed_on(memory: Memory) -> None:
    memory.execute(one("ship", {"north": {"VCPU": 5}}))
    moved, old = claim("ship", {"south": {"VCPU": 4}}, 1), claim("wake", {"north": {"VCPU": 5}})
    granted = memory.execute(GrantClaims((moved,), 1, passed_on=(old,)))
    assert granted.entries == (GrantedEntry("ship", 2, moved.allocations),)
    assert memory.held["wake"] == {("north", "VCPU"): 5}
    assert memory.held["ship"] == {("south", "VCPU"): 4}
    # Both or none.
    back = claim("ship", {"north": {"VCPU": 4}}, 2)
    refused = refusal(memory, GrantClaims((back,), 1, passed_on=(claim("raft", {"south": {"VCPU": 4}}),)))
    assert isinstance(refused, EntriesRefusedError)
    assert memory.held["ship"] == {("south", "VCPU"): 4}


def own(consumer: str, generation: int | None = None, amount: int = 1) -> Claim:
    return replace(claim(consumer, {"north": {"VCPU": amount}}, generation), only_own=True)


def another(memory: Memory, consumer: str) -> None:
    memory.execute(
        ReplaceAllocations((replace(claim(consumer, {"north": {"VCPU": 2}}), project_id="theirs"),))
    )


def test_a_client_of_one_project_cannot_take_or_move_those_of_others(memory: Memory) -> None:
    another(memory, "ship")
    taken = refusal(memory, ReplaceAllocations((own("ship"),)))
    assert isinstance(taken, ConsumerTakenError)
    assert "2" not in str(taken)
    hidden = refusal(memory, ReplaceAllocations((own("ship", 1),)))
    absent = refusal(memory, ReplaceAllocations((own("wreck", 1),)))
    assert isinstance(hidden, ConsumerGenerationError)
    assert str(hidden) == str(absent)
    assert memory.used("north") == {"VCPU": 2}


def test_a_client_of_one_project_moves_and_resizes_these(memory: Memory) -> None:
    memory.execute(ReplaceAllocations((own("ship"), own("boat"))))
    memory.execute(ReplaceAllocations((own("ship", 1, 3),)))
    assert isinstance(refusal(memory, ReplaceAllocations((own("boat"),))), ConsumerGenerationError)
    memory.execute(DeleteAllocations("boat"))
    another(memory, "boat")
    memory.execute(DeleteAllocations("boat"))
    memory.execute(ReplaceAllocations((own("boat"),)))
    assert memory.used("north") == {"VCPU": 4}


def test_consumers_of_other_projects_count_as_absent_where_one_releases_those_of_a_project(
    memory: Memory,
) -> None:
    memory.execute(one("boat", {"north": {"VCPU": 3}}))
    another(memory, "ship")
    released = memory.execute(ReleaseClaims(("ship", "boat", "wreck"), project_id="project"))
    assert released == Released(("boat",), ("ship", "wreck"))
    command = ReleaseClaims(("ship",), absent_too=False, project_id="project")
    assert isinstance(refusal(memory, command), AllocationsNotFoundError)
    assert memory.used("north") == {"VCPU": 2}
