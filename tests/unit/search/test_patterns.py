"""Texts of many trees are those of each tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from moorage.model.requests import CandidateRequest, Part, PatternedCandidates, SearchSettings, Template
from moorage.model.values import ProviderRecord
from moorage.search.index.block import Block
from moorage.search.index.index import Index
from moorage.search.match.outcomes import FEWEST, Stencil, of_alike, of_mixed
from tests.table import each
from tests.unit.search.builders import group, index_of, provider, search

HUNDRED_PERCENT = Template((b"<100% ", b" and ", b">,"), (1, 0))
TWICE = Template((b"[", b"|", b"],"), (0, 0))
PLAIN = Template((b"nobody,",), ())


def with_full_uuid(record: ProviderRecord) -> ProviderRecord:
    return replace(record, uuid=str(UUID(int=record.id)))


def pairs(count: int, *, full_uuids: bool = True) -> list[ProviderRecord]:
    """Trees of two."""
    found: list[ProviderRecord] = []
    for number in range(1, count + 1):
        root = provider(2 * number, {"VCPU": 4})
        found += [root, provider(2 * number + 1, {"VF": 4}, below=root)]
    return [with_full_uuid(record) for record in found] if full_uuids else found


def joined(parts: Sequence[Part]) -> bytes:
    return b"".join(parts)


@each("count", [1, FEWEST - 1, FEWEST, 20])
@each("full_uuids", [True, False])
def test_texts_made_together_are_those_made_one_by_one(count: int, full_uuids: bool) -> None:
    block = Block.of(pairs(count, full_uuids=full_uuids))
    stencil = Stencil([(HUNDRED_PERCENT, (0, 1)), (PLAIN, ()), (TWICE, (1,))])
    starts = block.trees.starts[:-1]
    expected = [
        b"<100%% %b and %b>,nobody,[%b|%b]," % (child, root, child, child)
        for root, child in block.uuids.reshape(count, 2).tolist()
    ]
    assert joined(of_alike(stencil, block, starts)) == joined(expected)
    assert [stencil.of_tree(block, start) for start in starts.tolist()] == expected
    other = Stencil([(PLAIN, ())])
    stencils = [other if place == 3 else stencil for place in range(count)]
    expected[3:4] = [b"nobody,"] * len(expected[3:4])
    assert of_mixed(stencils, block, starts) == expected


def test_a_text_without_holes_is_the_same_for_all() -> None:
    block = Block.of(pairs(FEWEST))
    stencil = Stencil([(PLAIN, ())])
    assert joined(of_alike(stencil, block, block.trees.starts[:-1])) == FEWEST * b"nobody,"


def test_one_short_uuid_among_many_keeps_its_length() -> None:
    records = pairs(FEWEST)
    records[5] = replace(records[5], uuid="0123456789abcdef0123456789abcdef")
    index = index_of(*records)
    assert not index.snapshot().blocks[0].has_full_uuids
    text = written(index, CandidateRequest((group("", {"VF": 1}),)))
    assert text.count(b"<") == FEWEST
    assert b"<0123456789abcdef0123456789abcdef>" in text


def written(index: Index, request: CandidateRequest, settings: SearchSettings | None = None) -> bytes:
    candidates = search(index, request, settings).candidates
    assert isinstance(candidates, PatternedCandidates)
    return joined(candidates.rendered("text", lambda pattern: Template((b"<", b">"), (0,))))


@pytest.mark.parametrize("busy", [2, 3, 40])
def test_trees_of_different_kinds_are_written_in_their_order(busy: int) -> None:
    """Every so many trees one of the two providers has no room."""
    found: list[ProviderRecord] = []
    for number in range(1, 41):
        root = provider(3 * number)
        used = {"VF": 4} if number % busy == 0 else {}
        ports = [
            provider(3 * number + 1, {"VF": 4}, below=root, used=used),
            provider(3 * number + 2, {"VF": 4}, below=root),
        ]
        found += [root, *ports]
    index = index_of(*map(with_full_uuid, found))
    request = CandidateRequest((group("", {"VF": 1}),))
    candidates = search(index, request).candidates
    assert written(index, request) == b"".join(
        b"<%b>" % uuid.encode() for candidate in candidates for uuid in candidate.allocations
    )
