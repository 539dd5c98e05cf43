"""A board: the use of providers on which claims are placed one after the other, and the best trees for each.

A claim changes a tree or two. So a board looks for the best trees of a request under an order once, and keeps
them up from then on: it looks again only at trees that have changed since.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from math import inf
from typing import Final, NamedTuple

import numpy as np

from moorage.model.cache import MIB, Cache, Weight
from moorage.model.errors import SearchLimitError
from moorage.model.orders import SCALE, SLOTS, Order
from moorage.model.requests import Candidate, CandidateRequest, Pattern
from moorage.search.index.block import Block
from moorage.search.index.columns import IntArray, Level
from moorage.search.index.index import Place, Snapshot
from moorage.search.match.plan import NO_BOUND, OutOfStepsError, Plan, Survey, Work
from moorage.search.match.variables import Demand
from moorage.search.order.chances import Prices
from moorage.search.order.measure import Measure
from moorage.search.order.priced import PricedRoster, packed
from moorage.search.order.ranking import OrderMemory
from moorage.search.order.sheet import Sheet
from moorage.search.order.standing import NOTHING, contenders

ROSTERS_BYTES: Final = 32 * MIB
"""Bytes of all rosters of a board."""

RESERVE: Final = 2_048
"""Trees of a roster that it lists when it is made."""

ROSTER_BYTES: Final = 4_000
CHANGED_BYTES: Final = 450
"""Bytes of a roster besides its arrays and bits, and of each tree that has changed since it was made."""

LIST_SHARE: Final = 20
"""How many times the steps of one place a roster may take when it is made: it serves all later claims."""

BLOCK_STEPS: Final = 480
"""Steps of listing the trees of a block, besides those of scoring them."""

MOST_CHANGED: Final = 1_024
"""A roster that lists more trees that have changed is made anew."""

MOST_TIES: Final = 4
"""Seeds for which a changed provider remembers its tie."""

MOST_CARDS: Final = 8_192
"""Changed providers that a board remembers, some 1,000 bytes each. Rosters that have not seen the changes of
the oldest are made anew."""

Key = tuple[float, ...]
"""What trees are sorted by: less the units of the score, tie, id of the root; then the block's number and
the tree in it."""

KEY_PARTS: Final = 5

END: Final[Key] = (inf,)
"""A key after all others."""

Amounts = Mapping[str, Mapping[str, int]]
"""By uuid of a provider and class."""


class Best(NamedTuple):
    """The best candidate, its score and the parts of it, and how many trees can serve the request."""

    candidate: Candidate
    score: float
    parts: Mapping[str, float]
    feasible: int


class Card:
    """A provider that has changed: its levels by class, and the change that it was last in."""

    __slots__ = ("levels", "ties", "version")

    def __init__(self, levels: dict[str, Level], version: int) -> None:
        self.levels = levels
        self.version = version
        self.ties: dict[Hashable, int] = {}

    def tie(self, measure: Measure, block: Block, tree: int) -> int:
        """What decides between equal scores, for the tree that the provider is."""
        by = measure.tied_by
        known = self.ties.get(by)
        if known is None:
            if len(self.ties) == MOST_TIES:
                self.ties.clear()
            [known] = measure.ties(block, np.array([tree])).tolist()
            self.ties[by] = known
        return known


class Roster:
    """The best trees for a request under an order, as of a version of a board.

    ``lone``: each tree is one provider that serves the request in one way. Else nothing is listed. ``able``
    are bits of the trees of each block that could serve the request if nothing were in use; ``fits`` are bits
    of those that can, ``feasible`` of them. ``listed`` are the first trees when the roster was made, the best
    first, from ``begin`` on; ``head`` is the key of that one, once it was needed. ``changed`` has the keys of
    trees that fit and have changed since, and ``sorted`` has them in order. Trees that are in neither come
    after ``floor``.
    """

    __slots__ = (
        "able",
        "begin",
        "changed",
        "counted",
        "demands",
        "feasible",
        "fits",
        "floor",
        "head",
        "listed",
        "lone",
        "measure",
        "pattern",
        "sorted",
        "version",
        "weight",
    )

    def __init__(self, demands: Sequence[Demand], pattern: Pattern, measure: Measure, *, lone: bool) -> None:
        self.demands = demands
        self.pattern = pattern
        self.measure = measure
        self.lone = lone
        self.able: list[bytes] = []
        self.fits: list[bytearray] = []
        self.feasible = 0
        self.listed: IntArray = np.zeros((0, KEY_PARTS), dtype=np.int64)
        self.begin = 0
        self.head: Key | None = None
        self.changed: dict[Place, Key] = {}
        self.sorted: list[Key] = []
        self.floor = END
        self.version = 0
        self.counted = 0
        self.weight = Weight(ROSTER_BYTES)

    def first(self) -> Key | None:
        """The key of the best tree; None if it is not known."""
        while self.begin < len(self.listed):
            if self.head is None:
                self.head = tuple(self.listed[self.begin].tolist())
            key = self.head
            place = number, tree = int(key[3]), int(key[4])
            if self.fits[number][tree >> 3] >> (tree & 7) & 1 and place not in self.changed:
                return min(key, self.sorted[0]) if self.sorted else key
            self.begin += 1
            self.head = None
        return self.sorted[0] if self.sorted and self.sorted[0] < self.floor else None

    def refits(self, place: Place, levels: Mapping[str, Level]) -> bool:
        """Take over whether a tree fits with these levels; returns it. Its key is forgotten."""
        number, tree = place
        byte, bit = tree >> 3, 1 << (tree & 7)
        if not self.able[number][byte] & bit:
            return False
        for name, amount in self.demands:
            level = levels[name]
            if level.capacity - level.used < amount:
                fits = False
                break
        else:
            fits = True
        bits = self.fits[number]
        if bool(bits[byte] & bit) is not fits:
            bits[byte] ^= bit
            self.feasible += 1 if fits else -1
        known = self.changed.pop(place, None)
        if known is not None:
            del self.sorted[bisect_left(self.sorted, known)]
        return fits

    def put(self, place: Place, key: Key) -> None:
        """Take over the present key of a tree that fits."""
        self.changed[place] = key
        insort(self.sorted, key)

    def weigh(self) -> None:
        """Count the bytes of trees that have changed."""
        more = len(self.changed) - self.counted
        if more > 0:
            self.counted += more
            self.weight.add(CHANGED_BYTES * more)


Mark = int
"""How many claims a board has taken."""


class Board:
    """A snapshot with what has been claimed since. For one thread at a time."""

    def __init__(
        self,
        memory: OrderMemory,
        most: int = ROSTERS_BYTES,
        prices: Callable[[Order], Prices | None] = lambda _order: None,
    ) -> None:
        """``memory`` is what is known of requests and orders; ``most`` bounds the bytes of rosters.

        ``prices`` gives the present ones of an order.
        """
        self._memory = memory
        self._prices = prices
        # None until an order with prices needs it.
        self._sheet: Sheet | None = None
        self._rosters: Cache[Hashable, Roster | PricedRoster] = Cache(
            most, lambda _key, roster: roster.weight.size
        )
        self._clean = Snapshot((), frozenset(), frozenset())
        self._cards: dict[Place, Card] = {}
        self._places: dict[str, Place | None] = {}
        self._claimed: list[Amounts] = []
        self._made: list[tuple[Mark, Snapshot]] = []
        # Providers with other use than in the snapshot.
        self._ahead: set[Place] = set()
        self._version = 0
        self.taken = 0
        """Steps that all rosters have taken."""
        # The newest change of which the card is forgotten.
        self._forgotten = 0

    # What is in use

    def follow(self, snapshot: Snapshot) -> None:
        """Take over a newer snapshot, and forget what has been claimed: it has it, if it was committed."""
        before, self._clean = self._clean, snapshot
        self._claimed.clear()
        self._made = [(0, snapshot)]
        ahead, self._ahead = self._ahead, set()
        if not _alike(before, snapshot):
            self._cards.clear()
            self._places.clear()
            self._rosters.clear()
            self._sheet = None
            return
        for number, (old, new) in enumerate(zip(before.blocks, snapshot.blocks, strict=True)):
            if old is not new:
                ahead.update([(number, offset) for offset in _changed(old, new)])
        for place in ahead:
            block = snapshot.blocks[place[0]]
            card = self._cards.get(place)
            levels = _levels(block, place[1]) if card is None else card.levels
            changes = card is None
            for name, level in levels.items():
                used = block.columns[name].used_at(place[1])
                changes |= used != level.used
                level.used = used
            if changes:
                self._note(place, levels)
        self._forget_oldest()

    def claim(self, amounts: Amounts) -> None:
        """Count ``amounts`` as in use; an amount below 0 as free.

        A provider that is not there is left out, and so is a class that it has no inventory of.
        """
        self._claimed.append(amounts)
        self._count(amounts, 1)

    def mark(self) -> Mark:
        """The present state, to come back to."""
        return len(self._claimed)

    def back(self, mark: Mark) -> None:
        """Take back all claims since ``mark``."""
        while len(self._claimed) > mark:
            self._count(self._claimed.pop(), -1)
        while self._made[-1][0] > mark:
            self._made.pop()

    @property
    def snapshot(self) -> Snapshot:
        """All providers, with their use as it is now."""
        mark, made = self._made[-1]
        more: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for amounts in self._claimed[mark:]:
            for uuid, of_provider in amounts.items():
                for name, amount in of_provider.items():
                    more[uuid][name] += amount
        if more:
            made = made.with_more(more, self._places)
            self._made.append((len(self._claimed), made))
        return made

    def _count(self, amounts: Amounts, sign: int) -> None:
        for uuid, of_provider in amounts.items():
            if uuid not in self._places:
                self._places[uuid] = self._clean.find_uuid(uuid)
            place = self._places[uuid]
            if place is None:
                continue
            card = self._cards.get(place)
            levels = _levels(self._clean.blocks[place[0]], place[1]) if card is None else card.levels
            for name, amount in of_provider.items():
                level = levels.get(name)
                if level is not None:
                    level.used += sign * amount
            self._note(place, levels)
            self._ahead.add(place)

    def _note(self, place: Place, levels: dict[str, Level]) -> None:
        """Note that a provider has changed: the newest cards come last."""
        self._version += 1
        card = self._cards.pop(place, None) or Card(levels, 0)
        card.version = self._version
        self._cards[place] = card
        if self._sheet is not None:
            self._sheet.change(place, levels)

    def _forget_oldest(self) -> None:
        if len(self._cards) > MOST_CARDS:
            for place, card in list(islice(self._cards.items(), len(self._cards) - MOST_CARDS // 2)):
                self._forgotten = card.version
                del self._cards[place]
        if len(self._places) > MOST_CARDS:
            self._places.clear()

    # Which tree is best

    def best(self, request: CandidateRequest, order: Order, step_limit: int) -> Best | None:
        """The best candidate, as ``ranking.best`` finds it; None if nothing fits.

        Only making a roster takes steps. Raises ResourceClassNotFoundError, TraitNotFoundError for unknown
        names, SearchLimitError, and NotLoneError.
        """
        key = request.key, order.key
        roster = self._rosters.get(key)
        prices = self._prices(order) if order.strategy == SLOTS else None
        # Under other prices all trees score otherwise.
        if roster is None or roster.measure.prices is not prices or not self._caught_up(roster):
            roster = self._fresh(key, request, order, prices, step_limit)
        if isinstance(roster, PricedRoster):
            return self._best_priced(roster, lambda: self._fresh(key, request, order, prices, step_limit))
        if not roster.lone:
            raise NotLoneError
        first = roster.first()
        if first is None:
            if not roster.feasible:
                return None
            roster = self._fresh(key, request, order, prices, step_limit)
            assert isinstance(roster, Roster), "it is of the same kind"
            first = roster.first()
            assert first is not None, "a new roster lists the best tree"
        units, _, _, number, tree = map(int, first)
        return self._found(roster, -units, (number, tree))

    def _found(self, roster: Roster, units: int, place: Place) -> Best:
        number, tree = place
        block = self._clean.blocks[number]
        uuid = bytes(block.uuids[tree])
        self._places[uuid.decode()] = place
        card = self._cards.get(place)
        levels = _levels(block, tree) if card is None else card.levels
        _, parts = roster.measure.of_one(block, tree, levels)
        return Best(roster.pattern.candidate((uuid,)), units / SCALE, parts, roster.feasible)

    def _best_priced(self, roster: PricedRoster, fresh: Callable[[], Roster | PricedRoster]) -> Best | None:
        first = roster.first()
        if first is None:
            if not roster.feasible:
                return None
            anew = fresh()
            assert isinstance(anew, PricedRoster), "it is of the same kind"
            roster, first = anew, anew.first()
            assert first is not None, "a new roster lists the best row"
        units, row = first
        number, tree = place = roster.sheet.place(row)
        uuid = bytes(self._clean.blocks[number].uuids[tree])
        self._places[uuid.decode()] = place
        parts = {SLOTS: units / SCALE} if roster.measure.is_plain else roster.parts(row)
        return Best(roster.pattern.candidate((uuid,)), units / SCALE, parts, roster.feasible)

    def _caught_up(self, roster: Roster | PricedRoster) -> bool:
        """Bring a roster up to the present state; False if it must be made anew."""
        if isinstance(roster, PricedRoster):
            roster.catch_up()
            return True
        if roster.version != self._version and roster.lone:
            if roster.version < self._forgotten or len(roster.changed) > MOST_CHANGED:
                return False
            for place, card in self._newer(roster):
                if roster.refits(place, card.levels):
                    units, _ = roster.measure.of_one(self._clean.blocks[place[0]], place[1], card.levels)
                    roster.put(place, self._key(roster, place, card, units))
            roster.version = self._version
            roster.weigh()
        return True

    def _newer(self, roster: Roster) -> Iterator[tuple[Place, Card]]:
        """The providers that have changed since a roster was brought up, the last first."""
        for place, card in reversed(self._cards.items()):
            if card.version <= roster.version:
                break
            yield place, card

    def _key(self, roster: Roster, place: Place, card: Card, units: int) -> Key:
        number, tree = place
        block = self._clean.blocks[number]
        tie = card.tie(roster.measure, block, tree)
        return -units, tie, int(block.ids[tree]), number, tree

    def _fresh(
        self,
        key: Hashable,
        request: CandidateRequest,
        order: Order,
        prices: Prices | None,
        step_limit: int,
    ) -> Roster | PricedRoster:
        work = Work(most=LIST_SHARE * step_limit if step_limit >= 0 else NO_BOUND)
        try:
            roster = self._roster(key, request, order, prices, work)
        except OutOfStepsError:
            raise SearchLimitError(step_limit) from None
        self.taken += work.done
        self._rosters.put_growing(key, roster, roster.weight)
        return roster

    def _roster(
        self, key: Hashable, request: CandidateRequest, order: Order, prices: Prices | None, work: Work
    ) -> Roster | PricedRoster:
        request = request if request.limit is None else replace(request, limit=None)
        snapshot = self.snapshot
        asked = self._memory.requests.plan(snapshot, request, work)
        plan, knowledge = asked.plan, asked.knowledge
        measure = Measure(snapshot, request, order, work, prices)
        demands = [demand for each in plan.variables for demand in each.demands]
        [outcome] = knowledge.lone.outcomes
        lone = plan.alone_suffices and snapshot.all_lone and order.among_best == 1
        pattern = knowledge.forms.pattern(outcome.form)
        if lone and order.strategy == SLOTS:
            return self._priced(key, plan, demands, pattern, measure, work)
        roster = Roster(demands, pattern, measure, lone=lone)
        roster.version = self._version
        if lone:
            self._list(roster, plan, work)
        return roster

    def _priced(
        self,
        key: Hashable,
        plan: Plan,
        demands: Sequence[Demand],
        pattern: Pattern,
        measure: Measure,
        work: Work,
    ) -> PricedRoster:
        """A roster of ``slots``. Raises OutOfStepsError."""
        blocks = plan.snapshot.blocks
        sheet = self._sheet
        if sheet is None:
            work.spend(BLOCK_STEPS * len(blocks))
            sheet = self._sheet = Sheet(plan.snapshot)
        known = self._rosters.get(key)
        if isinstance(known, PricedRoster):
            # Which trees fit does not depend on prices.
            work.spend(sum(map(measure.steps, blocks)))
            return known.relisted(measure, RESERVE)
        classes = [name for name, _ in demands]
        able = np.zeros(sheet.rows, dtype=np.bool_)
        fits = np.zeros(sheet.rows, dtype=np.bool_)
        for number, block in enumerate(blocks):
            work.spend(BLOCK_STEPS)
            able[sheet.start(number) + plan.able(block.emptied(classes))] = True
            survey = plan.survey(number, work)
            if survey is not None:
                work.spend(measure.steps(block))
                fits[sheet.start(number) + survey.trees] = True
        roster = PricedRoster(sheet, demands, pattern, measure)
        roster.list(packed(able), packed(fits), RESERVE)
        return roster

    def _list(self, roster: Roster, plan: Plan, work: Work) -> None:
        """Find all trees that fit, and list the best of them. Raises OutOfStepsError."""
        measure = roster.measure
        classes = [name for name, _ in roster.demands]
        surveys: list[Survey] = []
        scores: list[IntArray] = []
        for number, block in enumerate(plan.snapshot.blocks):
            work.spend(BLOCK_STEPS)
            survey = plan.survey(number, work)
            roster.able.append(_bits(plan.able(block.emptied(classes)), block))
            roster.fits.append(bytearray(_bits(NOTHING if survey is None else survey.trees, block)))
            if survey is not None:
                work.spend(measure.steps(block))
                surveys.append(survey)
                scores.append(measure.scores(block, survey.trees).units)
        if surveys:
            units = np.concatenate(scores)
            roster.feasible = len(units)
            places = contenders(units, RESERVE)
            ends = np.cumsum([len(some) for some in scores])
            parts = np.split(places, np.searchsorted(places, ends[:-1]))
            begins = [0, *ends.tolist()]
            keys = np.concatenate(
                [
                    self._keys(measure, survey, some, part - begin)
                    for survey, some, part, begin in zip(surveys, scores, parts, begins, strict=False)
                ]
            )
            order = np.lexsort((keys[:, 2], keys[:, 1], keys[:, 0]))
            roster.listed = keys[order[:RESERVE]]
            if roster.feasible > len(roster.listed):
                roster.floor = tuple(roster.listed[-1].tolist())
        roster.weight.size += roster.listed.nbytes + sum(map(len, roster.able)) + sum(map(len, roster.fits))

    def _keys(self, measure: Measure, survey: Survey, units: IntArray, places: IntArray) -> IntArray:
        """The keys of the trees of a survey at ``places``; ``units`` are the scores of all."""
        trees = survey.trees[places]
        keys = np.full((len(trees), KEY_PARTS), survey.number, dtype=np.int64)
        keys[:, 0] = -units[places]
        keys[:, 1] = measure.ties(survey.block, trees)
        keys[:, 2] = survey.block.ids[trees]
        keys[:, 4] = trees
        return keys


class NotLoneError(Exception):
    """A request that trees of one provider do not serve in one way, or an order that looks at more."""


def _bits(trees: IntArray, block: Block) -> bytes:
    """A bit for each tree of a block: whether it is one of ``trees``."""
    mask = np.zeros(block.trees.count, dtype=np.bool_)
    mask[trees] = True
    return packed(mask).tobytes()


def _levels(block: Block, offset: int) -> dict[str, Level]:
    return {name: block.columns[name].level(offset) for name in block.classes[offset]}


def _alike(old: Snapshot, new: Snapshot) -> bool:
    """Whether two snapshots differ in use only."""
    return (
        old.resource_class_names is new.resource_class_names
        and old.trait_names is new.trait_names
        and len(old.blocks) == len(new.blocks)
        and all(map(_same_but_use, old.blocks, new.blocks))
    )


def _same_but_use(old: Block, new: Block) -> bool:
    return old is new or (
        old.trees is new.trees
        and all(column.differs_in_use_only(new.columns.get(name)) for name, column in old.columns.items())
    )


def _changed(old: Block, new: Block) -> set[int]:
    """Offsets of the entries with different use."""
    found: set[int] = set()
    for name, column in old.columns.items():
        found.update(column.differences(new.columns[name]))
    return found
