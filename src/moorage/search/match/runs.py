"""Runs: candidates of the same sort, one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

from moorage.model.requests import Part, Row
from moorage.search.index.block import Block
from moorage.search.match.outcomes import Kind, Script, Shape

RUN_BYTES: Final = 500
ROW_BYTES: Final = 80
POINTER_BYTES: Final = 8
UUID_BYTES: Final = 90
TREE_BYTES: Final = 50
"""Bytes of a run, of a row, of a place in a row, of a uuid, and of a tree taken whole."""


class Run(ABC):
    """A run of candidates in order."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def size(self) -> int:
        """Upper bound on the bytes of the run, without what it shares with other runs."""

    @abstractmethod
    def rows(self) -> Iterator[tuple[Shape, Row]]:
        """Shape of the pattern and row of each candidate."""

    @abstractmethod
    def rendered(self, script: Script) -> list[Part]:
        """The text of all candidates, in parts."""


class RowRun(Run):
    """Candidates of one pattern, with providers of any tree."""

    def __init__(self, form: Shape) -> None:
        self.form = form
        self.found: list[Row] = []

    def __len__(self) -> int:
        return len(self.found)

    @property
    def size(self) -> int:
        return RUN_BYTES + len(self.found) * (ROW_BYTES + POINTER_BYTES * len(self.found[0]))

    def rows(self) -> Iterator[tuple[Shape, Row]]:
        for row in self.found:
            yield self.form, row

    def rendered(self, script: Script) -> list[Part]:
        stencil = script.stencil(self.form)
        return [stencil.of_one(row) for row in self.found]


class TreeRun(Run):
    """All candidates of trees of one block, each tree with its kind."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.trees: list[int] = []
        self.kinds: list[Kind] = []

    def __len__(self) -> int:
        return sum([len(kind.outcomes) for kind in self.kinds])

    @property
    def size(self) -> int:
        kinds = sum([kind.size for kind in set(self.kinds)])
        return RUN_BYTES + TREE_BYTES * len(self.trees) + kinds

    def rows(self) -> Iterator[tuple[Shape, Row]]:
        for tree, kind in zip(self.trees, self.kinds, strict=True):
            uuids: list[bytes] = self.block.uuids[slice(*self.block.trees.bounds(tree))].tolist()
            for outcome in kind.outcomes:
                yield outcome.form, outcome.pick(uuids)

    def rendered(self, script: Script) -> list[Part]:
        return script.of_trees(self.kinds, self.block, self.block.trees.starts[self.trees])
