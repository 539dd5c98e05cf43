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
from moorage.search.order import lone, priced
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
    "nobody has a class that is seldom asked for": (
        hosts({"VCPU": 8}, {"VCPU": 9}),
        [(plain(VCPU=1), 90.0), (plain(VCPU=2), 9.0), (plain(VCPU=2, MEMORY_MB=1), 1.0)],
        "VCPU",
    ),
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


@pytest.mark.parametrize("case", CLOUDS)
def test_costs_by_one_class_are_those_by_all(case: str) -> None:
    records, usual, scored = CLOUDS[case]
    sheet = Sheet(index_of(*records).snapshot())
    prices = prices_of(index_of(*records).snapshot(), Mix.of(usual), scored, LINEAR)
    assert prices is not None
    known = 0
    for asked in ({"VCPU": 1}, {"VCPU": 2, "MEMORY_MB": 3}, {"VCPU": 40}):
        amounts = sheet.amounts(asked)
        for row in range(sheet.rows) if amounts is not None else ():
            states = sheet.states[[row]]
            assert amounts is not None
            found = sheet.costs_by_one_class(prices, sheet.free[:, states], amounts)
            if found is not None:
                known += 1
                assert found.tolist() == sheet.costs(prices, asked, states).tolist()
    by_one = ("one class is the bound", "each is the bound somewhere")
    assert (known > 0) == (case in by_one)


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
    asked = sheet.amounts({"VCPU": 1})
    assert asked is not None
    assert sheet.costs_by_one_class(prices, sheet.free[:, sheet.states[:1]], asked) is None
    assert sheet.costs_by_one_class(prices, sheet.free[:, sheet.states[1:2]], asked) is not None


def test_what_no_tree_has_fits_none() -> None:
    index = index_of(*hosts(*ROOMY))
    index.set_names(["MEMORY_MB", "VCPU", "VF"], [])
    board = Board(OrderMemory(Memory()))
    board.follow(index.snapshot())
    for _ in range(2):
        assert board.best(plain(VF=1), SLOTS, -1) is None
        board.claim({"p1": {"VCPU": 1}})


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


@pytest.mark.parametrize("logged", [2, 5, 100])
def test_a_sheet_tells_what_has_changed(logged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "SPACE", 1)
    monkeypatch.setattr(sheets, "MOST_LOGGED", logged)
    sheet = Sheet(index_of(*hosts(*ROOMY)).snapshot())
    changed = (3, 0, 3, 5, 0, 1)
    for tree in changed:
        sheet.change((0, tree), {"VCPU": Level(16, 16.0, tree)})
    assert sheet.count == 4
    for version in range(len(changed) + 1):
        found = set(sheet.moved[sheet.since(version)].tolist())
        assert found >= set(changed[version:])
        if version >= len(changed) - 1:
            assert found == set(changed[version:])
        rows = np.arange(sheet.rows)
        moved = [row in changed[version:] for row in range(sheet.rows)]
        assert sheet.have_moved(rows, version).tolist() == moved
        assert [sheet.has_moved(row, version) for row in range(sheet.rows)] == moved
    assert sheet.free[sheet.columns["VCPU"]][sheet.states[[0, 1, 3, 5]]].tolist() == [16, 15, 13, 11]


def test_a_sheet_compares_only_amounts_of_classes_that_there_are() -> None:
    sheet = Sheet(index_of(*hosts(*ROOMY)).snapshot())
    assert sheet.amounts({"VF": 1}) is None
    some = sheet.amounts({"VCPU": 2})
    assert some is not None
    assert some.tolist() == [[0.0], [2.0]]


def test_an_empty_cloud_has_no_rows() -> None:
    sheet = Sheet(index_of().snapshot())
    assert (sheet.rows, sheet.all_states) == (0, 0)


@pytest.mark.parametrize("repriced", [False, True])
@pytest.mark.parametrize(("reserve", "few"), [(2, 1), (2, 100), (6, 1), (6, 3), (100, 2), (100, 100)])
def test_lists_of_slots_are_kept_up(
    repriced: bool, reserve: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "RESERVE", reserve)
    for name in ("AHEAD", "MOST_NEAR", "MOST_FAR"):
        monkeypatch.setattr(priced, name, few)
    monkeypatch.setattr(sheets, "SPACE", few)
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


def test_a_choice_looks_at_what_has_changed_however_large_the_cloud_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []
    whole = priced.PricedRoster._find_fits
    monkeypatch.setattr(
        priced.PricedRoster,
        "_find_fits",
        lambda self, slots: (looks.append(len(slots)), whole(self, slots))[1],  # type: ignore[func-returns-value]
    )
    made: list[object] = []
    roster = Board._roster
    monkeypatch.setattr(
        Board,
        "_roster",
        lambda self, *given: (made.append(given), roster(self, *given))[1],  # type: ignore[func-returns-value]
    )
    for size in (50, 500):
        index = index_of(*hosts(*ROOMY[:1] * size))
        prices = prices_of(index.snapshot(), Mix.of(USUAL), None, LINEAR)
        board = Board(OrderMemory(Memory()), prices=lambda _order, prices=prices: prices)  # type: ignore[misc]
        board.follow(index.snapshot())
        for number in range(60):
            found = board.best(USUAL[number % 3][0], SLOTS, -1)
            assert found is not None
            board.claim(found.candidate.allocations)
        # Each list is made once, and then looks at each claim once.
        assert len(made) == len(USUAL)
        assert sum(looks) <= 60 * len(USUAL)
        made.clear()
        looks.clear()
