"""What is remembered of requests changes neither an answer nor what it counts."""

from __future__ import annotations

from random import Random

import pytest

from moorage.model.errors import SearchLimitError
from moorage.model.requests import CandidateRequest, SearchResult, SearchSettings
from moorage.model.values import SHARING_TRAIT, ProviderRecord
from moorage.search import memory as memory_module
from moorage.search.block import MOST_FINDINGS, Block, Finding
from moorage.search.candidates import Work, find
from moorage.search.forms import Forms
from moorage.search.index import MOST_ENTRIES, Index
from moorage.search.memory import Memory
from moorage.search.plan import Plan
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
    return result, work.asked + work.trees + work.steps + work.placed


LARGE_SHARES = CandidateRequest((group("_1", {"VF": 5}), group("_2", {"VF": 5})), group_policy="none")
"""After the last way to serve it there is one more to try, in vain."""


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize(
    "request_",
    [*map(limited, [None, 1, 3, 4, 5, 9, 1000]), LARGE_SHARES, CandidateRequest((group("", {"VCPU": 1}),))],
)
@pytest.mark.parametrize("nested", [True, False])
def test_a_search_with_memory_finds_and_counts_what_one_without_does(
    request_: CandidateRequest, truncate: bool, nested: bool
) -> None:
    records = hosts(5, full=3)
    index = index_of(*(records if nested else records[::3]))
    request, memory = request_, Memory()
    limits = [SearchSettings(step_limit=steps, truncate=truncate) for steps in (-1, *range(1, 90))]
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


def test_equal_requests_are_known_as_objects_so_each_has_its_own_forms() -> None:
    index, memory = index_of(*hosts(3)), Memory()
    other = CandidateRequest((group("_2", {"VF": 1}), group("_1", {"VF": 2})), group_policy="none")
    for _ in range(2):
        for request in (TWO_PORTS, limited(None), other):
            assert asked(index, request, SearchSettings(), memory) == asked(
                index, request, SearchSettings(), None
            )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOST_REQUESTS", 1),
        ("MOST_OUTCOMES", 3),
        ("MOST_OUTCOMES_OF_KIND", 1),
        ("MOST_KEY_BYTES", 1),
        ("MOST_PATTERNS", 1),
    ],
)
def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, name: str, value: int) -> None:
    monkeypatch.setattr(memory_module, name, value)
    index, memory = index_of(*hosts(5, full=2)), Memory()
    expected = asked(index, TWO_PORTS, SearchSettings(), None)
    for request in (TWO_PORTS, limited(None), TWO_PORTS):
        assert asked(index, request, SearchSettings(), memory) == expected
        assert len(memory._known) <= 2


def test_a_longer_beginning_replaces_a_shorter_one_and_all_replaces_both() -> None:
    index, memory = index_of(*hosts(2)), Memory()
    for most in (1, 2, 1, 1000, 2):
        settings = SearchSettings(max_candidates=most)
        assert asked(index, TWO_PORTS, settings, memory) == asked(index, TWO_PORTS, settings, None)
    [(_, knowledge)] = memory._known.values()
    [kind] = knowledge.kinds.values()
    assert kind.complete
    assert len(kind.outcomes) == 4


def test_a_pattern_that_two_threads_need_at_once_is_one_pattern() -> None:
    forms = Forms(TWO_PORTS, [])
    assert [forms.numbered(()) for _ in range(2)] == [0, 0]
    assert len(forms.patterns) == 1


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Block]:
    """Blocks in their order whose providers were asked."""
    found: list[Block] = []
    real = Plan._finding

    def finding(plan: Plan, block: Block) -> Finding:
        found.append(block)
        return real(plan, block)

    monkeypatch.setattr(Plan, "_finding", finding)
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


def test_only_what_was_asked_last_is_kept_with_a_block(looks: list[Block]) -> None:
    index, memory = index_of(provider(1, {"VCPU": 4})), Memory()
    requests = [CandidateRequest((group("", {"VCPU": 1}),)) for _ in range(MOST_FINDINGS + 1)]
    for request in requests:
        asked(index, request, SearchSettings(), memory)
    looks.clear()
    asked(index, requests[-1], SearchSettings(), memory)
    assert not looks
    asked(index, requests[0], SearchSettings(), memory)
    assert len(looks) == 1


def test_where_providers_share_blocks_are_asked_each_time(looks: list[Block]) -> None:
    share = provider(1, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"])
    index, memory = index_of(share, provider(2, {"VCPU": 4}, aggregates=["a"])), Memory()
    request = CandidateRequest((group("", {"VCPU": 1, "DISK_GB": 1}),))
    for _ in range(2):
        result, _ = asked(index, request, SearchSettings(), memory)
        assert result is not None
        assert len(result.candidates) == 1
    assert len(looks) == 2
