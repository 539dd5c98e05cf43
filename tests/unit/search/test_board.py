from __future__ import annotations

import pytest

from moorage.model.errors import ResourceClassNotFoundError, SearchLimitError
from moorage.model.mixes import Mix
from moorage.model.orders import SCALE, Order, wishes
from moorage.model.requests import CandidateRequest
from moorage.model.values import ProviderRecord
from moorage.search.index import index as indexes
from moorage.search.index.columns import Level
from moorage.search.index.index import Index, Snapshot
from moorage.search.match.outcomes import Memory
from moorage.search.match.plan import Work
from moorage.search.order import board as boards
from moorage.search.order import measure
from moorage.search.order.board import Board, NotLoneError
from moorage.search.order.chances import prices_of
from moorage.search.order.ranking import OrderMemory, best
from tests.unit.search.builders import group, index_of, provider

PACK, SPREAD = Order("pack"), Order("spread")


def ask(vcpus: int) -> CandidateRequest:
    return CandidateRequest((group("", {"VCPU": vcpus}),))


def hosts(*used: int, total: int = 8) -> list[ProviderRecord]:
    return [
        provider(number, {"VCPU": total}, used={"VCPU": taken}) for number, taken in enumerate(used, start=1)
    ]


def board_of(index: Index, most: int = boards.ROSTERS_BYTES) -> Board:
    board = Board(OrderMemory(Memory()), most)
    board.follow(index.snapshot())
    return board


def chosen(board: Board, request: CandidateRequest, order: Order = PACK, steps: int = -1) -> str | None:
    """The provider that a board chooses, which is the one that a search ranks first."""
    found = board.best(request, order, steps)
    ranking = best(board.snapshot, request, order, 1)
    assert (found is None) == (not ranking.candidates)
    if found is None:
        return None
    [ranked] = ranking.candidates
    assert found == (ranked.candidate, ranked.score, ranked.parts, ranking.feasible_trees)
    [uuid] = found.candidate.allocations
    return uuid


def test_claims_change_what_is_best() -> None:
    board = board_of(index_of(*hosts(2, 5, 0)))
    assert chosen(board, ask(2)) == "p2"
    board.claim({"p2": {"VCPU": 2}})
    assert chosen(board, ask(2)) == "p1"
    board.claim({"p2": {"VCPU": -2}})
    assert chosen(board, ask(2)) == "p2"


def test_a_named_tree_that_has_become_full_serves_nothing_more() -> None:
    board = board_of(index_of(*hosts(2, 5)))
    named = CandidateRequest((group("", {"VCPU": 2}, in_tree="p2"),))
    assert chosen(board, named) == "p2"
    board.claim({"p2": {"VCPU": 3}})
    assert chosen(board, named) is None
    board.claim({"p2": {"VCPU": -1}})
    assert chosen(board, named) is None
    board.claim({"p2": {"VCPU": -1}})
    assert chosen(board, named) == "p2"


def test_what_is_taken_back_has_not_happened() -> None:
    board = board_of(index_of(*hosts(2, 5)))
    before = board.snapshot
    mark = board.mark()
    board.claim({"p2": {"VCPU": 3}})
    assert chosen(board, ask(1)) == "p1"
    assert board.snapshot is not before
    board.back(mark)
    assert chosen(board, ask(1)) == "p2"
    assert board.snapshot is before


def test_what_does_not_exist_is_left_out() -> None:
    board = board_of(index_of(*hosts(2)))
    board.claim({"nobody": {"VCPU": 1}, "p1": {"VF": 1}})
    assert chosen(board, ask(6)) == "p1"


def test_a_committed_claim_is_found_in_the_next_snapshot() -> None:
    index = index_of(*hosts(2, 5, 0))
    board = board_of(index)
    assert chosen(board, ask(2)) == "p2"
    board.claim({"p2": {"VCPU": 2}})
    index.change_used({2: {"VCPU": 7}})
    board.follow(index.snapshot())
    assert chosen(board, ask(2)) == "p1"
    # One that was lost is forgotten.
    board.claim({"p1": {"VCPU": 5}})
    board.follow(index.snapshot())
    assert chosen(board, ask(2)) == "p1"


def test_claims_of_others_come_with_the_next_snapshot() -> None:
    some = [*hosts(2, 5, 0), provider(4, {"VCPU": 8, "VF": 2})]
    index = index_of(*some)
    board = board_of(index)
    assert chosen(board, ask(2)) == "p2"
    index.change_used({1: {"VCPU": 6}})
    board.follow(index.snapshot())
    assert chosen(board, ask(2)) == "p1"
    index.change_used({4: {"VF": 1}})
    board.follow(index.snapshot())
    assert chosen(board, CandidateRequest((group("", {"VF": 1}),))) == "p4"


def test_another_inventory_lets_all_be_looked_at_again() -> None:
    index = index_of(*hosts(2, 5))
    board = board_of(index)
    assert chosen(board, ask(2)) == "p2"
    index.replace_trees([2], [provider(2, {"VCPU": 16}, used={"VCPU": 5})])
    board.follow(index.snapshot())
    assert chosen(board, ask(2)) == "p1"
    assert chosen(board, ask(9)) == "p2"
    index.set_names(("VCPU",), ("RED",))
    board.follow(index.snapshot())
    assert chosen(board, ask(2)) == "p1"
    with pytest.raises(ResourceClassNotFoundError):
        board.best(CandidateRequest((group("", {"VF": 1}),)), PACK, -1)


def test_of_many_trees_only_the_best_are_listed_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "RESERVE", 2)
    board = board_of(index_of(*hosts(4, 3, 2, 1)))
    for expected in ("p1", "p2", "p3", "p4"):
        assert chosen(board, ask(4)) == expected
        board.claim({expected: {"VCPU": 8}})
    assert chosen(board, ask(4)) is None
    board.claim({"p3": {"VCPU": -8}})
    assert chosen(board, ask(4)) == "p3"


def test_a_tree_that_changed_may_come_after_those_that_are_not_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(boards, "RESERVE", 1)
    board = board_of(index_of(*hosts(1, 2, 3)))
    assert chosen(board, ask(1), SPREAD) == "p1"
    board.claim({"p1": {"VCPU": 3}})
    assert chosen(board, ask(1), SPREAD) == "p2"


def test_rosters_with_many_changes_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MOST_CHANGED", 1)
    board = board_of(index_of(*hosts(1, 2, 3)))
    assert chosen(board, ask(1)) == "p3"
    for _ in range(2):
        for name in ("p1", "p2"):
            board.claim({name: {"VCPU": 2}})
            assert chosen(board, ask(1)) in ("p1", "p2", "p3")


def test_the_oldest_changes_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MOST_CARDS", 2)
    index = index_of(*hosts(1, 2, 3, 4))
    board = board_of(index)
    assert chosen(board, ask(1)) == "p4"
    for name in ("p1", "p2", "p3", "p4"):
        board.claim({name: {"VCPU": 1}})
    index.change_used({number: {"VCPU": number + 1} for number in range(1, 5)})
    board.follow(index.snapshot())
    assert len(board._cards) == 1
    assert not board._places
    assert chosen(board, ask(1)) == "p4"
    assert chosen(board, ask(4)) == "p3"


def test_several_blocks_are_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "USUAL_ENTRIES", 2)
    monkeypatch.setattr(indexes, "MOST_ENTRIES", 2)
    # The second block cannot serve the request at all.
    board = board_of(index_of(*hosts(4, 3, 8, 8, 2, 1)))
    assert len(board.snapshot.blocks) == 3
    for expected in ("p1", "p2", "p5", "p6"):
        assert chosen(board, ask(4)) == expected
        board.claim({expected: {"VCPU": 4}})
    assert chosen(board, ask(4)) is None


def test_trees_that_are_never_able_are_not_looked_at() -> None:
    some = [*hosts(0), provider(2, {"VCPU": 8}, used={"VCPU": 4}, traits=["RED"])]
    board = board_of(index_of(*some))
    red = CandidateRequest((group("", {"VCPU": 2}, required=[["RED"]]),))
    assert chosen(board, red) == "p2"
    board.claim({"p1": {"VCPU": 7}})
    assert chosen(board, red) == "p2"


@pytest.mark.parametrize("strategy", ["best_fit", "first", "pack", "random", "spread"])
@pytest.mark.parametrize(("weights", "spares"), [({}, 0.0), ({"VCPU": 0.0, "VF": 0.0}, 0.0), ({"VF": 3}, 1)])
def test_one_tree_scores_as_among_others(strategy: str, weights: dict[str, float], spares: float) -> None:
    some = [
        provider(
            number,
            {"VCPU": 7, "VF": 3},
            used={"VCPU": number % 4, "VF": number % 3},
            traits=["RED"] if number == 2 else [],
        )
        for number in range(1, 13)
    ]
    request = CandidateRequest((group("", {"VCPU": 1, "VF": 1}),))
    order = Order(
        strategy,
        weights,
        prefer=wishes({"RED": 0.3}),
        avoid=wishes({}, [("p5", 0.7)]),
        spare_special=spares,
        seed=7,
    )
    board = board_of(index_of(*some))
    for _ in range(20):
        name = chosen(board, request, order)
        assert name is not None
        board.claim({name: {"VCPU": 1, "VF": 1}})
        if chosen(board, request, order) is None:
            return


@pytest.mark.parametrize("prefer", [{}, {"RED": 0.3}])
def test_a_tree_costs_what_it_costs_among_others(prefer: dict[str, float]) -> None:
    index = index_of(
        *[
            provider(
                number,
                {"VCPU": 7, "VF": 3} if number % 3 else {"VCPU": 9},
                used={"VCPU": number % 4},
                traits=["RED"] if number == 2 else [],
            )
            for number in range(1, 13)
        ]
    )
    small, large = (CandidateRequest((group("", {"VCPU": amount, "VF": 1}),)) for amount in (1, 4))
    mix = Mix.of([(small, 3), (large, 1), (ask(2), 2)])
    present = [prices_of(index.snapshot(), mix)]
    board = Board(OrderMemory(Memory()), prices=lambda _order: present[0])
    board.follow(index.snapshot())
    order = Order("slots", prefer=wishes(prefer))
    for round_ in range(30):
        if round_ == 20:
            present[0] = prices_of(board.snapshot, mix)
        for request in (small, large, ask(1)):
            found = board.best(request, order, -1)
            ranked = best(board.snapshot, request, order, 1, prices=present[0]).candidates
            assert (found is None) == (not ranked)
            if found is not None:
                assert (found.candidate, found.score, found.parts) == (
                    ranked[0].candidate,
                    ranked[0].score,
                    ranked[0].parts,
                )
                board.claim(found.candidate.allocations)


def test_capacity_of_nothing_is_full_for_one_tree_too() -> None:
    index = index_of(*hosts(0))
    board = board_of(index)
    for strategy, found in (("pack", 1.0), ("best_fit", 1.0)):
        request = ask(1)
        measured = measure.Measure(board.snapshot, request, Order(strategy, largest={"VCPU": 0}), Work())
        units, _ = measured.of_one(board.snapshot.blocks[0], 0, {"VCPU": Level(0, 0.0, 0)})
        assert units == found * SCALE


def test_ties_are_known_for_a_few_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MOST_TIES", 1)
    board = board_of(index_of(*hosts(0, 0, 0)))
    for _ in range(2):
        for seed in (1, 2):
            chosen(board, ask(1), Order("random", seed=seed))
        board.claim({"p1": {"VCPU": 1}})
    for seed in (1, 2):
        chosen(board, ask(1), Order("random", seed=seed))
    assert len(board._cards[0, 0].ties) == 1


def test_a_board_leaves_wide_trees_to_searches() -> None:
    root = provider(1, {"VCPU": 8})
    board = board_of(index_of(root, provider(2, {"VCPU": 8}, below=root)))
    for _ in range(2):
        with pytest.raises(NotLoneError):
            board.best(ask(1), PACK, -1)
        board.claim({"p2": {"VCPU": 1}})
    lone = board_of(index_of(*hosts(0, 0)))
    with pytest.raises(NotLoneError):
        lone.best(ask(1), Order("pack", among_best=2), -1)


def test_making_a_list_takes_steps_and_keeping_it_up_none() -> None:
    board = board_of(index_of(*hosts(0, 1)))
    with pytest.raises(SearchLimitError):
        board.best(ask(1), PACK, 10)
    assert chosen(board, ask(1)) == "p2"
    board.claim({"p2": {"VCPU": 1}})
    assert chosen(board, ask(1), steps=0) == "p2"


def test_lists_are_bounded_in_bytes() -> None:
    board = board_of(index_of(*hosts(0, 1)), most=40_000)
    for vcpus in range(1, 9):
        chosen(board, ask(vcpus))
    assert 0 < len(board._rosters) < 8
    assert board._rosters.size <= 40_000


def test_an_empty_cloud_has_no_best() -> None:
    board = board_of(index_of())
    assert board.best(ask(1), PACK, -1) is None
    assert isinstance(board.snapshot, Snapshot)
