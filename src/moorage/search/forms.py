"""From choices to candidates: which of them have the same form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter

from moorage.model.answers import Pattern, Row
from moorage.search.plan import Plan
from moorage.search.scene import OUTSIDE, View, place_of, root_of
from moorage.search.snapshot import Place
from moorage.search.tree import Choice

Pick = Callable[[list[bytes]], Row]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A way to serve a request that holds in every tree with the same key.

    ``form`` is the number of its pattern; ``pick`` takes the row out of the uuids of a view;
    ``inside`` are the nodes of the tree, and ``outside`` the providers elsewhere, that give resources;
    ``homes`` are the trees of the latter.
    """

    form: int
    pick: Pick
    inside: tuple[int, ...]
    outside: tuple[Place, ...]
    homes: tuple[Place, ...]


class Forms:
    """Patterns of the candidates of one request."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._numbers: dict[tuple[int, ...], int] = {}
        self.patterns: list[Pattern] = []

    def of_one(self) -> int:
        """Number of the pattern of candidates in which one provider serves everything."""
        return self._number((0,) * len(self._plan.variables))

    def outcome(self, view: View, choice: Choice) -> Outcome:
        """What ``choice`` means in trees like the one of ``view``."""
        places: dict[int, int] = {}
        shape = tuple([places.setdefault(node, len(places)) for node in choice])
        form = self._number(shape)
        nodes = list(places)
        giving = [nodes[place] for place in self.patterns[form].allocations]
        outside = [place_of(node) for node in giving if node >= OUTSIDE]
        return Outcome(
            form,
            picking([view.position_of(node) for node in nodes]),
            tuple([node for node in giving if node < OUTSIDE]),
            tuple(outside),
            tuple([root_of(self._plan.snapshot, place) for place in outside]),
        )

    def _number(self, shape: tuple[int, ...]) -> int:
        form = self._numbers.get(shape)
        if form is None:
            form = self._numbers[shape] = len(self.patterns)
            self.patterns.append(self._pattern(shape))
        return form

    def _pattern(self, shape: tuple[int, ...]) -> Pattern:
        allocations: dict[int, dict[str, int]] = {}
        mappings: dict[str, dict[int, None]] = {group.suffix: {} for group in self._plan.request.groups}
        for variable, place in zip(self._plan.variables, shape, strict=True):
            mappings[variable.suffix][place] = None
            if variable.demands:
                amounts = allocations.setdefault(place, {})
                for name, amount in variable.demands:
                    amounts[name] = amounts.get(name, 0) + amount
        return Pattern(allocations, {suffix: tuple(places) for suffix, places in mappings.items()})


def picking(positions: list[int]) -> Pick:
    """A function that takes the items at ``positions`` out of a list."""
    if len(positions) > 1:
        return itemgetter(*positions)
    if not positions:
        return lambda uuids: ()
    position = positions[0]
    return lambda uuids: (uuids[position],)


class Replayed:
    """Outcomes that are found once and can be gone through again, as far as somebody went."""

    def __init__(self, source: Iterator[Outcome]) -> None:
        self._source = source
        self._found: list[Outcome] = []
        self._complete = False

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._found) if self._complete else self._advance()

    def _advance(self) -> Iterator[Outcome]:
        position = 0
        while True:
            if position == len(self._found):
                outcome = next(self._source, None)
                if outcome is None:
                    self._complete = True
                    return
                self._found.append(outcome)
            yield self._found[position]
            position += 1
