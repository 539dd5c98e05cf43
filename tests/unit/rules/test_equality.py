"""Names that a database holds equal, as ``State.equal_names`` and ``State.equal_consumers`` tell."""

from __future__ import annotations

import pytest

from moorage.model.commands import (
    Batch,
    Claim,
    CreateProvider,
    DeleteAllocations,
    DeleteProvider,
    ReplaceAllocations,
    UpdateProvider,
)
from moorage.model.errors import ConsumerGenerationError, EqualNameError, ProviderExistsError
from moorage.model.values import Inventory
from moorage.rules.decide import decide
from moorage.rules.state import ConsumerRow, NameRow, ProviderRow, State


@pytest.fixture
def state() -> State:
    """Provider p, named "berth", with a consumer "c"; "BERTH" and "C" are held equal to these names."""
    return State(
        providers={"p": ProviderRow("p", "berth", 1, None, "p", 1), "q": None},
        provider_names={"berth": "p", "BERTH": None, "free": None},
        inventories={"p": {"VCPU": Inventory(8)}},
        used={"p": {"VCPU": 1}},
        traits={"p": frozenset()},
        aggregates={"p": ()},
        consumers={"c": ConsumerRow("c", "project", "user", None, 1, 1), "C": None},
        held={"c": {("p", "VCPU"): 1}, "C": {}},
        equal_names={"BERTH": "berth"},
        equal_consumers={"C": "c"},
    )


def claim(consumer: str, amount: int, generation: int | None = None) -> ReplaceAllocations:
    allocations = {"p": {"VCPU": amount}} if amount else {}
    return ReplaceAllocations((Claim(consumer, allocations, "project", "user", generation),))


def test_a_name_held_equal_to_one_that_is_there_is_taken(state: State) -> None:
    with pytest.raises(ProviderExistsError) as refused:
        decide(state, CreateProvider("q", "BERTH"))
    assert (refused.value.uuid, refused.value.name) == (None, "BERTH")
    assert decide(state, CreateProvider("q", "free")).result.name == "free"


def test_a_provider_may_take_a_name_held_equal_to_its_own(state: State) -> None:
    assert decide(state, UpdateProvider("p", "BERTH")).result.name == "BERTH"


def test_a_name_is_free_once_the_one_held_equal_has_gone(state: State) -> None:
    state.used["p"] = {}
    changes = decide(state, Batch((DeleteProvider("p"), CreateProvider("q", "BERTH"))))
    assert changes.provider_names == {"berth": None, "BERTH": "q"}
    changes = decide(state, Batch((UpdateProvider("p", "free"), CreateProvider("q", "BERTH"))))
    assert changes.provider_names == {"berth": None, "free": "p", "BERTH": "q"}


def test_a_consumer_held_equal_to_one_that_is_there_gets_nothing(state: State) -> None:
    state.resource_classes["VCPU"] = NameRow(exists=True)
    with pytest.raises(EqualNameError):
        decide(state, claim("C", 2))
    with pytest.raises(ConsumerGenerationError):
        decide(state, claim("C", 2, 7))
    assert not decide(state, claim("C", 0))
    changes = decide(state, Batch((DeleteAllocations("c"), claim("C", 2))))
    assert changes.held == {"c": {}, "C": {("p", "VCPU"): 2}}
