"""The slow, obvious twin of the strategy ``slots``: what a placement takes away from the usual requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from moorage.model.requests import CandidateRequest
from moorage.model.values import ProviderRecord
from tests.oracle.candidates import held, limit_of

TRILLION = 1_000_000_000_000
MOST_SLOTS = 1 << 40
MOST_FREE = 1 << 62
"""No column holds more."""

Given = Mapping[tuple[int, str], int]
"""What is given besides what is in use, by id of the provider and class."""


@dataclass(frozen=True)
class Piece:
    """An amount of a class that ``count`` providers with some traits must give."""

    name: str
    amount: int
    count: int
    apart: bool
    required: frozenset[frozenset[str]]
    forbidden: frozenset[str]


@dataclass(frozen=True)
class Usual:
    """What a usual request asks of a tree."""

    pieces: frozenset[Piece]
    of_tree: frozenset[frozenset[str]]
    of_root: frozenset[str]
    not_of_root: frozenset[str]


def usual(request: CandidateRequest) -> Usual:
    alike: Counter[tuple[str, int, bool, frozenset[frozenset[str]], frozenset[str]]] = Counter()
    of_tree: set[frozenset[str]] = set()
    suffixed = [group for group in request.groups if group.suffix]
    apart = request.group_policy == "isolate" and len(suffixed) > 1
    for group in request.groups:
        if not group.suffix:
            of_tree.update(group.required)
        required = frozenset(group.required) if group.suffix else frozenset()
        for name, amount in group.resources.items():
            alike[name, amount, apart and group.suffix != "", required, group.forbidden] += 1
    return Usual(
        frozenset(
            Piece(name, amount, count, apart and count > 1, required, forbidden)
            for (name, amount, apart, required, forbidden), count in alike.items()
        ),
        frozenset(of_tree),
        request.root_required,
        request.root_forbidden,
    )


class SlotsOracle:
    """Costs for a mix of requests with shares. ``residual`` has the worth of each hundredth of a device."""

    def __init__(
        self,
        records: Iterable[ProviderRecord],
        mix: Sequence[tuple[CandidateRequest, float]],
        scored: str,
        residual: Sequence[float],
    ) -> None:
        self.trees: dict[int, list[ProviderRecord]] = {}
        for record in records:
            self.trees.setdefault(record.root_id, []).append(record)
        self.scored = scored
        together: dict[Usual, float] = {}
        for request, share in mix:
            together[usual(request)] = together.get(usual(request), 0.0) + share
        every = sum(together.values())
        self.shares = {each: share / every for each, share in together.items()}
        devices = [
            found
            for tree in self.trees.values()
            for record in tree
            if (found := held(record, scored)) is not None
        ]
        self.whole = max([1.0, *(float(limit_of(inventory)) for inventory, _ in devices)])
        free = sum(max(0, min(MOST_FREE, limit_of(inventory)) - used) for inventory, used in devices)
        scale = free / self.whole + 10.0
        self.price: dict[Usual, int] = {}
        self.lost: dict[Usual, int] = {}
        for each, share in self.shares.items():
            total = sum(self.slots(tree, each, {}) for tree in self.trees.values())
            self.price[each] = round(min(share * scale / max(total, 0.001), 1000.0) * TRILLION)
            self.lost[each] = round(share * (TRILLION / self.whole))
        self.residual = [round(value * (30.0 * TRILLION)) for value in residual]

    def free(self, record: ProviderRecord, name: str, given: Given) -> int | None:
        found = held(record, name)
        if found is None:
            return None
        return max(0, min(MOST_FREE, limit_of(found[0])) - found[1] - given.get((record.id, name), 0))

    def times(self, record: ProviderRecord, piece: Piece, given: Given) -> int:
        """How often one provider can give an amount."""
        found = held(record, piece.name)
        free = self.free(record, piece.name, given)
        if found is None or free is None:
            return 0
        inventory = found[0]
        traits = set(record.traits)
        admitted = inventory.min_unit <= piece.amount <= inventory.max_unit
        admitted = admitted and piece.amount % inventory.step_size == 0
        meets = all(traits & names for names in piece.required) and not traits & piece.forbidden
        return free // piece.amount if admitted and meets else 0

    def slots(self, tree: Sequence[ProviderRecord], each: Usual, given: Given) -> int:
        """How many such requests fit a tree alone, one after the other."""
        [root] = [record for record in tree if record.id == record.root_id]
        having: set[str] = {name for record in tree for name in record.traits}
        if not all(having & names for names in each.of_tree):
            return 0
        if not each.of_root <= set(root.traits) or each.not_of_root & set(root.traits):
            return 0
        found = MOST_SLOTS
        for piece in each.pieces:
            times = [self.times(record, piece, given) for record in tree]
            fits = sum(times) // piece.count
            if piece.apart:
                while fits and sum(min(fits, each) for each in times) < fits * piece.count:
                    fits -= 1
            found = min(found, fits)
        return found

    def worth(self, tree: Sequence[ProviderRecord], given: Given) -> int:
        """In trillionths of a device."""
        devices = [free for record in tree if (free := self.free(record, self.scored, given)) is not None]
        found = sum(self.residual[min(100, int(free * (100 / self.whole)))] for free in devices)
        for each in self.shares:
            slots = self.slots(tree, each, given)
            found += self.price[each] * slots
            amounts = [piece.amount for piece in each.pieces if piece.name == self.scored]
            useless = devices
            if slots and amounts:
                useless = [free for free in devices if free < max(amounts)]
            found -= self.lost[each] * sum(useless)
        return found

    def cost(self, giving: Given) -> int:
        """What a placement costs all trees that it takes from, in billionths of a device."""
        found = 0
        for tree in self.trees.values():
            mine = {record.id for record in tree}
            some = {key: amount for key, amount in giving.items() if key[0] in mine}
            if some:
                found += round((self.worth(tree, {}) - self.worth(tree, some)) * 1e-3)
        return found
