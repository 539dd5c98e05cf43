"""Leases: which state follows which, and what becomes of the claims that hang on them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.model.commands import (
    AttachClaim,
    Batch,
    Claim,
    CreateProvider,
    DeleteAllocations,
    DetachClaim,
    EndLease,
    ExpireLeases,
    GrantClaims,
    GrantLease,
    QuarantineClaims,
    ReleaseClaims,
    Released,
    ReleaseOfLease,
    ReplaceAllocations,
    ResolveLease,
    SetInventories,
)
from moorage.model.errors import (
    AllocationsNotFoundError,
    AttachmentNotFoundError,
    EntriesRefusedError,
    EqualNameError,
    LeaseCrowdedError,
    LeaseGoneError,
    LeaseNotFoundError,
    MoorageError,
)
from moorage.model.journal import JournalMode
from moorage.model.leases import SLACK_MS, LeaseAt, LeaseState, OnExpiry, Resolution
from moorage.model.placing import ClaimOrigin
from moorage.model.values import Inventory
from moorage.rules import leases
from moorage.rules.audit import ConsumerFact, Facts, check_consumers
from moorage.rules.decide import touch
from moorage.rules.journal import as_seen_by, projects_of, recorded, references
from moorage.rules.leases import renewed_until
from tests.unit.rules import memory as tests_memory
from tests.unit.rules.memory import Memory, memory_after, refusal

TTL, GRACE = 10_000, 5_000


def grant(uuid: str = "lease", **parts: object) -> GrantLease:
    values: dict[str, object] = {"ttl_ms": TTL, "grace_ms": GRACE, **parts}
    return GrantLease(uuid, "agent", "p", "u", **values)  # type: ignore[arg-type]


def holding(consumer: str, lease: str | None = None, amount: int = 1) -> GrantClaims:
    return GrantClaims((Claim(consumer, {"pier": {"VCPU": amount}}, "p", "u", lease=lease),), 1)


def taking(lease: str, consumers: tuple[str, ...], *, is_all: bool) -> ReleaseOfLease:
    return ReleaseOfLease({lease: consumers}, frozenset((lease,) if is_all else ()))


@pytest.fixture
def memory() -> Memory:
    """A pier with 8 VCPU, an active lease, and a boat that hangs on it."""
    memory = memory_after(CreateProvider("pier", "Pier"), SetInventories("pier", 0, {"VCPU": Inventory(8)}))
    memory.ticks = 1_000
    memory.execute(grant())
    memory.execute(holding("boat", "lease"))
    return memory


def state_of(memory: Memory, uuid: str = "lease") -> LeaseState:
    return memory.leases[uuid].state


def expire(memory: Memory, ticks: int) -> tuple[str, ...]:
    """Time goes on, and the keeper looks."""
    memory.ticks = ticks
    return memory.execute(ExpireLeases(tuple(memory.leases)))


DUE = 1_000 + TTL + SLACK_MS


def test_a_lease_is_due_after_its_ttl_and_what_ticks_may_be_late(memory: Memory) -> None:
    lease = memory.leases["lease"]
    assert (lease.state, lease.due_tick, lease.end_tick) == (LeaseState.ACTIVE, DUE, None)
    assert LeaseAt(lease, 1_000).remaining_ms == TTL
    assert LeaseAt(lease, DUE).remaining_ms == 0
    assert renewed_until(2_000, TTL, None) == 2_000 + TTL + SLACK_MS
    assert renewed_until(2_000, TTL, 3_000) == 3_000


def moved(project_id: str, lease: str | None = None) -> tuple[ReplaceAllocations, GrantClaims]:
    """The boat becomes another project's, over Placement's API and over the native one."""
    claim = Claim("boat", {"pier": {"VCPU": 2}}, project_id, "u", 1, lease=lease)
    return ReplaceAllocations((claim,)), GrantClaims((claim,), 1)


@pytest.mark.parametrize("native", [False, True])
def test_a_claim_that_comes_to_another_project_hangs_on_no_lease_any_more(
    memory: Memory, native: bool
) -> None:
    command = moved("q")[native]
    state = memory.read(touch(command))
    record = recorded(state, memory.decide(command), JournalMode.FULL)
    assert record is not None
    assert record.body["consumers"]["boat"]["lease"] == ["lease", None]
    assert as_seen_by(record.body, "p")["consumers"]["boat"]["lease"] == ["lease", None]
    assert as_seen_by(record.body, "q")["consumers"]["boat"]["lease"] == [None, None]
    memory.execute(command)
    assert memory.attached == {}
    assert "boat" in memory.origins
    memory.execute(EndLease("lease", keeps_claims=False))
    assert memory.execute(taking("lease", ("boat",), is_all=True)) == Released((), ("boat",))
    assert memory.consumers["boat"].project_id == "q"


@pytest.mark.parametrize("native", [False, True])
def test_a_claim_that_stays_in_its_project_keeps_its_lease(memory: Memory, native: bool) -> None:
    memory.execute(moved("p")[native])
    assert memory.attached == {"boat": "lease"}


def test_a_claim_that_comes_to_another_project_may_name_its_lease(memory: Memory) -> None:
    memory.execute(moved("q", "lease")[1])
    assert memory.attached == {"boat": "lease"}


def test_a_lease_is_granted_once(memory: Memory) -> None:
    assert isinstance(refusal(memory, grant()), EqualNameError)


def test_a_lease_that_is_not_due_stays_active(memory: Memory) -> None:
    assert expire(memory, DUE - 1) == ()
    assert state_of(memory) is LeaseState.ACTIVE


def test_a_lease_expires_and_is_quarantined_after_its_grace(memory: Memory) -> None:
    assert expire(memory, DUE) == ("lease",)
    assert state_of(memory) is LeaseState.EXPIRED
    assert LeaseAt(memory.leases["lease"], DUE).remaining_ms == GRACE
    assert expire(memory, DUE + GRACE - 1) == ()
    assert expire(memory, DUE + GRACE) == ("lease",)
    assert state_of(memory) is LeaseState.QUARANTINED
    assert LeaseAt(memory.leases["lease"], DUE + GRACE).remaining_ms == 0
    assert memory.attached == {"boat": "lease"}
    assert expire(memory, 10 * DUE) == ()


def test_without_a_grace_it_is_quarantined_at_once(memory: Memory) -> None:
    memory.execute(grant("short", grace_ms=0))
    expire(memory, DUE)
    assert state_of(memory, "short") is LeaseState.QUARANTINED


def test_claims_of_several_leases_are_taken_away_together(memory: Memory) -> None:
    for uuid in ("first", "second", "third"):
        memory.execute(grant(uuid, grace_ms=0, on_expiry=OnExpiry.RELEASE))
        memory.execute(holding(f"task of {uuid}", uuid))
    expire(memory, DUE)
    command = ReleaseOfLease(
        {
            "first": ("task of first",),
            "second": ("task of first",),
            "third": ("task of third",),
            "lease": ("boat",),
        },
        frozenset(("first", "third", "lease")),
    )
    assert memory.execute(command) == Released(("task of first", "task of third"), ("boat",))
    assert [state_of(memory, uuid) for uuid in ("first", "second", "third", "lease")] == [
        LeaseState.RELEASED,
        LeaseState.RELEASING,
        LeaseState.RELEASED,
        LeaseState.EXPIRED,
    ]
    assert memory.attached == {"boat": "lease", "task of second": "second"}


def test_claims_of_a_lease_that_releases_are_taken_away_in_batches(memory: Memory) -> None:
    memory.execute(grant("job", grace_ms=0, on_expiry=OnExpiry.RELEASE))
    for number in range(3):
        memory.execute(holding(f"task {number}", "job"))
    assert memory.execute(taking("job", ("task 0",), is_all=True)) == Released((), ("task 0",))
    expire(memory, DUE)
    assert state_of(memory, "job") is LeaseState.RELEASING
    taken = memory.execute(taking("job", ("task 0", "task 1", "boat"), is_all=False))
    assert taken == Released(("task 0", "task 1"), ("boat",))
    assert memory.used("pier") == {"VCPU": 2}
    assert state_of(memory, "job") is LeaseState.RELEASING
    assert memory.execute(taking("job", ("task 2",), is_all=True)) == Released(("task 2",), ())
    assert state_of(memory, "job") is LeaseState.RELEASED
    assert memory.execute(taking("job", (), is_all=True)) == Released((), ())
    assert memory.execute(taking("gone", ("boat",), is_all=True)) == Released((), ("boat",))
    assert memory.used("pier") == {"VCPU": 1}


def test_an_attachment_that_holds_nothing_any_more_goes_too(memory: Memory) -> None:
    memory.execute(EndLease("lease", keeps_claims=False))
    # Another program has taken away what the boat held.
    memory.held["boat"], memory.consumers = {}, {}
    assert memory.execute(taking("lease", ("boat",), is_all=True)) == Released((), ("boat",))
    assert (memory.attached, memory.origins) == ({}, {})


def test_an_end_that_renewals_do_not_move_has_no_grace(memory: Memory) -> None:
    memory.execute(grant("short", max_life_ms=4_000, on_expiry=OnExpiry.RELEASE))
    lease = memory.leases["short"]
    assert lease.due_tick == lease.end_tick == 1_000 + 4_000 + SLACK_MS
    expire(memory, lease.due_tick)
    assert state_of(memory, "short") is LeaseState.RELEASING


def test_a_grace_ends_with_the_end_of_the_lease(memory: Memory) -> None:
    memory.execute(grant("long", max_life_ms=TTL + 1_000))
    expire(memory, DUE)
    assert state_of(memory, "long") is LeaseState.EXPIRED
    assert memory.leases["long"].due_tick == DUE + 1_000


def test_a_claim_hangs_on_an_active_lease_only(memory: Memory) -> None:
    error = refusal(memory, holding("raft", "unknown"))
    assert isinstance(error, EntriesRefusedError)
    assert str(error.refused[0][1]) == "The lease unknown is not known."
    expire(memory, DUE)
    error = refusal(memory, holding("raft", "lease"))
    assert isinstance(error, EntriesRefusedError)
    assert str(error.refused[0][1]) == "The lease lease is expired."


@pytest.mark.parametrize(("project", "hangs"), [("p", True), ("another", False)])
def test_a_client_that_is_confined_to_its_project_knows_no_other_leases(
    memory: Memory, project: str, hangs: bool
) -> None:
    wanted = Claim("raft", {"pier": {"VCPU": 1}}, project, "u", only_own=True, lease="lease")
    if hangs:
        memory.execute(GrantClaims((wanted,), 1))
        assert memory.attached["raft"] == "lease"
        return
    error = refusal(memory, GrantClaims((wanted,), 1))
    assert isinstance(error, EntriesRefusedError)
    assert str(error.refused[0][1]) == "The lease lease is not known."


def test_a_claim_is_attached_and_detached(memory: Memory) -> None:
    memory.execute(grant("other"))
    memory.execute(holding("raft"))
    assert memory.attached == {"boat": "lease"}
    found = memory.execute(AttachClaim("other", "raft"))
    assert (found.lease.uuid, found.ticks) == ("other", 1_000)
    writes = memory.writes
    memory.execute(AttachClaim("other", "raft"))
    assert memory.writes == writes, "it hangs there already"
    memory.execute(AttachClaim("other", "boat"))
    assert memory.attached == {"boat": "other", "raft": "other"}
    memory.execute(DetachClaim("other", "raft"))
    assert memory.attached == {"boat": "other"}
    assert memory.used("pier") == {"VCPU": 2}


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (AttachClaim("unknown", "boat"), LeaseNotFoundError("unknown")),
        (AttachClaim("lease", "ghost"), AllocationsNotFoundError("ghost")),
        (DetachClaim("unknown", "boat"), LeaseNotFoundError("unknown")),
        (DetachClaim("lease", "raft"), AttachmentNotFoundError("lease", "raft")),
        (DetachClaim("ended", "raft"), LeaseGoneError("ended", "released")),
        (AttachClaim("ended", "boat"), LeaseGoneError("ended", "releasing")),
        (AttachClaim("lease", "boat", "another"), LeaseNotFoundError("lease")),
        (AttachClaim("theirs", "boat", "another"), AllocationsNotFoundError("boat")),
        (AttachClaim("lease", "ghost", "p"), AllocationsNotFoundError("ghost")),
        (DetachClaim("lease", "boat", "another"), LeaseNotFoundError("lease")),
        (EndLease("lease", keeps_claims=True, project_id="another"), LeaseNotFoundError("lease")),
        (ResolveLease("lease", Resolution.RELEASE, "another"), LeaseNotFoundError("lease")),
        (EndLease("unknown", keeps_claims=True), LeaseNotFoundError("unknown")),
        (EndLease("ended", keeps_claims=True), LeaseGoneError("ended", "released")),
        (ResolveLease("lease", Resolution.RELEASE), LeaseGoneError("lease", "active")),
        (ResolveLease("unknown", Resolution.RELEASE), LeaseNotFoundError("unknown")),
        (QuarantineClaims("lease", "f", "p", "u", ("raft",)), LeaseGoneError("lease", "active")),
    ],
)
def test_what_does_not_fit_the_state_of_a_lease_is_refused(
    memory: Memory, command: EndLease, error: MoorageError
) -> None:
    memory.execute(grant("ended"))
    memory.execute(replace(grant("theirs"), project_id="another"))
    memory.execute(EndLease("ended", keeps_claims=False))
    memory.execute(holding("raft"))
    assert str(refusal(memory, command)) == str(error)


def test_a_client_of_one_project_uses_its_own_leases(memory: Memory) -> None:
    memory.execute(holding("raft"))
    memory.execute(AttachClaim("lease", "raft", "p"))
    assert memory.attached["raft"] == "lease"
    memory.execute(DetachClaim("lease", "raft", "p"))
    memory.execute(EndLease("lease", keeps_claims=True, project_id="p"))
    assert state_of(memory) is LeaseState.RELEASED


def test_a_lease_ends_without_its_claims(memory: Memory) -> None:
    assert memory.execute(EndLease("lease", keeps_claims=True)).lease.state is LeaseState.RELEASED
    assert memory.attached == {}
    assert memory.used("pier") == {"VCPU": 1}


def test_a_lease_on_which_too_many_claims_hang_does_not_end_without_them(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (leases, tests_memory):
        monkeypatch.setattr(module, "MOST_LEFT", 1)
    memory.execute(holding("raft", "lease"))
    assert isinstance(refusal(memory, EndLease("lease", keeps_claims=True)), LeaseCrowdedError)
    memory.execute(Batch((DetachClaim("lease", "raft"),)))
    memory.execute(EndLease("lease", keeps_claims=True))
    assert (memory.attached, state_of(memory)) == ({}, LeaseState.RELEASED)


def test_a_move_and_a_change_by_placement_keep_the_lease(memory: Memory) -> None:
    memory.execute(
        GrantClaims((Claim("boat", {"pier": {"VCPU": 2}}, "p", "u", 1, origin=ClaimOrigin("{}")),), 1)
    )
    memory.execute(ReplaceAllocations((Claim("boat", {"pier": {"VCPU": 3}}, "p", "u", 2),)))
    assert memory.attached == {"boat": "lease"}


@pytest.mark.parametrize(
    "command",
    [
        DeleteAllocations("boat"),
        ReleaseClaims(("boat",)),
        ReplaceAllocations((Claim("boat", {}, "p", "u", 1),)),
    ],
)
def test_who_holds_nothing_hangs_on_no_lease(memory: Memory, command: DeleteAllocations) -> None:
    memory.execute(command)
    assert (memory.attached, memory.origins) == ({}, {})
    assert state_of(memory) is LeaseState.ACTIVE


def quarantined(memory: Memory) -> None:
    expire(memory, DUE)
    expire(memory, DUE + GRACE)


def test_a_quarantined_lease_is_restored_with_its_full_ttl(memory: Memory) -> None:
    quarantined(memory)
    found = memory.execute(ResolveLease("lease", Resolution.RESTORE))
    assert (found.lease.state, found.remaining_ms) == (LeaseState.ACTIVE, TTL)


def test_a_restored_lease_outlives_its_end_by_its_ttl(memory: Memory) -> None:
    memory.execute(grant("short", max_life_ms=4_000))
    quarantined(memory)
    found = memory.execute(ResolveLease("short", Resolution.RESTORE))
    assert (found.remaining_ms, found.lease.end_tick) == (TTL, found.lease.due_tick)


def test_a_quarantined_lease_is_released(memory: Memory) -> None:
    quarantined(memory)
    memory.execute(ResolveLease("lease", Resolution.RELEASE))
    assert state_of(memory) is LeaseState.RELEASING


def test_claims_of_a_finding_are_quarantined_until_an_operator_decides(memory: Memory) -> None:
    memory.execute(holding("raft"))
    command = QuarantineClaims("finding", "nova", "admin", "svc", ("raft", "boat", "ghost", "raft"))
    assert memory.execute(command) == Released(("raft",), ("boat", "ghost"))
    assert memory.attached == {"boat": "lease", "raft": "finding"}
    assert state_of(memory, "finding") is LeaseState.QUARANTINED
    memory.execute(holding("skiff"))
    memory.execute(replace(command, consumers=("skiff",)))
    assert memory.attached["skiff"] == "finding"
    assert memory.execute(ResolveLease("finding", Resolution.RESTORE)).lease.state is LeaseState.RELEASED
    assert memory.attached == {"boat": "lease"}
    assert memory.used("pier") == {"VCPU": 3}


def test_a_quarantine_of_nothing_makes_no_lease(memory: Memory) -> None:
    assert memory.execute(QuarantineClaims("f", "nova", "p", "u", ("boat",))) == Released((), ("boat",))
    assert "f" not in memory.leases


def test_the_journal_tells_of_leases_and_of_their_claims(memory: Memory) -> None:
    command = holding("raft", "lease")
    found = recorded(memory.read(touch(command)), memory.decide(command), JournalMode.FULL)
    assert found is not None
    assert found.body["consumers"]["raft"]["lease"] == [None, "lease"]
    away = DeleteAllocations("boat")
    found = recorded(memory.read(touch(away)), memory.decide(away), JournalMode.FULL)
    assert found is not None
    assert found.body["consumers"]["boat"]["lease"] == ["lease", None]
    end = EndLease("lease", keeps_claims=True)
    found = recorded(memory.read(touch(end)), memory.decide(end), JournalMode.FULL)
    assert found is not None
    told = {"project_id": "p", "owner": "agent", "state": ["active", "released"]}
    claims = {"boat": {"project_id": ["p", "p"], "lease": ["lease", None]}}
    assert found.body == {"consumers": claims, "leases": {"lease": told}}
    assert projects_of(found.body) == {"p"}
    assert as_seen_by(found.body, "p") == found.body
    assert as_seen_by(found.body, "another") == {}
    assert references(found.body) == {
        "consumers": {"boat": {"project_id": ["p", "p"]}},
        "leases": {"lease": {"project_id": "p", "owner": "agent"}},
    }
    made = grant("new")
    found = recorded(memory.read(touch(made)), memory.decide(made), JournalMode.FULL)
    assert found is not None
    assert found.body["leases"]["new"]["state"] == [None, "active"]


def test_an_audit_finds_claims_that_hang_on_no_running_lease() -> None:
    facts = Facts(
        origins={"a": "running", "b": "ended", "c": "unknown", "d": None},
        leases={"running": "active", "ended": "released"},
        consumers=[ConsumerFact(uuid, 1, 1, 1, None) for uuid in "abcd"],
    )
    found = [str(each) for each in check_consumers(facts) if "lease" in str(each)]
    assert found == [
        "claim of b hangs on the lease ended, which has ended",
        "claim of c hangs on the lease unknown, which does not exist",
    ]
