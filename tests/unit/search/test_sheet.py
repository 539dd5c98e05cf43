"""What lone trees are worth from what is free alone, and lists of them that are kept up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from moorage.model.mixes import Mix
from moorage.model.orders import Order
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import Inventory, ProviderRecord
from moorage.search.index.columns import Level
from moorage.search.match.outcomes import Memory
from moorage.search.order import board as boards
from moorage.search.order import lone
from moorage.search.order import sheet as sheets
from moorage.search.order.board import Board
from moorage.search.order.chances import prices_of
from moorage.search.order.ranking import OrderMemory, best
from moorage.search.order.sheet import Sheet
from tests.unit.search.builders import group, index_of, provider

LINEAR = np.array([number / 100 for number in range(101)])
SLOTS = Order("slots")


def ask(*groups: RequestGroup, **others: object) -> CandidateRequest:
    return CandidateRequest(groups, **others)  # type: ignore[arg-type]


def plain(**resources: int) -> CandidateRequest:
    return ask(group("", resources))


def hosts(
    *offers: Mapping[str, int | Inventory], traits: Mapping[int, list[str]] | None = None
) -> list[ProviderRecord]:
    """Hosts in use by as much of each class as their number says, but for the first one."""
    return [
        provider(number, offer, used=dict.fromkeys(offer, number - 1), traits=(traits or {}).get(number, ()))
        for number, offer in enumerate(offers, start=1)
    ]


ROOMY = [{"VCPU": 16, "MEMORY_MB": 4_000}] * 6
TIGHT = [{"VCPU": 16, "MEMORY_MB": 24}, {"VCPU": 8}, {"MEMORY_MB": 24}, {"VCPU": 64, "MEMORY_MB": 64}]
USUAL = [(plain(VCPU=2, MEMORY_MB=3), 2.0), (plain(VCPU=1), 1.0), (plain(VCPU=3, MEMORY_MB=1), 1.0)]

CLOUDS: Mapping[str, tuple[list[ProviderRecord], list[tuple[CandidateRequest, float]], str]] = {
    "one class is the bound": (hosts(*ROOMY), USUAL, "VCPU"),
    "each is the bound somewhere": (hosts(*ROOMY, *TIGHT), USUAL, "VCPU"),
    "nobody has another class": (hosts({"VCPU": 8}, {"VCPU": 9}), USUAL, "VCPU"),
    "nobody has the scored class": (hosts(*ROOMY), USUAL, "VF"),
    "a shape asks for nothing scored": (hosts(*ROOMY), [*USUAL, (plain(MEMORY_MB=700), 1.0)], "VCPU"),
    "units": (
        hosts(*ROOMY, {"VCPU": Inventory(16, step_size=2, max_unit=2), "MEMORY_MB": 4_000}),
        USUAL,
        "VCPU",
    ),
    "traits": (
        hosts(*ROOMY, traits={2: ["RED"], 3: ["BLUE"]}),
        [*USUAL, (ask(group("_1", {"VCPU": 1}, required=[["RED", "BLUE"]])), 1.0)],
        "VCPU",
    ),
    "traits of trees": (
        hosts(*ROOMY, traits={2: ["RED"], 3: ["BLUE"]}),
        [
            *USUAL,
            (ask(group("", {"VCPU": 1}), root_forbidden=frozenset(["RED"])), 1.0),
            (ask(group("", {"VCPU": 1}, required=[["RED"]])), 1.0),
        ],
        "VCPU",
    ),
    "two at once, and two apart": (
        hosts(*ROOMY),
        [
            *USUAL,
            (ask(group("_1", {"VCPU": 2}), group("_2", {"VCPU": 2}), group_policy="none"), 1.0),
            (ask(group("_1", {"VCPU": 1}), group("_2", {"VCPU": 1}), group_policy="isolate"), 1.0),
        ],
        "VCPU",
    ),
    "two amounts of a class": (
        hosts(*ROOMY),
        [*USUAL, (ask(group("_1", {"VCPU": 2}), group("_2", {"VCPU": 1}), group_policy="none"), 1.0)],
        "VCPU",
    ),
}


@pytest.mark.parametrize("listed", [lone.MOST_LISTED, 1])
@pytest.mark.parametrize("case", CLOUDS)
def test_the_worth_of_lone_trees_follows_from_what_is_free(
    case: str, listed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lone, "MOST_LISTED", listed)
    records, usual, scored = CLOUDS[case]
    snapshot = index_of(*records).snapshot()
    [block] = snapshot.blocks
    prices = prices_of(snapshot, Mix.of(usual), scored, LINEAR)
    assert prices is not None
    wanted = prices.worth(block, np.arange(len(records)))
    sheet = Sheet(snapshot)
    found = sheet._worths(lone.LoneWorth(prices, sheet._makes), sheet.states, {}, 0)
    assert np.array_equal(found, wanted)


def test_sums_that_are_not_exact_are_those_of_all_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    records, usual, scored = CLOUDS["one class is the bound"]
    snapshot = index_of(*records).snapshot()
    prices = prices_of(snapshot, Mix.of(usual), scored, LINEAR)
    assert prices is not None
    taken: list[int] = []
    whole = lone.LoneWorth._by_all
    monkeypatch.setattr(
        lone.LoneWorth,
        "_by_all",
        lambda self, makes, free: (taken.append(len(makes)), whole(self, makes, free))[1],  # type: ignore[func-returns-value]
    )
    Sheet(snapshot).costs(prices, {"VCPU": 1})
    assert not taken
    monkeypatch.setattr(lone, "EXACT", 1.0)
    Sheet(snapshot).costs(prices, {"VCPU": 1})
    assert taken


def test_more_may_be_free_than_there_is() -> None:
    snapshot = index_of(*hosts(*ROOMY)).snapshot()
    prices = prices_of(snapshot, Mix.of(USUAL), "VCPU", LINEAR)
    assert prices is not None
    sheet = Sheet(snapshot)
    sheet.change((0, 0), {"VCPU": Level(16, 16.0, -9), "MEMORY_MB": Level(4_000, 4_000.0, 0)})
    freed = snapshot.with_more({"p1": {"VCPU": -9}}, {})
    [wanted] = prices.worth(freed.blocks[0], np.array([0])).tolist()
    [found] = sheet._worths(lone.LoneWorth(prices, sheet._makes), sheet.states[:1], {}, 0).tolist()
    assert found == wanted


def test_a_sheet_knows_the_worth_by_some_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MOST_KNOWN", 1)
    snapshot = index_of(*hosts(*ROOMY)).snapshot()
    sheet = Sheet(snapshot)
    some = [prices_of(snapshot, Mix.of(USUAL[:number]), "VCPU") for number in (2, 3)]
    for prices in (*some, *some):
        assert prices is not None
        other = Sheet(snapshot)
        wanted = other.costs(prices, {"VCPU": 2, "DISK_GB": 1})[other.states]
        assert np.array_equal(sheet.costs(prices, {"VCPU": 2})[sheet.states], wanted)
    assert len(sheet._known) == 1


def test_a_full_sheet_takes_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MOST_MOVED", 1)
    sheet = Sheet(index_of(*hosts(*ROOMY)).snapshot())
    for tree in range(4):
        sheet.change((0, tree), {"VCPU": Level(16, 16.0, 9)})
    assert sheet.is_full
    assert sheet.count == 2


def test_an_empty_cloud_has_no_rows() -> None:
    sheet = Sheet(index_of().snapshot())
    assert (sheet.rows, sheet.all_states) == (0, 0)


@pytest.mark.parametrize("repriced", [False, True])
@pytest.mark.parametrize(("reserve", "moved"), [(2, 3), (2, 100), (100, 100)])
def test_lists_of_slots_are_kept_up(
    repriced: bool, reserve: int, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "RESERVE", reserve)
    monkeypatch.setattr(sheets, "MOST_MOVED", moved)
    index = index_of(*hosts(*ROOMY, *TIGHT, *ROOMY))
    mix = Mix.of(USUAL)
    present = [prices_of(index.snapshot(), mix, None, LINEAR)]
    board = Board(OrderMemory(Memory()), prices=lambda _order: present[0])
    board.follow(index.snapshot())
    for number in range(40):
        if repriced and number % 5 == 4:
            present[0] = prices_of(board.snapshot, mix, None, LINEAR) if number % 10 == 4 else None
        for request in (*[request for request, _ in USUAL], plain(VCPU=1_000)):
            found = board.best(request, SLOTS, -1)
            assert board.best(request, SLOTS, -1) == found
            ranked = best(board.snapshot, request, SLOTS, 1, prices=present[0])
            assert (found is None) == (not ranked.candidates)
            if found is None:
                continue
            [first] = ranked.candidates
            assert (found.candidate, found.score, found.parts, found.feasible) == (
                first.candidate,
                first.score,
                first.parts,
                ranked.feasible_trees,
            )
            mark = board.mark()
            board.claim(found.candidate.allocations)
            if number % 3 == 2:
                board.back(mark)
        if number % 7 == 6:
            board.follow(board.snapshot)
