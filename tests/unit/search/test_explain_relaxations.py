from __future__ import annotations

import tracemalloc

from moorage.model.explanations import ExplainRequest, Relaxation
from moorage.model.requests import CandidateRequest
from moorage.model.values import SHARING_TRAIT, Inventory, ProviderRecord
from moorage.search.explain.relaxing import MOST_TERMS_FOR_PAIRS
from tests.unit.search.builders import group, index_of, provider
from tests.unit.search.test_explain_counts import why


def changes(relaxation: Relaxation) -> list[tuple[str, str, int]]:
    return [(change.op, change.term, change.after) for change in relaxation.changes]


def relaxed(
    request: CandidateRequest, *records: ProviderRecord, most: int = 9
) -> list[list[tuple[str, str, int]]]:
    found = why(index_of(*records), request, ExplainRequest(relaxations=most))
    return [changes(relaxation) for relaxation in found.relaxations]


def test_an_amount_is_lowered_as_little_as_possible_and_a_trait_is_dropped() -> None:
    hosts = [
        provider(1, {"VF": 3}, traits=["RED"]),
        provider(2, {"VF": 2}, traits=["RED"]),
        provider(3, {"VF": 4}),
    ]
    request = CandidateRequest((group("", {"VF": 4}, required=[["RED"]]),))
    found = why(index_of(*hosts), request).relaxations
    assert [(changes(each), each.feasible, each.cost) for each in found] == [
        ([("amount", "c1", 3)], 1, 0.25),
        ([("drop", "c2", 0)], 1, 1.0),
    ]


def test_the_cheapest_come_first_and_no_more_than_asked_for() -> None:
    request = CandidateRequest((group("", {"VF": 4}, required=[["RED"]]),))
    hosts = [provider(1, {"VF": 1}, traits=["RED"]), provider(2, {"VF": 4})]
    assert relaxed(request, *hosts, most=1) == [[("amount", "c1", 1)]]


def test_an_amount_of_which_nothing_is_left_is_dropped() -> None:
    host = provider(1, {"VCPU": 4, "VF": 4}, used={"VF": 4})
    request = CandidateRequest((group("", {"VCPU": 1, "VF": 1}),))
    assert relaxed(request, host) == [[("drop", "c2", 0)]]


def test_lowered_amounts_meet_the_units() -> None:
    host = provider(1, {"VCPU": Inventory(8, step_size=3, min_unit=3)})
    assert relaxed(CandidateRequest((group("", {"VCPU": 8}),)), host) == [[("amount", "c1", 6)]]
    assert relaxed(CandidateRequest((group("", {"VCPU": 2}),)), host) == [[("drop", "c1", 0)]]
    largest = provider(1, {"VCPU": Inventory(8, max_unit=5)})
    assert relaxed(CandidateRequest((group("", {"VCPU": 8}),)), largest) == [[("amount", "c1", 5)]]


def test_two_changes_are_offered_only_where_no_single_one_suffices() -> None:
    hosts = [
        provider(1, {"VCPU": 2, "VF": 4}),
        provider(2, {"VCPU": 4, "VF": 1}, traits=["RED"]),
        provider(3, {"VCPU": 1, "VF": 4}, traits=["RED"], aggregates=["a"]),
    ]
    request = CandidateRequest(
        (group("", {"VCPU": 4, "VF": 4}, required=[["RED"]], forbidden_aggregates=["a"]),)
    )
    assert relaxed(request, *hosts) == [
        [("amount", "c2", 1)],
    ]
    request = CandidateRequest((group("", {"VCPU": 4, "VF": 4}, required=[["RED"]], member_of=[["a"]]),))
    assert relaxed(request, *hosts[:2]) == [
        [("amount", "c2", 1), ("drop", "c4", 0)],
    ]


def test_of_two_amounts_that_give_way_to_each_other_the_cheaper_pair_is_offered() -> None:
    hosts = [
        provider(1, {"VCPU": 7, "VF": 1}, traits=["RED"]),
        provider(2, {"VCPU": 4, "VF": 7}, traits=["RED"]),
    ]
    request = CandidateRequest((group("", {"VCPU": 8, "VF": 8}),))
    assert relaxed(request, *hosts) == [[("amount", "c1", 4), ("amount", "c2", 7)]]


def test_amounts_that_add_up_are_lowered_to_what_the_others_leave() -> None:
    request = CandidateRequest((group("", {"VCPU": 3}), group("_A", {"VCPU": 4})))
    assert relaxed(request, provider(1, {"VCPU": 5})) == [[("amount", "c2", 2)], [("amount", "c1", 1)]]


def test_a_rule_is_dropped_but_not_that_amounts_add_up() -> None:
    request = CandidateRequest((group("_A", {"VCPU": 1}), group("_B", {"VCPU": 1})), "isolate")
    assert relaxed(request, provider(1, {"VCPU": 2})) == [[("drop", "c3", 0)]]
    # A group without its amount still wants a provider of its own.
    assert relaxed(request, provider(1, {"VCPU": 1})) == [
        [("drop", "c1", 0), ("drop", "c3", 0)],
        [("drop", "c2", 0), ("drop", "c3", 0)],
    ]


def test_what_a_sharing_provider_has_left_is_offered() -> None:
    pool = provider(9, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a"], used={"DISK_GB": 70})
    host = provider(1, {"VCPU": 4}, aggregates=["a"])
    request = CandidateRequest((group("", {"VCPU": 4, "DISK_GB": 50}),))
    assert relaxed(request, host, pool) == [[("amount", "c2", 30)]]


def test_pairs_are_not_searched_among_many_constraints() -> None:
    many = [["RED"]] + [["RED", name] for name in ("BLUE", "FAST", SHARING_TRAIT)]
    asked = group("", {"VCPU": 9, "VF": 9}, required=many, member_of=[[str(at)] for at in range(9)])
    request = CandidateRequest((asked,))
    found = why(index_of(provider(1, {"VCPU": 1, "VF": 1})), request)
    assert len(found.constraints) > MOST_TERMS_FOR_PAIRS
    assert found.relaxations == ()
    assert found.notes == (
        f"pairs of relaxations: not searched with more than {MOST_TERMS_FOR_PAIRS} constraints",
    )


def test_the_sums_of_many_amounts_take_no_more_memory_than_the_steps_allow() -> None:
    amounts = [2**at for at in range(19)]
    root = provider(1)
    children = [provider(at, {"VF": amount}, below=root) for at, amount in enumerate([*amounts, 2**19], 2)]
    asked = [group(f"_{at}", {"VF": amount}) for at, amount in enumerate([*amounts, 2**19 + 1])]
    index, request = index_of(root, *children), CandidateRequest(tuple(asked))
    tracemalloc.start()
    try:
        found = why(index, request)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.verdict, found.exact) == ("never_fits", False)
    assert peak < 8_000_000


def test_an_amount_that_brings_a_required_trait_is_lowered_where_it_cannot_be_dropped() -> None:
    """A trait counts only of providers that give something: without the port there is no port that is red."""
    root = provider(1, {"VCPU": 4})
    host = [root, provider(2, {"VF": 1}, below=root, traits=["RED"])]
    request = CandidateRequest((group("", {"VCPU": 4, "VF": 4}, required=[["RED"]]),))
    found = why(index_of(*host), request, ExplainRequest(relaxations=9))
    assert [counted.without for counted in found.constraints] == [0, 0, 0]
    assert [changes(each) for each in found.relaxations] == [[("amount", "c2", 1)]]


def test_two_amounts_that_bring_required_traits_are_lowered_together() -> None:
    root = provider(1, {"DISK_GB": 1})
    host = [
        root,
        provider(2, {"VCPU": 2}, below=root, traits=["BLUE"]),
        provider(3, {"VF": 1}, below=root, traits=["RED"]),
    ]
    request = CandidateRequest((group("", {"DISK_GB": 1, "VCPU": 4, "VF": 4}, required=[["RED"], ["BLUE"]]),))
    assert relaxed(request, *host) == [[("amount", "c2", 2), ("amount", "c3", 1)]]


def test_an_amount_is_not_lowered_where_no_provider_brings_the_required_trait() -> None:
    root = provider(1, {"VCPU": 4, "VF": 1})
    host = [root, provider(2, below=root, traits=["RED"])]
    request = CandidateRequest((group("", {"VCPU": 4, "VF": 4}, required=[["RED"]]),))
    assert relaxed(request, *host) == [
        [("amount", "c2", 1), ("drop", "c3", 0)],
        [("drop", "c1", 0), ("drop", "c2", 0)],
    ]
