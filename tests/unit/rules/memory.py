"""A database of dictionaries that is driven as the real one is: touch, read, decide, write.

Strict on purpose: ``read`` gives a state with exactly what its ``Touch`` names, so that a decision
that looks further ends in a KeyError; ``execute`` asserts that deciding left the state alone, and
``write`` that what is said to be used is what the consumers hold together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import fields, replace
from functools import reduce
from itertools import count
from operator import or_
from typing import Any, TypeVar

from moorage.model.commands import KEEP, Command
from moorage.model.errors import MoorageError
from moorage.model.leases import Lease, LeaseState
from moorage.model.placing import ClaimOrigin
from moorage.model.values import Inventory
from moorage.rules.decide import decide, touch
from moorage.rules.state import (
    MOST_LEFT,
    Changes,
    ConsumerRow,
    NameRow,
    ProviderRow,
    State,
    Touch,
)
from tests.oracle.account import STANDARD_CLASSES, STANDARD_TRAITS

ResultT = TypeVar("ResultT")

Amounts = dict[str, int]


class Memory:
    """All tables of the account. ``writes`` counts the commands that changed something."""

    def __init__(self) -> None:
        self.providers: dict[str, ProviderRow] = {}
        self.inventories: dict[str, dict[str, Inventory]] = {}
        self.traits: dict[str, frozenset[str]] = {}
        self.aggregates: dict[str, tuple[str, ...]] = {}
        self.consumers: dict[str, ConsumerRow] = {}
        self.held: dict[str, dict[tuple[str, str], int]] = {}
        self.class_names = set(STANDARD_CLASSES)
        self.trait_names = set(STANDARD_TRAITS)
        self.origins: dict[str, ClaimOrigin] = {}
        self.attached: dict[str, str] = {}
        self.leases: dict[str, Lease] = {}
        self.ticks = 0
        self.writes = 0
        self._ids = count(1)

    def execute(self, command: Command[ResultT]) -> ResultT:
        """Carry out one command. Raises what the rules raise; then nothing has changed."""
        changes = self.decide(command)
        self._write_if_any(changes)
        return changes.result

    def decide(self, command: Command[ResultT]) -> Changes[ResultT]:
        """What a command would change; asserts that deciding changes nothing by itself."""
        state = self.read(touch(command))
        try:
            return decide(state, command)
        finally:
            assert state == self.read(touch(command)), "deciding changed the state it was given"

    def execute_group(self, commands: Sequence[Command[Any]]) -> list[object]:
        """Read once for all, then decide each on what those before it left: results or refusals."""
        state = self.read(reduce(or_, map(touch, commands), Touch()))
        answers: list[object] = []
        for command in commands:
            try:
                changes = decide(state, command)
            except MoorageError as refusal:
                answers.append(refusal)
            else:
                state.apply(changes)
                self._write_if_any(changes)
                answers.append(changes.result)
        return answers

    def used(self, provider: str) -> Amounts:
        """What the consumers hold together of a provider, by class."""
        found: Amounts = {}
        for held in self.held.values():
            for (uuid, name), amount in held.items():
                if uuid == provider:
                    found[name] = found.get(name, 0) + amount
        return found

    def leave_behind(self, consumer: str) -> None:
        """A row without allocations, as the reference leaves one after a refused claim."""
        self.consumers[consumer] = ConsumerRow(consumer, "left", "behind", None, 0, next(self._ids))

    def read(self, wanted: Touch) -> State:
        """Exactly what is named, in values of its own."""
        hanging = {
            uuid: {each for each, lease in self.attached.items() if lease == uuid} for uuid in wanted.hanging
        }
        few = [each for each in hanging.values() if len(each) <= MOST_LEFT]
        wanted = replace(wanted, consumers=wanted.consumers.union(*few))
        held = {consumer: dict(self.held.get(consumer, {})) for consumer in wanted.consumers}
        holders = {provider for items in held.values() for provider, _ in items}
        providers = wanted.providers | holders
        roots = {row.root_uuid for uuid in wanted.trees if (row := self.providers.get(uuid)) is not None}
        trees = {row.uuid for row in self.providers.values() if row.root_uuid in roots}
        owners = {row.name: row.uuid for row in self.providers.values()}
        offered = {name for inventories in self.inventories.values() for name in inventories}
        had = {name for traits in self.traits.values() for name in traits}
        return State(
            providers={uuid: self.providers.get(uuid) for uuid in providers | trees},
            provider_names={name: owners.get(name) for name in wanted.provider_names},
            inventories={uuid: dict(self.inventories[uuid]) for uuid in self._present(wanted.inventories)},
            used={uuid: self.used(uuid) for uuid in self._present(wanted.used | holders)},
            traits={uuid: self.traits[uuid] for uuid in self._present(wanted.traits)},
            aggregates={uuid: self.aggregates[uuid] for uuid in self._present(wanted.aggregates)},
            consumers={uuid: self.consumers.get(uuid) for uuid in wanted.consumers},
            held=dict(held),
            resource_classes={
                name: NameRow(name in self.class_names, name in wanted.resource_class_use & offered)
                for name in wanted.resource_classes
            },
            trait_names={
                name: NameRow(name in self.trait_names, name in wanted.trait_use & had)
                for name in wanted.trait_names
            },
            origins={uuid: KEEP for uuid in wanted.consumers if uuid in self.origins},
            attached={uuid: self.attached[uuid] for uuid in wanted.consumers if uuid in self.attached},
            leases={uuid: self.leases.get(uuid) for uuid in wanted.leases},
            clock=dict.fromkeys(wanted.clock, self.ticks),
            hanging={uuid: min(len(each), MOST_LEFT + 1) for uuid, each in hanging.items()},
        )

    def _present(self, uuids: Iterable[str]) -> list[str]:
        return [uuid for uuid in uuids if uuid in self.providers]

    def _write_if_any(self, changes: Changes[Any]) -> None:
        if changes:
            self.writes += 1
            self._write(changes)

    def _write(self, changes: Changes[Any]) -> None:
        for name, row in changes.resource_classes.items():
            if row.renamed_to is not None:
                self._rename_class(name, row.renamed_to)
        if changes.changes_names:
            self.class_names = _after(self.class_names, changes.resource_classes)
            self.trait_names = _after(self.trait_names, changes.trait_names)
        for uuid, provider in changes.providers.items():
            if provider is None:
                self.providers.pop(uuid, None)
            else:
                self.providers[uuid] = provider if provider.id else replace(provider, id=next(self._ids))
        self.inventories |= {uuid: dict(items) for uuid, items in changes.inventories.items()}
        self.traits |= changes.traits
        self.aggregates |= changes.aggregates
        for table in (self.inventories, self.traits, self.aggregates):
            for uuid in table.keys() - self.providers.keys():
                table.pop(uuid)
        for consumer, held in changes.held.items():
            self.held[consumer] = dict(held)
        for consumer, owner in changes.consumers.items():
            if owner is None:
                self.consumers.pop(consumer, None)
            else:
                self.consumers[consumer] = owner if owner.id else replace(owner, id=next(self._ids))
        self._write_leases(changes)
        self._check(changes)

    def _write_leases(self, changes: Changes[Any]) -> None:
        for consumer, origin in changes.origins.items():
            if isinstance(origin, ClaimOrigin):
                self.origins[consumer] = origin
            else:
                self.origins.pop(consumer, None)
        for consumer, lease in changes.attached.items():
            if lease is None:
                self.attached.pop(consumer, None)
            else:
                self.attached[consumer] = lease
        for uuid, now in changes.leases.items():
            assert now is not None
            self.leases[uuid] = now
            if now.state is LeaseState.RELEASED:
                self.attached = {each: lease for each, lease in self.attached.items() if lease != uuid}

    def _rename_class(self, name: str, new_name: str) -> None:
        for inventories in self.inventories.values():
            if name in inventories:
                inventories[new_name] = inventories.pop(name)
        for held in self.held.values():
            for provider, held_name in list(held):
                if held_name == name:
                    held[provider, new_name] = held.pop((provider, name))

    def _check(self, changes: Changes[Any]) -> None:
        for uuid, used in changes.used.items():
            told = {name: amount for name, amount in used.items() if amount}
            assert told == self.used(uuid), f"what is used of {uuid} was told wrongly"
        names = {row.name: row.uuid for row in self.providers.values()}
        assert len(names) == len(self.providers), "two providers have one name"
        for name, owner in changes.provider_names.items():
            assert names.get(name) == owner, f"the owner of the name {name} was told wrongly"
        for consumer in changes.held:
            assert bool(self.held[consumer]) == (consumer in self.consumers), "a holder without a row"
        for consumer in self.attached:
            assert consumer in self.consumers, "nothing hangs on a lease"
            assert consumer in self.origins, "a lease is kept with an origin"


def _after(names: set[str], changed: Mapping[str, NameRow]) -> set[str]:
    gone = {name for name, row in changed.items() if not row.exists}
    return names - gone | {name for name, row in changed.items() if row.exists}


def memory_after(*commands: Command[Any]) -> Memory:
    """A database in which these commands have been carried out."""
    memory = Memory()
    for command in commands:
        memory.execute(command)
    return memory


def refusal(memory: Memory, command: Command[Any]) -> MoorageError:
    """The error that a command is refused with; asserts that it is, and that nothing changed."""
    before = everything(memory)
    try:
        memory.execute(command)
    except MoorageError as error:
        assert everything(memory) == before
        return error
    raise AssertionError(f"{command} was not refused")


def everything(memory: Memory) -> dict[str, Any]:
    """All that a database holds, in values of its own."""
    return deepcopy({name: value for name, value in vars(memory).items() if name != "_ids"})


def facts(error: MoorageError) -> tuple[object, ...]:
    """The class of an error and the values of its fields, in order."""
    return (type(error), *(getattr(error, item.name) for item in fields(error)))
