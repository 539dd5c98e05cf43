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


class Script:
    """How the patterns of a request are written in one form."""

    def __init__(self, forms: Forms, form: str, template: Callable[[Pattern], Template]) -> None:
        self.form = form
        self._template = template
        self._patterns = forms.patterns
        self._kept = forms.kept.setdefault(form, {})

    def template(self, number: int) -> Template:
        """The text of a pattern."""
        return self._of(number)[0]

    def stencil(self, number: int) -> Stencil:
        """The same for single rows."""
        return self._of(number)[1]

    def _of(self, number: int) -> tuple[Template, Stencil]:
        known = self._kept.get(number)
        if known is None:
            template = self._template(self._patterns[number])
            stencil = Stencil([(template, range(1 + max(template.places, default=-1)))])
            known = self._kept[number] = template, stencil
        return known


class Run(ABC):
    """Some candidates, one after the other."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def rows(self) -> Iterator[tuple[int, Row]]:
        """Number of the pattern and row of each."""

    @abstractmethod
    def rendered(self, script: Script) -> list[Part]:
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

    def rendered(self, script: Script) -> list[Part]:
        stencil = script.stencil(self.number)
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

    def rendered(self, script: Script) -> list[Part]:
        starts: IntArray = self.block.trees.starts[self.trees]
        kind = self.kinds[0]
        if self.kinds.count(kind) == len(self.kinds):
            return of_alike(kind.stencil(script.form, script.template), self.block, starts)
        return of_mixed(
            [kind.stencil(script.form, script.template) for kind in self.kinds], self.block, starts
        )


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

    def rendered(self, script: Script) -> list[Part]:
        return of_alike(self._kind.stencil(script.form, script.template), self._block, self._entries)


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
        script = Script(self._forms, form, template)
        found: list[Part] = []
        for run in self._runs:
            found += run.rendered(script)
        return found
