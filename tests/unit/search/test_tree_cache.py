"""What is remembered of requests changes neither an answer nor what it counts."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from moorage.model.errors import SearchLimitError
from moorage.model.requests import (
    CandidateRequest,
    PatternedCandidates,
    SearchResult,
    SearchSettings,
    Template,
)
from moorage.model.values import SHARING_TRAIT, ProviderRecord
from moorage.search.index.block import FINDINGS_BYTES, FINDINGS_BYTES_PER_ENTRY, Block
from moorage.search.index.index import MOST_ENTRIES, Index, Snapshot
from moorage.search.match import outcomes as memory_module
from moorage.search.match.candidates import Work, find
from moorage.search.match.division import Division
from moorage.search.match.outcomes import Forms, KnownKinds, Memory
from moorage.search.match.plan import BlockFinding, Plan
from tests.table import each
from tests.unit.search.builders import group, index_of, provider


def hosts(count: int, *, full: int = 0) -> list[ProviderRecord]:
    """Hosts with two ports each; one port of every ``full``th has no room."""
    found: list[ProviderRecord] = []
    for number in range(1, count + 1):
        root = provider(10 * number, {"VCPU": 4})
        busy = {"VF": 8} if full and number % full == 0 else {}
        ports = [provider(10 * number + port, {"VF": 8}, below=root, used=busy) for port in (1,)]
        found += [root, *ports, provider(10 * number + 2, {"VF": 8}, below=root)]
    return found


TWO_PORTS = CandidateRequest(
    (group("", {"VCPU": 1}), group("_1", {"VF": 1}), group("_2", {"VF": 1})), group_policy="none"
)


def limited(limit: int | None) -> CandidateRequest:
    return CandidateRequest(TWO_PORTS.groups, group_policy="none", limit=limit)


def asked(
    index: Index, request: CandidateRequest, settings: SearchSettings, memory: Memory | None
) -> tuple[SearchResult | None, int]:
    """The answer, None for a refusal, and the steps of it."""
    work = Work()
    try:
        result = find(index.snapshot(), request, settings, Random(0), work, memory)
    except SearchLimitError:
        return None, 0
    return result, work.done


LARGE_SHARES = CandidateRequest((group("_1", {"VF": 5}), group("_2", {"VF": 5})), group_policy="none")
"""After the last way to serve it there is one more to try, in vain."""


@pytest.mark.slow
@each("truncate", [False, True])
@each(
    "request_",
    [*map(limited, [None, 1, 3, 4, 5, 9, 1000]), LARGE_SHARES, CandidateRequest((group("", {"VCPU": 1}),))],
)
@each("nested", [True, False])
def test_a_search_with_memory_finds_and_counts_what_one_without_does(
    request_: CandidateRequest, truncate: bool, nested: bool
) -> None:
    records = hosts(5, full=3)
    index = index_of(*(records if nested else records[::3]))
    request, memory = request_, Memory()
    limits = [SearchSettings(step_limit=steps, truncate=truncate) for steps in (-1, *range(1, 1_600, 37))]
    all_without = [asked(index, request, settings, None) for settings in limits]
    for _ in range(2):
        for settings, without in zip(limits, all_without, strict=True):
            again = asked(index, request, settings, memory)
            assert again[0] == without[0]
            if without[0] is not None and not truncate:
                assert again == without


def test_what_is_remembered_holds_after_changes() -> None:
    index, memory = index_of(*hosts(5)), Memory()
    settings = SearchSettings()
    first, _ = asked(index, TWO_PORTS, settings, memory)
    index.replace_trees([record.root_id for record in hosts(5)], hosts(5, full=2))
    second, _ = asked(index, TWO_PORTS, settings, memory)
    assert second == asked(index, TWO_PORTS, settings, None)[0] != first


def test_groups_in_another_order_have_forms_of_their_own() -> None:
    index, memory = index_of(*hosts(3)), Memory()
    other = CandidateRequest((group("_2", {"VF": 1}), group("_1", {"VF": 2})), group_policy="none")
    for _ in range(2):
        for request in (TWO_PORTS, limited(None), other):
            assert asked(index, request, SearchSettings(), memory) == asked(
                index, request, SearchSettings(), None
            )


@pytest.mark.parametrize("name", ["MOST_OUTCOMES_OF_KIND", "MOST_KEY_BYTES"])
def test_trees_that_are_hardly_met_again_are_not_remembered(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(memory_module, name, 0)
    index, memory = index_of(*hosts(5, full=2)), Memory()
    assert asked(index, TWO_PORTS, SearchSettings(), memory) == asked(
        index, TWO_PORTS, SearchSettings(), None
    )
    assert not len(kinds_of(memory, TWO_PORTS))


def test_trees_that_are_not_remembered_have_texts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MOST_OUTCOMES_OF_KIND", 0)
    index, memory = index_of(*hosts(3)), Memory()
    result, _ = asked(index, TWO_PORTS, SearchSettings(), memory)
    assert result is not None
    assert isinstance(result.candidates, PatternedCandidates)
    texts = result.candidates.rendered("text", lambda pattern: Template((b"<", b">"), (0,)))
    assert b"".join(texts) == b"".join(b"<p%d0>" % number for number in (1, 2, 3) for _ in range(4))
    assert not len(kinds_of(memory, TWO_PORTS))


@pytest.mark.parametrize("most", [0, 60_000, 120_000])
def test_what_is_remembered_is_bounded(most: int) -> None:
    index, memory = index_of(*hosts(5, full=2)), Memory(most)
    settings = SearchSettings()
    for limit in range(1, 20):
        request = limited(limit)
        assert asked(index, request, settings, memory) == asked(index, request, settings, None)
        assert memory.size <= most
    for amount in range(2, 20):
        request = CandidateRequest((group("", {"VCPU": 1}), group("_1", {"VF": amount})))
        assert asked(index, request, settings, memory) == asked(index, request, settings, None)
        assert memory.size <= most
    assert bool(memory.size) is bool(most)


def kinds_of(memory: Memory, request: CandidateRequest) -> KnownKinds:
    """The kinds that ``memory`` has for a request, which is known."""
    assert memory.of(request) is not None
    return memory.kinds_of(Plan(index_of(*hosts(1)).snapshot(), request))


def test_equal_requests_are_one_whoever_made_them_and_whatever_their_limit() -> None:
    index, memory = index_of(*hosts(2)), Memory()
    for _ in range(2):
        asked(index, limited(7), SearchSettings(), memory)
    known = memory.of(limited(7))
    asked(index, limited(8), SearchSettings(), memory)
    assert memory.of(limited(8)) is known is not None
    # One for the request, and one for its structure.
    assert len(memory._known) == 2


def flavor(port: int, traits: tuple[str, ...] = (), *, policy: str = "isolate") -> CandidateRequest:
    wanted = tuple(frozenset([name]) for name in traits)
    groups = (group("_1", {"VF": port}, required=wanted), group("_2", {"VF": 1}))
    return CandidateRequest(groups, group_policy=policy)


def test_flavors_that_differ_in_amounts_share_the_kinds_of_trees() -> None:
    index, memory = index_of(*hosts(5, full=3)), Memory()
    for port in (1, 2, 3):
        assert asked(index, flavor(port), SearchSettings(), memory) == asked(
            index, flavor(port), SearchSettings(), None
        )
    assert kinds_of(memory, flavor(1)) is kinds_of(memory, flavor(3))
    assert len(kinds_of(memory, flavor(1))) == 2


def test_flavors_that_ask_twice_of_one_provider_share_none() -> None:
    index, memory = index_of(*hosts(5, full=3)), Memory()
    for port in (1, 8):
        request = flavor(port, policy="none")
        assert asked(index, request, SearchSettings(), memory) == asked(
            index, request, SearchSettings(), None
        )
    assert kinds_of(memory, flavor(1, policy="none")) is not kinds_of(memory, flavor(8, policy="none"))


def test_kinds_that_no_longer_fit_are_learnt_anew() -> None:
    index, memory = index_of(*hosts(5, full=2)), Memory()
    first = asked(index, TWO_PORTS, SearchSettings(), memory)
    kinds = kinds_of(memory, TWO_PORTS)
    memory._known.drop(Plan(index.snapshot(), TWO_PORTS).structure)
    assert asked(index, TWO_PORTS, SearchSettings(), memory) == first
    assert kinds_of(memory, TWO_PORTS) is not kinds


def test_a_longer_beginning_replaces_a_shorter_one_and_all_replaces_both() -> None:
    index, memory = index_of(*hosts(2)), Memory()
    for most in (1, 2, 1, 1000, 2):
        settings = SearchSettings(max_candidates=most)
        assert asked(index, TWO_PORTS, settings, memory) == asked(index, TWO_PORTS, settings, None)
    [kind] = kinds_of(memory, TWO_PORTS)._known.values()
    assert kind.complete
    assert len(kind.outcomes) == 4


def test_a_pattern_that_two_threads_need_at_once_is_one_pattern() -> None:
    forms = Forms(TWO_PORTS, [])
    first, second = [forms.made(()) for _ in range(2)]
    assert first is second is forms.pattern(())


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Block]:
    """Blocks in their order whose providers were asked."""
    found: list[Block] = []
    real = Plan.finding

    def finding(plan: Plan, block: Block) -> BlockFinding:
        found.append(block)
        return real(plan, block)

    monkeypatch.setattr(Plan, "finding", finding)
    return found


MANY = 3 * MOST_ENTRIES


def test_a_block_is_asked_again_only_when_it_has_changed(looks: list[Block]) -> None:
    index, memory = index_of(*(provider(number, {"VCPU": 4}) for number in range(1, MANY))), Memory()
    request = CandidateRequest((group("", {"VCPU": 1}),))
    first, count = asked(index, request, SearchSettings(), memory)
    blocks = list(index.snapshot().blocks)
    assert looks == blocks
    assert asked(index, request, SearchSettings(), memory) == (first, count)
    assert looks == blocks
    index.set_used([MANY // 2], {MANY // 2: {"VCPU": 4}})
    changed = [block for block in index.snapshot().blocks if block not in blocks]
    second, _ = asked(index, request, SearchSettings(), memory)
    assert looks == [*blocks, *changed]
    assert len(changed) == 1
    assert second is not None
    assert len(second.candidates) == MANY - 2


def test_a_block_that_is_passed_over_or_has_nobody_is_known_as_that(looks: list[Block]) -> None:
    index, memory = index_of(provider(1, {"VCPU": 4}), provider(2, {"VF": 1})), Memory()
    nobody = CandidateRequest((group("", {"VCPU": 1}), group("_1", {"VF": 1})), group_policy="none")
    for wanted, times in ((CandidateRequest((group("", {"VCPU": 5}),)), 0), (nobody, 1)):
        looks.clear()
        for _ in range(3):
            assert asked(index, wanted, SearchSettings(), memory) == asked(
                index, wanted, SearchSettings(), None
            )
        # Without a memory it is asked each time.
        assert len(looks) == times + 3 * times


def test_a_plan_is_made_anew_only_where_names_or_shares_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[CandidateRequest] = []
    real = Plan.__init__

    def plan(self: Plan, snapshot: Snapshot, request: CandidateRequest, *others: Any) -> None:
        made.append(request)
        real(self, snapshot, request, *others)

    monkeypatch.setattr(Plan, "__init__", plan)
    index, memory = index_of(*hosts(5)), Memory()

    def plans() -> int:
        made.clear()
        asked(index, TWO_PORTS, SearchSettings(), memory)
        return len(made)

    assert [plans(), plans()] == [1, 0]
    index.set_used([10], {11: {"VF": 8}})
    assert plans() == 0
    index.set_names(["VCPU", "VF", "CUSTOM_NEW"], ["RED", SHARING_TRAIT])
    assert [plans(), plans()] == [1, 0]
    index.replace_trees([1], [provider(1, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"])])
    assert [plans(), plans()] == [1, 1]


def of_groups(count: int, *, same_subtree: bool = False) -> CandidateRequest:
    wanted = tuple(group(f"_{number}", {"VCPU": 1}) for number in range(count))
    subtrees = (frozenset(["_0", "_1"]),) if same_subtree else ()
    return CandidateRequest(wanted, group_policy="none", limit=1, same_subtree=subtrees)


def test_what_is_kept_with_a_block_is_bounded_in_bytes(looks: list[Block]) -> None:
    count = 1_000
    index, memory = index_of(*(provider(number, {"VCPU": 4}) for number in range(1, count + 1))), Memory()
    [block] = index.snapshot().blocks
    for groups in (*range(60, 90), 60, 89, 300, 89, 300):
        asked(index, of_groups(groups), SearchSettings(), memory)
        assert block.findings.size <= FINDINGS_BYTES + FINDINGS_BYTES_PER_ENTRY * count
    # Those of 60 groups had to go. What is too large is sought each time, and drives nothing out.
    assert len(looks) == 30 + 1 + 2


def test_a_block_with_divided_trees_keeps_no_masks_and_finds_them_again(looks: list[Block]) -> None:
    index, memory = index_of(*hosts(40, full=3)), Memory()
    settings = SearchSettings()
    first = asked(index, TWO_PORTS, settings, memory)
    assert len(looks) == 1
    # Another request for the same: the trees are divided, and the ways of their kinds are known.
    assert asked(index, TWO_PORTS, settings, memory) == first
    assert len(looks) == 1
    memory._known.drop(Plan(index.snapshot(), TWO_PORTS).structure)
    assert asked(index, TWO_PORTS, settings, memory) == first
    assert len(looks) == 2


@each("limit", [64, 90, 100, 117, 118, 119, 127, 128, None])
@each("steps", [-1, 600, 1_500, 3_000])
def test_trees_that_are_taken_at_once_count_as_trees_one_by_one(limit: int | None, steps: int) -> None:
    index, memory = index_of(*hosts(40, full=3)), Memory()
    settings = SearchSettings(step_limit=steps)
    without = asked(index, limited(limit), settings, None)
    for known in (1, 80, None):
        asked(index, limited(known), SearchSettings(), memory)
        assert asked(index, limited(limit), settings, memory) == without


def test_kinds_that_an_earlier_block_had_count_once() -> None:
    records, memory, index = hosts(80, full=3), Memory(), Index()
    index.set_names(["VCPU", "VF"], [])
    for half in (records[:120], records[120:]):
        index.append(Block.of(half))
    for _ in range(2):
        assert asked(index, TWO_PORTS, SearchSettings(), memory) == asked(
            index, TWO_PORTS, SearchSettings(), None
        )


def test_trees_are_divided_by_their_keys() -> None:
    division = Division.of([3, 5, 8, 9], [b"xy", b"z", b"xy", b"xy"])
    assert division.codes.tolist() == [0, 1, 0, 0]
    assert (division.keys, division.firsts, division.sizes) == ([b"xy", b"z"], [3, 5], [3, 1])


def test_where_providers_share_blocks_are_asked_each_time(looks: list[Block]) -> None:
    share = provider(1, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"])
    index, memory = index_of(share, provider(2, {"VCPU": 4}, aggregates=["a"])), Memory()
    request = CandidateRequest((group("", {"VCPU": 1, "DISK_GB": 1}),))
    for _ in range(2):
        result, _ = asked(index, request, SearchSettings(), memory)
        assert result is not None
        assert len(result.candidates) == 1
    assert len(looks) == 2
