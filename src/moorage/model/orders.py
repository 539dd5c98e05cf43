"""Orders: which of the candidates of a request is the best, and candidates in such an order."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Final

from moorage.model.mixes import Mix
from moorage.model.requests import Candidate, ProviderSummary
from moorage.model.valueclass import valueclass

FIRST: Final = "first"
RANDOM: Final = "random"
PACK: Final = "pack"
SPREAD: Final = "spread"
BEST_FIT: Final = "best_fit"
SLOTS: Final = "slots"

STRATEGIES: Final = (FIRST, RANDOM, PACK, SPREAD, BEST_FIT, SLOTS)
"""All strategies."""

PREFER: Final = "prefer"
AVOID: Final = "avoid"
SPECIAL: Final = "special"
"""The parts of a score beside the strategy's own."""

SCALE: Final = 1_000_000_000
"""Scores are whole multiples of 1 / ``SCALE``, so that the order of additions decides no rank."""

MOST_WEIGHT: Final = 1_000_000
"""The largest weight. Sums of weights then stay far below what a score's integer can hold."""

MOST_NAMED: Final = 100
"""Names in each part of an order: traits and providers to prefer, to avoid, classes with weights."""

MOST_RARE: Final = 10_000
"""Traits and classes that an order may call rare."""

MOST_CAPACITY: Final = 1e300
"""The largest capacity to compare with: more than any inventory has, and its sums are finite."""

MOST_SEED: Final = (1 << 53) - 1
"""The largest seed, and the largest ``tie``: every JSON reader keeps such a number exactly."""

MOST_AMONG: Final = 1_000
"""The most candidates that ``among_best`` draws from."""


@valueclass(frozen=True, slots=True)
class Wish:
    """A trait or a provider (a uuid) that counts ``weight``. Exactly one of both is set."""

    weight: float = 1.0
    trait: str | None = None
    provider: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if (self.trait is None) == (self.provider is None):
            raise ValueError("a wish names either a trait or a provider")
        check_weight(self.weight)
        object.__setattr__(self, "weight", float(self.weight))

    @property
    def key(self) -> tuple[str, str, float]:
        """What wishes are sorted by."""
        return self.trait or "", self.provider or "", self.weight


@valueclass(frozen=True, slots=True, eq=False)
class Order:
    """What makes one candidate better than another. Compared by value; equal orders have equal ``key``.

    The score of a candidate begins with its strategy's part. The weights of all of ``prefer`` that its tree
    has are added, and those of ``avoid`` taken off. So is ``spare_special`` times its special share. A part
    is in [0, 1] by itself, and does not depend on other candidates. ``weights`` are by resource class, and a
    class that is not named counts 1. Equal scores are in an order that ``seed`` decides, and so
    are the best ``among_best`` candidates.

    Without a seed, 0 is taken: see ``seeded``.

    ``largest`` is by resource class the capacity that ``best_fit`` compares with, and ``rare`` are the traits
    and classes that make a tree special. Without them the state of the cloud decides.

    ``slots`` weighs what a mix of requests loses. It counts devices of the class ``scored``; without it the
    mix and the cloud decide. ``mix`` is given by an operator. ``learned`` is the name under which a mix is
    learnt from arrivals; with None it is not. A mix that is given holds until enough is learnt.

    Raises ValueError for what is no order.
    """

    strategy: str = FIRST
    weights: Mapping[str, float] = field(default_factory=dict)
    prefer: tuple[Wish, ...] = ()
    avoid: tuple[Wish, ...] = ()
    spare_special: float = 0.0
    seed: int | None = None
    among_best: int = 1
    largest: Mapping[str, float] = field(default_factory=dict)
    rare: frozenset[str] | None = None
    scored: str | None = None
    mix: Mix | None = None
    learned: str | None = ""
    key: Hashable = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        self._check()
        set_field = object.__setattr__
        set_field(self, "weights", _sorted(self.weights))
        set_field(self, "largest", _sorted(self.largest))
        set_field(self, "prefer", tuple(sorted(self.prefer, key=lambda wish: wish.key)))
        set_field(self, "avoid", tuple(sorted(self.avoid, key=lambda wish: wish.key)))
        set_field(self, "spare_special", float(self.spare_special))
        key = (
            self.strategy,
            tuple(self.weights.items()),
            self.prefer,
            self.avoid,
            self.spare_special,
            self.seed,
            self.among_best,
            tuple(self.largest.items()),
            self.rare,
            *self.market,
        )
        set_field(self, "key", key)

    def _check(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"unknown strategy {self.strategy!r}")
        for weight in (*self.weights.values(), self.spare_special):
            check_weight(weight)
        if not all(0 <= capacity <= MOST_CAPACITY for capacity in self.largest.values()):
            raise ValueError(f"a capacity must be from 0 to {MOST_CAPACITY}")
        if len(self.rare or ()) > MOST_RARE:
            raise ValueError(f"rare may have {MOST_RARE} names")
        if self.seed is not None and not 0 <= self.seed <= MOST_SEED:
            raise ValueError(f"seed must be from 0 to {MOST_SEED}")
        if not 1 <= self.among_best <= MOST_AMONG:
            raise ValueError(f"among_best must be from 1 to {MOST_AMONG}")
        named = (self.prefer, self.avoid, self.weights, self.largest)
        if max(map(len, named)) > MOST_NAMED:
            raise ValueError(f"each part of an order may have {MOST_NAMED} names")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Order) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def market(self) -> tuple[str | None, str | None, str | None]:
        """What the prices of ``slots`` depend on, besides the cloud and arrivals."""
        return self.scored, None if self.mix is None else self.mix.key, self.learned

    @property
    def by_chance(self) -> bool:
        """Whether the order asks for chance, and has no seed for it."""
        return self.seed is None and (self.strategy == RANDOM or self.among_best > 1)

    def seeded(self, draw: Callable[[], int]) -> Order:
        """The order with a seed: its own, one that is drawn where it asks for chance, or 0."""
        if self.seed is not None:
            return self
        return replace(self, seed=draw() if self.by_chance else 0)

    @property
    def size(self) -> int:
        """Upper bound on the bytes of memory."""
        named = len(self.weights) + len(self.prefer) + len(self.avoid) + len(self.largest)
        shapes = 0 if self.mix is None else len(self.mix.shares)
        return ORDER_BYTES + NAME_BYTES * (named + len(self.rare or ())) + SHAPE_BYTES * shapes


ORDER_BYTES: Final = 1_500
NAME_BYTES: Final = 300
SHAPE_BYTES: Final = 2_000
"""Bytes of an order, of each thing that it names, and of each shape of its mix."""


def check_weight(weight: float) -> None:
    """Raises ValueError for a number that is no weight."""
    if not (math.isfinite(weight) and 0 <= weight <= MOST_WEIGHT):
        raise ValueError(f"a weight must be from 0 to {MOST_WEIGHT}")


def _sorted(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: float(weights[name]) for name in sorted(weights)}


@valueclass(frozen=True, slots=True)
class Profiles:
    """Orders that operators have named. ``default`` names the one of requests that name none."""

    orders: Mapping[str, Order] = field(default_factory=dict)
    default: str | None = None


NO_PROFILES: Final = Profiles()


@valueclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its ``score`` and the parts that make it up; ``root`` is its tree's root (a uuid).

    ``parts`` has the strategy's part under the strategy's name. It has ``prefer`` and ``avoid`` (sums of
    weights) and ``special`` if the order asks for these. ``tie`` decides between equal scores: the least
    comes first.
    """

    candidate: Candidate
    root: str
    score: float
    parts: Mapping[str, float]
    tie: int


@valueclass(frozen=True, slots=True)
class Ranking:
    """The best candidates, the best one first.

    ``feasible_trees`` are all trees that can serve the request. ``exact``: no better candidate was left out.
    ``largest`` and ``rare`` are what the order was decided by; empty, or None, where it needs none.
    ``summaries`` are of all trees that the candidates take from, if they were asked for.
    """

    candidates: Sequence[Ranked]
    feasible_trees: int
    exact: bool = True
    largest: Mapping[str, float] = field(default_factory=dict)
    rare: frozenset[str] | None = None
    summaries: Sequence[ProviderSummary] = ()


def wishes(traits: Mapping[str, float], providers: Iterable[tuple[str, float]] = ()) -> tuple[Wish, ...]:
    """Wishes for traits and for providers (uuids), with their weights."""
    return (
        *(Wish(weight, trait=name) for name, weight in traits.items()),
        *(Wish(weight, provider=uuid) for uuid, weight in providers),
    )
