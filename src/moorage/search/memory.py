"""What searches have found out that holds whatever changes: for requests that come again and again.

Clients ask for the same flavors over and over. In which ways a tree can serve a request depends
on nothing but the request and what a tree's key says of it (``scene``): not on uuids, not on when.
So what was found once is found. What depends on providers outside of the tree is not kept here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from moorage.model.answers import Template
from moorage.model.requests import CandidateRequest
from moorage.search.forms import Forms, Outcome, Replayed
from moorage.search.stencils import Stencil
from moorage.search.work import Work

MOST_REQUESTS: Final = 1024
"""Requests of which something is known: those asked for lately."""

MOST_OUTCOMES: Final = 20_000
"""Ways to serve a request that are kept for all requests together, each some 2 kB with its text. When
there are more, all go and are found again as they are needed."""

MOST_OUTCOMES_OF_KIND: Final = 500
"""Trees that can serve a request in more ways are not worth it: few of them fill an answer."""

MOST_KEY_BYTES: Final = 4096
"""Trees with longer keys, of hundreds of providers, are hardly ever alike."""

MOST_PATTERNS: Final = 500
"""Patterns of one request before it starts anew."""


class Kind:
    """In which ways trees with one key can serve a request, in their order.

    All of them if ``complete``, else the first ones. ``steps_until`` says after how many steps each was
    found, ``steps`` how many it took altogether; ``placed`` is how many providers they name.
    """

    __slots__ = ("_stencils", "complete", "outcomes", "placed", "shows", "steps", "steps_until")

    def __init__(
        self, outcomes: Sequence[Outcome], steps_until: Sequence[int], steps: int, *, complete: bool = True
    ) -> None:
        self.outcomes = tuple(outcomes)
        self.steps_until = tuple(steps_until)
        self.steps = steps
        self.complete = complete
        self.placed = sum(len(outcome.positions) for outcome in self.outcomes)
        self.shows = any(outcome.inside for outcome in self.outcomes)
        self._stencils: dict[str, Stencil] = {}

    @staticmethod
    def of(found: Replayed) -> Kind:
        """What was found so far."""
        return Kind(found.found, found.steps_until, found.steps, complete=found.complete)

    def as_found(self, work: Work) -> Iterator[Outcome]:
        """The outcomes, counted as if they were found now. Raises OutOfStepsError."""
        gone = 0
        for outcome, steps in zip(self.outcomes, self.steps_until, strict=True):
            work.steps += steps - gone
            gone = steps
            work.check()
            yield outcome
        work.steps += self.steps - gone
        work.check()

    def stencil(self, form: str, template_of: Callable[[int], Template]) -> Stencil:
        """The text of a tree's candidates in ``form``, from the templates of their patterns."""
        known = self._stencils.get(form)
        if known is None:
            known = self._stencils[form] = Stencil(
                [(template_of(outcome.form), outcome.positions) for outcome in self.outcomes]
            )
        return known


class Knowledge:
    """What is known of one request."""

    __slots__ = ("_lone", "_memory", "forms", "kinds", "owner")

    def __init__(self, forms: Forms, memory: Memory) -> None:
        self._memory = memory
        self.forms = forms
        # Stands for the request in blocks, and is all of this that they hold.
        self.owner = object()
        self.kinds: dict[bytes, Kind] = {}
        self._lone: Kind | None = None

    @property
    def lone(self) -> Kind:
        """Trees of one provider that serves everything."""
        if self._lone is None:
            self._lone = Kind((self.forms.of_one(),), (0,), 0)
        return self._lone

    def learn(self, key: bytes, kind: Kind) -> None:
        """Keep what was found in trees with ``key``, if it is worth it."""
        if len(kind.outcomes) <= MOST_OUTCOMES_OF_KIND and len(key) <= MOST_KEY_BYTES:
            self.kinds[key] = kind
            self._memory.note(1 + len(kind.outcomes))


class Memory:
    """Knowledge of the requests asked for lately. Safe for several threads.

    Requests are told apart as objects: whoever reads queries remembers what it has read.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[CandidateRequest, Knowledge]] = OrderedDict()
        self._lock = threading.Lock()
        self._outcomes = 0

    def of(self, request: CandidateRequest, forms: Callable[[], Forms]) -> Knowledge:
        """What is known of ``request``; if it is new, patterns begin with ``forms``."""
        number = id(request)
        with self._lock:
            known = self._known.get(number)
            if known is not None and len(known[1].forms.patterns) <= MOST_PATTERNS:
                self._known.move_to_end(number)
                return known[1]
            # The request is held with what is known of it, so that no other one has its number.
            knowledge = Knowledge(forms(), self)
            self._known[number] = request, knowledge
            if len(self._known) > MOST_REQUESTS:
                self._known.popitem(last=False)
            return knowledge

    def note(self, outcomes: int) -> None:
        """Take note of what was kept."""
        with self._lock:
            self._outcomes += outcomes
            if self._outcomes > MOST_OUTCOMES:
                self._outcomes = 0
                self._known.clear()
