"""The slow, obvious twin of the whole account: it carries out every command on plain dictionaries.

It shares nothing with the rules. What is used, who the root of a provider is, and whether a name is
in use are never kept: they are counted anew whenever they are asked for. ``Account.execute`` and
the methods that read have the signatures and answers of the service, but for times, which it does
not have, and for order: compare through ``tests.oracle.compare``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
from itertools import zip_longest
from typing import Any, TypeVar, cast

from moorage.model import commands, errors, placing, reports, values
from moorage.model.commands import KEEP, Claim, Command
from moorage.model.values import Inventory

ResultT = TypeVar("ResultT")

STANDARD_CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB")
STANDARD_TRAITS = ("HW_CPU_X86_AVX2", "HW_NUMA_ROOT", values.SHARING_TRAIT)


@dataclass
class Node:
    """A provider."""

    uuid: str
    name: str
    parent: str | None
    generation: int = 0
    inventories: dict[str, Inventory] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    aggregates: tuple[str, ...] = ()


@dataclass
class Holder:
    """A consumer with what it holds: amount by (provider, class). It never holds nothing.

    ``lease``: the quarantined one that it hangs on.
    """

    project_id: str
    user_id: str
    consumer_type: str | None
    generation: int
    held: dict[tuple[str, str], int]
    lease: str | None = None


class Account:
    """Who provides what and who holds what.

    ``resource_classes`` and ``traits`` are the names that are there from the start.
    """

    def __init__(
        self,
        resource_classes: Iterable[str] = STANDARD_CLASSES,
        traits: Iterable[str] = STANDARD_TRAITS,
    ) -> None:
        self.nodes: dict[str, Node] = {}
        self.holders: dict[str, Holder] = {}
        self.class_names = list(resource_classes)
        self.trait_names = list(traits)

    # Commands

    def execute(self, command: Command[ResultT]) -> ResultT:
        """Carry out ``command``. Raises what the service raises; then nothing has changed."""
        before = self._snapshot()
        try:
            return cast("ResultT", self._carry_out(command))
        except errors.MoorageError:
            self.nodes, self.holders, self.class_names, self.trait_names = before
            raise

    def rehearse(self, command: Command[Any]) -> tuple[Any, errors.MoorageError | None, bool]:
        """Result, refusal, and whether ``command`` would change anything; nothing is changed."""
        before = self._snapshot()
        try:
            result = self._carry_out(command)
        except errors.MoorageError as refusal:
            return None, refusal, False
        else:
            return result, None, self._snapshot() != before
        finally:
            self.nodes, self.holders, self.class_names, self.trait_names = before

    def _snapshot(self) -> tuple[dict[str, Node], dict[str, Holder], list[str], list[str]]:
        return (
            {uuid: replace(node, inventories=dict(node.inventories)) for uuid, node in self.nodes.items()},
            {uuid: replace(holder, held=dict(holder.held)) for uuid, holder in self.holders.items()},
            list(self.class_names),
            list(self.trait_names),
        )

    @singledispatchmethod
    def _carry_out(self, command: Any) -> Any:
        raise TypeError(f"The oracle does not know {command!r}.")

    @_carry_out.register
    def _(self, command: commands.CreateProvider) -> values.Provider:
        if command.name == "":
            raise errors.NameMissingError(command.uuid)
        if command.parent_uuid == command.uuid:
            raise errors.ParentIsSelfError(command.uuid)
        if command.parent_uuid is not None and command.parent_uuid not in self.nodes:
            raise errors.ParentNotFoundError(command.parent_uuid)
        uuid_taken = command.uuid in self.nodes
        name_taken = any(node.name == command.name for node in self.nodes.values())
        if uuid_taken or name_taken:
            raise errors.ProviderExistsError(
                command.uuid if uuid_taken else None, command.name if name_taken else None
            )
        self.nodes[command.uuid] = Node(command.uuid, command.name, command.parent_uuid)
        return self.provider(command.uuid)

    @_carry_out.register
    def _(self, command: commands.UpdateProvider) -> values.Provider:
        node = self._node(command.uuid)
        if command.parent_uuid is not KEEP:
            self._move(node, command.parent_uuid, command.may_reparent)
        if any(other.name == command.name and other is not node for other in self.nodes.values()):
            raise errors.ProviderExistsError(None, command.name)
        node.name = command.name
        return self.provider(command.uuid)

    def _move(self, node: Node, parent: str | None, may_reparent: bool) -> None:
        if parent is None:
            if node.parent is not None and not may_reparent:
                raise errors.UnparentRefusedError(node.uuid)
        else:
            if parent not in self.nodes:
                raise errors.ParentNotFoundError(parent)
            if node.parent is not None and node.parent != parent and not may_reparent:
                raise errors.ReparentRefusedError(node.uuid)
            if node.uuid in self.lineage(parent):
                raise errors.TreeLoopError(node.uuid)
        node.parent = parent

    @_carry_out.register
    def _(self, command: commands.DeleteProvider) -> None:
        self._node(command.uuid)
        if any(other.parent == command.uuid for other in self.nodes.values()):
            raise errors.ProviderHasChildrenError(command.uuid)
        if self.used(command.uuid):
            raise errors.ProviderInUseError(command.uuid)
        del self.nodes[command.uuid]

    @_carry_out.register
    def _(self, command: commands.AddInventory) -> values.ProviderInventories:
        node = self._node(command.provider)
        self._check_inventories(node, {command.resource_class: command.inventory}, command.may_reserve_all)
        if command.resource_class in node.inventories:
            raise errors.InventoryExistsError(node.uuid, command.resource_class)
        node.inventories[command.resource_class] = command.inventory
        node.generation += 1
        return self.provider_inventories(node.uuid)

    @_carry_out.register
    def _(self, command: commands.UpdateInventory) -> values.ProviderInventories:
        node = self._node(command.provider, command.generation)
        self._check_inventories(node, {command.resource_class: command.inventory}, command.may_reserve_all)
        if command.resource_class not in node.inventories:
            raise errors.InventoryNotFoundError(node.uuid, command.resource_class)
        node.inventories[command.resource_class] = command.inventory
        node.generation += 1
        return self.provider_inventories(node.uuid)

    @_carry_out.register
    def _(self, command: commands.SetInventories) -> values.ProviderInventories:
        node = self._node(command.provider, command.generation)
        self._check_inventories(node, command.inventories, command.may_reserve_all)
        self._replace_inventories(node, command.inventories)
        node.generation += 1
        return self.provider_inventories(node.uuid)

    @_carry_out.register
    def _(self, command: commands.DeleteInventory) -> None:
        node = self._node(command.provider)
        self._check_classes([command.resource_class])
        if command.resource_class not in node.inventories:
            raise errors.InventoryNotFoundError(node.uuid, command.resource_class)
        rest = dict(node.inventories)
        del rest[command.resource_class]
        self._replace_inventories(node, rest)
        node.generation += 1

    def _check_inventories(
        self, node: Node, inventories: Mapping[str, Inventory], may_reserve_all: bool
    ) -> None:
        for name, inventory in inventories.items():
            left = limit(inventory)
            if left < 0 or (left == 0 and not may_reserve_all):
                raise errors.InvalidCapacityError(node.uuid, name, may_reserve_all)
        self._check_classes(inventories)

    def _check_classes(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.class_names:
                raise errors.ResourceClassNotFoundError(name)

    def _replace_inventories(self, node: Node, inventories: Mapping[str, Inventory]) -> None:
        used = self.used(node.uuid)
        in_use = sorted(name for name in node.inventories if name not in inventories and name in used)
        if in_use:
            raise errors.InventoryInUseError(node.uuid, ", ".join(in_use))
        node.inventories = dict(inventories)

    @_carry_out.register
    def _(self, command: commands.SetTraits) -> values.ProviderTraits:
        node = self._node(command.provider, command.generation)
        unknown = sorted(name for name in command.traits if name not in self.trait_names)
        if unknown:
            raise errors.TraitNotFoundError(", ".join(unknown))
        if node.traits != command.traits:
            node.traits = command.traits
            node.generation += 1
        return self.provider_traits(node.uuid)

    @_carry_out.register
    def _(self, command: commands.SetAggregates) -> values.ProviderAggregates:
        node = self._node(command.provider, command.generation)
        node.aggregates = command.aggregates
        if command.generation is not None:
            node.generation += 1
        return self.provider_aggregates(node.uuid)

    @_carry_out.register
    def _(self, command: commands.CreateTrait) -> bool:
        if command.name in self.trait_names:
            return False
        self.trait_names.append(command.name)
        return True

    @_carry_out.register
    def _(self, command: commands.DeleteTrait) -> None:
        if command.name not in self.trait_names:
            raise errors.TraitNotFoundError(command.name)
        if not command.name.startswith("CUSTOM_"):
            raise errors.StandardTraitError(command.name)
        if any(command.name in node.traits for node in self.nodes.values()):
            raise errors.TraitInUseError(command.name)
        self.trait_names.remove(command.name)

    @_carry_out.register
    def _(self, command: commands.CreateResourceClass) -> bool:
        if command.name not in self.class_names:
            self.class_names.append(command.name)
            return True
        if not command.may_exist:
            raise errors.ResourceClassExistsError(command.name)
        return False

    @_carry_out.register
    def _(self, command: commands.RenameResourceClass) -> None:
        old, new = command.name, command.new_name
        self._check_custom_class(old, "update")
        if new != old and new in self.class_names:
            raise errors.ResourceClassExistsError(new)
        self.class_names[self.class_names.index(old)] = new
        for node in self.nodes.values():
            if old in node.inventories:
                node.inventories[new] = node.inventories.pop(old)
        for holder in self.holders.values():
            for provider, name in list(holder.held):
                if name == old:
                    holder.held[provider, new] = holder.held.pop((provider, old))

    @_carry_out.register
    def _(self, command: commands.DeleteResourceClass) -> None:
        self._check_custom_class(command.name, "delete")
        if any(command.name in node.inventories for node in self.nodes.values()):
            raise errors.ResourceClassInUseError(command.name)
        self.class_names.remove(command.name)

    def _check_custom_class(self, name: str, action: str) -> None:
        self._check_classes([name])
        if not name.startswith("CUSTOM_"):
            raise errors.StandardResourceClassError(name, action)

    @_carry_out.register
    def _(self, command: commands.ReplaceAllocations) -> None:
        self._check_claims(command.claims)
        self._check_classes(sorted(classes_claimed(command.claims)))
        self._grant(command.claims)

    @_carry_out.register
    def _(self, command: commands.DeleteAllocations) -> None:
        if command.consumer not in self.holders:
            raise errors.AllocationsNotFoundError(command.consumer)
        del self.holders[command.consumer]

    @_carry_out.register
    def _(self, command: commands.GrantClaims) -> placing.Granted:
        found: list[placing.GrantedEntry | errors.MoorageError] = []
        before = deepcopy((self.nodes, self.holders))
        for claim, passed_on in zip_longest(command.claims, command.passed_on):
            together = [claim] if passed_on is None else [claim, passed_on]
            last = deepcopy((self.nodes, self.holders))
            try:
                self._check_claims(together)
                self._check_classes(sorted(classes_claimed(together)))
                self._grant(together)
            except errors.MoorageError as error:
                self.nodes, self.holders = last
                found.append(error)
                refused = [
                    (number, one) for number, one in enumerate(found) if isinstance(one, errors.MoorageError)
                ]
                if len(command.claims) - len(refused) < command.least:
                    self.nodes, self.holders = before
                    raise errors.EntriesRefusedError(tuple(refused)) from error
            else:
                generation = self.holders[claim.consumer].generation
                found.append(placing.GrantedEntry(claim.consumer, generation, claim.allocations))
        return placing.Granted(tuple(found))

    @_carry_out.register
    def _(self, command: commands.ReleaseClaims) -> commands.Released:
        named = list(dict.fromkeys(command.consumers))
        for consumer in named:
            if consumer not in self.holders and not command.absent_too:
                raise errors.AllocationsNotFoundError(consumer)
        found = [consumer for consumer in named if self.holders.pop(consumer, None) is not None]
        return commands.Released(tuple(found), tuple(one for one in named if one not in found))

    @_carry_out.register
    def _(self, command: commands.HealClaim) -> commands.Healed:
        found = command.finding
        if found is None:
            raise errors.FindingNotFoundError(command.id)
        if found.kind != reports.LEAKED and (found.reported is None or found.owner is None):
            raise errors.CannotHealError(found.id, "does not say what the consumer must hold, or whose it is")
        holder = self.holders.get(found.consumer)
        compared = None if found.version is None else int(found.version.rpartition(".")[2])
        if compared != (None if holder is None else holder.generation):
            raise errors.FindingChangedError(found.consumer)
        if command.lease is not None:
            return self._quarantine(found, command.lease)
        shall = {**found.rest, **(found.reported or {})}
        allocations = {provider: dict(amounts) for provider, amounts in shall.items() if amounts}
        owner = found.owner or reports.ClaimOwner("", "", None)
        kind = owner.consumer_type if holder is None else KEEP
        claim = Claim(found.consumer, allocations, owner.project_id, owner.user_id, KEEP, kind)
        self._check_claims([claim])
        self._check_classes(sorted(classes_claimed([claim])))
        self._grant([claim], over_capacity=command.over_capacity)
        now = self.holders.get(found.consumer)
        return commands.Healed(found.consumer, 0 if now is None else now.generation, allocations)

    def _quarantine(self, found: reports.ReportFinding, lease: str) -> commands.Healed:
        if found.kind != reports.LEAKED:
            raise errors.CannotHealError(
                found.id, f"is {found.kind}, and only what is leaked can be quarantined"
            )
        holder = self.holders.get(found.consumer)
        if holder is None or holder.lease is not None:
            raise errors.CannotHealError(found.id, "is about a claim that hangs on a lease already")
        holder.lease = lease
        return commands.Healed(found.consumer, holder.generation, {**found.rest, **found.held})

    @_carry_out.register
    def _(self, command: commands.Reshape) -> None:
        for uuid, new in command.inventories.items():
            if uuid not in self.nodes:
                raise errors.ReshapeProviderNotFoundError(uuid)
            self._node(uuid, new.generation)
        self._check_claims(command.claims)
        offered = {name for new in command.inventories.values() for name in new.inventories}
        self._check_classes(sorted(offered | classes_claimed(command.claims)))
        for uuid, new in command.inventories.items():
            self.nodes[uuid].inventories.update(new.inventories)
        self._grant(command.claims)
        for uuid, new in command.inventories.items():
            self._replace_inventories(self.nodes[uuid], new.inventories)
            self.nodes[uuid].generation += 2 if new.inventories else 1

    @_carry_out.register
    def _(self, command: commands.Batch) -> tuple[object, ...]:
        return tuple(self._carry_out(part) for part in command.commands)

    def _check_claims(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            holder = self.holders.get(claim.consumer)
            actual = None if holder is None else holder.generation
            if claim.generation is not KEEP and claim.generation != actual:
                raise errors.ConsumerGenerationError(claim.consumer, actual, claim.generation)
        for claim in claims:
            for provider in claim.allocations:
                if provider not in self.nodes:
                    raise errors.AllocationProviderNotFoundError(provider)

    def _grant(self, claims: Iterable[Claim], *, over_capacity: bool = False) -> None:
        used_before = {uuid: self.used(uuid) for uuid in self.nodes}
        emptied = {claim.consumer: self.holders.pop(claim.consumer, None) for claim in claims}
        bumps: set[str] = set()
        for claim in claims:
            old = emptied[claim.consumer]
            if not claim.allocations:
                bumps |= {provider for provider, _ in (old.held if old else {})}
                continue
            new = Holder(claim.project_id, claim.user_id, None, 1, {})
            if old is not None:
                new.consumer_type, new.generation = old.consumer_type, old.generation + 1
                if old.project_id == new.project_id:
                    new.lease = old.lease
            if claim.consumer_type is not KEEP:
                new.consumer_type = claim.consumer_type
            self.holders[claim.consumer] = new
            for provider, resources in claim.allocations.items():
                bumps.add(provider)
                for name, amount in resources.items():
                    new.held[provider, name] = amount
                    before = used_before[provider].get(name, 0)
                    self._check_fits(provider, name, amount, before, over_capacity=over_capacity)
        for provider in bumps:
            self.nodes[provider].generation += 1

    def _check_fits(
        self, provider: str, name: str, amount: int, used_before: int, *, over_capacity: bool
    ) -> None:
        """Refuse what was just put into ``holders`` if it should not be there."""
        inventory = self.nodes[provider].inventories.get(name)
        if inventory is None:
            raise errors.NoInventoryError(provider, name)
        if not inventory.min_unit <= amount <= inventory.max_unit or amount % inventory.step_size:
            raise errors.UnitViolatedError(provider, name)
        used = self.used(provider)[name]
        if used > limit(inventory) and used > used_before and not over_capacity:
            raise errors.CapacityExceededError(provider, name)

    def _node(self, uuid: str, generation: int | None = None) -> Node:
        if uuid not in self.nodes:
            raise errors.ProviderNotFoundError(uuid)
        node = self.nodes[uuid]
        if generation is not None and generation != node.generation:
            raise errors.StaleGenerationError(uuid, node.generation, generation)
        return node

    # Reads

    def lineage(self, uuid: str) -> list[str]:
        """A provider and all above it, the root last."""
        found = [uuid]
        while (parent := self.nodes[found[-1]].parent) is not None:
            found.append(parent)
        return found

    def used(self, provider: str) -> dict[str, int]:
        """Amount held of a provider by class; only what is held."""
        found: dict[str, int] = {}
        for holder in self.holders.values():
            for (uuid, name), amount in holder.held.items():
                if uuid == provider:
                    found[name] = found.get(name, 0) + amount
        return found

    def held(self, consumer: str) -> dict[tuple[str, str], int]:
        """Amount by (provider, class) of one consumer."""
        return dict(self.holders[consumer].held) if consumer in self.holders else {}

    def provider(self, uuid: str) -> values.Provider:
        """Raises ProviderNotFoundError."""
        node = self._node(uuid)
        return values.Provider(uuid, node.name, node.generation, node.parent, self.lineage(uuid)[-1])

    def providers(self) -> list[values.Provider]:
        """All providers, oldest first."""
        return [self.provider(uuid) for uuid in self.nodes]

    def provider_inventories(self, uuid: str) -> values.ProviderInventories:
        """Raises ProviderNotFoundError."""
        node = self._node(uuid)
        return values.ProviderInventories(node.generation, dict(node.inventories))

    def provider_traits(self, uuid: str) -> values.ProviderTraits:
        """Raises ProviderNotFoundError."""
        node = self._node(uuid)
        return values.ProviderTraits(node.generation, tuple(sorted(node.traits)))

    def provider_aggregates(self, uuid: str) -> values.ProviderAggregates:
        """Raises ProviderNotFoundError."""
        node = self._node(uuid)
        return values.ProviderAggregates(node.generation, node.aggregates)

    def provider_usages(self, uuid: str) -> values.ProviderUsages:
        """Raises ProviderNotFoundError."""
        node = self._node(uuid)
        used = self.used(uuid)
        return values.ProviderUsages(node.generation, {name: used.get(name, 0) for name in node.inventories})

    def provider_allocations(self, uuid: str) -> values.ProviderAllocations:
        """Raises ProviderNotFoundError."""
        node = self._node(uuid)
        consumers: dict[str, values.HeldByConsumer] = {}
        for consumer, holder in self.holders.items():
            resources = {name: amount for (other, name), amount in holder.held.items() if other == uuid}
            if resources:
                consumers[consumer] = values.HeldByConsumer(holder.generation, resources)
        return values.ProviderAllocations(node.generation, consumers)

    def consumer_allocations(self, consumer: str) -> values.ConsumerAllocations:
        """Empty for a consumer that holds nothing."""
        holder = self.holders.get(consumer)
        if holder is None:
            return values.ConsumerAllocations()
        held: dict[str, dict[str, int]] = {}
        for (provider, name), amount in holder.held.items():
            held.setdefault(provider, {})[name] = amount
        return values.ConsumerAllocations(
            {
                uuid: values.HeldOfProvider(self.nodes[uuid].generation, resources)
                for uuid, resources in held.items()
            },
            holder.project_id,
            holder.user_id,
            holder.generation,
            holder.consumer_type or "unknown",
        )

    def usages(self, project_id: str, user_id: str | None = None) -> dict[str, int]:
        """Amount used by class, by all consumers of a project (and user)."""
        return totals(self._holders_of(project_id, user_id))

    def usages_by_type(
        self, project_id: str, user_id: str | None = None, consumer_type: str | None = None
    ) -> list[values.UsageGroup]:
        """One group per consumer type; ``all`` makes one group, ``unknown`` picks those without a type."""
        groups: dict[str, list[Holder]] = {}
        for holder in self._holders_of(project_id, user_id):
            shown = holder.consumer_type or "unknown"
            if consumer_type == "all":
                shown = "all"
            if consumer_type in (None, shown):
                groups.setdefault(shown, []).append(holder)
        return [values.UsageGroup(shown, len(holders), totals(holders)) for shown, holders in groups.items()]

    def _holders_of(self, project_id: str, user_id: str | None) -> list[Holder]:
        return [
            holder
            for holder in self.holders.values()
            if holder.project_id == project_id and user_id in (None, holder.user_id)
        ]

    def traits(self) -> list[values.NamedItem]:
        """All traits, oldest first."""
        return [values.NamedItem(name) for name in self.trait_names]

    def resource_classes(self) -> list[values.NamedItem]:
        """All resource classes, oldest first."""
        return [values.NamedItem(name) for name in self.class_names]


def limit(inventory: Inventory) -> int:
    """What may be held in all."""
    return int((inventory.total - inventory.reserved) * inventory.allocation_ratio)


def totals(holders: Iterable[Holder]) -> dict[str, int]:
    """Amount by class that these consumers hold together."""
    found: dict[str, int] = {}
    for holder in holders:
        for (_, name), amount in holder.held.items():
            found[name] = found.get(name, 0) + amount
    return found


def classes_claimed(claims: Iterable[Claim]) -> set[str]:
    """Resource classes that the claims name."""
    return {name for claim in claims for resources in claim.allocations.values() for name in resources}
