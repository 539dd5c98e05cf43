"""The slow, obvious twin of ordered candidates: every placement of every tree with its score, sorted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from moorage.model.orders import Order, Wish
from moorage.model.requests import CandidateRequest
from moorage.model.values import ProviderRecord
from tests.oracle.candidates import Canonical, Oracle, held, limit_of
from tests.oracle.slots import SlotsOracle

BILLION = 1_000_000_000
MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Placed:
    """A placement of a tree. ``rank``: less the score in billionths, tie, id of the root."""

    rank: tuple[int, int | str, int]
    candidate: Canonical


def mixed(value: int) -> int:
    """Splitmix64."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def tie_of(uuid: str, seed: int) -> int:
    """The number by which a seed orders roots."""
    text = uuid.encode().ljust(36, b"\0")
    found = 0
    for position in range(0, 36, 4):
        found = mixed(found ^ int.from_bytes(text[position : position + 4], "little"))
    return mixed(found ^ mixed(seed)) >> 11


class OrderOracle:
    """All rankings of one fixed set of records."""

    def __init__(self, records: Iterable[ProviderRecord], slots: SlotsOracle | None = None) -> None:
        self.oracle = Oracle(records)
        self.slots = slots
        self.trees: dict[int, list[ProviderRecord]] = {}
        for record in self.oracle.records:
            self.trees.setdefault(record.root_id, []).append(record)

    @staticmethod
    def of_hosts(count: int, total: int) -> list[Placed]:
        """Flat hosts p1, p2, ... of which each has one of ``total`` more in use than the one before, modulo
        ``total``, with one more packed.
        """
        return [
            Placed(
                (-round((number % total + 1) / total * BILLION), tie_of(f"p{number + 1}", 0), number + 1),
                (frozenset(), frozenset()),
            )
            for number in range(count)
        ]

    def all_placed(self, request: CandidateRequest, order: Order) -> list[Placed]:
        """Every placement of every tree, in no order."""
        found: set[Placed] = set()
        for anchor in self.oracle.allowed_anchors(request):
            tie: int | str = 0 if order.strategy == "first" else tie_of(anchor.uuid, order.seed or 0)
            if order.strategy == "slots":
                tie = anchor.name
            for combination in product(*(self.oracle.options(group, anchor) for group in request.groups)):
                if self.oracle.stands(combination, request):
                    giving: dict[int, set[str]] = {}
                    amounts: Counter[tuple[int, str]] = Counter()
                    for option in combination:
                        for record, name, amount in option.serving:
                            giving.setdefault(record.id, set()).add(name)
                            amounts[record.id, name] += amount
                    outside = {
                        identifier: names
                        for identifier, names in giving.items()
                        if self.oracle.by_id[identifier].root_id != anchor.id
                    }
                    score = self.score(anchor.id, outside, request, order)
                    if order.strategy == "slots" and self.slots is not None:
                        score += -self.slots.cost(amounts) / BILLION
                    found.add(
                        Placed(
                            (-round(score * BILLION), tie, anchor.id),
                            self.oracle.merged(combination, request),
                        )
                    )
        return list(found)

    def score(
        self, root: int, outside: dict[int, set[str]], request: CandidateRequest, order: Order
    ) -> float:
        tree = self.trees[root]
        others = [self.oracle.by_id[identifier] for identifier in outside]
        asked: dict[str, int] = {}
        for group in request.groups:
            for name, amount in group.resources.items():
                asked[name] = asked.get(name, 0) + amount
        found = self.strategy_part(tree, outside, asked, order)
        found += sum(wish.weight for wish in order.prefer if self.has([*tree, *others], wish))
        found -= sum(wish.weight for wish in order.avoid if self.has([*tree, *others], wish))
        rare = self.rare() if order.rare is None else order.rare
        names = self.names(tree)
        spoken = set(asked) | request.root_required
        for group in request.groups:
            spoken.update(*group.required)
        special = len((names & rare) - spoken) / len(names) if names else 0.0
        return found - order.spare_special * special

    def strategy_part(
        self, tree: list[ProviderRecord], outside: dict[int, set[str]], asked: dict[str, int], order: Order
    ) -> float:
        if order.strategy in ("first", "random", "slots"):
            return 0.0
        weights = {name: order.weights.get(name, 1.0) for name in sorted(asked)}
        total = sum(weights.values())
        summed = 0.0
        for name, weight in weights.items():
            counted = [*tree, *(self.oracle.by_id[each] for each, names in outside.items() if name in names)]
            capacity = sum(self.capacity(record, name) for record in counted)
            used = asked[name] + sum((held(record, name) or (None, 0))[1] for record in counted)
            if order.strategy == "best_fit":
                largest = order.largest.get(name, self.largest(name))
                summed += weight * min(1.0, max(0.0, (capacity - used) / largest if largest > 0 else 0.0))
            else:
                summed += weight * min(1.0, max(0.0, used / capacity if capacity > 0 else 1.0))
        part = min(1.0, summed / total) if total else 0.0
        return part if order.strategy == "pack" else 1.0 - part

    @staticmethod
    def capacity(record: ProviderRecord, name: str) -> float:
        found = held(record, name)
        return 0.0 if found is None else float(limit_of(found[0]))

    def largest(self, name: str) -> float:
        return max(sum(self.capacity(record, name) for record in tree) for tree in self.trees.values())

    @staticmethod
    def names(tree: list[ProviderRecord]) -> set[str]:
        return {
            name for record in tree for name in (*record.traits, *(each[0] for each in record.inventories))
        }

    def rare(self) -> frozenset[str]:
        """Names that at most a tenth of all trees has."""
        of_trees = [self.names(tree) for tree in self.trees.values()]
        every: set[str] = set().union(*of_trees)
        return frozenset(
            name for name in every if 10 * sum(name in names for names in of_trees) <= len(of_trees)
        )

    @staticmethod
    def has(records: Iterable[ProviderRecord], wish: Wish) -> bool:
        return any(wish.provider == record.uuid or wish.trait in record.traits for record in records)
