"""What a connection remembers of what is in use."""

from __future__ import annotations

import pytest

from moorage.model.values import Inventory
from moorage.store.nouns import consumers
from moorage.store.nouns.consumers import DISTRUSTED_GROUPS, LONGEST_SECONDS, UsageMemory
from moorage.store.nouns.consumers import ProviderUse as Facts


class Clock:
    """Goes as a test wants."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(consumers, "time", clock)
    return clock


@pytest.fixture
def memory() -> UsageMemory:
    return UsageMemory(owner=None)


def test_what_was_learnt_is_recalled_at_its_revision(memory: UsageMemory) -> None:
    memory.learn(4, 6, {1: (7, Facts({"VCPU": 3}))})
    assert memory.recall({1: 7, 2: 0}) == {1: Facts({"VCPU": 3})}
    assert memory.holds(6)


def test_nothing_is_recalled_of_another_generation(memory: UsageMemory) -> None:
    memory.learn(4, 6, {1: (7, Facts({"VCPU": 3}))})
    assert memory.recall({1: 8}) == {}
    assert memory.recall({1: 7}) == {}, "it is forgotten"


def test_what_others_have_written_ends_it(memory: UsageMemory) -> None:
    memory.learn(4, 6, {1: (7, Facts({"VCPU": 3})), 2: (0, Facts({}))})
    assert not memory.holds(7)
    assert memory.recall({1: 7, 2: 0}) == {}


def test_where_others_write_it_is_not_tried_again_for_a_while(memory: UsageMemory) -> None:
    assert not memory.holds(1)
    for group in range(DISTRUSTED_GROUPS):
        memory.learn(group, group + 1, {1: (0, Facts({}))})
        assert memory.recall({1: 0}) == {}
    memory.learn(0, 1, {1: (0, Facts({}))})
    assert memory.recall({1: 0}) == {1: Facts({})}


def test_a_group_that_read_a_later_revision_ends_what_was_known_before(memory: UsageMemory) -> None:
    memory.learn(4, 6, {1: (7, Facts({"VCPU": 3}))})
    memory.learn(9, 10, {2: (0, Facts({}))})
    assert memory.recall({1: 7, 2: 0}) == {2: Facts({})}


def test_what_others_know_goes_on_if_nobody_else_wrote(memory: UsageMemory) -> None:
    memory.learn(4, 6, {1: (7, Facts({"VCPU": 3}))})
    memory.learn(6, 7, {2: (0, Facts({}))})
    assert memory.recall({1: 7, 2: 0}) == {1: Facts({"VCPU": 3}), 2: Facts({})}


def test_a_sum_is_not_gone_on_from_for_ever(memory: UsageMemory, clock: Clock) -> None:
    memory.learn(0, 1, {1: (0, Facts({"VCPU": 1}))})
    clock.now = LONGEST_SECONDS
    memory.learn(1, 2, {1: (1, Facts({"VCPU": 2}))})
    assert memory.recall({1: 1}) == {1: Facts({"VCPU": 2})}
    clock.now += 0.5
    assert memory.recall({1: 1}) == {}
    memory.learn(2, 3, {1: (2, Facts({"VCPU": 3}))})
    clock.now += LONGEST_SECONDS
    assert memory.recall({1: 2}) == {1: Facts({"VCPU": 3})}, "it was asked for anew"


def test_it_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "KNOWN_BYTES", 5_000)
    memory = UsageMemory(owner=None)
    memory.learn(0, 1, {id_: (0, Facts({})) for id_ in range(9)})
    memory.learn(1, 2, {9: (0, Facts({}))})
    assert memory.recall(dict.fromkeys(range(10), 0)).keys() == set(range(5, 10))


def test_inventories_are_known_as_long_as_the_use_even_by_groups_that_did_not_want_them(
    memory: UsageMemory,
) -> None:
    inventories = {"VCPU": Inventory(8)}
    memory.learn(0, 1, {1: (0, Facts({"VCPU": 1}, inventories))})
    assert memory.recall({1: 0}) == {1: Facts({"VCPU": 1}, inventories)}
    memory.learn(1, 2, {1: (1, Facts({}))})
    assert memory.recall({1: 1}) == {1: Facts({}, inventories)}
    assert memory.recall({1: 2}) == {}
    memory.learn(2, 3, {1: (2, Facts({}))})
    assert memory.recall({1: 2}) == {1: Facts({})}, "they went with the use"


def test_what_grows_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "KNOWN_BYTES", 5_000)
    memory = UsageMemory(owner=None)
    memory.learn(0, 1, {1: (0, Facts({}))})
    memory.learn(1, 2, {1: (1, Facts(dict.fromkeys("abcd", 1)))})
    assert memory.recall({1: 1}) == {}, "it takes more than a quarter"
