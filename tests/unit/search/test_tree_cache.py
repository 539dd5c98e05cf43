"""What is remembered of requests changes neither an answer nor what it counts."""

from __future__ import annotations

from random import Random

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
from moorage.search.index.block import Block
from moorage.search.index.index import MOST_ENTRIES, Index
from moorage.search.match import outcomes as memory_module
from moorage.search.match.candidates import Work, find
from moorage.search.match.outcomes import Forms, Knowledge, Memory
from moorage.search.match.plan import (
    FINDING_BYTES,
    FINDINGS_BYTES_PER_ENTRY,
    MOST_FINDINGS,
    BlockFinding,
    Plan,
)
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
    assert not known_of(memory, TWO_PORTS).kinds


def test_trees_that_are_not_remembered_have_texts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MOST_OUTCOMES_OF_KIND", 0)
    index, memory = index_of(*hosts(3)), Memory()
    result, _ = asked(index, TWO_PORTS, SearchSettings(), memory)
    assert result is not None
    assert isinstance(result.candidates, PatternedCandidates)
    texts = result.candidates.rendered("text", lambda pattern: Template((b"<", b">"), (0,)))
    assert b"".join(texts) == b"".join(b"<p%d0>" % number for number in (1, 2, 3) for _ in range(4))
    assert not known_of(memory, TWO_PORTS).kinds


@pytest.mark.parametrize("most", [0, 60_000, 120_000])
def test_what_is_remembered_is_bounded(most: int) -> None:
    index, memory = index_of(*hosts(5, full=2)), Memory(most)
    settings = SearchSettings()
    for limit in range(1, 20):
        request = limited(limit)
        assert asked(index, request, settings, memory) == asked(index, request, settings, None)
        assert memory.size <= most
    assert bool(memory.size) is bool(most)


def known_of(memory: Memory, request: CandidateRequest) -> Knowledge:
    known = memory.of(request)
    assert known is not None
    return known


def test_equal_requests_are_one_whoever_made_them() -> None:
    index, memory = index_of(*hosts(2)), Memory()
    for _ in range(2):
        asked(index, limited(7), SearchSettings(), memory)
    assert len(memory._known) == 1


def test_a_longer_beginning_replaces_a_shorter_one_and_all_replaces_both() -> None:
    index, memory = index_of(*hosts(2)), Memory()
    for most in (1, 2, 1, 1000, 2):
        settings = SearchSettings(max_candidates=most)
        assert asked(index, TWO_PORTS, settings, memory) == asked(index, TWO_PORTS, settings, None)
    [kind] = known_of(memory, TWO_PORTS).kinds.values()
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

    def finding(plan: Plan, block: Block) -> BlockFinding:
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
    requests = [CandidateRequest((group("", {"VCPU": 1}),), limit=1 + n) for n in range(MOST_FINDINGS + 1)]
    for request in requests:
        asked(index, request, SearchSettings(), memory)
    looks.clear()
    asked(index, requests[-1], SearchSettings(), memory)
    assert not looks
    asked(index, requests[0], SearchSettings(), memory)
    assert len(looks) == 1


def test_what_is_kept_with_a_block_is_bounded_in_bytes(looks: list[Block]) -> None:
    count = 100
    index, memory = index_of(*(provider(number, {"VCPU": 4}) for number in range(1, count + 1))), Memory()
    [block] = index.snapshot().blocks
    most = MOST_FINDINGS * FINDING_BYTES + FINDINGS_BYTES_PER_ENTRY * count
    for groups in (1, 20, 40, 200, 20, 200, 1):
        wanted = tuple(group(f"_{number}", {"VCPU": 1}) for number in range(groups))
        request = CandidateRequest(wanted, group_policy="none", limit=1)
        asked(index, request, SearchSettings(), memory)
        assert sum([finding.size for _, finding in block.findings]) <= most
    assert [len(finding.own) for _, finding in block.findings] == [40, 20, 1]
    # What is too large is sought each time, and pushes nothing out.
    assert len(looks) == 5


def test_where_providers_share_blocks_are_asked_each_time(looks: list[Block]) -> None:
    share = provider(1, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"])
    index, memory = index_of(share, provider(2, {"VCPU": 4}, aggregates=["a"])), Memory()
    request = CandidateRequest((group("", {"VCPU": 1, "DISK_GB": 1}),))
    for _ in range(2):
        result, _ = asked(index, request, SearchSettings(), memory)
        assert result is not None
        assert len(result.candidates) == 1
    assert len(looks) == 2
