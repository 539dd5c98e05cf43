"""Candidates that a search has found, as stretches of the same sort."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

from moorage.model.answers import Part, Pattern, PatternedCandidates, Row, Template
from moorage.model.requests import Candidate
from moorage.search.block import Block
from moorage.search.columns import IntArray
from moorage.search.forms import Forms
from moorage.search.memory import Kind
from moorage.search.stencils import Stencil, of_alike, of_mixed

TemplateOf = Callable[[int], Template]
"""From the number of a pattern to its text."""


class Run(ABC):
    """Some candidates, one after the other."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def rows(self) -> Iterator[tuple[int, Row]]:
        """Number of the pattern and row of each."""

    @abstractmethod
    def rendered(self, form: str, template_of: TemplateOf) -> list[Part]:
        """The text of all, in parts."""


class RowRun(Run):
    """Candidates of one pattern, wherever their providers are."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.found: list[Row] = []

    def __len__(self) -> int:
        return len(self.found)

    def rows(self) -> Iterator[tuple[int, Row]]:
        for row in self.found:
            yield self.number, row

    def rendered(self, form: str, template_of: TemplateOf) -> list[Part]:
        stencil = Stencil([(template_of(self.number), range(len(self.found[0])))])
        return [stencil.of_one(row) for row in self.found]


class TreeRun(Run):
    """All candidates of trees of one block, each tree with its kind."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.trees: list[int] = []
        self.kinds: list[Kind] = []

    def __len__(self) -> int:
        return sum([len(kind.outcomes) for kind in self.kinds])

    def rows(self) -> Iterator[tuple[int, Row]]:
        for tree, kind in zip(self.trees, self.kinds, strict=True):
            uuids: list[bytes] = self.block.uuids[slice(*self.block.trees.bounds(tree))].tolist()
            for outcome in kind.outcomes:
                yield outcome.form, outcome.pick(uuids)

    def rendered(self, form: str, template_of: TemplateOf) -> list[Part]:
        starts: IntArray = self.block.trees.starts[self.trees]
        kind = self.kinds[0]
        if self.kinds.count(kind) == len(self.kinds):
            return of_alike(kind.stencil(form, template_of), self.block, starts)
        return of_mixed([kind.stencil(form, template_of) for kind in self.kinds], self.block, starts)


class LoneRun(Run):
    """Candidates that are a provider each, which is a tree by itself."""

    def __init__(self, block: Block, entries: IntArray, kind: Kind) -> None:
        self._block = block
        self._entries = entries
        self._kind = kind

    def __len__(self) -> int:
        return len(self._entries)

    def rows(self) -> Iterator[tuple[int, Row]]:
        [outcome] = self._kind.outcomes
        for uuid in self._block.uuids[self._entries].tolist():
            yield outcome.form, (uuid,)

    def rendered(self, form: str, template_of: TemplateOf) -> list[Part]:
        return of_alike(self._kind.stencil(form, template_of), self._block, self._entries)


class FoundCandidates(PatternedCandidates):
    """All candidates of an answer."""

    def __init__(self, forms: Forms, runs: Sequence[Run]) -> None:
        self._forms = forms
        self._runs = runs

    def made(self) -> Sequence[Candidate]:
        patterns = self._forms.patterns
        return [patterns[number].candidate(row) for run in self._runs for number, row in run.rows()]

    def __len__(self) -> int:
        return sum([len(run) for run in self._runs])

    def rendered(self, form: str, template: Callable[[Pattern], Template]) -> list[Part]:
        kept = self._forms.kept.setdefault(form, {})

        def template_of(number: int) -> Template:
            known = kept.get(number)
            if known is None:
                known = kept[number] = template(self._forms.patterns[number])
            return known

        found: list[Part] = []
        for run in self._runs:
            found += run.rendered(form, template_of)
        return found
