"""Mixes: which requests usually come, and how often each of them does."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from moorage.model.requests import ISOLATE, CandidateRequest
from moorage.model.valueclass import valueclass

MOST_SHAPES: Final = 512
"""Shapes of a mix that count: the heaviest."""

RECENT: Final = 20_000
"""Arrivals that a mix is learnt from. With more, all count half."""

MOST_LEARNT: Final = 4_096
"""Shapes that are counted. Those that came least are dropped."""

Names = tuple[str, ...]
"""Names in their order."""


@valueclass(frozen=True, slots=True)
class ShapePart:
    """An amount of one class that each of ``count`` providers must give.

    Such a provider has one trait of each of ``required``, and none of ``forbidden``. ``apart``: no provider
    serves two of them.
    """

    resource_class: str
    amount: int
    count: int = 1
    apart: bool = False
    required: tuple[Names, ...] = ()
    forbidden: Names = ()


@valueclass(frozen=True, slots=True)
class Shape:
    """What equal requests ask of a tree: its parts, and traits of the tree as a whole.

    Some provider of the tree has one trait of each of ``required``. Its root has all of ``root_required``,
    and none of ``root_forbidden``. Aggregates, subtrees and names of trees do not count.
    """

    parts: tuple[ShapePart, ...] = ()
    required: tuple[Names, ...] = ()
    root_required: Names = ()
    root_forbidden: Names = ()

    @property
    def key(self) -> Hashable:
        """What shapes are sorted by."""
        parts = tuple(
            [
                (each.resource_class, each.amount, each.count, each.apart, each.required, each.forbidden)
                for each in self.parts
            ]
        )
        return parts, self.required, self.root_required, self.root_forbidden

    @staticmethod
    def of(request: CandidateRequest) -> Shape:
        """The shape of a request."""
        alike: Counter[ShapePart] = Counter()
        tree: set[Names] = set()
        suffixed = sum([group.suffix != "" for group in request.groups])
        apart = suffixed > 1 and request.group_policy == ISOLATE
        for group in request.groups:
            required = tuple(sorted({tuple(sorted(names)) for names in group.required}))
            if not group.suffix:
                # Any of the tree's providers may have what the unsuffixed group requires.
                tree.update(required)
                required = ()
            for name, amount in group.resources.items():
                part = ShapePart(
                    name, amount, 1, apart and bool(group.suffix), required, tuple(sorted(group.forbidden))
                )
                alike[part] += 1
        parts = [
            ShapePart(
                each.resource_class,
                each.amount,
                count,
                each.apart and count > 1,
                each.required,
                each.forbidden,
            )
            for each, count in alike.items()
        ]
        return Shape(
            tuple(sorted(parts, key=_key_of)),
            tuple(sorted(tree)),
            tuple(sorted(request.root_required)),
            tuple(sorted(request.root_forbidden)),
        )

    @staticmethod
    def of_amounts(amounts: Iterable[tuple[str, int]]) -> Shape:
        """The shape of a claim that is known by what it holds: an amount by class, for each provider."""
        alike = Counter(amounts)
        parts = [ShapePart(name, amount, count) for (name, amount), count in alike.items()]
        return Shape(tuple(sorted(parts, key=_key_of)))


def with_arrivals(learnt: Mapping[Shape, float], arrived: Mapping[Shape, float]) -> dict[Shape, float]:
    """How often each shape has come, once ``arrived`` have come as well: see ``RECENT``, ``MOST_LEARNT``."""
    found = dict(learnt)
    for shape, count in arrived.items():
        found[shape] = found.get(shape, 0.0) + count
    if sum(found.values()) > RECENT:
        found = {shape: count / 2 for shape, count in found.items()}
    if len(found) > MOST_LEARNT:
        found = dict(sorted(found.items(), key=lambda each: -each[1])[:MOST_LEARNT])
    return found


def written(learnt: Mapping[Shape, float]) -> str:
    """Shapes with their counts, as JSON that ``read`` understands."""
    return json.dumps([[shape.key, count] for shape, count in learnt.items()], separators=(",", ":"))


def read(text: str) -> dict[Shape, float]:
    """The counts by shape that were ``written``. Raises ValueError for another text."""
    try:
        return {_shape_of(*key): float(count) for key, count in json.loads(text)}
    except TypeError as error:
        raise ValueError("a mix in another form") from error


def _shape_of(
    parts: Sequence[Any],
    required: Sequence[Sequence[str]],
    root_required: Sequence[str],
    root_forbidden: Sequence[str],
) -> Shape:
    return Shape(
        tuple(
            [
                ShapePart(
                    str(name), int(amount), int(count), bool(apart), _names_of(alternatives), tuple(forbidden)
                )
                for name, amount, count, apart, alternatives, forbidden in parts
            ]
        ),
        _names_of(required),
        tuple(root_required),
        tuple(root_forbidden),
    )


def _names_of(alternatives: Sequence[Sequence[str]]) -> tuple[Names, ...]:
    return tuple([tuple(names) for names in alternatives])


def _key_of(part: ShapePart) -> tuple[str, int, int, bool, tuple[Names, ...], Names]:
    return (part.resource_class, part.amount, part.count, part.apart, part.required, part.forbidden)


@valueclass(frozen=True, slots=True, eq=False)
class Mix:
    """Shapes with their shares, which are above 0 and sum to 1. Compared by value.

    A mix without shapes knows nothing. Raises ValueError for shares that are not above 0.
    """

    shares: Mapping[Shape, float] = field(default_factory=dict)
    key: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        if not all(share > 0 for share in self.shares.values()):
            raise ValueError("a share must be above 0")
        heaviest = sorted(self.shares.items(), key=lambda each: (-each[1], each[0].key))[:MOST_SHAPES]
        total = sum([share for _, share in heaviest])
        shares = {shape: share / total for shape, share in heaviest}
        object.__setattr__(self, "shares", shares)
        # Orders are keys of memories, and a mix is long.
        told = repr([(shape.key, share) for shape, share in shares.items()])
        object.__setattr__(self, "key", hashlib.sha256(told.encode()).hexdigest())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mix) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @staticmethod
    def of(requests: Iterable[tuple[CandidateRequest, float]]) -> Mix:
        """The mix of requests with their shares, which may sum to anything."""
        shares: dict[Shape, float] = {}
        for request, share in requests:
            shape = Shape.of(request)
            shares[shape] = shares.get(shape, 0.0) + share
        return Mix(shares)
