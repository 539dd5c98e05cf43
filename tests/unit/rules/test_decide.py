from __future__ import annotations

import contextlib
import inspect
from typing import Any

import pytest

from moorage.model import commands
from moorage.model.commands import (
    KEEP,
    AddInventory,
    AttachClaim,
    Batch,
    Claim,
    Command,
    ConsumerCopy,
    CopyConsumers,
    CopyProviders,
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteAllocations,
    DeleteInventory,
    DeleteProvider,
    DeleteResourceClass,
    DeleteTrait,
    DetachClaim,
    EndLease,
    ExpireLeases,
    GrantClaims,
    GrantLease,
    HealClaim,
    NewInventories,
    ProviderCopy,
    QuarantineClaims,
    ReleaseClaims,
    ReleaseOfLease,
    RenameResourceClass,
    ReplaceAllocations,
    Reshape,
    ResolveLease,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateInventory,
    UpdateProvider,
)
from moorage.model.errors import (
    CapacityExceededError,
    MoorageError,
    ProviderExistsError,
    ProviderNotFoundError,
    ResourceClassInUseError,
    StaleGenerationError,
    TraitInUseError,
)
from moorage.model.leases import Resolution
from moorage.model.reports import MISSING, OPEN, ClaimOwner, ReportFinding
from moorage.model.values import Inventory, Provider, ProviderInventories
from moorage.rules.decide import decide, must_stand_alone, touch
from moorage.rules.state import State, Touch
from tests.unit.rules.memory import Memory, everything, facts, memory_after, refusal

VCPU = Inventory(8)
ONE_CLAIM = Claim("ship", {"pier": {"VCPU": 3}}, "p", "u")

MISSING_RAFT = ReportFinding(
    id="f1",
    source="nova",
    kind=MISSING,
    consumer="raft",
    tree="pier",
    state=OPEN,
    since=0,
    version=None,
    held={},
    reported={"pier": {"VCPU": 1}},
    rest={},
    owner=ClaimOwner("p", "u"),
    revision=0,
)

SAMPLES: tuple[Command[Any], ...] = (
    CreateProvider("new", "New", "pier"),
    CreateProvider("new", "New"),
    UpdateProvider("pier", "Quay"),
    UpdateProvider("pier", "Pier", "host"),
    UpdateProvider("pier", "Pier", None),
    UpdateProvider("pier", "Pier", KEEP),
    DeleteProvider("pier"),
    AddInventory("pier", "MEMORY_MB", VCPU),
    UpdateInventory("pier", 2, "VCPU", VCPU),
    SetInventories("pier", 2, {"MEMORY_MB": VCPU, "VCPU": VCPU}),
    DeleteInventory("pier", "VCPU"),
    SetTraits("pier", None, frozenset({"HW_NUMA_ROOT"})),
    SetAggregates("pier", None, ("agg",)),
    CreateTrait("CUSTOM_FAST"),
    DeleteTrait("CUSTOM_FAST"),
    CreateResourceClass("CUSTOM_GOLD"),
    RenameResourceClass("CUSTOM_GOLD", "CUSTOM_TIN"),
    DeleteResourceClass("CUSTOM_GOLD"),
    ReplaceAllocations((ONE_CLAIM, Claim("boat", {}, "p", "u", KEEP))),
    DeleteAllocations("boat"),
    ReleaseClaims(("boat", "raft")),
    HealClaim("f1", MISSING_RAFT),
    GrantClaims((Claim("raft", {"pier": {"VCPU": 1}}, "p", "u"),), 1),
    GrantLease("lease", "agent", "p", "u", 1000, 0),
    AttachClaim("held", "boat"),
    DetachClaim("held", "boat"),
    EndLease("held", keeps_claims=True),
    EndLease("held", keeps_claims=False),
    ResolveLease("kept", Resolution.RELEASE),
    ResolveLease("kept", Resolution.RESTORE),
    ExpireLeases(("held",)),
    ReleaseOfLease({"ended": ("boat",)}, frozenset(("ended",))),
    QuarantineClaims("new", "finding", "p", "u", ("boat",)),
    Reshape({"pier": NewInventories(2, {"VCPU": VCPU})}, (ONE_CLAIM,)),
    CopyProviders(
        (
            ProviderCopy("new", "New", 7, "pier", {"VCPU": VCPU}, frozenset({"CUSTOM_FAST"}), ("agg",)),
            ProviderCopy("newer", "Newer", 1, "new"),
        )
    ),
    CopyConsumers((ConsumerCopy("ship", "p", "u", None, 7, {"pier": {"VCPU": 9}}),)),
    Batch((CreateProvider("new", "New"), AddInventory("new", "VCPU", VCPU))),
)


@pytest.fixture
def memory() -> Memory:
    """A pier of generation 2 below a host, of whose 8 VCPU a boat holds 1."""
    return memory_after(
        CreateResourceClass("CUSTOM_GOLD"),
        CreateTrait("CUSTOM_FAST"),
        CreateProvider("host", "Host"),
        CreateProvider("pier", "Pier", "host"),
        SetInventories("pier", 0, {"VCPU": VCPU}),
        ReplaceAllocations((Claim("boat", {"pier": {"VCPU": 1}}, "p", "u"),)),
        *(GrantLease(uuid, "agent", "p", "u", 1000, 0) for uuid in ("held", "ended")),
        EndLease("ended", keeps_claims=False),
        AttachClaim("held", "boat"),
    )


def test_every_command_has_its_rule() -> None:
    kinds = {
        kind
        for _, kind in inspect.getmembers(commands, inspect.isclass)
        if issubclass(kind, Command) and kind is not Command and not kind.binds_late
    }
    assert {type(sample) for sample in SAMPLES} == kinds


@pytest.mark.parametrize("command", SAMPLES)
def test_a_command_asks_for_all_that_its_decision_reads(memory: Memory, command: Command[Any]) -> None:
    for database in (memory, Memory()):
        state = database.read(touch(command))
        try:
            changes = decide(state, command)
        except MoorageError:
            continue
        assert set(changes.providers) <= {*state.providers, "new"}


@pytest.mark.parametrize("command", SAMPLES)
def test_deciding_leaves_the_state_as_it_is(memory: Memory, command: Command[Any]) -> None:
    for database in (memory, Memory()):
        state = database.read(touch(command))
        before = repr(state)
        with contextlib.suppress(MoorageError):
            decide(state, command)
        assert repr(state) == before


@pytest.mark.parametrize("command", SAMPLES)
def test_a_decision_is_the_same_every_time(memory: Memory, command: Command[Any]) -> None:
    first, second = Memory(), Memory()
    for database in (first, second):
        for name, value in everything(memory).items():
            setattr(database, name, value)
    answers: list[object] = []
    for database in (first, second):
        try:
            answers.append(database.decide(command))
        except MoorageError as error:
            answers.append(facts(error))
    assert answers[0] == answers[1]


def test_only_what_renames_a_class_must_stand_alone() -> None:
    alone = [command for command in SAMPLES if must_stand_alone(command)]
    assert alone == [RenameResourceClass("CUSTOM_GOLD", "CUSTOM_TIN")]


def test_a_class_cannot_be_renamed_within_a_batch() -> None:
    rename = RenameResourceClass("CUSTOM_GOLD", "CUSTOM_TIN")
    with pytest.raises(TypeError, match="renamed within a batch"):
        touch(Batch((CreateTrait("CUSTOM_A"), Batch((rename,)))))


def test_a_batch_asks_for_what_all_its_commands_ask_for() -> None:
    parts = (DeleteTrait("CUSTOM_FAST"), DeleteProvider("pier"), CreateProvider("new", "New", "host"))
    assert touch(Batch(parts)) == touch(parts[0]) | touch(parts[1]) | touch(parts[2])
    assert touch(Batch(())) == Touch()


def test_every_command_of_a_batch_sees_what_those_before_it_did(memory: Memory) -> None:
    results = memory.execute(
        Batch(
            (
                CreateProvider("new", "New", "pier"),
                SetInventories("new", 0, {"VCPU": VCPU}),
                ReplaceAllocations((Claim("ship", {"new": {"VCPU": 8}}, "p", "u"),)),
                UpdateProvider("new", "Newer", None),
                DeleteAllocations("ship"),
                SetTraits("new", 2, frozenset({"HW_NUMA_ROOT"})),
            )
        )
    )
    assert results[0] == Provider("new", "New", 0, "pier", "host")
    assert results[1] == ProviderInventories(1, {"VCPU": VCPU})
    assert results[2] is None
    assert results[3] == Provider("new", "Newer", 2, None, "new")
    assert memory.used("new") == {}
    assert memory.providers["new"].generation == 3


def test_a_batch_with_one_refusal_does_nothing(memory: Memory) -> None:
    command = Batch(
        (
            CreateProvider("new", "New", "pier"),
            CreateTrait("CUSTOM_A"),
            ReplaceAllocations((Claim("ship", {"pier": {"VCPU": 8}}, "p", "u"),)),
        )
    )
    assert facts(refusal(memory, command)) == (CapacityExceededError, "pier", "VCPU")


def test_generations_within_a_batch_count_on(memory: Memory) -> None:
    stale = Batch((SetInventories("pier", 2, {"VCPU": VCPU}), SetInventories("pier", 2, {"VCPU": VCPU})))
    assert facts(refusal(memory, stale)) == (StaleGenerationError, "pier", 3, 2)
    memory.execute(Batch((SetInventories("pier", 2, {"VCPU": VCPU}), SetTraits("pier", 3, frozenset()))))
    assert memory.providers["pier"].generation == 3


def test_a_provider_may_make_way_for_a_new_one_of_its_uuid_and_name(memory: Memory) -> None:
    old = memory.providers["pier"].id
    memory.execute(
        Batch(
            (
                DeleteAllocations("boat"),
                DeleteProvider("pier"),
                CreateProvider("pier", "Pier", "host"),
            )
        )
    )
    row = memory.providers["pier"]
    assert row.id != old
    assert (row.generation, memory.inventories["pier"]) == (0, {})


def test_what_a_batch_deletes_is_gone_for_what_follows(memory: Memory) -> None:
    first = (DeleteAllocations("boat"), DeleteProvider("pier"))
    error = refusal(memory, Batch((*first, SetTraits("pier", None, frozenset()))))
    assert facts(error) == (ProviderNotFoundError, "pier")
    memory.execute(Batch((*first, DeleteProvider("host"))))
    assert not memory.providers


def test_names_given_in_a_batch_are_taken_and_those_given_up_are_free(memory: Memory) -> None:
    twice = Batch((CreateProvider("a", "New"), CreateProvider("b", "New")))
    assert facts(refusal(memory, twice)) == (ProviderExistsError, None, "New")
    memory.execute(Batch((UpdateProvider("pier", "Quay"), CreateProvider("b", "Pier"))))
    assert memory.providers["b"].name == "Pier"


def test_what_a_batch_puts_into_use_cannot_go_in_it(memory: Memory) -> None:
    trait = Batch((SetTraits("pier", 2, frozenset({"CUSTOM_FAST"})), DeleteTrait("CUSTOM_FAST")))
    assert facts(refusal(memory, trait)) == (TraitInUseError, "CUSTOM_FAST")
    for command in (
        AddInventory("pier", "CUSTOM_GOLD", VCPU),
        SetInventories("pier", 2, {"VCPU": VCPU, "CUSTOM_GOLD": VCPU}),
        Reshape({"pier": NewInventories(2, {"VCPU": VCPU, "CUSTOM_GOLD": VCPU})}),
    ):
        error = refusal(memory, Batch((command, DeleteResourceClass("CUSTOM_GOLD"))))
        assert facts(error) == (ResourceClassInUseError, "CUSTOM_GOLD")


def test_a_name_that_a_batch_makes_may_go_in_it_and_come_again(memory: Memory) -> None:
    made = (CreateTrait("CUSTOM_A"), CreateResourceClass("CUSTOM_A"))
    gone = (DeleteTrait("CUSTOM_A"), DeleteResourceClass("CUSTOM_A"))
    memory.execute(Batch((*made, *gone)))
    assert "CUSTOM_A" not in memory.trait_names | memory.class_names
    assert memory.execute(Batch((*made, *gone, *made))) == (True, True, None, None, True, True)
    assert "CUSTOM_A" in memory.trait_names & memory.class_names


def test_a_name_that_a_batch_itself_puts_out_of_use_stays_until_the_next(memory: Memory) -> None:
    """Whether a name is in use is read, not counted: the refusal is on the safe side."""
    memory.execute(SetTraits("pier", None, frozenset({"CUSTOM_FAST"})))
    freed = SetTraits("pier", None, frozenset())
    error = refusal(memory, Batch((freed, DeleteTrait("CUSTOM_FAST"))))
    assert facts(error) == (TraitInUseError, "CUSTOM_FAST")
    memory.execute(freed)
    memory.execute(DeleteTrait("CUSTOM_FAST"))


def test_batches_may_hold_batches(memory: Memory) -> None:
    inner = Batch((CreateTrait("CUSTOM_A"), CreateTrait("CUSTOM_A")))
    assert memory.execute(Batch((inner, CreateTrait("CUSTOM_A")))) == ((True, False), False)


def test_a_batch_says_whether_names_came_or_went(memory: Memory) -> None:
    plain = memory.decide(Batch((CreateProvider("new", "New"),)))
    assert (plain.kind, plain.changes_names) == ("batch", False)
    named = memory.decide(Batch((CreateTrait("CUSTOM_A"), CreateTrait("CUSTOM_FAST"))))
    assert named
    assert named.changes_names
    assert not named.touched_providers()


def test_a_batch_that_changes_nothing_writes_nothing(memory: Memory) -> None:
    assert not memory.decide(Batch(()))
    assert not memory.decide(Batch((CreateTrait("CUSTOM_FAST"), UpdateProvider("pier", "Pier"))))


def test_asking_a_state_for_what_was_not_read_is_a_fault_of_the_program() -> None:
    with pytest.raises(KeyError):
        decide(State(), DeleteProvider("pier"))


def test_what_is_not_a_command_has_no_rule() -> None:
    with pytest.raises(KeyError):
        touch(Command[None]())
