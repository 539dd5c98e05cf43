"""The rules, driven as the committer drives them, against their slow twin."""

from __future__ import annotations

from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from moorage.model.commands import Batch, Command, DeleteAllocations, HealClaim, ReplaceAllocations
from moorage.model.errors import MoorageError
from tests.oracle.account import Account, limit
from tests.oracle.compare import comparable, outcome
from tests.property.strategies_account import (
    BEGINNING,
    CONSUMERS,
    batches,
    commands,
    groups,
)
from tests.property.strategies_search import examples
from tests.unit.rules.memory import Memory

"""The unit tests alone reach every line and branch of the rules."""

AccountT = TypeVar("AccountT", bound=Account)

STEPS = 12
"""Commands of a sequence: enough to build something up and to take it down again."""


def begun() -> tuple[Account, Memory]:
    """The twin and the database, both where sequences begin."""
    return begun_with(Account())


def begun_with(account: AccountT) -> tuple[AccountT, Memory]:
    """As ``begun``, with this twin."""
    memory = Memory()
    for command in BEGINNING:
        assert outcome(account.execute, command) == outcome(memory.execute, command)
    memory.leave_behind(CONSUMERS[-1])
    return account, memory


def assert_equal(account: Account, memory: Memory) -> None:
    """The whole account is the same on both sides."""
    assert {row.uuid: row.value() for row in memory.providers.values()} == {
        provider.uuid: provider for provider in account.providers()
    }
    for uuid, node in account.nodes.items():
        assert memory.inventories[uuid] == node.inventories
        assert memory.traits[uuid] == node.traits
        assert sorted(memory.aggregates[uuid]) == sorted(node.aggregates)
        assert memory.used(uuid) == account.used(uuid)
    held = {consumer: items for consumer, items in memory.held.items() if items}
    assert held == {consumer: holder.held for consumer, holder in account.holders.items()}
    for consumer, holder in account.holders.items():
        row = memory.consumers[consumer]
        assert (row.project_id, row.user_id, row.consumer_type, row.generation) == (
            holder.project_id,
            holder.user_id,
            holder.consumer_type,
            holder.generation,
        )
    attached = {consumer: holder.lease for consumer, holder in account.holders.items() if holder.lease}
    assert memory.attached == attached
    assert memory.class_names == set(account.class_names)
    assert memory.trait_names == set(account.trait_names)


def generations(memory: Memory) -> dict[int, int]:
    """Generation by the id of the provider or consumer: ids are never used again."""
    found = {row.id or 0: row.generation for row in memory.providers.values()}
    return found | {row.id or 0: row.generation for row in memory.consumers.values()}


def over_full(memory: Memory) -> dict[tuple[str, str], int]:
    """How much more is used than there is, by provider and class."""
    return {
        (uuid, name): memory.used(uuid).get(name, 0) - limit(inventory)
        for uuid, inventories in memory.inventories.items()
        for name, inventory in inventories.items()
    }


def any_command(account: Account) -> st.SearchStrategy[Command[Any]]:
    return st.one_of(commands(account), commands(account), commands(account), batches(account))


@examples(1)
@given(st.data())
def test_the_rules_do_what_their_twin_does_step_by_step(data: st.DataObject) -> None:
    account, memory = begun()
    for _ in range(STEPS):
        command = data.draw(any_command(account))
        assert outcome(memory.execute, command) == outcome(account.execute, command)
        assert_equal(account, memory)


@examples(0.5)
@given(st.data())
def test_what_is_healed_and_quarantined_again_and_again_is_as_the_twin_has_it(data: st.DataObject) -> None:
    account, memory = begun()
    for _ in range(STEPS):
        command = data.draw(commands(account, (HealClaim, ReplaceAllocations, DeleteAllocations)))
        assert outcome(memory.execute, command) == outcome(account.execute, command)
        assert_equal(account, memory)


@examples(0.5)
@given(st.data())
def test_a_group_decided_on_one_state_equals_its_commands_one_by_one(data: st.DataObject) -> None:
    account, memory = begun()
    for _ in range(STEPS // 3):
        group = data.draw(groups(account, most=6))
        answers = memory.execute_group(group)
        for command, answer in zip(group, answers, strict=True):
            if isinstance(answer, MoorageError):
                assert ("refused", type(answer), str(answer)) == outcome(account.execute, command)
            else:
                assert ("done", comparable(answer), "") == outcome(account.execute, command)
        assert_equal(account, memory)


@examples(0.5)
@given(st.data())
def test_a_batch_equals_its_commands_one_by_one_or_does_nothing(data: st.DataObject) -> None:
    account, memory = begun()
    singly = begun()[1]
    for _ in range(STEPS // 3):
        batch: Batch = data.draw(batches(account))
        kind, result, _ = outcome(memory.execute, batch)
        if kind == "done":
            assert result == tuple(comparable(singly.execute(part)) for part in batch.commands)
        outcome(account.execute, batch)
        assert_equal(account, memory)
        assert_equal(account, singly)


@examples(0.5)
@given(st.data())
def test_whatever_happens_the_account_stays_sound(data: st.DataObject) -> None:
    account, memory = begun()
    for _ in range(STEPS):
        command = data.draw(any_command(account))
        old_generations, old_excess = generations(memory), over_full(memory)
        old_inventories = {uuid: dict(items) for uuid, items in memory.inventories.items()}
        done = outcome(memory.execute, command)[0] == "done"
        outcome(account.execute, command)
        for uuid, row in memory.providers.items():
            assert row.root_uuid == account.lineage(uuid)[-1]
            assert memory.used(uuid).keys() <= memory.inventories[uuid].keys()
        new_generations = generations(memory)
        for identifier, generation in old_generations.items():
            assert new_generations.get(identifier, generation) >= generation
            assert done or new_generations[identifier] == generation
        for (uuid, name), excess in over_full(memory).items():
            if memory.inventories[uuid] == old_inventories.get(uuid):
                assert excess <= 0 or excess <= old_excess[uuid, name] or may_overfill(command)


def may_overfill(command: Command[Any]) -> bool:
    """Whether an operator lets something be healed over capacity."""
    if isinstance(command, Batch):
        return any(map(may_overfill, command.commands))
    return isinstance(command, HealClaim) and command.over_capacity
