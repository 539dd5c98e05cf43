"""Random order: another order of the same candidates, and with a limit any set of so many, equally likely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from math import perm
from random import Random
from uuid import UUID

import numpy as np
import pytest

from moorage.model.errors import SearchLimitError
from moorage.model.requests import (
    Candidate,
    CandidateRequest,
    PatternedCandidates,
    SearchResult,
    SearchSettings,
    Template,
)
from moorage.model.values import SHARING_TRAIT, ProviderRecord
from moorage.search.index.block import Block
from moorage.search.index.index import MOST_ENTRIES, Index
from moorage.search.match import at_random, drawing
from moorage.search.match.at_random import RandomSearch
from moorage.search.match.candidates import Work, find
from moorage.search.match.constraints import Rules
from moorage.search.match.drawing import FEW, Ways, drawn, first_in_order, first_in_turn
from moorage.search.match.outcomes import FEWEST, Memory
from moorage.search.match.plan import Plan, Survey
from moorage.search.match.tree import NumberedChoices, choices, numbered
from moorage.search.match.tree_view import NONE_OUTSIDE, Views
from tests.table import each
from tests.unit.search.builders import group, index_of, provider, search

A_VCPU = {"VCPU": 1}
A_PORT = {"VF": 1}
RANDOM = SearchSettings(randomize=True)

Canonical = tuple[tuple[tuple[str, tuple[str, ...]], ...], tuple[str, ...]]


def said(candidate: Candidate) -> Canonical:
    """A candidate as something to count."""
    return tuple(sorted(candidate.mappings.items())), tuple(sorted(candidate.allocations))


def all_said(result: SearchResult) -> list[Canonical]:
    return [said(candidate) for candidate in result.candidates]


def hosts(count: int) -> list[ProviderRecord]:
    return [provider(number, {"VCPU": 4}) for number in range(1, count + 1)]


def hosts_with_ports(ports: Sequence[int], *, room: int = 4) -> list[ProviderRecord]:
    """Trees with so many ports each."""
    found: list[ProviderRecord] = []
    for number, count in enumerate(ports, 1):
        root = provider(100 * number, {"VCPU": 4})
        children = [provider(100 * number + port, {"VF": room}, below=root) for port in range(1, count + 1)]
        found += [root, *children]
    return found


def hosts_with_pools(count: int, *, cores: bool) -> list[ProviderRecord]:
    """Hosts in two groups, with two pools each for their disks; some pools may have cores as well."""
    found: list[ProviderRecord] = []
    for number in range(1, count + 1):
        members = [f"a{number % 2}"]
        found.append(provider(number, {"VCPU": 4}, aggregates=members))
    for side in (0, 1, 0, 1):
        number = count + 1 + len(found)
        offers = {"DISK_GB": 50, "VCPU": 2} if cores and side else {"DISK_GB": 50}
        found.append(provider(number, offers, traits=[SHARING_TRAIT], aggregates=[f"a{side}"]))
    return found


PORT = CandidateRequest((group("", A_PORT),))
CORES_AND_PORT = CandidateRequest((group("", A_VCPU), group("_1", A_PORT)))
TWO_PORTS = CandidateRequest((group("_1", A_PORT), group("_2", A_PORT)), "none")
ISOLATED = CandidateRequest((group("", A_VCPU), group("_1", A_PORT), group("_2", A_PORT)), "isolate")
LARGE = CandidateRequest((group("_1", {"VF": 3}), group("_2", {"VF": 2})), "none")
DISK = CandidateRequest((group("", {"VCPU": 1, "DISK_GB": 1}),))
DISK_ALONE = CandidateRequest((group("", {"DISK_GB": 1}),))

CASES: list[tuple[str, list[ProviderRecord], CandidateRequest]] = [
    ("one host", hosts(1), CandidateRequest((group("", A_VCPU),))),
    ("hosts", hosts(50), CandidateRequest((group("", A_VCPU),))),
    ("ports", hosts_with_ports([1, 3, 0, 2, 3, 5]), PORT),
    ("two forms", hosts_with_ports([1, 3, 0, 2, 3, 5] * 3), TWO_PORTS),
    ("isolated", hosts_with_ports([1, 3, 0, 2, 3, 5]), ISOLATED),
    ("by search", hosts_with_ports([1, 3, 0, 2, 3, 5]), LARGE),
    ("hosts and trees", [*hosts(20), *hosts_with_ports([2, 3])], CandidateRequest((group("", A_VCPU),))),
    ("older client", hosts_with_ports([1, 3, 0, 2]), replace(CORES_AND_PORT, one_provider_per_tree=True)),
    ("older client, flat", hosts(20), CandidateRequest((group("", A_VCPU),), one_provider_per_tree=True)),
    ("pools", hosts_with_pools(9, cores=False), DISK),
    ("pools with cores", hosts_with_pools(9, cores=True), DISK),
    ("pools alone", hosts_with_pools(9, cores=True), DISK_ALONE),
    ("older client, pools", hosts_with_pools(9, cores=False), replace(DISK, one_provider_per_tree=True)),
    ("no room", hosts(3), CandidateRequest((group("", {"VCPU": 5}),))),
    ("no resources", hosts(3), CandidateRequest((group("_1", {}), group("_2", {})), "none")),
]
NAMES = [name for name, _, _ in CASES]


def case(name: str) -> tuple[Index, CandidateRequest]:
    [(records, request)] = [(records, request) for known, records, request in CASES if known == name]
    full = [replace(record, uuid=str(UUID(int=record.id))) for record in records]
    return index_of(*full), request


@each("name", NAMES)
@each("breadth_first", [False, True])
@each("max_candidates", [-1, 0, 1, 2, 7, 13, 1000])
def test_without_a_limit_it_is_a_permutation_of_the_default(
    name: str, breadth_first: bool, max_candidates: int
) -> None:
    index, request = case(name)
    settings = SearchSettings(max_candidates, breadth_first)
    expected = search(index, request, settings)
    found = search(index, request, replace(settings, randomize=True), seed=4)
    assert sorted(all_said(found)) == sorted(all_said(expected))
    assert found.summaries == expected.summaries
    assert found.found_nothing == expected.found_nothing
    assert len(found.candidates) == len(all_said(found))


@each("name", NAMES)
@each("limit", [1, 2, 5, 12, 40, 1000])
def test_with_a_limit_it_is_some_of_them_and_shows_only_their_trees(name: str, limit: int) -> None:
    index, request = case(name)
    everything = search(index, request)
    limited = replace(request, limit=limit)
    shown = {summary.uuid: summary for summary in everything.summaries}
    for seed in range(5):
        found = search(index, limited, RANDOM, seed=seed)
        some = all_said(found)
        assert len(set(some)) == len(some) == min(limit, len(everything.candidates))
        assert set(some) <= set(all_said(everything))
        if not request.one_provider_per_tree:
            assert all(shown[summary.uuid] == summary for summary in found.summaries)
            trees = {
                shown[uuid].root_uuid for candidate in found.candidates for uuid in candidate.allocations
            }
            assert {summary.root_uuid for summary in found.summaries} == trees


def test_the_order_depends_on_the_source_given_and_on_nothing_else() -> None:
    index, request = case("two forms")
    memory = Memory()
    orders = [
        [said(item) for item in find(index.snapshot(), request, RANDOM, Random(seed), None, kept).candidates]
        for seed in (1, 2, 3)
        for kept in (None, memory, memory)
    ]
    assert len({tuple(order) for order in orders}) == 3
    assert orders[::3] == orders[1::3] == orders[2::3]


@each("name", NAMES)
def test_what_is_remembered_changes_no_steps(name: str) -> None:
    index, request = case(name)
    memory, counts = Memory(), []
    for kept in (None, memory, memory):
        work = Work()
        find(index.snapshot(), request, RANDOM, Random(1), work, kept)
        counts.append(work.done)
    assert len(set(counts)) == 1


# Texts


def written(found: SearchResult) -> bytes:
    assert isinstance(found.candidates, PatternedCandidates)
    return b"".join(
        found.candidates.rendered(
            "text",
            lambda pattern: Template(
                (b"<", *[b" "] * (len(pattern.allocations) - 1), b">"), tuple(pattern.allocations)
            ),
        )
    )


def spelled(candidates: Iterable[Candidate]) -> bytes:
    return b"".join(b"<%b>" % " ".join(candidate.allocations).encode() for candidate in candidates)


@each("name", NAMES[:-1])
@each("limit", [None, 1, FEWEST - 1, FEWEST, FEW, FEW + 1])
@each("full_uuids", [True, False])
def test_texts_are_those_of_the_candidates_in_their_order(
    name: str, limit: int | None, full_uuids: bool
) -> None:
    index, request = case(name)
    if not full_uuids:
        index = index_of(*[record for known, records, _ in CASES if known == name for record in records])
    found = search(index, replace(request, limit=limit), RANDOM, seed=3)
    assert written(found) == spelled(found.candidates)


@pytest.mark.slow
def test_hosts_of_many_blocks_are_mixed() -> None:
    count = 2 * MOST_ENTRIES + 5
    records = [replace(record, uuid=str(UUID(int=record.id))) for record in hosts(count)]
    index = index_of(*records)
    found = search(index, CandidateRequest((group("", A_VCPU),)), RANDOM)
    assert written(found) == spelled(found.candidates)
    quarters = [4 * int(next(iter(item.allocations))[-8:], 16) // (count + 1) for item in found.candidates]
    assert len(quarters) == count
    assert Counter(quarters[:100]).keys() == Counter(quarters[-100:]).keys() == {0, 1, 2, 3}
    few = search(index, CandidateRequest((group("", A_VCPU),), limit=40), RANDOM)
    assert [summary.uuid for summary in few.summaries] == sorted(
        next(iter(item.allocations)) for item in few.candidates
    )
    assert list(few.summaries) == [item for item in found.summaries if item in list(few.summaries)]


# Chance


def chi_square(counts: Iterable[int], cells: int) -> float:
    """Deviation of counts from equal ones."""
    known = list(counts)
    expected = sum(known) / cells
    return sum((count - expected) ** 2 / expected for count in known) + (cells - len(known)) * expected


def most_by_chance(cells: int) -> float:
    """What equally likely cells exceed once in some thousand times (Wilson and Hilferty)."""
    free = cells - 1
    return float(free * (1 - 2 / (9 * free) + 3.1 * (2 / (9 * free)) ** 0.5) ** 3)


DRAWS = 2_400


@pytest.mark.slow
@each("name", ["ports", "two forms", "isolated", "by search", "hosts and trees", "pools", "pools alone"])
@each("limit", [1, 3])
def test_every_candidate_is_equally_likely_whatever_else_its_tree_has(name: str, limit: int) -> None:
    index, request = case(name)
    cells = len(search(index, request).candidates)
    random, memory, snapshot = Random(11), Memory(), index.snapshot()
    counts: Counter[Canonical] = Counter()
    for _ in range(DRAWS // limit):
        counts.update(all_said(find(snapshot, replace(request, limit=limit), RANDOM, random, None, memory)))
    # Without repetition, counts deviate less than those of independent draws.
    assert chi_square(counts.values(), cells) < most_by_chance(cells)


@each("most", [2, 4])
def test_every_order_of_every_choice_is_equally_likely(most: int) -> None:
    random = Random(5)
    counts = Counter(tuple(drawn(4, most, random).tolist()) for _ in range(DRAWS))
    assert len(counts) == perm(4, most)
    assert chi_square(counts.values(), perm(4, most)) < most_by_chance(perm(4, most))


@each("count", [FEW + 1, 12_000])
def test_many_numbers_are_drawn_as_evenly_as_few(count: int) -> None:
    """Pairs of cells: where the first and the last number drawn lie."""
    random, most = Random(6), FEW + 1
    counts: Counter[tuple[int, int]] = Counter()
    for _ in range(2_000):
        numbers = drawn(count, most, random)
        assert len(set(numbers.tolist())) == most
        assert 0 <= numbers.min() <= numbers.max() < count
        counts[int(numbers[0] * 5 // count), int(numbers[-1] * 5 // count)] += 1
    if count > FEW + 1:
        assert chi_square(counts.values(), 25) < most_by_chance(25)
    assert len(counts) == 25


def test_a_biased_choice_would_be_seen() -> None:
    """Trees drawn in place of candidates: what the test of the candidates has to tell apart."""
    index, request = case("ports")
    random, cells = Random(11), len(search(index, request).candidates)
    by_tree: dict[str, list[Canonical]] = {}
    for candidate in search(index, request).candidates:
        uuid = next(iter(candidate.allocations))
        by_tree.setdefault(str(int(uuid[-8:], 16) // 100), []).append(said(candidate))
    trees = list(by_tree.values())
    counts = Counter(random.choice(random.choice(trees)) for _ in range(DRAWS))
    assert len(trees) == 5
    assert chi_square(counts.values(), cells) > most_by_chance(cells)


# Counting


def test_trees_with_equal_keys_are_counted_once() -> None:
    index = index_of(*hosts_with_ports([3] * 50))
    work = Work()
    search(index, replace(LARGE, limit=2), RANDOM, work=work)
    # One to count the ways, and those that the two candidates are in.
    assert work.trees == 2 + 1
    assert work.steps < 50


def test_trees_of_several_blocks_with_equal_keys_are_counted_once() -> None:
    index = index_of(*hosts_with_ports([2] * MOST_ENTRIES))
    assert len(index.snapshot().blocks) > 2
    work = Work()
    found = search(index, replace(CORES_AND_PORT, limit=2), RANDOM, work=work)
    assert len(found.candidates) == 2
    assert work.trees == 2 + 1


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the blocks whose keys a search has looked at, one by one."""
    found: list[int] = []
    real = RandomSearch._ways_in

    def ways_in(self: RandomSearch, survey: Survey, tree: int, key: bytes) -> Ways:
        found.append(survey.number)
        return real(self, survey, tree, key)

    monkeypatch.setattr(RandomSearch, "_ways_in", ways_in)
    return found


@each("limit", [None, 2, 40])
def test_what_was_counted_of_a_block_is_kept_until_it_changes(
    looked_at: list[int], limit: int | None
) -> None:
    records, memory, index = hosts_with_ports([1, 3, 0, 2, 3, 5] * 8), Memory(), Index()
    index.set_names(["VCPU", "VF"], [])
    for first_half in (True, False):
        index.append(Block.of([record for record in records if (record.root_id <= 2400) is first_half]))
    request = replace(CORES_AND_PORT, limit=limit)
    works: list[Work] = []

    def ask() -> SearchResult:
        works.append(Work())
        return find(index.snapshot(), request, RANDOM, Random(1), works[-1], memory)

    first = ask()
    assert set(looked_at) == {0, 1}
    looked_at.clear()
    assert (all_said(ask()), looked_at) == (all_said(first), [])
    changed = [record.id for record in records if record.inventories and record.inventories[0][0] == "VF"][-1]
    index.change_used({changed: {"VF": 4}})
    fewer = ask()
    assert set(looked_at) == {1}
    assert len(fewer.candidates) == min(limit or 1000, len(search(index, CORES_AND_PORT).candidates))
    looked_at.clear()
    # Requests that differ in their limit only share what is kept.
    find(index.snapshot(), replace(request, limit=7), RANDOM, Random(2), Work(), memory)
    assert looked_at == []
    assert works[0].done == works[1].done


def test_what_was_counted_of_a_block_does_not_outlive_the_kinds_of_its_trees(looked_at: list[int]) -> None:
    index, request = case("two forms")
    memory, orders = Memory(), []
    for _ in range(3):
        orders.append(all_said(find(index.snapshot(), request, RANDOM, Random(1), None, memory)))
        assert looked_at
        looked_at.clear()
        memory._known.drop(Plan(index.snapshot(), request).structure)
    assert orders[0] == orders[1] == orders[2]


@each("steps", range(300, 6_000, 190))
def test_what_was_counted_does_not_change_which_searches_are_refused(steps: int) -> None:
    index, request = case("two forms")
    memory, settings = Memory(), SearchSettings(randomize=True, step_limit=steps)
    find(index.snapshot(), request, RANDOM, Random(1), None, memory)

    def refused(kept: Memory | None) -> bool:
        try:
            find(index.snapshot(), request, settings, Random(1), None, kept)
        except SearchLimitError:
            return True
        return False

    assert refused(None) == refused(memory)


def test_ways_that_follow_from_numbers_are_not_enumerated() -> None:
    """Eight of eight devices are arranged in 40,320 ways on each host."""
    index = index_of(*hosts_with_ports([8] * 20, room=1))
    wanted = tuple(group(f"_{number}", A_PORT) for number in range(8))
    request = CandidateRequest((group("", A_VCPU), *wanted), "isolate", limit=5)
    work = Work()
    found = search(index, request, RANDOM, work=work)
    assert len(set(all_said(found))) == 5
    assert work.steps == 5
    assert work.done < 5_000


@each("free", [0, 1, 2])
@each("isolated", [0, 1, 2, 3])
@each("policy", ["isolate", "none"])
def test_a_choice_is_made_from_its_number(free: int, isolated: int, policy: str) -> None:
    root = provider(1, {"VCPU": 4, "MEMORY_MB": 4})
    others = [provider(2 + number, {"VF": 9, "VCPU": 9}, below=root) for number in range(3)]
    index = index_of(root, *others)
    classes = dict(list({"VCPU": 1, "MEMORY_MB": 1}.items())[:free])
    wanted = [
        group(f"_{number}", {"VF": 1} if policy == "isolate" or number == 0 else {})
        for number in range(isolated)
    ]
    groups = ([group("", classes)] if free else []) + wanted
    if not groups:
        return
    plan = Plan(index.snapshot(), CandidateRequest(tuple(groups), policy))
    rules = Rules.of(plan)
    survey = plan.survey(0, Work())
    assert survey is not None
    view = Views(plan, survey, rules.need).at(0, NONE_OUTSIDE)
    expected = list(choices(view, rules, None, Work()))
    plain = numbered(view, rules)
    assert plain is not None
    assert [plain.choice(number) for number in range(plain.count)] == expected


def test_the_number_of_choices_that_need_a_search_does_not_follow() -> None:
    index, request = case("by search")
    plan = Plan(index.snapshot(), request)
    survey = plan.survey(0, Work())
    assert isinstance(survey, Survey)
    view = Views(plan, survey, Rules.of(plan).need).at(int(survey.trees[0]), NONE_OUTSIDE)
    assert numbered(view, Rules.of(plan)) is None
    assert NumberedChoices([[1, 2], [3]], ()).count == 2


@each("most", range(1, 12))
def test_a_bound_leaves_the_first_candidates_of_all(most: int) -> None:
    counts = [1, 4, 0, 2, 5]
    in_order = [tree for tree, count in enumerate(counts) for _ in range(count)]
    in_turn = [tree for turn in range(max(counts)) for tree, count in enumerate(counts) if count > turn]
    for rule, order in ((first_in_order, in_order), (first_in_turn, in_turn)):
        left = rule(np.array(counts, dtype=np.int64), most)
        assert left.tolist() == [order[:most].count(tree) for tree in range(len(counts))]


# Where counting takes too much


def too_many() -> tuple[Index, CandidateRequest]:
    """Trees with more ways than counting may look at, beside one with a single way."""
    index = index_of(*hosts_with_ports([9, 2, 9, 10, 11], room=2))
    wanted = tuple(group(f"_{number}", {"VF": 1}) for number in range(4))
    return index, CandidateRequest(wanted, "none", limit=3)


@each("breadth_first", [False, True])
def test_a_search_that_cannot_count_draws_trees(breadth_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_random, "COUNTING_STEPS", 500)
    index, request = too_many()
    firsts: set[str] = set()
    for seed in range(40):
        work = Work()
        settings = SearchSettings(breadth_first=breadth_first, randomize=True)
        found = search(index, request, settings, seed=seed, work=work)
        assert len(set(all_said(found))) == 3
        assert work.done < 3_000
        firsts.add(next(iter(found.candidates[0].allocations))[:-2])
    assert len(firsts) == 5


def test_a_search_that_draws_trees_finds_all_if_so_many_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_random, "COUNTING_STEPS", 0)
    for name in ("ports", "two forms", "hosts"):
        index, request = case(name)
        found = search(index, replace(request, limit=1000), RANDOM)
        assert sorted(all_said(found)) == sorted(all_said(search(index, request)))


def test_all_candidates_are_counted_with_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_random, "COUNTING_STEPS", 0)
    index, request = case("ports")
    everything = search(index, request, RANDOM)
    assert sorted(all_said(everything)) == sorted(all_said(search(index, request)))
    with pytest.raises(SearchLimitError):
        search(index, request, replace(RANDOM, step_limit=200))


@each("name", ["_MOST_OF_A_TREE", "_MOST"])
def test_numbers_beyond_those_of_an_array_are_not_counted(name: str) -> None:
    records = hosts_with_ports([30] * 3, room=1)
    groups = 12 if name == "_MOST_OF_A_TREE" else 9
    wanted = tuple(group(f"_{number}", A_PORT) for number in range(groups))
    ways = perm(30, groups)
    with pytest.MonkeyPatch.context() as patch:
        if name == "_MOST":
            patch.setattr(drawing, "MOST_OF_A_TREE", ways)
            patch.setattr(at_random, "MOST", ways + 1)
        else:
            assert ways > drawing.MOST_OF_A_TREE
        request = CandidateRequest(wanted, "isolate", limit=4)
        found = search(index_of(*records), request, RANDOM)
    assert len(set(all_said(found))) == 4


@each("steps", range(200, 420))
def test_drawn_hosts_are_given_as_far_as_the_steps_go(steps: int) -> None:
    index, request = case("hosts")
    work = Work()
    settings = SearchSettings(randomize=True, step_limit=steps, truncate=True)
    found = search(index, request, settings, work=work)
    assert len(found.candidates) == len(found.summaries)
    default = search(index, request, replace(settings, randomize=False))
    assert len(found.candidates) == len(default.candidates)


@each("name", ["hosts", "ports", "two forms", "hosts and trees", "pools", "pools alone"])
@each("limit", [None, 9])
def test_what_the_steps_suffice_for_is_given(name: str, limit: int | None) -> None:
    index, request = case(name)
    everything, sizes = set(all_said(search(index, request))), set()
    for steps in range(300, 2_600, 23):
        work = Work()
        settings = SearchSettings(randomize=True, step_limit=steps, truncate=True)
        found = search(index, replace(request, limit=limit), settings, work=work)
        some = all_said(found)
        assert set(some) <= everything
        assert len(set(some)) == len(some) == len(found.candidates)
        assert found.found_nothing == (not some)
        assert written(found) == spelled(found.candidates)
        shown = {summary.uuid for summary in found.summaries}
        assert {uuid for item in found.candidates for uuid in item.allocations} <= shown
        sizes.add(len(some))
    assert len(sizes) > 2


def test_an_answer_says_how_large_it_is() -> None:
    for name in ("hosts", "two forms", "pools"):
        index, request = case(name)
        candidates = search(index, request, RANDOM).candidates
        few = search(index, replace(request, limit=1), RANDOM).candidates
        assert isinstance(candidates, PatternedCandidates)
        assert isinstance(few, PatternedCandidates)
        assert candidates.size > few.size + 36 * (len(candidates) - 1)
        assert list(islice(candidates, 2)) == list(candidates)[:2]


def test_trees_that_give_nothing_are_drawn_without_summaries() -> None:
    red = [provider(number, {"VCPU": 1}, traits=["RED"]) for number in range(1, 31)]
    request = CandidateRequest((group("1", required=[["RED"]]),), limit=20)
    result = search(index_of(*red), request, RANDOM)
    assert len({said(candidate) for candidate in result.candidates}) == 20
    assert result.summaries == ()
