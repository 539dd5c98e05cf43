"""What native claims asked for: when the rules write it, and when it goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.model.commands import (
    KEEP,
    Claim,
    Command,
    ConsumerCopy,
    CopyConsumers,
    DeleteAllocations,
    GrantClaims,
    ReplaceAllocations,
)
from moorage.model.journal import JournalMode
from moorage.model.placing import Choice, ChosenOn, ClaimOrigin
from moorage.model.values import Inventory
from moorage.rules.audit import ConsumerFact, Facts, check_consumers
from moorage.rules.decide import decide
from moorage.rules.journal import recorded
from moorage.rules.state import ConsumerRow, NameRow, ProviderRow, State

ASKED = ClaimOrigin("{}", None, {"job": "42"})
CLAIM = Claim("consumer", {"host": {"VCPU": 1}}, "p", "u", None, None, ASKED)


def state(*, holds: bool = False, noted: bool = False) -> State:
    """A host, and a consumer that may hold something of it, with an origin or without."""
    row = ConsumerRow("consumer", "p", "u", None, 1, 1) if holds else None
    return State(
        providers={"host": ProviderRow("host", "host", 0, None, "host", 1)},
        inventories={"host": {"VCPU": Inventory(8)}},
        used={"host": {"VCPU": 1} if holds else {}},
        consumers={"consumer": row},
        held={"consumer": {("host", "VCPU"): 1} if holds else {}},
        resource_classes={"VCPU": NameRow(exists=True)},
        origins={"consumer": KEEP} if noted else {},
    )


@pytest.mark.parametrize(
    ("place", "decision", "decided_at"),
    [(None, None, None), (Choice({}), None, None), (Choice({}), ChosenOn(7, 2), 9)],
)
def test_a_granted_claim_has_it_with_where_it_was_decided(
    place: Choice | None, decision: ChosenOn | None, decided_at: int | None
) -> None:
    command = GrantClaims((CLAIM,), 1, (place,), decision)
    changes = decide(state(), command)
    assert changes.origins == {"consumer": replace(ASKED, decided_at=decided_at)}


def test_a_claim_without_it_writes_none() -> None:
    command = GrantClaims((replace(CLAIM, origin=None),), 1)
    assert decide(state(), command).origins == {}


PLACED = ReplaceAllocations((replace(CLAIM, origin=None),))
COPIED = CopyConsumers((ConsumerCopy("consumer", "p", "u", None, 5, {"host": {"VCPU": 1}}),))


@pytest.mark.parametrize("command", [PLACED, GrantClaims((replace(CLAIM, origin=None),), 1), COPIED])
@pytest.mark.parametrize("left", [None, "lease"])
def test_a_new_consumer_has_nothing_of_an_earlier_one_of_its_uuid(
    command: Command[object], left: str | None
) -> None:
    before = state(noted=True)
    before.attached.update({} if left is None else {"consumer": left})
    changes = decide(before, command)
    assert changes.origins == {"consumer": None}
    assert changes.attached == ({} if left is None else {"consumer": None})
    record = recorded(before, changes, JournalMode.FULL)
    assert record is not None
    assert "lease" not in record.body["consumers"]["consumer"]


def test_a_new_claim_with_an_origin_does_not_hang_on_an_earlier_ones_lease() -> None:
    before = state(noted=True)
    before.attached["consumer"] = "lease"
    changes = decide(before, GrantClaims((CLAIM,), 1))
    assert (changes.origins, changes.attached) == ({"consumer": ASKED}, {"consumer": None})


EMPTIED = ReplaceAllocations((Claim("consumer", {}, "p", "u", 1),))


@pytest.mark.parametrize("command", [DeleteAllocations("consumer"), EMPTIED])
@pytest.mark.parametrize(("noted", "origins"), [(True, {"consumer": None}), (False, {})])
def test_it_goes_with_the_consumer(command: Command[None], noted: bool, origins: dict[str, None]) -> None:
    assert decide(state(holds=True, noted=noted), command).origins == origins


def test_a_change_by_placement_leaves_it() -> None:
    command = ReplaceAllocations((Claim("consumer", {"host": {"VCPU": 2}}, "p", "u", 1),))
    assert decide(state(holds=True, noted=True), command).origins == {}


def test_one_without_a_consumer_is_found() -> None:
    facts = Facts(
        origins={"consumer": None, "gone": None}, consumers=[ConsumerFact("consumer", 1, 1, 1, None)]
    )
    found = [str(each) for each in check_consumers(facts)]
    assert any("origin of the claim of gone" in each for each in found)
    assert not any("origin of the claim of consumer" in each for each in found)
