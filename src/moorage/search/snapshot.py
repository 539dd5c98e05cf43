"""What a search looks at: all blocks as they were at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from moorage.model.valueclass import valueclass
from moorage.model.values import SHARING_TRAIT, ProviderRecord
from moorage.search.block import Block
from moorage.search.columns import NONE

Place = tuple[int, int]
"""Where a provider is in a snapshot: number of the block, offset in it."""


@dataclass(slots=True)
class Shelf:
    """How many bytes readers have left with an index."""

    size: int = 0


@valueclass(frozen=True)
class Snapshot:
    """All providers by (root id, id), and the names that exist. Never changes.

    An index makes it at a cost that does not depend on how much is in it, and goes on changing
    beside it.
    """

    blocks: tuple[Block, ...]
    resource_class_names: frozenset[str]
    trait_names: frozenset[str]
    shelf: Shelf = field(default_factory=Shelf, compare=False)

    def __len__(self) -> int:
        return sum(len(block) for block in self.blocks)

    def find_uuid(self, uuid: str) -> Place | None:
        """Where a provider is, None if there is no such one."""
        for number, block in enumerate(self.blocks):
            offset = block.find_uuid(uuid)
            if offset != NONE:
                return number, offset
        return None

    @cached_property
    def all_lone(self) -> bool:
        """Whether no provider has another one below it."""
        return all(block.trees.lone for block in self.blocks)

    @cached_property
    def sharing_blocks(self) -> tuple[int, ...]:
        """Numbers of the blocks that hold providers that share through their aggregates."""
        return tuple(
            number for number, block in enumerate(self.blocks) if SHARING_TRAIT in block.traits.names
        )

    def note_kept(self, size: int, most: int) -> None:
        """Take note of ``size`` bytes left with blocks; all of them go once they are over ``most``.

        What went with changes is still counted, so that it may be a little early.
        """
        self.shelf.size += size
        if self.shelf.size > most:
            self.shelf.size = 0
            for block in self.blocks:
                block.kept = {}

    def records(self) -> Iterator[ProviderRecord]:
        """All that the index holds, by id: equal for indexes that mean the same."""
        places = [
            (number, offset) for number, block in enumerate(self.blocks) for offset in range(len(block))
        ]
        ids = np.concatenate([np.zeros(0, dtype=np.int64), *(block.ids for block in self.blocks)])
        for position in np.argsort(ids).tolist():
            number, offset = places[position]
            yield self.blocks[number].record(offset)
