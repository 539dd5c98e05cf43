from __future__ import annotations

import pytest

from moorage.model.requests import CandidateRequest, KeptSummaries, ProviderSummary
from moorage.search.index.index import Index
from moorage.search.match import answers as found
from tests.unit.search.builders import group, index_of, provider, search


class Writer:
    """Writes summaries, and counts how many."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def __call__(self, summary: ProviderSummary) -> bytes:
        self.written.append(summary.uuid)
        return f"<{summary.uuid} {summary.resources}>".encode()


def write_all(index: Index, writer: Writer, form: str = "text") -> list[bytes]:
    summaries = search(index, CandidateRequest((group("", {"VCPU": 1}),))).summaries
    assert isinstance(summaries, KeptSummaries)
    return summaries.rendered(form, writer)


def test_what_is_written_of_a_provider_is_kept_until_it_changes() -> None:
    index = index_of(*(provider(number, {"VCPU": 4}) for number in (1, 2, 3)))
    writer = Writer()
    first = write_all(index, writer)
    assert write_all(index, writer) == first
    assert writer.written == ["p1", "p2", "p3"]
    index.replace_trees([2], [provider(2, {"VCPU": 4}, used={"VCPU": 1})])
    again = write_all(index, writer)
    assert writer.written == ["p1", "p2", "p3", "p2"]
    assert again[1] == b"<p2 {'VCPU': (4, 1)}>"
    assert [again[0], again[2]] == [first[0], first[2]]


def test_each_form_is_kept_for_itself() -> None:
    index = index_of(provider(1, {"VCPU": 4}))
    writer = Writer()
    write_all(index, writer)
    write_all(index, writer, "other")
    assert writer.written == ["p1", "p1"]


def test_an_answer_of_before_a_change_does_not_spoil_what_comes_after() -> None:
    index = index_of(provider(1, {"VCPU": 4}))
    before = search(index, CandidateRequest((group("", {"VCPU": 1}),))).summaries
    index.replace_trees([1], [provider(1, {"VCPU": 4}, used={"VCPU": 1})])
    assert isinstance(before, KeptSummaries)
    assert before.rendered("text", Writer()) == [b"<p1 {'VCPU': (4, 0)}>"]
    assert write_all(index, Writer()) == [b"<p1 {'VCPU': (4, 1)}>"]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    index = index_of(*(provider(number, {"VCPU": 4}) for number in (1, 2, 3)))
    writer = Writer()
    texts = write_all(index, writer)
    size = sum([found.TEXT_BYTES + len(text) for text in texts])
    assert index.snapshot().shelf.size == size
    monkeypatch.setattr(found, "KEPT_BYTES", size + 1)
    index.replace_trees([2], [provider(2, {"VCPU": 4}, used={"VCPU": 1})])
    write_all(index, writer)
    assert index.snapshot().shelf.size == 0
    assert [block.kept for block in index.snapshot().blocks] == [{}]


def test_when_all_goes_it_goes_from_blocks_that_have_changed_meanwhile_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = index_of(*(provider(number, {"VCPU": 4}) for number in (1, 2, 3)))
    write_all(index, Writer())
    older = search(index, CandidateRequest((group("", {"VCPU": 1}),))).summaries
    index.replace_trees([2], [provider(2, {"VCPU": 4}, used={"VCPU": 1})])
    assert index.snapshot().blocks[0].kept
    monkeypatch.setattr(found, "KEPT_BYTES", 1)
    assert isinstance(older, KeptSummaries)
    older.rendered("another form", Writer())
    assert not index.snapshot().blocks[0].kept


def test_an_answer_can_be_told_without_making_its_parts() -> None:
    result = search(index_of(provider(1, {"VCPU": 4})), CandidateRequest((group("", {"VCPU": 1}),)))
    assert (len(result.candidates), len(result.summaries)) == (1, 1)
    assert result.candidates[0].mappings == {"": ("p1",)}
    assert result.candidates[:1] == result.candidates
    assert result.candidates != 1
    assert "p1" in repr(result.summaries)
