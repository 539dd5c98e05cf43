from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.model.errors import (
    ProviderNotFoundError,
    ResourceClassNotFoundError,
    TraitNotFoundError,
)
from moorage.model.explanations import ExplainRequest, Explanation
from moorage.model.requests import CandidateRequest
from moorage.model.values import SHARING_TRAIT, Inventory
from moorage.search.explain.counting import Ground, exists, serving
from moorage.search.explain.explanation import explain
from moorage.search.explain.terms import Terms
from moorage.search.index.index import Index
from moorage.search.match.plan import Work
from tests.table import each
from tests.unit.search.builders import group, index_of, provider


def why(
    index: Index,
    request: CandidateRequest,
    how: ExplainRequest | None = None,
    step_limit: int = 1_000_000,
) -> Explanation:
    return explain(index.snapshot(), request, how, step_limit=step_limit)


def counts(found: Explanation) -> list[tuple[str, int | None, int | None]]:
    """Kind, ``alone`` and ``without`` of each term."""
    return [(each.term.kind, each.alone, each.without) for each in found.constraints]


FULL = {"VCPU": 4}

THREE_HOSTS = index_of(
    provider(1, {"VCPU": 4, "VF": 4}, traits=["RED"], used=FULL),
    provider(2, {"VCPU": 4, "VF": 2}, traits=["RED"]),
    provider(3, {"VCPU": 4, "VF": 8}),
)
A_RED_ONE = CandidateRequest((group("", {"VCPU": 4, "VF": 4}, required=[["RED"]]),))


def test_counts_of_a_constraint_do_not_depend_on_the_others_or_their_order() -> None:
    found = why(THREE_HOSTS, A_RED_ONE)
    assert counts(found) == [("room", 2, 1), ("room", 2, 1), ("required", 2, 1)]
    turned = replace(A_RED_ONE, groups=(group("", {"VF": 4, "VCPU": 4}, required=[["RED"]]),))
    again = why(THREE_HOSTS, turned)
    assert sorted(counts(again), key=repr) == sorted(counts(found), key=repr)


def test_the_funnel_says_how_many_trees_are_left_after_each_constraint() -> None:
    assert [(step.after, step.left) for step in why(THREE_HOSTS, A_RED_ONE).funnel] == [
        ("c1", 2),
        ("c2", 1),
        ("c3", 0),
    ]


def test_room_is_also_counted_with_nothing_in_use() -> None:
    found = why(THREE_HOSTS, A_RED_ONE)
    assert [counted.empty_cloud for counted in found.constraints] == [3, 2, None]
    assert (found.feasible, found.empty_cloud, found.trees) == (0, 1, 3)
    assert found.verdict == "no_room"


def test_an_ask_that_fits_names_the_candidate_that_comes_first_and_others_of_other_trees() -> None:
    root = provider(1, {"VCPU": 4})
    child = provider(2, {"VCPU": 4}, below=root)
    index = index_of(root, child, provider(5, {"VCPU": 4}))
    found = why(index, CandidateRequest((group("", {"VCPU": 1}),)))
    assert (found.verdict, found.feasible) == ("fits", 2)
    assert found.chosen is not None
    assert found.chosen.allocations == {"p1": {"VCPU": 1}}
    assert [list(other.allocations) for other in found.alternatives] == [["p5"], ["p2"]]
    assert not found.nearest
    assert not found.relaxations


@each(
    ("asked", "verdict", "also"),
    [
        ({"resources": {"VCPU": 1}}, "fits", ()),
        ({"resources": {"VCPU": 2}}, "no_room", ()),
        ({"resources": {"VCPU": 5}}, "never_fits", ()),
        ({"resources": {"DISK_GB": 1}}, "nobody_offers", ()),
        ({"resources": {"DISK_GB": 1, "VCPU": 2}}, "nobody_offers", ("no_room",)),
        ({"resources": {"VCPU": 5}, "required": [["FAST"]]}, "nobody_offers", ("never_fits",)),
        ({"resources": {"VCPU": 1}, "required": [["FAST", "RED"]]}, "fits", ()),
        ({"resources": {"VCPU": 1}, "member_of": [["nowhere"]]}, "nobody_offers", ()),
        ({"resources": {"VCPU": 1}, "member_of": [["nowhere", "a"]]}, "fits", ()),
        ({"resources": {"VCPU": 1}, "in_tree": "p9"}, "nobody_offers", ()),
        ({"resources": {"VCPU": 1}, "in_tree": "p1"}, "fits", ()),
        ({"resources": {"VCPU": 1}, "forbidden": ["RED"]}, "never_fits", ()),
        ({"resources": {"VCPU": 1}, "forbidden_aggregates": ["a"]}, "never_fits", ()),
    ],
)
def test_the_verdict_is_the_first_that_holds(
    asked: dict[str, object], verdict: str, also: tuple[str]
) -> None:
    index = index_of(provider(1, {"VCPU": 4}, traits=["RED"], aggregates=["a"], used={"VCPU": 3}))
    found = why(index, CandidateRequest((group("", **asked),)))  # type: ignore[arg-type]
    assert (found.verdict, found.also) == (verdict, also)


def test_conditions_on_roots_are_constraints_of_the_whole_ask() -> None:
    root = provider(1, traits=["RED"])
    other = provider(3, traits=["BLUE"])
    index = index_of(root, provider(2, {"VCPU": 4}, below=root), other, provider(4, {"VCPU": 4}, below=other))
    request = CandidateRequest(
        (group("", {"VCPU": 1}),),
        root_required=frozenset(["RED"]),
        root_forbidden=frozenset(["BLUE", "RED"]),
    )
    found = why(index, request)
    assert counts(found) == [
        ("room", 2, 0),
        ("root_required", 1, 0),
        ("root_forbidden", 1, 0),
        ("root_forbidden", 1, 1),
    ]
    missing_everywhere = replace(request, root_required=frozenset(["FAST"]))
    assert why(index, missing_everywhere).verdict == "nobody_offers"


def test_traits_of_a_dropped_unsuffixed_amount_stay_wanted_of_the_trees_providers_together() -> None:
    root = provider(1, {"VF": 1}, traits=["RED"])
    child = provider(2, {"VF": 1}, below=root, traits=["BLUE"])
    index = index_of(root, child, provider(5, {"VF": 1}, traits=["RED"]))
    request = CandidateRequest((group("", {"VCPU": 1}, required=[["RED"], ["BLUE"]]),))
    assert counts(why(index, request)) == [("room", 0, 1), ("required", 2, 0), ("required", 1, 0)]


def test_what_stays_wanted_of_a_tree_without_amounts_may_come_from_a_provider_that_shares() -> None:
    host = provider(1, traits=["RED"], aggregates=["a"])
    pool = provider(2, traits=["BLUE", SHARING_TRAIT], aggregates=["a"])
    index = index_of(host, pool)
    required = group("", {"VCPU": 1}, required=[["BLUE"]])
    assert counts(why(index, CandidateRequest((required,))))[1] == ("required", 2, 0)
    # A provider that shares belongs to another tree than the one that is named.
    named = replace(required, in_tree="p1")
    found = why(index, CandidateRequest((named,)))
    assert [(each.term.kind, each.without) for each in found.constraints] == [
        ("room", 0),
        ("required", 0),
        ("in_tree", 0),
    ]


def test_traits_of_a_dropped_suffixed_amount_stay_wanted_of_one_provider() -> None:
    root = provider(1, {"VF": 1}, traits=["RED"])
    index = index_of(root, provider(2, {"VF": 1}, below=root, traits=["BLUE"]))
    both = group("_A", {"VCPU": 1}, required=[["RED"], ["BLUE"]])
    assert [each.without for each in why(index, CandidateRequest((both,))).constraints] == [0, 0, 0]
    one = group("_A", {"VCPU": 1}, required=[["RED"]])
    assert [each.without for each in why(index, CandidateRequest((one,))).constraints] == [1, 0]


def test_rules_between_groups_are_constraints_without_a_count_of_their_own() -> None:
    root = provider(1)
    child = provider(2, {"VCPU": 4}, below=root)
    index = index_of(root, child)
    request = CandidateRequest(
        (group("_A", {"VCPU": 2}), group("_B", {"VCPU": 2}), group("", {"VCPU": 1})),
        group_policy="isolate",
        same_subtree=(frozenset(["_A", "_B"]), frozenset(["_A"])),
    )
    found = why(index, request)
    rules = [each for each in found.constraints if each.term.kind == "together"]
    assert [(each.term.rule, each.term.groups, each.term.resource_class) for each in rules] == [
        ("isolate", ("_A", "_B"), ""),
        ("same_subtree", ("_A", "_B"), ""),
        ("sum", ("_A", "_B", ""), "VCPU"),
    ]
    assert [(each.alone, each.without) for each in rules] == [(None, 0), (None, 0), (None, 0)]
    without_isolation = replace(request, group_policy="none", groups=request.groups[:2])
    assert why(index, without_isolation).verdict == "fits"


def test_amounts_of_isolated_groups_do_not_add_up() -> None:
    request = CandidateRequest((group("_A", {"VCPU": 2}), group("_B", {"VCPU": 2})), group_policy="isolate")
    found = why(index_of(provider(1, {"VCPU": 3})), request)
    assert [each.term.rule for each in found.constraints] == ["", "", "isolate"]


def test_dropping_a_sum_lets_each_group_have_all_room() -> None:
    request = CandidateRequest((group("", {"VCPU": 3}), group("_A", {"VCPU": 3})))
    found = why(index_of(provider(1, {"VCPU": 4})), request)
    assert counts(found) == [("room", 1, 1), ("room", 1, 1), ("together", None, 1)]


def test_one_provider_of_each_tree_is_a_rule_for_clients_that_do_not_know_trees() -> None:
    root = provider(1, {"VCPU": 4})
    index = index_of(root, provider(2, {"VF": 4}, below=root))
    request = CandidateRequest((group("", {"VCPU": 1, "VF": 1}),), one_provider_per_tree=True)
    found = why(index, request)
    assert counts(found) == [("room", 1, 1), ("room", 1, 1), ("together", None, 1)]
    assert found.verdict == "never_fits"


def test_trees_that_are_equal_for_the_request_are_counted_together() -> None:
    records = []
    for number in range(1, 60, 3):
        root = provider(number)
        records += [root, provider(number + 1, {"VCPU": 1}, below=root), provider(number + 2, below=root)]
    request = CandidateRequest((group("_A", {"VCPU": 1}), group("_B", {"VCPU": 1})), group_policy="isolate")
    found = why(index_of(*records), request)
    assert (found.feasible, found.trees) == (0, 20)
    assert [each.without for each in found.constraints] == [20, 20, 0]


def test_sharing_providers_count_in_every_tree_that_they_share_with() -> None:
    pool = provider(9, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a"])
    index = index_of(
        provider(1, {"VCPU": 4}, aggregates=["a"]), provider(2, {"VCPU": 4}, aggregates=["b"]), pool
    )
    request = CandidateRequest((group("", {"VCPU": 1, "DISK_GB": 10}), group("_A", {"DISK_GB": 95})))
    found = why(index, request)
    assert counts(found) == [("room", 2, 0), ("room", 2, 1), ("room", 2, 1), ("together", None, 1)]
    assert found.verdict == "never_fits"


def test_one_tree_can_be_asked_alone() -> None:
    at = ExplainRequest(at="p2")
    found = why(THREE_HOSTS, A_RED_ONE, at)
    assert (found.trees, found.feasible, found.verdict) == (1, 0, "never_fits")
    assert counts(found) == [("room", 1, 0), ("room", 0, 1), ("required", 1, 0)]
    assert [miss.root for miss in found.nearest] == ["p2"]
    easy = why(THREE_HOSTS, CandidateRequest((group("", {"VCPU": 1}),)), at)
    assert easy.verdict == "fits"
    assert easy.chosen is not None
    assert easy.chosen.allocations == {"p2": {"VCPU": 1}}
    absent = why(THREE_HOSTS, CandidateRequest((group("", {"DISK_GB": 1}),)), at)
    assert absent.verdict == "never_fits"


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ResourceClassNotFoundError):
        why(THREE_HOSTS, CandidateRequest((group("", {"GPU": 1}),)))
    with pytest.raises(TraitNotFoundError):
        why(THREE_HOSTS, CandidateRequest((group("", {"VCPU": 1}, required=[["GREEN"]]),)))
    with pytest.raises(ProviderNotFoundError):
        why(THREE_HOSTS, A_RED_ONE, ExplainRequest(at="p7"))


def test_an_empty_cloud_offers_nothing() -> None:
    found = why(index_of(), A_RED_ONE)
    assert (found.verdict, found.trees, found.nearest) == ("nobody_offers", 0, ())


@pytest.mark.slow
def test_an_explanation_whose_steps_end_says_so() -> None:
    whole = why(THREE_HOSTS, A_RED_ONE)
    verdicts = set()
    for steps in range(0, 9_000, 30):
        part = why(THREE_HOSTS, A_RED_ONE, step_limit=steps)
        verdicts.add((part.verdict, part.exact))
        if part.exact:
            assert part == whole
        if part.relaxations:
            assert {*part.relaxations} <= {*whole.relaxations}
    assert {("cut_short", False), ("no_room", False), ("no_room", True)} <= verdicts
    root = provider(1, {"VF": 4}, used={"VF": 2})
    nested = index_of(root, provider(2, {"VCPU": 4}, below=root, traits=["RED"]))
    whole = why(nested, A_RED_ONE)
    assert whole.verdict == "no_room"
    for steps in range(0, 30_000, 100):
        part = why(nested, A_RED_ONE, step_limit=steps)
        assert part == whole if part.exact else part.verdict in {"no_room", "cut_short"}
    fits = CandidateRequest((group("", {"VCPU": 1}),))
    whole = why(THREE_HOSTS, fits)
    for steps in range(0, 4_000, 30):
        part = why(THREE_HOSTS, fits, step_limit=steps)
        assert part.verdict in {"fits", "cut_short"}
        assert part == whole if part.exact else part.chosen is None


def test_thousands_of_terms_are_counted_as_far_as_the_steps_last() -> None:
    asked = group("", {"VF": 9}, member_of=[[str(number)] for number in range(3_000)])
    found = why(THREE_HOSTS, CandidateRequest((asked,)))
    assert (found.verdict, found.exact) == ("nobody_offers", False)
    assert len(found.constraints) == 3_001
    assert len([each for each in found.constraints if each.without is not None]) < 100


def test_terms_that_are_named_twice_are_one() -> None:
    twice = group("", {"VCPU": 4}, required=[["RED"], ["RED"]], member_of=[["a"], ["a"]])
    found = why(THREE_HOSTS, CandidateRequest((twice,)))
    assert [each.term.kind for each in found.constraints] == ["room", "required", "member_of"]


def test_units_are_a_part_of_room() -> None:
    index = index_of(provider(1, {"VCPU": Inventory(8, step_size=4)}))
    found = why(index, CandidateRequest((group("", {"VCPU": 6}),)))
    assert (found.verdict, counts(found)) == ("never_fits", [("room", 0, 1)])


def test_flat_clouds_are_counted_in_columns_as_they_are_tree_by_tree() -> None:
    request = CandidateRequest(
        (
            group(
                "",
                {"VCPU": 4, "DISK_GB": 1},
                required=[["RED"], ["BLUE", "FAST"]],
                forbidden=["FAST"],
                member_of=[["a", "b"]],
                forbidden_aggregates=["b"],
                in_tree="p1",
            ),
            group("_A", {"VF": 1}),
            group("_B", {"MEMORY_MB": 1}),
        ),
        group_policy="isolate",
        root_required=frozenset(["RED"]),
        root_forbidden=frozenset(["FAST"]),
    )
    offers = {"VCPU": 8, "DISK_GB": 8, "VF": 1, "MEMORY_MB": 8}
    hosts = [
        provider(1, offers, traits=["RED", "BLUE"], aggregates=["a"], used={"VCPU": 5}),
        provider(2, offers, traits=["RED", "FAST"], aggregates=["a", "b"]),
        provider(3, {"VCPU": 1}),
    ]
    flat = why(index_of(*hosts), request, ExplainRequest(nearest=3))
    # A tree of two providers keeps the others from being counted in columns.
    root = provider(4)
    other = why(index_of(*hosts, root, provider(5, below=root)), request, ExplainRequest(nearest=3))
    for mine, theirs in zip(flat.constraints, other.constraints, strict=True):
        for one, another in ((mine.alone, theirs.alone), (mine.without, theirs.without)):
            assert (one is None) is (another is None)
            assert one is None or 0 <= (another or 0) - one <= 1
    assert [(each.term.kind, each.alone, each.without, each.empty_cloud) for each in flat.constraints] == [
        ("room", 1, 0, 2),
        ("room", 2, 0, 2),
        ("required", 2, 0, None),
        ("required", 2, 0, None),
        ("forbidden", 2, 0, None),
        ("member_of", 2, 0, None),
        ("not_member_of", 2, 0, None),
        ("in_tree", 1, 0, None),
        ("room", 2, 0, 2),
        ("room", 2, 0, 2),
        ("root_required", 2, 0, None),
        ("root_forbidden", 2, 0, None),
        ("together", None, 0, None),
    ]
    assert (flat.feasible, flat.empty_cloud, flat.verdict) == (0, 0, "never_fits")
    apart = why(index_of(*hosts), replace(request, group_policy=None))
    assert (apart.feasible, apart.empty_cloud, apart.verdict) == (0, 1, "no_room")
    assert [each.without for each in apart.constraints] == [1] + 11 * [0]


def test_requests_with_many_terms_are_counted_too() -> None:
    many = [["RED"], *[["RED", name] for name in ("BLUE", "FAST")]]
    asked = group("", {"VCPU": 4}, required=many, forbidden_aggregates=[str(at) for at in range(20)])
    found = why(THREE_HOSTS, CandidateRequest((asked,)))
    assert found.feasible == 1
    assert len(found.constraints) == 24


def test_a_question_that_comes_again_is_not_searched_again() -> None:
    terms = Terms.of(CandidateRequest((group("", {"VCPU": 4}),)))
    wanted, ground, work = terms.wanted(terms.all), Ground(THREE_HOSTS.snapshot()), Work()

    def steps() -> int:
        before = work.done
        assert [trees.tolist() for _, trees in serving(ground, wanted, work)] == [[1, 2]]
        return work.done - before

    # The first answer ends after one block, and says nothing of others.
    assert exists(ground, wanted, work)
    first = steps()
    assert steps() < first / 3
    emptied = ground.emptied({"VCPU"})
    assert [trees.tolist() for _, trees in serving(emptied, wanted, work)] == [[0, 1, 2]]
