"""The slow, obvious twin of explanations: drops each term and counts, tree by tree and way by way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

from moorage.model.explanations import AskTerm, Relaxation, UnlockingEvent
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import Inventory, ProviderRecord
from tests.oracle.candidates import SHARES, Option, Oracle, held, limit_of


class Trees(Oracle):
    """Which trees serve a request; the amounts of the classes ``apart`` need not add up."""

    def __init__(self, records: Iterable[ProviderRecord], apart: Iterable[str] = ()) -> None:
        super().__init__(records)
        self.apart = set(apart)

    def options(self, group: RequestGroup, anchor: ProviderRecord) -> list[Option]:
        if group.suffix or group.resources:
            return super().options(group, anchor)
        # Without resources: some providers that meet the rest have together what is required.
        nothing = replace(group, resources={"": 1})
        able = [
            record
            for record in self.records
            if self.may_give(replace(record, inventories=(("", Inventory(1), 0),)), anchor, nothing, "")
            and not set(record.traits) & group.forbidden
        ]
        together = {trait for record in able for trait in record.traits}
        if able and all(together & wanted for wanted in group.required):
            return [Option((), frozenset())]
        return []

    def stands(self, combination: Sequence[Option], request: CandidateRequest) -> bool:
        kept = [
            replace(option, serving=tuple(each for each in option.serving if each[1] not in self.apart))
            for option in combination
        ]
        if not super().stands(kept, replace(request, one_provider_per_tree=False)):
            return False
        givers = {record.id: record.root_id for option in combination for record, _, _ in option.serving}
        return not request.one_provider_per_tree or len(givers) == len(set(givers.values()))

    def serving(self, request: CandidateRequest) -> set[str]:
        """Uuids of the roots of all trees that serve ``request``."""
        return {
            anchor.uuid
            for anchor in self.allowed_anchors(request)
            if any(
                self.stands(combination, request)
                for combination in product(*(self.options(group, anchor) for group in request.groups))
            )
        }


def emptied(records: Iterable[ProviderRecord]) -> list[ProviderRecord]:
    """The same providers with nothing in use."""
    return [
        replace(record, inventories=tuple((name, inventory, 0) for name, inventory, _ in record.inventories))
        for record in records
    ]


def _group_without(group: RequestGroup, term: AskTerm) -> RequestGroup:
    if term.kind == "room":
        rest = {name: amount for name, amount in group.resources.items() if name != term.resource_class}
        return replace(group, resources=rest)
    if term.kind == "required":
        return replace(group, required=tuple(names for names in group.required if names != term.traits))
    if term.kind == "forbidden":
        return replace(group, forbidden=group.forbidden - term.traits)
    if term.kind == "member_of":
        kept = tuple(names for names in group.member_of if names != term.aggregates)
        return replace(group, member_of=kept)
    if term.kind == "not_member_of":
        return replace(group, forbidden_aggregates=group.forbidden_aggregates - term.aggregates)
    assert term.kind == "in_tree"
    return replace(group, in_tree=None)


def without(request: CandidateRequest, term: AskTerm) -> CandidateRequest:
    """``request`` with a term dropped; for a rule that adds amounts up, ``request`` itself."""
    if term.kind == "root_required":
        return replace(request, root_required=request.root_required - term.traits)
    if term.kind == "root_forbidden":
        return replace(request, root_forbidden=request.root_forbidden - term.traits)
    if term.rule == "isolate":
        return replace(request, group_policy="none")
    if term.rule == "same_subtree":
        kept = tuple(names for names in request.same_subtree if names != frozenset(term.groups))
        return replace(request, same_subtree=kept)
    if term.rule == "one_provider_per_tree":
        return replace(request, one_provider_per_tree=False)
    if term.rule == "sum":
        return request
    return replace(
        request,
        groups=tuple(
            _group_without(group, term) if group.suffix == term.group else group for group in request.groups
        ),
    )


def only(request: CandidateRequest, terms: Sequence[AskTerm], kept: AskTerm) -> CandidateRequest:
    """A request that asks for one term alone."""
    for term in terms:
        if term != kept:
            request = without(request, term)
    return replace(request, same_subtree=(), group_policy=None)


def relaxed(request: CandidateRequest, terms: Sequence[AskTerm], relaxation: Relaxation) -> CandidateRequest:
    """``request`` with all changes of a relaxation."""
    by_id = {term.id: term for term in terms}
    for change in relaxation.changes:
        term = by_id[change.term]
        if change.op == "drop":
            request = without(request, term)
        else:
            request = with_amount(request, term, change.after)
    return request


def with_amount(request: CandidateRequest, term: AskTerm, amount: int) -> CandidateRequest:
    """``request`` with another amount of a room term."""
    return replace(
        request,
        groups=tuple(
            replace(group, resources={**group.resources, term.resource_class: amount})
            if group.suffix == term.group
            else group
            for group in request.groups
        ),
    )


Way = dict[tuple[str, str], ProviderRecord]
"""A provider for each suffixed group, and for each class of the unsuffixed one."""


class Measure:
    """Distances by their definition: every way is looked at."""

    def __init__(
        self, records: Iterable[ProviderRecord], request: CandidateRequest, terms: Sequence[AskTerm]
    ) -> None:
        self.oracle = Oracle(records)
        self.request = request
        self.terms = terms

    def keys(self) -> list[tuple[str, str]]:
        found = []
        for group in self.request.groups:
            if group.suffix:
                found.append((group.suffix, ""))
            else:
                found += [("", name) for name in group.resources]
        return found

    def domain(self, root: ProviderRecord) -> list[ProviderRecord]:
        return [
            record
            for record in self.oracle.records
            if record.root_id == root.id or root.id in self.oracle.reached_by(record)
        ]

    def ways(self, root: ProviderRecord) -> int:
        """How many ways there are."""
        return int(len(self.domain(root)) ** len(self.keys()))

    def distance(self, root: ProviderRecord) -> float:
        """The least cost of any way in the tree of ``root``."""
        keys, domain = self.keys(), self.domain(root)
        ways = [dict(zip(keys, chosen, strict=True)) for chosen in product(domain, repeat=len(keys))]
        member_of = [term for term in self.terms if term.kind == "member_of" and not term.group]
        others = [term for term in self.terms if term not in member_of]
        return min(
            sum(self.cost(term, way, root) for term in others) + self.membership(member_of, way, root)
            for way in ways
        )

    @staticmethod
    def membership(terms: Sequence[AskTerm], way: Way, root: ProviderRecord) -> int:
        """What the unsuffixed group lacks: each provider is a member, or the root for its tree."""
        serving = [record for (suffix, _), record in way.items() if not suffix]
        others = [root, *[record for record in serving if record.root_id != root.id]]
        return min(
            sum(any(not term.aggregates & set(record.aggregates) for record in some) for term in terms)
            for some in (serving, others)
        )

    def cost(self, term: AskTerm, way: Way, root: ProviderRecord) -> float:
        served = [record for (suffix, _), record in way.items() if suffix == term.group]
        if term.kind == "room":
            record = way[("", term.resource_class) if not term.group else (term.group, "")]
            return self.room(record, term.resource_class, term.amount)
        if term.kind == "root_required":
            return float(not term.traits & set(root.traits))
        if term.kind == "root_forbidden":
            return float(bool(term.traits & set(root.traits)))
        if term.kind == "together":
            return self.rule(term, way)
        if term.kind == "required":
            return float(not any(term.traits & set(record.traits) for record in served))
        return float(any(self.refuses(term, record, root) for record in served))

    def refuses(self, term: AskTerm, record: ProviderRecord, root: ProviderRecord) -> bool:
        own = record.root_id == root.id
        names = set(record.aggregates)
        if term.kind == "forbidden":
            return bool(term.traits & set(record.traits))
        if term.kind == "member_of":
            return not term.aggregates & names
        if term.kind == "not_member_of":
            return bool(term.aggregates & (names | (set() if term.group else set(root.aggregates))))
        assert term.kind == "in_tree"
        return not self.oracle.in_tree_of(record, term.in_tree) or (not term.group and not own)

    @staticmethod
    def room(record: ProviderRecord, name: str, amount: int) -> float:
        found = held(record, name)
        if found is None:
            return 1.0
        inventory, used = found
        short = max(0, amount - max(0, limit_of(inventory) - used))
        units = [amount < inventory.min_unit, amount > inventory.max_unit, amount % inventory.step_size != 0]
        return short / amount + sum(units)

    def asked(self, key: tuple[str, str]) -> dict[str, int]:
        group = next(group for group in self.request.groups if group.suffix == key[0])
        return {name: amount for name, amount in group.resources.items() if key[1] in {"", name}}

    def rule(self, term: AskTerm, way: Way) -> float:
        suffixed = [(suffix, record) for (suffix, _), record in way.items() if suffix]
        if term.rule == "isolate":
            return float(len({record.id for _, record in suffixed}) < len(suffixed))
        if term.rule == "same_subtree":
            some = [record.id for suffix, record in suffixed if suffix in term.groups]
            above = [self.oracle.lineage(identifier) for identifier in some]
            return float(not any(all(top in line for line in above) for top in some))
        if term.rule == "one_provider_per_tree":
            givers = {record.id: record.root_id for key, record in way.items() if self.asked(key)}
            return float(len(givers) > len(set(givers.values())))
        name = term.resource_class
        total = short = 0
        for record in {record.id: record for record in way.values()}.values():
            amounts = [
                self.asked(key)[name]
                for key, other in way.items()
                if other.id == record.id and name in self.asked(key)
            ]
            total += sum(amounts)
            if len(amounts) > 1:
                inventory, used = held(record, name) or (Inventory(0), 0)
                room = max(0, min(limit_of(inventory) - used, inventory.max_unit))
                short += max(0, sum(amounts) - room)
        return short / total


def after(records: Iterable[ProviderRecord], events: Sequence[UnlockingEvent]) -> list[ProviderRecord]:
    """The providers after some events."""
    found = {record.uuid: record for record in records}
    for event in events:
        found[event.provider] = _changed(found[event.provider], event)
    return list(found.values())


def _changed(record: ProviderRecord, event: UnlockingEvent) -> ProviderRecord:
    if event.event == "trait_added":
        return replace(record, traits=(*record.traits, event.trait))
    if event.event == "trait_removed":
        return replace(record, traits=tuple(name for name in record.traits if name != event.trait))
    if event.event == "aggregate_joined":
        return replace(record, aggregates=(*record.aggregates, event.aggregate))
    if event.event == "aggregate_left":
        kept = tuple(name for name in record.aggregates if name != event.aggregate)
        return replace(record, aggregates=kept)
    present = held(record, event.resource_class)
    rest = tuple(each for each in record.inventories if each[0] != event.resource_class)
    if event.event == "freed":
        assert present is not None
        assert 0 < event.amount <= present[1]
        return replace(
            record, inventories=(*rest, (event.resource_class, present[0], present[1] - event.amount))
        )
    inventory, used = present or (Inventory(0), 0)
    if event.event == "capacity_raised":
        assert event.amount > limit_of(inventory)
        raised = replace(inventory, total=event.amount, reserved=0, allocation_ratio=1.0)
        return replace(record, inventories=(*rest, (event.resource_class, raised, used)))
    assert event.event == "units_changed"
    free = replace(inventory, min_unit=1, max_unit=10**6, step_size=1)
    return replace(record, inventories=(*rest, (event.resource_class, free, used)))


def sharing(records: Iterable[ProviderRecord]) -> bool:
    """Whether any provider shares through its aggregates."""
    return any(SHARES in record.traits for record in records)
