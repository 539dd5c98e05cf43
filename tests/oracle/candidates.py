"""The slow, obvious twin of the candidate search: every combination, looked at one by one.

Works on a list of records with sets and products, and shares nothing with the search itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import Inventory, ProviderRecord

SHARES = "MISC_SHARES_VIA_AGGREGATE"

Canonical = tuple[frozenset[tuple[str, str, int]], frozenset[tuple[str, frozenset[str]]]]
"""A candidate without order: (provider, class, amount) triples, and suffix with its providers."""

Serving = tuple[ProviderRecord, str, int]
"""A provider that gives an amount of a class."""


@dataclass(frozen=True)
class Option:
    """One way to serve one group: who gives what, and who is named for the group."""

    serving: tuple[Serving, ...]
    named: frozenset[int]


def canonical(
    allocations: Mapping[str, Mapping[str, int]], mappings: Mapping[str, Iterable[str]]
) -> Canonical:
    """A candidate in a form that can be compared."""
    return (
        frozenset(
            (uuid, name, amount) for uuid, given in allocations.items() for name, amount in given.items()
        ),
        frozenset((suffix, frozenset(uuids)) for suffix, uuids in mappings.items()),
    )


def held(provider: ProviderRecord, name: str) -> tuple[Inventory, int] | None:
    """Inventory and use of a class."""
    for resource_class, inventory, used in provider.inventories:
        if resource_class == name:
            return inventory, used
    return None


def limit_of(inventory: Inventory) -> int:
    """What may be held in all."""
    return int((inventory.total - inventory.reserved) * inventory.allocation_ratio)


def serves(provider: ProviderRecord, name: str, amount: int) -> bool:
    """Whether one provider can give an amount by itself."""
    found = held(provider, name)
    if found is None:
        return False
    inventory, used = found
    return (
        used + amount <= limit_of(inventory)
        and inventory.min_unit <= amount <= inventory.max_unit
        and amount % inventory.step_size == 0
    )


def in_every(aggregates: Iterable[str], member_of: Sequence[frozenset[str]]) -> bool:
    """Whether somebody in ``aggregates`` is in one of each set."""
    return all(set(aggregates) & wanted for wanted in member_of)


class Oracle:
    """All answers about one fixed set of records."""

    def __init__(self, records: Iterable[ProviderRecord]) -> None:
        self.records = list(records)
        self.by_id = {record.id: record for record in self.records}

    def root(self, provider: ProviderRecord) -> ProviderRecord:
        return self.by_id[provider.root_id]

    def in_tree_of(self, provider: ProviderRecord, uuid: str) -> bool:
        return any(other.uuid == uuid and other.root_id == provider.root_id for other in self.records)

    def satisfies_alone(self, provider: ProviderRecord, group: RequestGroup) -> bool:
        """Whether one provider satisfies a whole group."""
        return (
            all(serves(provider, name, amount) for name, amount in group.resources.items())
            and all(set(provider.traits) & wanted for wanted in group.required)
            and not set(provider.traits) & group.forbidden
            and in_every(provider.aggregates, group.member_of)
            and not set(provider.aggregates) & group.forbidden_aggregates
            and (group.in_tree is None or self.in_tree_of(provider, group.in_tree))
        )

    def providers_matching(self, group: RequestGroup) -> list[int]:
        return sorted(record.id for record in self.records if self.satisfies_alone(record, group))

    def reached_by(self, provider: ProviderRecord) -> set[int]:
        """Ids of the roots of trees that a sharing provider shares with."""
        if SHARES not in provider.traits:
            return set()
        return {other.root_id for other in self.records if set(other.aggregates) & set(provider.aggregates)}

    def allowed_anchors(self, request: CandidateRequest) -> list[ProviderRecord]:
        return [
            record
            for record in self.records
            if record.id == record.root_id
            and request.root_required <= set(record.traits)
            and not request.root_forbidden & set(record.traits)
        ]

    def options(self, group: RequestGroup, anchor: ProviderRecord) -> list[Option]:
        """Every way to serve a group at an anchor."""
        if group.suffix:
            return [
                Option(
                    tuple((record, name, amount) for name, amount in group.resources.items()),
                    frozenset([record.id]),
                )
                for record in self.records
                if (record.root_id == anchor.id or anchor.id in self.reached_by(record))
                and self.satisfies_alone(record, group)
            ]
        choices = [
            [(record, name, amount) for record in self.records if self.may_give(record, anchor, group, name)]
            for name, amount in group.resources.items()
        ]
        return [
            Option(combination, frozenset(record.id for record, _, _ in combination))
            for combination in product(*choices)
            if self.traits_are_right([record for record, _, _ in combination], group)
        ]

    def may_give(
        self, record: ProviderRecord, anchor: ProviderRecord, group: RequestGroup, name: str
    ) -> bool:
        """Whether a provider may give a class of the unsuffixed group at an anchor."""
        if not serves(record, name, group.resources[name]):
            return False
        own = record.root_id == anchor.id
        if group.in_tree is not None:
            if not (own and self.in_tree_of(record, group.in_tree)):
                return False
        elif not own and not (
            anchor.id in self.reached_by(record) and in_every(record.aggregates, group.member_of)
        ):
            return False
        return (
            in_every(record.aggregates, group.member_of) or in_every(anchor.aggregates, group.member_of)
        ) and not (set(record.aggregates) | set(anchor.aggregates)) & group.forbidden_aggregates

    @staticmethod
    def traits_are_right(providers: Sequence[ProviderRecord], group: RequestGroup) -> bool:
        together = {trait for provider in providers for trait in provider.traits}
        return all(together & wanted for wanted in group.required) and not together & group.forbidden

    def candidates(self, request: CandidateRequest) -> set[Canonical]:
        """Every candidate for a request, without limits."""
        found: set[Canonical] = set()
        for anchor in self.allowed_anchors(request):
            for combination in product(*(self.options(group, anchor) for group in request.groups)):
                if self.stands(combination, request):
                    found.add(self.merged(combination, request))
        return found

    def stands(self, combination: Sequence[Option], request: CandidateRequest) -> bool:
        """Whether options of all groups go together."""
        by_suffix = dict(zip((group.suffix for group in request.groups), combination, strict=True))
        named = [min(option.named) for suffix, option in by_suffix.items() if suffix]
        if request.group_policy == "isolate" and len(set(named)) < len(named):
            return False
        for suffixes in request.same_subtree:
            concerned = {min(by_suffix[suffix].named) for suffix in suffixes}
            if not any(all(top in self.lineage(other) for other in concerned) for top in concerned):
                return False
        taken: Counter[tuple[int, str]] = Counter()
        for option in combination:
            for record, name, amount in option.serving:
                taken[record.id, name] += amount
        for (identifier, name), amount in taken.items():
            inventory, used = held(self.by_id[identifier], name) or (Inventory(0), 0)
            if used + amount > limit_of(inventory) or amount > inventory.max_unit:
                return False
        givers = {identifier for identifier, _ in taken}
        roots = {self.by_id[identifier].root_id for identifier in givers}
        return not request.one_provider_per_tree or len(givers) == len(roots)

    def lineage(self, identifier: int) -> set[int]:
        """Ids of a provider and of all above it."""
        parent = self.by_id[identifier].parent_id
        return {identifier} | (set() if parent is None else self.lineage(parent))

    def merged(self, combination: Sequence[Option], request: CandidateRequest) -> Canonical:
        allocations: dict[str, Counter[str]] = {}
        for option in combination:
            for record, name, amount in option.serving:
                allocations.setdefault(record.uuid, Counter())[name] += amount
        mappings = {
            group.suffix: [self.by_id[identifier].uuid for identifier in option.named]
            for group, option in zip(request.groups, combination, strict=True)
        }
        return canonical(allocations, mappings)

    def summaries(
        self,
        request: CandidateRequest,
        shown: Iterable[Canonical],
        everything: Iterable[Canonical] = (),
    ) -> dict[str, object]:
        """What is told of the providers of some candidates, by uuid; they were left of ``everything``."""
        givers = {uuid for serving, _ in shown for uuid, _, _ in serving}
        roots = {record.root_id for record in self.records if record.uuid in givers}
        givers |= {uuid for serving, _ in everything for uuid, _, _ in serving}
        return {
            record.uuid: (
                None if record.parent_id is None else self.by_id[record.parent_id].uuid,
                self.root(record).uuid,
                {name: (limit_of(inventory), used) for name, inventory, used in record.inventories},
                record.traits,
            )
            for record in self.records
            if record.root_id in roots and (not request.one_provider_per_tree or record.uuid in givers)
        }
