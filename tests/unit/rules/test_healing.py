"""Healing a claim: it becomes what is reported, if it is still the one that the report was compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from moorage.model.commands import (
    Claim,
    CreateProvider,
    HealClaim,
    Healed,
    ReplaceAllocations,
    SetInventories,
)
from moorage.model.errors import (
    CannotHealError,
    CapacityExceededError,
    FindingChangedError,
    FindingNotFoundError,
    MoorageError,
    NoInventoryError,
    ResourceClassNotFoundError,
    UnitViolatedError,
)
from moorage.model.journal import JournalMode
from moorage.model.leases import LeaseState
from moorage.model.reports import DIFFERS, LEAKED, MISSING, OPEN, ClaimOwner, ReportFinding
from moorage.model.values import Inventory
from moorage.rules.decide import decide, touch
from moorage.rules.journal import recorded
from tests.unit.rules.memory import Memory, memory_after

OWNER = ClaimOwner("p", "u", "INSTANCE")
HOST, FAR = "host", "far"


def finding(kind: str, **more: Any) -> ReportFinding:
    known = ReportFinding(
        id="f1",
        source="nova",
        kind=kind,
        consumer="ship",
        tree=HOST,
        state=OPEN,
        since=0,
        version=None,
        held={},
        reported=None,
        rest={},
        owner=OWNER,
        revision=7,
    )
    return replace(known, **more)


@pytest.fixture
def memory() -> Memory:
    offered = {"VCPU": Inventory(4), "DISK_GB": Inventory(10)}
    return memory_after(
        *(CreateProvider(uuid, uuid.title()) for uuid in (HOST, FAR)),
        *(SetInventories(uuid, 0, offered) for uuid in (HOST, FAR)),
    )


def claim(memory: Memory, held: Mapping[str, Mapping[str, int]], consumer: str = "ship") -> str:
    """Let a consumer hold something; returns the version of its claim."""
    row = memory.consumers.get(consumer)
    generation = None if row is None else row.generation
    memory.execute(ReplaceAllocations((Claim(consumer, held, "p", "u", generation, "INSTANCE"),)))
    row = memory.consumers[consumer]
    return f"{row.id}.{row.generation}"


def heal(found: ReportFinding | None, *, over_capacity: bool = False) -> HealClaim:
    return HealClaim("f1", found, over_capacity)


def test_a_leaked_claim_is_released_as_far_as_the_report_covers_it(memory: Memory) -> None:
    version = claim(memory, {HOST: {"VCPU": 2}, FAR: {"DISK_GB": 1}})
    leaked = finding(LEAKED, version=version, held={HOST: {"VCPU": 2}}, rest={FAR: {"DISK_GB": 1}})
    assert memory.execute(heal(leaked)) == Healed("ship", 2, {FAR: {"DISK_GB": 1}})
    assert memory.held["ship"] == {(FAR, "DISK_GB"): 1}
    leaked = finding(LEAKED, version=f"{memory.consumers['ship'].id}.2", held={FAR: {"DISK_GB": 1}})
    assert memory.execute(heal(leaked)) == Healed("ship", 0, {})
    assert "ship" not in memory.consumers


def test_a_missing_claim_is_made_for_the_owner_that_the_report_names(memory: Memory) -> None:
    missing = finding(MISSING, reported={HOST: {"VCPU": 2}})
    assert memory.execute(heal(missing)) == Healed("ship", 1, {HOST: {"VCPU": 2}})
    row = memory.consumers["ship"]
    assert (row.project_id, row.user_id, row.consumer_type) == ("p", "u", "INSTANCE")


def test_a_row_without_allocations_is_no_claim(memory: Memory) -> None:
    memory.leave_behind("ship")
    assert memory.execute(heal(finding(MISSING, reported={HOST: {"VCPU": 2}}))).generation == 1


def test_other_amounts_become_those_reported_and_the_owner_stays(memory: Memory) -> None:
    version = claim(memory, {HOST: {"VCPU": 2}})
    differs = finding(
        DIFFERS,
        version=version,
        held={HOST: {"VCPU": 2}},
        reported={FAR: {"VCPU": 3}},
        owner=ClaimOwner("p", "u"),
    )
    assert memory.execute(heal(differs)) == Healed("ship", 2, {FAR: {"VCPU": 3}})
    assert memory.consumers["ship"].consumer_type == "INSTANCE"


@pytest.mark.parametrize("over_capacity", [False, True])
def test_there_must_be_room_unless_the_command_says_otherwise(memory: Memory, over_capacity: bool) -> None:
    claim(memory, {HOST: {"VCPU": 3}}, "boat")
    command = heal(finding(MISSING, reported={HOST: {"VCPU": 2}}), over_capacity=over_capacity)
    if over_capacity:
        memory.execute(command)
        assert memory.used(HOST)["VCPU"] == 5
    else:
        with pytest.raises(CapacityExceededError):
            memory.execute(command)


@pytest.mark.parametrize(
    ("reported", "error"),
    [
        ({HOST: {"CUSTOM_NONE": 1}}, ResourceClassNotFoundError),
        ({HOST: {"MEMORY_MB": 1}}, NoInventoryError),
        ({HOST: {"DISK_GB": 3}}, UnitViolatedError),
    ],
)
def test_what_no_claim_may_hold_is_not_healed(
    memory: Memory, reported: Any, error: type[MoorageError]
) -> None:
    inventories = {"VCPU": Inventory(4), "DISK_GB": Inventory(10, step_size=2)}
    memory.execute(SetInventories(HOST, None, inventories))
    with pytest.raises(error):
        memory.execute(heal(finding(MISSING, reported=reported), over_capacity=True))


def test_a_claim_that_has_changed_since_the_report_is_left_alone(memory: Memory) -> None:
    held = {HOST: {"VCPU": 2}}
    version = claim(memory, held)
    claim(memory, held)
    with pytest.raises(FindingChangedError):
        memory.execute(heal(finding(LEAKED, version=version, held=held)))
    with pytest.raises(FindingChangedError):
        memory.execute(heal(finding(MISSING, reported=held)))
    memory.execute(ReplaceAllocations((Claim("ship", {}, "p", "u", 2),)))
    with pytest.raises(FindingChangedError):
        memory.execute(heal(finding(LEAKED, version=version, held=held)))
    # The same uuid, the same generation, and yet another claim.
    claim(memory, held)
    with pytest.raises(FindingChangedError):
        memory.execute(heal(finding(LEAKED, version=version, held=held)))


def test_what_is_quarantined_keeps_what_it_holds_and_hangs_on_a_quarantined_lease(memory: Memory) -> None:
    version = claim(memory, {HOST: {"VCPU": 2}, FAR: {"DISK_GB": 1}})
    leaked = finding(LEAKED, version=version, held={HOST: {"VCPU": 2}}, rest={FAR: {"DISK_GB": 1}})
    command = HealClaim("f1", leaked, lease="l1")
    changes = memory.decide(command)
    assert changes.result == Healed("ship", 1, {HOST: {"VCPU": 2}, FAR: {"DISK_GB": 1}})
    assert changes.attached == {"ship": "l1"}
    lease = changes.leases["l1"]
    assert lease is not None
    assert (lease.state, lease.owner, lease.project_id) == (LeaseState.QUARANTINED, "finding of nova", "p")
    assert changes.reason is not None
    assert changes.reason["action"] == "quarantine"
    assert (changes.held, changes.used) == ({}, {})


def test_what_hangs_on_a_lease_already_or_is_not_leaked_is_not_quarantined(memory: Memory) -> None:
    version = claim(memory, {HOST: {"VCPU": 2}})
    leaked = finding(LEAKED, version=version, held={HOST: {"VCPU": 2}})
    memory.execute(HealClaim("f1", leaked, lease="l1"))
    with pytest.raises(CannotHealError):
        memory.execute(HealClaim("f1", leaked, lease="l2"))
    with pytest.raises(FindingChangedError):
        memory.execute(HealClaim("f1", replace(leaked, version="0.0"), lease="l2"))
    differs = replace(leaked, kind=DIFFERS, reported={HOST: {"VCPU": 1}})
    with pytest.raises(CannotHealError):
        memory.execute(HealClaim("f1", differs, lease="l2"))


def test_what_hangs_on_a_lease_leaves_it_when_it_is_released(memory: Memory) -> None:
    version = claim(memory, {HOST: {"VCPU": 2}})
    leaked = finding(LEAKED, version=version, held={HOST: {"VCPU": 2}})
    memory.execute(HealClaim("f1", leaked, lease="l1"))
    changes = memory.decide(heal(leaked))
    assert changes.attached == {"ship": None}


def test_a_finding_that_is_gone_or_says_too_little_is_refused(memory: Memory) -> None:
    with pytest.raises(FindingNotFoundError):
        memory.execute(heal(None))
    with pytest.raises(CannotHealError):
        memory.execute(heal(finding(MISSING, owner=None)))
    with pytest.raises(CannotHealError):
        memory.execute(heal(finding(MISSING, owner=None, reported={HOST: {"VCPU": 1}})))


@pytest.mark.parametrize("mode", [JournalMode.FULL, JournalMode.REFS])
def test_the_journal_says_which_finding_was_the_reason(memory: Memory, mode: JournalMode) -> None:
    version = claim(memory, {HOST: {"VCPU": 2}})
    command = heal(finding(LEAKED, version=version, held={HOST: {"VCPU": 2}}))
    state = memory.read(touch(command))
    record = recorded(state, decide(state, command), mode)
    assert record is not None
    assert record.body["reason"] == {
        "finding": "f1",
        "kind": "leaked",
        "source": "nova",
        "action": "release",
        "compared_at": 7,
    }
    assert record.consumers == ("ship",)


def test_a_finding_that_asks_for_nothing_about_nothing_is_healed_by_no_write(memory: Memory) -> None:
    before = memory.writes
    assert memory.execute(heal(finding(MISSING, reported={HOST: {}}))) == Healed("ship", 0, {})
    assert memory.writes == before
