"""From choices to candidates: which of them have the same form."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from moorage.model.answers import Pattern, Template
from moorage.model.requests import CandidateRequest
from moorage.model.valueclass import valueclass
from moorage.search.groups import Variable
from moorage.search.scene import OUTSIDE, View, place_of, root_of
from moorage.search.snapshot import Place
from moorage.search.stencils import Pick, Stencil, picking
from moorage.search.tree import Choice
from moorage.search.work import Work


@valueclass(frozen=True, slots=True)
class Outcome:
    """A way to serve a request that holds in every tree with the same key.

    ``form`` is the number of its pattern; ``positions`` are those of the row in the uuids of a view, and
    ``pick`` takes it out of them; ``inside`` are the nodes of the tree, and ``outside`` the providers
    elsewhere, that give resources; ``homes`` are the trees of the latter.
    """

    form: int
    positions: tuple[int, ...]
    pick: Pick
    inside: tuple[int, ...]
    outside: tuple[Place, ...]
    homes: tuple[Place, ...]


class Forms:
    """Patterns of the candidates of one request, whatever they are found in. Safe for several threads.

    ``kept`` is for readers who make something of a pattern: by form of text, then number. The stencil
    is that of a single row.
    """

    def __init__(self, request: CandidateRequest, variables: Sequence[Variable]) -> None:
        self._suffixes = [group.suffix for group in request.groups]
        # Not the variables: they know providers, and these change.
        self._asked = [(variable.suffix, variable.demands) for variable in variables]
        self._numbers: dict[tuple[int, ...], int] = {}
        self._numbering = threading.Lock()
        self.patterns: list[Pattern] = []
        self.kept: dict[str, dict[int, tuple[Template, Stencil]]] = {}

    def of_one(self) -> Outcome:
        """The candidate in which a tree's first provider serves everything."""
        form = self._number((0,) * len(self._asked))
        inside = (0,) if self.patterns[form].allocations else ()
        return Outcome(form, (0,), picking((0,)), inside, (), ())

    def outcome(self, view: View, choice: Choice) -> Outcome:
        """What ``choice`` means in trees like the one of ``view``."""
        places: dict[int, int] = {}
        shape = tuple([places.setdefault(node, len(places)) for node in choice])
        nodes = list(places)
        form = self._number(shape)
        giving = [nodes[place] for place in self.patterns[form].allocations]
        outside = [place_of(node) for node in giving if node >= OUTSIDE]
        positions = tuple([view.position_of(node) for node in nodes])
        return Outcome(
            form,
            positions,
            picking(positions),
            tuple([node for node in giving if node < OUTSIDE]),
            tuple(outside),
            tuple([root_of(view.views.plan.snapshot, place) for place in outside]),
        )

    def _number(self, shape: tuple[int, ...]) -> int:
        form = self._numbers.get(shape)
        return self.numbered(shape) if form is None else form

    def numbered(self, shape: tuple[int, ...]) -> int:
        """Number of the pattern of choices of this shape, also if another thread was faster."""
        with self._numbering:
            form = self._numbers.get(shape)
            if form is None:
                form = len(self.patterns)
                self.patterns.append(self._pattern(shape))
                self._numbers[shape] = form
        return form

    def _pattern(self, shape: tuple[int, ...]) -> Pattern:
        allocations: dict[int, dict[str, int]] = {}
        mappings: dict[str, dict[int, None]] = {suffix: {} for suffix in self._suffixes}
        for (suffix, demands), place in zip(self._asked, shape, strict=True):
            mappings[suffix][place] = None
            if demands:
                amounts = allocations.setdefault(place, {})
                for name, amount in demands:
                    amounts[name] = amounts.get(name, 0) + amount
        return Pattern(allocations, {suffix: tuple(places) for suffix, places in mappings.items()})


class Replayed:
    """Outcomes that are found once and can be gone through again, as far as somebody went.

    ``steps_until`` says after how many steps each was ``found``, ``steps`` how many were gone so far.
    """

    def __init__(self, source: Iterator[Outcome], work: Work) -> None:
        self._source = source
        self._work = work
        self.found: list[Outcome] = []
        self.steps_until: list[int] = []
        self.steps = 0
        self.complete = False

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.found) if self.complete else self._advance()

    def _advance(self) -> Iterator[Outcome]:
        position = 0
        while True:
            if position == len(self.found):
                before = self._work.steps
                outcome = next(self._source, None)
                self.steps += self._work.steps - before
                if outcome is None:
                    self.complete = True
                    return
                self.found.append(outcome)
                self.steps_until.append(self.steps)
            yield self.found[position]
            position += 1
