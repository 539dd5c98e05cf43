"""A search does no more than its answer needs, and never more than it may."""

from __future__ import annotations

from random import Random

import pytest

from moorage.api.placement import allocation_candidates as candidate_body
from moorage.model.errors import SearchLimitError
from moorage.model.requests import CandidateRequest, RequestGroup, SearchSettings
from moorage.model.values import SHARING_TRAIT, ProviderRecord
from moorage.search.index.block import Block
from moorage.search.index.columns import Mask
from moorage.search.index.index import MOST_ENTRIES, Index
from moorage.search.match.candidates import Work, find, providers_matching
from moorage.search.match.filters import LOOK_AFTER, HasAny, meeting_all
from tests.table import each
from tests.unit.search.builders import group, index_of, provider, search

A_VCPU = {"VCPU": 1}

FIRST_STEPS, STEPS_OF_A_HOST = 314, 8
"""What a search for a class takes before its first candidate, and what each host takes."""

MOST_AT_ONCE = 400
"""Steps that a small search counts together before it looks at its limit."""

MANY = 3 * MOST_ENTRIES
"""Hosts that fill several blocks."""


def test_the_default_limit_is_far_above_the_largest_ordinary_search() -> None:
    """And not higher than what takes 0.8 s of CPU: docs/explanation/search.md has the figures."""
    index = index_of(*[provider(number, A_VCPU) for number in range(1, 2_001)])
    work = Work()
    found = find(index.snapshot(), CandidateRequest((group("", A_VCPU),)), SearchSettings(), Random(0), work)
    candidate_body.encoded(found, frozenset(), 39)
    assert len(found.candidates) == 2_000
    # All of 10,000 hosts is the largest search of the benchmarks.
    assert 10 * 5 * work.done < SearchSettings().step_limit
    # The loop with the longest steps takes a third of a microsecond for each.
    assert SearchSettings().step_limit * 0.36 <= 800_000


@pytest.fixture(scope="module")
def hosts() -> Index:
    """Hosts in several blocks; the last one alone is large, RED and in an aggregate."""
    last = provider(MANY, {"VCPU": 64, "VF": 1}, traits=["RED"], aggregates=["a"])
    return index_of(*(provider(number, {"VCPU": 4}) for number in range(1, MANY)), last)


def blocks_for(index: Index, request: CandidateRequest) -> int:
    work = Work()
    search(index, request, work=work)
    return work.blocks


def test_with_a_limit_no_more_blocks_are_looked_at_than_are_needed(hosts: Index) -> None:
    assert blocks_for(hosts, CandidateRequest((group("", A_VCPU),), limit=10)) == 1
    assert blocks_for(hosts, CandidateRequest((group("", A_VCPU),), limit=MOST_ENTRIES + 1)) > 1


@each(
    "wanted",
    [
        group("", {"VCPU": 5}),
        group("1", {"VCPU": 5}),
        group("", {"VF": 1}),
        group("", A_VCPU, required=[["RED"]]),
        group("1", A_VCPU, required=[["RED", "BLUE"]]),
        group("", A_VCPU, member_of=[["a"]]),
        group("1", A_VCPU, member_of=[["a", "b"]]),
        group("", A_VCPU, in_tree=f"p{MANY}"),
        group("1", A_VCPU, in_tree=f"p{MANY}"),
    ],
)
def test_blocks_in_which_nobody_can_serve_are_not_looked_at(hosts: Index, wanted: RequestGroup) -> None:
    request = CandidateRequest((wanted,), limit=10)
    assert blocks_for(hosts, request) == 1
    assert len(search(hosts, request).candidates) == 1
    assert providers_matching(hosts.snapshot(), wanted) == [MANY]


def test_blocks_without_a_root_that_is_wanted_are_not_looked_at(hosts: Index) -> None:
    request = CandidateRequest((group("", A_VCPU),), root_required=frozenset(["RED"]))
    assert blocks_for(hosts, request) == 1
    assert len(search(hosts, request).candidates) == 1


def test_a_search_for_what_nobody_has_looks_at_nothing(hosts: Index) -> None:
    for wanted in (group("", {"VCPU": 65}), group("", {"MEMORY_MB": 1}), group("1", required=[["FAST"]])):
        assert blocks_for(hosts, CandidateRequest((wanted,))) == 0


def test_trees_far_from_a_provider_that_shares_find_nothing() -> None:
    near = provider(1, {"VCPU": 1}, aggregates=["a"])
    far = [provider(number, {"VCPU": 1}) for number in range(2, MANY)]
    share = provider(MANY, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"])
    result = search(index_of(near, *far, share), CandidateRequest((group("", {"VCPU": 1, "DISK_GB": 1}),)))
    assert [dict(candidate.allocations) for candidate in result.candidates] == [
        {"p1": {"VCPU": 1}, f"p{MANY}": {"DISK_GB": 1}}
    ]


def test_stages_count_blocks_that_were_not_looked_at_too(hosts: Index) -> None:
    result = search(hosts, CandidateRequest((group("1", {"VCPU": 4}, required=[["RED"]]),), limit=1))
    assert [(stage.step, stage.left) for stage in result.stages][:2] == [
        ("VCPU:4", MANY),
        ("required RED", 1),
    ]
    assert len(result.stages) == 4
    assert result.stages[1:2] == (result.stages[1],)
    assert result.stages != 4


def nested(count: int, used: int = 0) -> list[ProviderRecord]:
    found: list[ProviderRecord] = []
    for number in range(1, count + 1):
        root = provider(10 * number, {"VCPU": 4}, used={"VCPU": used * number})
        found += [root, *(provider(10 * number + port, {"VF": 8}, below=root) for port in (1, 2))]
    return found


TWO_PORTS = CandidateRequest((group("_1", {"VF": 1}), group("_2", {"VF": 1})), group_policy="none")


def test_what_was_found_in_one_tree_is_not_sought_again_in_those_alike() -> None:
    one, many = Work(), Work()
    assert len(search(index_of(*nested(1)), TWO_PORTS, work=one).candidates) == 4
    assert len(search(index_of(*nested(50, used=1)), TWO_PORTS, work=many).candidates) == 200
    assert (many.trees, many.steps) == (50, one.steps)


def test_a_replay_goes_on_where_the_first_one_stopped() -> None:
    index = index_of(*nested(3))
    settings = SearchSettings(breadth_first=True)
    result = search(index, TWO_PORTS, settings)
    assert len(result.candidates) == 12
    assert set(map(repr, result.candidates)) == set(map(repr, search(index, TWO_PORTS).candidates))


def test_who_needs_more_steps_than_there_are_is_refused() -> None:
    index = index_of(*(provider(number, {"VCPU": 4}) for number in range(1, 100)))
    with pytest.raises(SearchLimitError) as refused:
        search(index, CandidateRequest((group("", A_VCPU),)), SearchSettings(step_limit=100))
    assert refused.value.limit == 100
    assert (
        len(search(index, CandidateRequest((group("", A_VCPU),)), SearchSettings(step_limit=-1)).candidates)
        == 99
    )
    assert (
        len(
            search(index, CandidateRequest((group("", A_VCPU),)), SearchSettings(step_limit=1_106)).candidates
        )
        == 99
    )


@each("breadth_first", [False, True])
@each("randomize", [False, True])
@each(
    "request_",
    [
        CandidateRequest((group("", A_VCPU),)),
        TWO_PORTS,
        CandidateRequest(TWO_PORTS.groups, group_policy="isolate"),
    ],
)
def test_who_needs_more_steps_is_given_what_was_found_if_so_set(
    request_: CandidateRequest, breadth_first: bool, randomize: bool
) -> None:
    index = index_of(*nested(20))
    # A search that draws from all candidates counts them first, with half of the steps, and all patterns.
    limit = 1_200 if randomize and request_ == TWO_PORTS else 700
    settings = SearchSettings(-1, breadth_first, randomize, step_limit=limit, truncate=True)
    work = Work()
    found = search(index, request_, settings, work=work).candidates
    assert 0 < len(found) < len(search(index, request_).candidates)
    assert work.done <= limit + MOST_AT_ONCE


def test_what_is_shown_counts_by_what_is_written_of_it() -> None:
    traits = ["RED", "BLUE", "FAST"]
    offers = {"VCPU": 4, "VF": 4, "DISK_GB": 4}
    others = [provider(number, {"MEMORY_MB": 4}) for number in range(2, 81, 2)]
    plain = [provider(number, {"VCPU": 4}) for number in range(1, 80, 2)]
    rich = [provider(number, offers, traits=traits) for number in range(1, 80, 2)]
    for beside in ([], others):
        few, many = Work(), Work()
        request = CandidateRequest((group("", A_VCPU),))
        assert len(search(index_of(*plain, *beside), request, work=few).candidates) == 40
        assert len(search(index_of(*rich, *beside), request, work=many).candidates) == 40
        # Three classes with two amounts each, and three traits, in place of one class.
        assert many.done == few.done + 40 * (9 // 2 - 2 // 2)


@each("limit", range(10, 700, 5))
def test_hosts_are_given_as_far_as_the_steps_go(limit: int) -> None:
    index = index_of(*(provider(number, {"VCPU": 4}) for number in range(1, 60)))
    settings = SearchSettings(step_limit=limit, truncate=True)
    work = Work()
    found = search(index, CandidateRequest((group("", A_VCPU),)), settings, work=work)
    assert len(found.candidates) == len(found.summaries) == max(0, (limit - FIRST_STEPS) // STEPS_OF_A_HOST)
    assert work.done <= limit + MOST_AT_ONCE


def test_a_tree_that_alone_has_more_ways_than_there_are_steps_is_bounded_too() -> None:
    root = provider(1, {"VCPU": 4})
    index = index_of(root, *(provider(number, {"VF": 1}, below=root) for number in range(2, 14)))
    request = CandidateRequest(
        tuple(group(f"_{number}", {"VF": 1}) for number in range(12)), group_policy="isolate"
    )
    settings = SearchSettings(step_limit=4_000, truncate=True)
    assert len(search(index, request, settings).candidates) == 46
    with pytest.raises(SearchLimitError):
        search(index, request, SearchSettings(step_limit=4_000))


def test_dead_ends_are_bounded_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eleven times 3 do not go into ten times 5, which takes longer to see without a memory."""
    root = provider(1)
    index = index_of(root, *(provider(number, {"VF": 5}, below=root) for number in range(2, 8)))
    wanted = [group(f"_{number}", {"VF": 3}) for number in range(7)] + [group("_small", {"VF": 1})]
    request = CandidateRequest(tuple(wanted), group_policy="none")
    with_memory, without = Work(), Work()
    search(index, request, work=with_memory)
    monkeypatch.setattr("moorage.search.match.tree.MOST_DEAD_ENDS", 0)
    assert not search(index, request, work=without).candidates
    assert without.steps > with_memory.steps


@each(("traits", "most"), [(1, 2 * LOOK_AFTER), (500, 500)])
def test_thousands_of_conditions_take_no_longer_than_those_that_leave_nothing(traits: int, most: int) -> None:
    names = [f"T{number}" for number in range(500)]
    holders = [
        provider(1, {"VCPU": 1}, traits=names[:traits]),
        provider(2, {"VCPU": 1}, traits=names[traits:]),
    ]
    block = index_of(*holders).snapshot().blocks[0]
    taken = 0

    class Counted(HasAny):
        def mask(self, block: Block) -> Mask:
            nonlocal taken
            taken += 1
            return super().mask(block)

    left = meeting_all(block, [Counted(frozenset([name])) for name in names])
    assert taken <= most
    assert int(left.sum()) == (traits == 500)
