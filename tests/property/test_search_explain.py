from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from moorage.model.explanations import AskTerm, ExplainRequest, Explanation
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import SHARING_TRAIT, Inventory, ProviderRecord
from moorage.search.explain.explanation import explain
from moorage.search.explain.terms import Terms
from moorage.search.index.index import Index
from tests.oracle.candidates import Canonical, Oracle, canonical
from tests.oracle.explain import Measure, Trees, after, emptied, only, relaxed, with_amount, without
from tests.property.strategies_search import CLASSES, TRAITS, crowded, examples, forests, requests

pytestmark = pytest.mark.slow

ALL = ExplainRequest(nearest=20, relaxations=100, alternatives=3)
MOST_WAYS = 3_000
"""Ways of a tree that the twin measures one by one."""


def index_of(records: Iterable[ProviderRecord]) -> Index:
    kept = list(records)
    index = Index()
    index.set_names(CLASSES, TRAITS)
    index.replace_trees({record.root_id for record in kept}, kept)
    return index


def explained(records: Sequence[ProviderRecord], request: CandidateRequest) -> Explanation:
    found = explain(index_of(records).snapshot(), request, ALL)
    assert found.exact
    return found


def terms_of(found: Explanation) -> list[AskTerm]:
    return [counted.term for counted in found.constraints]


def flattened(records: list[ProviderRecord]) -> list[ProviderRecord]:
    """The same providers, each a tree of its own that shares nothing."""
    return [
        replace(
            record,
            parent_id=None,
            root_id=record.id,
            traits=tuple(name for name in record.traits if name != SHARING_TRAIT),
        )
        for record in records
    ]


scenes = st.one_of(
    st.tuples(forests(), requests()),
    st.tuples(forests().map(flattened), requests()),
    crowded(),
)


@examples(2)
@given(scenes)
def test_counts_are_those_of_the_twin_that_drops_each_term(
    scene: tuple[list[ProviderRecord], CandidateRequest],
) -> None:
    records, request = scene
    found = explained(records, request)
    trees, empty = Trees(records), Trees(emptied(records))
    terms = terms_of(found)
    assert found.trees == len({record.root_id for record in records})
    assert found.feasible == len(trees.serving(request))
    assert found.empty_cloud == len(empty.serving(request))
    for counted in found.constraints:
        term = counted.term
        twin = Trees(records, [term.resource_class]) if term.rule == "sum" else trees
        assert counted.without == len(twin.serving(without(request, term))), term
        if term.kind == "together":
            assert counted.alone is None
        else:
            assert counted.alone == len(trees.serving(only(request, terms, term))), term
        if term.kind == "room":
            assert counted.empty_cloud == len(empty.serving(only(request, terms, term))), term
        else:
            assert counted.empty_cloud is None
    assert [step.after for step in found.funnel] == [term.id for term in terms]
    left = [step.left for step in found.funnel]
    assert left == sorted(left, reverse=True)
    assert not left or left[-1] == found.feasible


def offered(records: Sequence[ProviderRecord], term: AskTerm) -> bool:
    if term.kind == "room":
        return any(name == term.resource_class for record in records for name, _, _ in record.inventories)
    if term.kind in {"required", "root_required"}:
        return any(term.traits & set(record.traits) for record in records)
    if term.kind == "member_of":
        return any(term.aggregates & set(record.aggregates) for record in records)
    return term.kind != "in_tree" or any(record.uuid == term.in_tree for record in records)


@examples(1.5)
@given(scenes)
def test_the_verdict_is_the_first_that_holds(
    scene: tuple[list[ProviderRecord], CandidateRequest],
) -> None:
    records, request = scene
    found = explained(records, request)
    terms = terms_of(found)
    if Trees(records).serving(request):
        assert found.verdict == "fits"
        assert found.chosen is not None
        candidates = Oracle(records).candidates(request)
        for candidate in (found.chosen, *found.alternatives):
            assert canonical(candidate.allocations, candidate.mappings) in candidates
        assert not (found.nearest)
        assert not (found.relaxations)
        assert not (found.unlocked_by)
    elif not all(offered(records, term) for term in terms):
        assert found.verdict == "nobody_offers"
    elif Trees(emptied(records)).serving(request):
        assert found.verdict == "no_room"
    else:
        assert found.verdict == "never_fits"
    assert (found.chosen is not None) is (found.verdict == "fits")


@examples(2)
@given(scenes)
def test_the_nearest_trees_are_as_near_as_the_twin_measures(
    scene: tuple[list[ProviderRecord], CandidateRequest],
) -> None:
    records, request = scene
    found = explained(records, request)
    assume(found.verdict != "fits")
    measure = Measure(records, request, terms_of(found))
    roots = {record.uuid: record for record in records if record.id == record.root_id}
    assume(all(measure.ways(root) <= MOST_WAYS for root in roots.values()))
    distances = {uuid: measure.distance(root) for uuid, root in roots.items()}
    assert [miss.distance for miss in found.nearest] == pytest.approx(sorted(distances.values()))
    for miss in found.nearest:
        assert miss.distance == pytest.approx(distances[miss.root])
        assert {*miss.satisfies, *miss.fails} == {term.id for term in terms_of(found)}
        assert not {*miss.satisfies} & {*miss.fails}
        assert {lack.term for lack in miss.missing} <= {*miss.fails}


@examples(2)
@given(scenes)
def test_after_all_events_of_one_list_the_tree_serves_the_request(
    scene: tuple[list[ProviderRecord], CandidateRequest],
) -> None:
    records, request = scene
    found = explained(records, request)
    for miss in found.nearest:
        if miss.events:
            assert miss.events in found.unlocked_by
            assert miss.root in Trees(after(records, miss.events)).serving(request), miss
    assert set(found.unlocked_by) == {miss.events for miss in found.nearest if miss.events}


@st.composite
def carried(draw: st.DrawFn) -> tuple[list[ProviderRecord], CandidateRequest]:
    """Trees whose children alone have the traits that a request wants of all its providers together."""
    small = st.integers(1, 4)

    def record(identifier: int, parent: int | None, root: int) -> ProviderRecord:
        offered = draw(st.lists(st.sampled_from(CLASSES[:3]), min_size=1, max_size=2, unique=True))
        return ProviderRecord(
            identifier,
            f"p{identifier}",
            parent,
            root,
            tuple((name, Inventory(draw(small)), 0) for name in offered),
            traits=tuple(draw(st.sets(st.sampled_from(TRAITS[:2])))) if parent else (),
        )

    records = []
    for root in (1, 4):
        records += [record(root, None, root), record(root + 1, root, root), record(root + 2, root, root)]
    amounts = draw(st.dictionaries(st.sampled_from(CLASSES[:3]), st.integers(1, 6), min_size=2))
    wanted = draw(st.sets(st.sampled_from(TRAITS[:2]), min_size=1))
    group = RequestGroup("", amounts, required=tuple(frozenset([name]) for name in sorted(wanted)))
    return records, CandidateRequest((group,))


@examples(2)
@given(st.one_of(scenes, carried()))
def test_every_relaxation_suffices_and_no_part_of_it_does(
    scene: tuple[list[ProviderRecord], CandidateRequest],
) -> None:
    records, request = scene
    found = explained(records, request)
    assume(found.verdict != "fits")
    terms = terms_of(found)
    by_id = {term.id: term for term in terms}
    trees = Trees(records)
    costs = [relaxation.cost for relaxation in found.relaxations]
    assert costs == sorted(costs)
    for relaxation in found.relaxations:
        after_all = relaxed(request, terms, relaxation)
        assert len(trees.serving(after_all)) == relaxation.feasible > 0
        if len(relaxation.changes) > 1:
            for change in relaxation.changes:
                assert not trees.serving(relaxed(request, terms, replace(relaxation, changes=(change,))))
        for change in relaxation.changes:
            term = by_id[change.term]
            if term.kind == "room":
                # As much as fits: one unit more does not.
                for amount in range(change.after + 1, term.amount):
                    assert not trees.serving(with_amount(after_all, term, amount))
    singles = [
        term
        for term in terms
        if term.rule != "sum" and any(trees.serving(each) for each in changed(request, term))
    ]
    if singles:
        assert [
            {change.term for change in each.changes} for each in found.relaxations if each.changes[1:]
        ] == []
        assert {each.changes[0].term for each in found.relaxations} == {term.id for term in singles}
    elif len(terms) <= 12:
        pairs = {
            frozenset([one.id, other.id])
            for one in terms
            for other in terms
            if one.id < other.id
            and "sum" not in {one.rule, other.rule}
            and any(trees.serving(both) for each in changed(request, one) for both in changed(each, other))
        }
        assert {frozenset(change.term for change in each.changes) for each in found.relaxations} == pairs


def changed(request: CandidateRequest, term: AskTerm) -> Iterator[CandidateRequest]:
    """``request`` without a term, and with every smaller amount of it."""
    yield without(request, term)
    for amount in range(1, term.amount if term.kind == "room" else 1):
        yield with_amount(request, term, amount)


@examples(1)
@given(scenes, st.integers(0, 400))
def test_an_explanation_cut_short_says_so_and_its_counts_are_lower_bounds(
    scene: tuple[list[ProviderRecord], CandidateRequest], steps: int
) -> None:
    records, request = scene
    snapshot = index_of(records).snapshot()
    whole = explained(records, request)
    part = explain(snapshot, request, ALL, step_limit=20 * steps)
    if part.exact:
        assert part == whole
        return
    assert part.feasible <= whole.feasible
    assert part.verdict in {whole.verdict, "cut_short"}
    for mine, other in zip(part.constraints, whole.constraints, strict=True):
        for one, another in ((mine.alone, other.alone), (mine.without, other.without)):
            assert one is None or (another is not None and one <= another)


@examples(2)
@given(scenes, st.data())
def test_one_tree_is_explained_as_if_it_were_the_only_one(
    scene: tuple[list[ProviderRecord], CandidateRequest], data: st.DataObject
) -> None:
    records, request = scene
    at = data.draw(st.sampled_from(records))
    root = next(record for record in records if record.id == at.root_id)
    found = explain(index_of(records).snapshot(), request, replace(ALL, at=at.uuid))
    trees, empty = Trees(records), Trees(emptied(records))
    assert found.trees == 1
    assert found.feasible == int(root.uuid in trees.serving(request))
    if found.feasible:
        assert found.verdict == "fits"
        assert found.chosen is not None
        tree = {record.uuid for record in records if record.root_id == root.id}
        serving = {uuid for uuids in found.chosen.mappings.values() for uuid in uuids}
        assert serving & tree or any(SHARING_TRAIT in record.traits for record in records)
    else:
        assert found.verdict in {"no_room", "never_fits"}
        assert (found.verdict == "no_room") is (root.uuid in empty.serving(request))
        assert [miss.root for miss in found.nearest] == [root.uuid]
    for counted in found.constraints:
        if counted.term.kind != "together":
            assert counted.alone == int(
                root.uuid in trees.serving(only(request, Terms.of(request).all, counted.term))
            )


def claimed(records: Sequence[ProviderRecord], candidate: Canonical) -> list[ProviderRecord]:
    """The providers after a candidate was claimed."""
    taken = {(uuid, name): amount for uuid, name, amount in candidate[0]}
    return [
        replace(
            record,
            inventories=tuple(
                (name, inventory, used + taken.get((record.uuid, name), 0))
                for name, inventory, used in record.inventories
            ),
        )
        for record in records
    ]


@examples(1.5)
@given(scenes)
def test_the_verdict_on_two_copies_is_that_of_trying_all_candidates_for_both(
    scene: tuple[list[ProviderRecord], CandidateRequest],
) -> None:
    records, request = scene

    def both_fit(providers: list[ProviderRecord]) -> bool:
        return any(
            Oracle(claimed(providers, candidate)).candidates(request)
            for candidate in Oracle(providers).candidates(request)
        )

    found = explain(index_of(records).snapshot(), request, replace(ALL, count=2))
    if found.verdict == "fits":
        assert both_fit(records)
    elif found.verdict == "no_room":
        assert not both_fit(records)
        assert both_fit(emptied(records))
    elif found.verdict == "never_fits":
        assert not both_fit(emptied(records))
    elif found.verdict == "cut_short":
        assert not found.exact
