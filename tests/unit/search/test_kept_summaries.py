from __future__ import annotations

import pytest

from moorage.model.requests import CandidateRequest, KeptSummaries, ProviderSummary, SearchSettings
from moorage.model.values import ProviderRecord
from moorage.search.index.index import Index
from moorage.search.match import answers as found
from tests.table import each
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


@each("limit", [None, 2, 3])
@each("randomize", [False, True])
def test_only_a_tree_that_has_changed_is_written_again(limit: int | None, randomize: bool) -> None:
    trees: list[ProviderRecord] = []
    for number in (10, 20, 30):
        root = provider(number, {"VCPU": 4})
        trees += [root, provider(number + 1, {"VF": 2}, below=root), provider(number + 2, below=root)]
    index, writer = index_of(*trees), Writer()
    wanted = CandidateRequest((group("", {"VCPU": 1, "VF": 1}),), limit=limit)
    settings = SearchSettings(randomize=randomize)

    def written() -> bytes:
        found = search(index, wanted, settings, seed=3).summaries
        assert isinstance(found, KeptSummaries)
        text = b"".join(found.rendered("text", writer))
        assert text == b"".join([f"<{item.uuid} {item.resources}>".encode() for item in found])
        return text

    first = written()
    shown = len(writer.written)
    assert shown == 3 * min(limit or 3, 3)
    assert written() == first
    assert len(writer.written) == shown
    for changed in (11, 21, 31):
        index.change_used({changed: {"VF": 1}})
        written()
    # Each tree that is shown was written again once, whole.
    assert len(writer.written) == 2 * shown


def test_providers_that_are_shown_without_their_trees_are_written_each_time() -> None:
    root = provider(1, {"VCPU": 4})
    index, writer = index_of(root, provider(2, {"VF": 2}, below=root)), Writer()
    wanted = CandidateRequest((group("", {"VCPU": 1}),), one_provider_per_tree=True)
    for times in (1, 2):
        found = search(index, wanted).summaries
        assert isinstance(found, KeptSummaries)
        assert found.rendered("text", writer) == [b"<p1 {'VCPU': (4, 0)}>"]
        assert (len(found), [item.uuid for item in found]) == (1, ["p1"])
        assert writer.written == times * ["p1"]


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
