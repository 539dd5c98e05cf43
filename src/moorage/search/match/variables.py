"""Variables: the parts of a request that one provider each must serve, and the providers that share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from moorage.search.index.columns import Mask
from moorage.search.index.index import Place, Snapshot

UNSUFFIXED: Final = ""

Demand = tuple[str, int]
"""A resource class and the amount of it that is asked for, in its unit."""

Shared = dict[str, tuple[Place, ...]]
"""Sharing providers by aggregate. Variables that the same providers can serve have the same object."""


@dataclass(slots=True)
class Variable:
    """A part of a request that one provider must serve.

    ``shared`` maps an aggregate to the sharing providers that can serve it in every tree that
    has a provider in that aggregate.
    """

    suffix: str
    demands: tuple[Demand, ...]
    shared: Shared = field(default_factory=dict)


FILTER_STEPS: Final = 40
"""Steps that count for one or two array operations over a block."""

NAMES_PER_STEP: Final = 2
"""Names of traits and aggregates that are looked up in a block in one step."""


class Sharing:
    """The sharing providers of a snapshot."""

    def __init__(self, snapshot: Snapshot, spend: Callable[[int], None]) -> None:
        """``spend`` counts steps. It may raise OutOfStepsError."""
        self.blocks = [(number, snapshot.blocks[number]) for number in snapshot.sharing_blocks]
        self._spend = spend
        self._known: dict[tuple[bytes, ...], Shared] = {}

    def among(self, masks: Sequence[Mask]) -> Shared:
        """Those of ``masks``, one for each block, by aggregate. Raises OutOfStepsError."""
        self._spend(FILTER_STEPS * len(masks))
        key = tuple([mask.tobytes() for mask in masks])
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._by_aggregate(masks)
        return known

    def _by_aggregate(self, masks: Sequence[Mask]) -> Shared:
        found: dict[str, list[Place]] = defaultdict(list)
        for mask, (number, block) in zip(masks, self.blocks, strict=True):
            for offset in np.flatnonzero(mask).tolist():
                names = dict.fromkeys(block.aggregates[offset])
                self._spend(1 + len(names) // NAMES_PER_STEP)
                for name in names:
                    found[name].append((number, offset))
        return {name: tuple(places) for name, places in found.items()}


def contested_classes(variables: Sequence[Variable], *, isolated: bool) -> dict[str, int]:
    """Classes that one provider may have to give to several of ``variables``.

    Maps each class to the sum of its amounts. ``isolated`` says that no provider serves two suffixed groups.
    """
    asked: dict[str, list[int]] = defaultdict(list)
    unsuffixed: set[str] = set()
    for variable in variables:
        for name, amount in variable.demands:
            asked[name].append(amount)
            if variable.suffix == UNSUFFIXED:
                unsuffixed.add(name)
    return {
        name: sum(amounts)
        for name, amounts in asked.items()
        if len(amounts) > 1 and (name in unsuffixed or not isolated)
    }
