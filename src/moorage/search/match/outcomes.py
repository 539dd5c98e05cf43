"""The ways in which a tree can serve a request: from a choice to its text, and what stays valid.

Candidates of the same form differ only in uuids. So the texts of many trees are written at once: the constant
text is copied, and uuids are filled in column by column.

Clients ask for the same flavors again and again. The ways in which a tree can serve a request depend only on
the request and on the tree's key (``tree_view``), not on uuids and not on time. So a result is found once and
reused. Results that depend on providers outside of the tree are not kept here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import count
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np

from moorage.model.cache import MIB, PLACE_BYTES, Cache, Weight
from moorage.model.requests import CandidateRequest, Part, Pattern, Row, Template
from moorage.model.valueclass import valueclass
from moorage.search.index.block import UUID_LENGTH, Block, UuidArray
from moorage.search.index.columns import ByteArray, CodeArray, IntArray
from moorage.search.index.index import Place, Snapshot
from moorage.search.match.constraints import Rules
from moorage.search.match.plan import Plan, Work
from moorage.search.match.tree import Choice
from moorage.search.match.tree_view import OUTSIDE, View
from moorage.search.match.variables import Variable

Pick = Callable[[Sequence[bytes]], Row]

Shape = tuple[int, ...]
"""For each variable the place of its node among the nodes of a choice. Candidates of a request that have the
same shape have the same pattern."""

FEWEST: Final = 8
"""Fewest trees for which filling in by column is faster than one tree after the other."""


STENCIL_BYTES: Final = 700
HOLE_BYTES: Final = 120
"""Bytes of a stencil besides its text (which it holds as a format and with room for uuids), and of each
hole."""


class Stencil:
    """A text with holes for the uuids of a tree's nodes."""

    __slots__ = ("_format", "_holes", "_pick", "_reach", "_text", "size")

    def __init__(self, parts: Iterable[tuple[Template, Sequence[int]]]) -> None:
        """``parts`` are templates, one after the other, and for each the nodes at its places."""
        pieces, nodes = [b""], list[int]()
        for template, numbers in parts:
            pieces[-1] += template.pieces[0]
            pieces += template.pieces[1:]
            nodes += [numbers[place] for place in template.places]
        self._format = b"%b".join(piece.replace(b"%", b"%%") for piece in pieces)
        self._pick = picking(nodes)
        self._reach = max(nodes, default=-1) + 1
        self._text: ByteArray = np.frombuffer(bytes(UUID_LENGTH).join(pieces), dtype=np.uint8)
        ends = np.cumsum([len(piece) for piece in pieces[:-1]], dtype=np.int64)
        positions = ends + UUID_LENGTH * np.arange(len(nodes))
        self._holes: list[tuple[int, int]] = list(zip(positions.tolist(), nodes, strict=True))
        self.size = STENCIL_BYTES + len(self._format) + len(self._text) + HOLE_BYTES * len(nodes)
        """Bytes that it takes, at most."""

    def of_one(self, uuids: Sequence[bytes]) -> bytes:
        """The text with the uuids of the nodes."""
        return self._format % self._pick(uuids)

    def of_tree(self, block: Block, start: int) -> bytes:
        """The text for the tree that begins at ``start``."""
        uuids: list[bytes] = block.uuids[start : start + self._reach].tolist()
        return self.of_one(uuids)

    def of_many(self, block: Block, starts: IntArray) -> ByteArray | None:
        """The text for the trees that begin at ``starts``: a row for each.

        None if uuids, and so texts, differ in length.
        """
        if not block.has_full_uuids:
            return None
        return self._filled(len(starts), lambda node: block.uuids[starts + node])

    def of_rows(self, rows: UuidArray) -> ByteArray | None:
        """The text for ``rows``, each with the uuids of all nodes; None as in ``of_many``."""
        ends = rows.view(np.uint8).reshape(len(rows), -1)[:, UUID_LENGTH - 1 :: UUID_LENGTH]
        return self._filled(len(rows), lambda node: rows[:, node]) if ends.all() else None

    def _filled(self, count: int, uuids_of: Callable[[int], UuidArray]) -> ByteArray:
        """The text ``count`` times, a row for each, with the uuids of the nodes."""
        text = np.empty((count, len(self._text)), dtype=np.uint8)
        text[:] = self._text
        columns: dict[int, UuidArray] = {}
        for position, node in self._holes:
            uuids = columns.get(node)
            if uuids is None:
                uuids = columns[node] = uuids_of(node)
            hole = np.ndarray((count,), uuids.dtype, text.data, offset=position, strides=(text.strides[0],))
            hole[:] = uuids
        return text


def of_alike(stencil: Stencil, block: Block, starts: IntArray) -> list[Part]:
    """Texts of trees that have the same stencil, in parts."""
    if len(starts) >= FEWEST:
        text = stencil.of_many(block, starts)
        if text is not None:
            return [text.reshape(-1).data]
    return [stencil.of_tree(block, start) for start in starts.tolist()]


def of_mixed(stencils: Sequence[Stencil], block: Block, starts: IntArray) -> list[Part]:
    """Texts of trees with a stencil each, one part per tree."""
    places: dict[Stencil, list[int]] = {}
    for place, stencil in enumerate(stencils):
        places.setdefault(stencil, []).append(place)
    found: list[Part] = [b""] * len(stencils)
    for stencil, alike in places.items():
        text = stencil.of_many(block, starts[alike]) if len(alike) >= FEWEST else None
        if text is None:
            for place in alike:
                found[place] = stencil.of_tree(block, int(starts[place]))
        else:
            length, rows = text.shape[1], text.reshape(-1).data
            for number, place in enumerate(alike):
                found[place] = rows[number * length : (number + 1) * length]
    return found


def of_rows(stencil: Stencil, rows: UuidArray, *, apart: bool) -> list[Part]:
    """Texts of ``rows`` in their order: one part for each if ``apart``."""
    text = stencil.of_rows(rows) if len(rows) >= FEWEST else None
    if text is None:
        return [stencil.of_one(row) for row in rows.tolist()]
    joined = text.reshape(-1).data
    if not apart:
        return [joined]
    length = text.shape[1]
    return [joined[start : start + length] for start in range(0, len(joined), length)]


def picking(positions: Sequence[int]) -> Pick:
    """A function that takes the items at ``positions`` out of a list."""
    if len(positions) > 1:
        return itemgetter(*positions)
    if not positions:
        return lambda uuids: ()
    position = positions[0]
    return lambda uuids: (uuids[position],)


@valueclass(frozen=True, slots=True)
class Outcome:
    """A way to serve a request that holds in every tree with the same key.

    ``form`` is the shape of its choice, which decides its pattern. ``positions`` are the positions of the
    row's uuids in the uuids of a view; ``pick`` takes the row out of them. ``inside`` are the nodes of the
    tree that give resources.
    ``outside`` are such providers in other trees, and ``homes`` are the trees of these.
    """

    form: Shape
    positions: tuple[int, ...]
    pick: Pick
    inside: tuple[int, ...]
    outside: tuple[Place, ...]
    homes: tuple[Place, ...]

    @property
    def size(self) -> int:
        """Bytes that it takes, at most."""
        nodes = NODE_BYTES * len(self.positions) + NUMBER_BYTES * len(self.form)
        return OUTCOME_BYTES + nodes + PLACE_OF_OUTCOME_BYTES * len(self.outside)


OUTCOME_BYTES: Final = 510
NODE_BYTES: Final = 60
NUMBER_BYTES: Final = 8
PLACE_OF_OUTCOME_BYTES: Final = 250
"""Bytes of an outcome, of each of its nodes, of each number of its shape, and of each node outside of the
tree."""

PIECE_BYTES: Final = 70
"""Bytes that a piece of a template takes besides its text, with the place that follows it."""

PATTERN_BYTES: Final = 1_500
VARIABLE_BYTES: Final = 450
"""Bytes of a pattern, and of each variable of its shape."""


class Forms:
    """Patterns of the candidates of one request, in any tree. Safe for several threads.

    ``kept`` holds the templates that encoders have made of patterns: by form of text, then by shape. Each
    stencil is for a single row. ``of_kinds`` holds in the same way the stencils of all candidates of a tree.
    ``weight`` counts the bytes of all this.
    """

    def __init__(
        self, request: CandidateRequest, variables: Sequence[Variable], weight: Weight | None = None
    ) -> None:
        """``weight`` is one that counts other bytes as well, if given."""
        self._suffixes = [group.suffix for group in request.groups]
        # Keeps no variables: they refer to providers, and providers change.
        self._asked = [(variable.suffix, variable.demands) for variable in variables]
        self._lone = (0,) * len(self._asked)
        self._patterns: dict[Shape, Pattern] = {}
        # Most requests need this one.
        self._patterns[self._lone] = self._pattern(self._lone)
        self._making = threading.Lock()
        self.kept: dict[str, dict[Shape, tuple[Template, Stencil]]] = {}
        self.of_kinds: dict[str, dict[Kind, Stencil]] = {}
        self.weight = weight or Weight()

    def of_one(self) -> Outcome:
        """The candidate in which a tree's first provider serves the whole request."""
        inside = (0,) if self._patterns[self._lone].allocations else ()
        return Outcome(self._lone, (0,), picking((0,)), inside, (), ())

    def outcome(self, view: View, choice: Choice) -> Outcome:
        """The outcome of ``choice`` in trees with the key of ``view``."""
        places: dict[int, int] = {}
        shape = tuple([places.setdefault(node, len(places)) for node in choice])
        nodes = list(places)
        giving = [nodes[place] for place in self.pattern(shape).allocations]
        beyond = view.outside.nodes
        outside = [beyond[node] for node in giving if node >= OUTSIDE]
        positions = tuple([view.position_of(node) for node in nodes])
        return Outcome(
            shape,
            positions,
            picking(positions),
            tuple([node for node in giving if node < OUTSIDE]),
            tuple([place for _, place, _ in outside]),
            tuple([home for _, _, home in outside]),
        )

    def pattern(self, shape: Shape) -> Pattern:
        """The pattern of choices of this shape."""
        known = self._patterns.get(shape)
        return self.made(shape) if known is None else known

    def made(self, shape: Shape) -> Pattern:
        """The pattern of choices of this shape, also if another thread made it meanwhile."""
        with self._making:
            known = self._patterns.get(shape)
            if known is None:
                known = self._patterns[shape] = self._pattern(shape)
                self.weight.add(PATTERN_BYTES + VARIABLE_BYTES * len(shape))
        return known

    def _pattern(self, shape: Shape) -> Pattern:
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
    """Outcomes of a search that can be repeated: the search itself runs once, as far as an iteration needs.

    ``steps_until`` says after how many steps each outcome was ``found``; ``steps`` is the number of steps so
    far.
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
                before = self._work.done
                outcome = next(self._source, None)
                self.steps += self._work.done - before
                if outcome is None:
                    self.complete = True
                    return
                self.found.append(outcome)
                self.steps_until.append(self.steps)
            yield self.found[position]
            position += 1


MOST_BYTES: Final = 32 * MIB
"""Bytes of the knowledge of all requests together. A usual flavor takes some kilobytes."""

MOST_OUTCOMES_OF_KIND: Final = 500
"""Trees that can serve a request in more ways are not kept: a few of them fill an answer."""

MOST_KEY_BYTES: Final = 4096
"""Trees with longer keys have hundreds of providers, and hardly ever equal each other."""

KIND_BYTES: Final = 500
"""Bytes of a kind besides its outcomes."""

LONE_BYTES: Final = KIND_BYTES + OUTCOME_BYTES + NODE_BYTES + PATTERN_BYTES
LONE_BYTES_PER_VARIABLE: Final = VARIABLE_BYTES + NUMBER_BYTES
"""Bytes of the kind of trees of one provider with its pattern, and of each variable in these."""


class Kind:
    """The ways in which trees with the same key can serve a request, in order.

    Contains all ways if ``complete``, else the first ones. ``steps_until`` says after how many steps each was
    found, and ``steps`` is their total. ``placed`` is the number of providers that the ways name. ``size`` is
    in bytes; ``remembered`` says that later searches find it.
    """

    __slots__ = (
        "complete",
        "forms",
        "outcomes",
        "placed",
        "remembered",
        "shows",
        "size",
        "steps",
        "steps_until",
    )

    def __init__(
        self, outcomes: Sequence[Outcome], steps_until: Sequence[int], steps: int, *, complete: bool = True
    ) -> None:
        self.outcomes = tuple(outcomes)
        self.steps_until = tuple(steps_until)
        self.steps = steps
        self.complete = complete
        self.placed = sum(len(outcome.positions) for outcome in self.outcomes)
        self.forms = frozenset([outcome.form for outcome in self.outcomes])
        self.shows = any(outcome.inside for outcome in self.outcomes)
        self.size = KIND_BYTES + sum([outcome.size for outcome in self.outcomes])
        self.remembered = False

    @property
    def count(self) -> int:
        """How many outcomes it has."""
        return len(self.outcomes)

    def outcome(self, number: int) -> Outcome:
        """The outcome with a number from 0 up to ``count``."""
        return self.outcomes[number]

    @staticmethod
    def of(found: Replayed) -> Kind:
        """The kind of the outcomes found so far."""
        return Kind(found.found, found.steps_until, found.steps, complete=found.complete)

    def as_found(self, work: Work) -> Iterator[Outcome]:
        """The outcomes, with their steps counted as if the search found them now. Raises OutOfStepsError."""
        gone = 0
        for outcome, steps in zip(self.outcomes, self.steps_until, strict=True):
            work.spend(steps - gone)
            gone = steps
            yield outcome
        work.spend(self.steps - gone)


@dataclass(slots=True, eq=False)
class Script:
    """A form of text for the candidates of a request. ``make`` makes the template of a pattern.

    ``made`` are the bytes of texts that are remembered from now on. ``passing`` are the stencils of kinds
    that are not remembered.
    """

    forms: Forms
    form: str
    make: Callable[[Pattern], Template]
    made: int = 0
    passing: dict[Kind, Stencil] = field(default_factory=dict)

    def stencil(self, shape: Shape) -> Stencil:
        """The stencil of a pattern for single rows."""
        return self._of(shape)[1]

    def of_kind(self, kind: Kind) -> Stencil:
        """The stencil of all candidates of a tree."""
        kept = self.forms.of_kinds.setdefault(self.form, {})
        known = kept.get(kind) or self.passing.get(kind)
        if known is None:
            known = Stencil([(self._of(outcome.form)[0], outcome.positions) for outcome in kind.outcomes])
            if kind.remembered:
                kept[kind] = known
                # The stencil's place keeps the kind, even if no other place does.
                self.made += PLACE_BYTES + known.size + kind.size
            else:
                self.passing[kind] = known
        return known

    def of_trees(self, kinds: Sequence[Kind], block: Block, starts: IntArray) -> list[Part]:
        """Texts of the trees that begin at ``starts``, in parts. ``kinds`` are theirs, or one for all."""
        kind = kinds[0]
        if kinds.count(kind) == len(kinds):
            return of_alike(self.of_kind(kind), block, starts)
        stencils = {kind: self.of_kind(kind) for kind in set(kinds)}
        return of_mixed([stencils[kind] for kind in kinds], block, starts)

    def _of(self, shape: Shape) -> tuple[Template, Stencil]:
        kept = self.forms.kept.setdefault(self.form, {})
        known = kept.get(shape)
        if known is None:
            template = self.make(self.forms.pattern(shape))
            single = Stencil([(template, range(1 + max(template.places, default=-1)))])
            known = kept[shape] = template, single
            text = PIECE_BYTES * len(template.pieces) + sum(map(len, template.pieces))
            self.made += 2 * PLACE_BYTES + text + single.size
        return known


_SERIALS: Final = count()


class KnownKinds:
    """Kinds of trees by key, for all requests of one structure (``Plan.structure``).

    Kinds that a census names have numbers, which hold only for the object with the same ``serial``.
    """

    __slots__ = ("_known", "_listed", "_numbering", "_numbers", "serial", "weight")

    def __init__(self, weight: Weight) -> None:
        """``weight`` counts the bytes."""
        self.weight = weight
        self.serial = next(_SERIALS)
        self._known: dict[bytes, Kind] = {}
        self._listed: list[tuple[Kind, int]] = []
        self._numbers: dict[Kind, int] = {}
        self._numbering = threading.Lock()

    def numbers_of(self, kinds: Sequence[Kind], steps: Sequence[int]) -> CodeArray:
        """The numbers of ``kinds``, which have these ``steps`` of counting. New ones get the next numbers."""
        with self._numbering:
            for kind, each in zip(kinds, steps, strict=True):
                if kind not in self._numbers:
                    self._listed.append((kind, each))
                    self._numbers[kind] = len(self._numbers)
                    self.weight.add(PLACE_BYTES)
            return np.array([self._numbers[kind] for kind in kinds], dtype=np.int32)

    def at(self, numbers: Iterable[int]) -> list[tuple[Kind, int]]:
        """The kinds with these ``numbers``, and the steps of counting each."""
        listed = self._listed
        return [listed[number] for number in numbers]

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: bytes) -> Kind | None:
        """The kind of trees with ``key``, None if it is not known."""
        return self._known.get(key)

    def learn(self, key: bytes, kind: Kind) -> None:
        """Keep ``kind`` for trees with ``key``, if it is small enough."""
        if len(kind.outcomes) <= MOST_OUTCOMES_OF_KIND and len(key) <= MOST_KEY_BYTES:
            former = self._known.get(key)
            self._known[key] = kind
            kind.remembered = True
            freed = 0
            if former is not None:
                former.remembered = False
                freed = PLACE_BYTES + len(key) + former.size
            self.weight.add(PLACE_BYTES + len(key) + kind.size - freed)


PLAN_BYTES: Final = 2_500
"""Bytes of a plan besides those of its groups."""


class Knowledge:
    """What is known of one request. ``rules`` are made for the first tree that the search looks into."""

    __slots__ = ("_lone", "_plan", "forms", "owner", "rules", "weight")

    def __init__(self, request: CandidateRequest, plan: Plan) -> None:
        # Counts the request twice: plan and rules take about as much as the request.
        lone = LONE_BYTES + LONE_BYTES_PER_VARIABLE * len(plan.variables)
        self.weight = Weight(PLAN_BYTES + 2 * request.size + lone)
        self.forms = Forms(request, plan.variables, self.weight)
        self.rules: Rules | None = None
        self._plan: Plan | None = None
        self.keep(plan)
        # The key under which blocks keep findings. It is an object of its own, so that blocks hold nothing
        # else.
        self.owner = object()
        self._lone: Kind | None = None

    def keep(self, plan: Plan) -> None:
        """Keep a plan without its snapshot, if it is good for others."""
        if plan.lasting:
            names = plan.snapshot.resource_class_names, plan.snapshot.trait_names
            self._plan = _on(plan, Snapshot((), *names))

    def plan(self, snapshot: Snapshot, work: Work) -> Plan | None:
        """The kept plan for a snapshot, with the steps of a new one; None if the snapshot needs a new one.

        Raises OutOfStepsError.
        """
        plan = self._plan
        if (
            plan is None
            or plan.snapshot.resource_class_names is not snapshot.resource_class_names
            or plan.snapshot.trait_names is not snapshot.trait_names
            or snapshot.sharing_blocks
        ):
            return None
        work.spend(plan.steps)
        return _on(plan, snapshot)

    @property
    def lone(self) -> Kind:
        """Trees of one provider that serves everything."""
        if self._lone is None:
            self._lone = Kind((self.forms.of_one(),), (0,), 0)
            self._lone.remembered = True
        return self._lone


def _on(plan: Plan, snapshot: Snapshot) -> Plan:
    """A ``lasting`` plan for another snapshot, of the same names and without sharing providers."""
    found = copy(plan)
    found.snapshot = snapshot
    return found


class Asked(NamedTuple):
    """A request's plan, what is known of the request, and the memory that has the kinds of its trees."""

    plan: Plan
    knowledge: Knowledge
    memory: Memory


class Memory:
    """Knowledge of the latest requests. Safe for several threads.

    Requests that differ in their limit share all of it. Requests of the same structure, as are most flavors,
    share the kinds of trees.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        """It takes up to ``most`` bytes."""
        self._known: Cache[Hashable, Knowledge | KnownKinds] = Cache(
            most, lambda _key, known: known.weight.size
        )

    @property
    def size(self) -> int:
        """Bytes of all knowledge."""
        return self._known.size

    def of(self, request: CandidateRequest) -> Knowledge | None:
        """The knowledge of ``request``, None if there is none."""
        known = self._known.get(request.unlimited)
        return known if isinstance(known, Knowledge) else None

    def kinds_of(self, plan: Plan) -> KnownKinds:
        """The kinds that are known for requests of the structure of ``plan``."""
        known = self._known.get(plan.structure)
        if not isinstance(known, KnownKinds):
            known = KnownKinds(Weight())
            self._known.put_growing(plan.structure, known, known.weight)
        return known

    def plan(self, snapshot: Snapshot, request: CandidateRequest, work: Work) -> Asked:
        """The plan of ``request``, and its knowledge, which begins now if there is none.

        Raises ResourceClassNotFoundError, TraitNotFoundError, OutOfStepsError.
        """
        known = self.of(request)
        again = None if known is None else known.plan(snapshot, work)
        plan = again or Plan(snapshot, request, work)
        if known is not None and again is None:
            known.keep(plan)
        if known is None:
            known = Knowledge(request, plan)
            self._known.put_growing(request.unlimited, known, known.weight)
        return Asked(plan, known, self)
