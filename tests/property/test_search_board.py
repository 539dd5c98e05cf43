from __future__ import annotations

from collections.abc import Sequence
from random import Random
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.model.mixes import Mix
from moorage.model.orders import PACK, Order
from moorage.model.requests import CandidateRequest, RequestGroup, SearchSettings
from moorage.model.values import ProviderRecord
from moorage.search.index.index import Index, Snapshot
from moorage.search.match.candidates import find
from moorage.search.match.outcomes import Memory
from moorage.search.order import board as boards
from moorage.search.order import priced
from moorage.search.order import sheet as sheets
from moorage.search.order.board import Best, Board, NotLoneError
from moorage.search.order.chances import Prices, prices_of
from moorage.search.order.ranking import OrderMemory, best
from tests.property.strategies_search import CLASSES, TRAITS, examples, inventories
from tests.property.test_search_order import index_of, orders

STEPS = 1_000_000


@st.composite
def hosts(draw: st.DrawFn) -> list[ProviderRecord]:
    """Providers without children, all of which have the same classes or fewer."""
    found = []
    for number in range(1, 1 + draw(st.integers(1, 12))):
        names = draw(st.sampled_from([CLASSES, CLASSES, ("DISK_GB", "VCPU")]))
        inventory = draw(inventories)
        taken = draw(st.integers(0, 3))
        found.append(
            ProviderRecord(
                id=number,
                uuid=f"provider-{number:02}",
                parent_id=None,
                root_id=number,
                inventories=tuple((name, inventory, taken) for name in names),
                traits=draw(st.sampled_from([(), (), TRAITS[:1]])),
                aggregates=(),
            )
        )
    return found


asks = st.builds(
    lambda amounts, required, tree: CandidateRequest(
        (
            RequestGroup(
                "",
                dict(sorted(amounts.items())),
                (frozenset([TRAITS[0]]),) if required else (),
                in_tree=tree,
            ),
        )
    ),
    st.dictionaries(st.sampled_from(CLASSES[1:]), st.integers(1, 4), min_size=1, max_size=2),
    st.sampled_from([False, False, True]),
    st.sampled_from([None, None, None, "provider-01", "provider-02"]),
)

mixes = st.lists(st.tuples(asks, st.sampled_from([1.0, 2.0, 5.0])), min_size=1, max_size=3)

steps = st.one_of(
    st.tuples(st.just("place"), st.integers(0, 2)),
    st.tuples(st.just("free"), st.integers(1, 12)),
    st.tuples(st.just("undo"), st.just(0)),
    st.tuples(st.just("commit"), st.just(0)),
    st.tuples(st.just("lose"), st.just(0)),
    st.tuples(st.just("foreign"), st.integers(1, 12)),
    st.tuples(st.just("remodel"), st.integers(1, 12)),
    st.tuples(st.just("reprice"), st.integers(0, 3)),
)


def expected(
    snapshot: Snapshot, request: CandidateRequest, order: Order, prices: Prices | None
) -> Best | None:
    found = best(snapshot, request, order, 1, prices=prices)
    for ranked in found.candidates:
        return Best(ranked.candidate, ranked.score, ranked.parts, found.feasible_trees)
    return None


class Scene:
    """A board, and an index that takes over what is committed."""

    def __init__(
        self, records: list[ProviderRecord], mix: Sequence[tuple[CandidateRequest, float]] = ()
    ) -> None:
        self.records = {record.id: record for record in records}
        self.index: Index = index_of(records)
        self.mix = mix
        self.prices: Prices | None = None
        self.board = Board(OrderMemory(Memory()), prices=lambda _order: self.prices)
        self.board.follow(self.index.snapshot())

    def take(self, step: str, number: int, choices: list[tuple[CandidateRequest, Order]]) -> None:
        """One step."""
        board, record = self.board, self.records.get(number)
        mark = board.mark()
        if step == "place":
            request, order = choices[number % len(choices)]
            chosen = board.best(request, order, STEPS)
            if chosen is not None:
                board.claim(chosen.candidate.allocations)
        elif step == "free":
            in_use = sum(
                [
                    taken
                    for each in board.snapshot.records()
                    for name, _, taken in each.inventories
                    if each.id == number and name == "VCPU"
                ]
            )
            board.claim({f"provider-{number:02}": {"VCPU": -min(1, in_use), "NOTHING": 3}})
        elif step == "undo":
            board.claim({"provider-01": {"DISK_GB": 2}, "nobody": {"VCPU": 1}})
            for request, order in choices:
                board.best(request, order, STEPS)
            assert board.snapshot is not None
            board.back(mark)
        elif step == "reprice":
            usual = Mix.of(self.mix[:number])
            self.prices = prices_of(board.snapshot, usual) if usual.shares else None
        elif step == "lose":
            board.follow(self.index.snapshot())
        elif step == "foreign" and record is not None:
            self.index.set_used([number], {number: {"VCPU": number % 4}})
            board.follow(self.index.snapshot())
        elif step == "remodel" and record is not None:
            traits = () if record.traits else TRAITS[:1]
            [kept] = [each for each in board.snapshot.records() if each.id == number]
            self.index.replace_trees(
                [number],
                [
                    ProviderRecord(
                        kept.id, kept.uuid, None, kept.root_id, kept.inventories, traits, kept.aggregates
                    )
                ],
            )
            board.follow(self.index.snapshot())
        elif step == "commit":
            used = {
                record.id: {name: taken for name, _, taken in record.inventories}
                for record in board.snapshot.records()
            }
            self.index.change_used(used)
            board.follow(self.index.snapshot())


@pytest.mark.slow
@examples(6)
@given(
    hosts(),
    st.lists(st.tuples(asks, orders()), min_size=1, max_size=3),
    mixes,
    st.lists(steps, max_size=25),
)
def test_a_board_knows_the_best_whatever_has_happened(
    records: list[ProviderRecord],
    choices: list[tuple[CandidateRequest, Order]],
    mix: list[tuple[CandidateRequest, float]],
    some: list[tuple[str, int]],
) -> None:
    with (
        mock.patch.multiple(boards, RESERVE=3, MOST_CHANGED=3, MOST_CARDS=6, MOST_TIES=1),
        mock.patch.multiple(sheets, SPACE=2, MOST_LOGGED=6),
        mock.patch.multiple(priced, AHEAD=2, MOST_NEAR=3, MOST_FAR=3),
    ):
        scene = Scene(records, mix)
        for step, number in some:
            scene.take(step, number, choices)
            for request, order in choices:
                assert scene.board.best(request, order, STEPS) == expected(
                    scene.board.snapshot, request, order, scene.prices
                )


@examples(1)
@given(hosts(), asks)
def test_without_an_order_the_first_candidate_is_the_best(
    records: list[ProviderRecord], request: CandidateRequest
) -> None:
    scene = Scene(records)
    found = find(scene.index.snapshot(), request, SearchSettings(), Random(0)).candidates
    chosen = scene.board.best(request, Order(seed=0), STEPS)
    assert (None if chosen is None else chosen.candidate) == (found[0] if found else None)


def test_what_trees_of_several_providers_serve_is_left_to_searches() -> None:
    below = ProviderRecord(2, "provider-02", 1, 1, (), (), ())
    scene = Scene([ProviderRecord(1, "provider-01", None, 1, (), (), ()), below])
    request = CandidateRequest((RequestGroup("", {"VCPU": 1}),))
    for _ in range(2):
        with pytest.raises(NotLoneError):
            scene.board.best(request, Order(PACK), STEPS)
