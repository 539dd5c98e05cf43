from __future__ import annotations

from moorage.model.explanations import ExplainRequest, Explanation
from moorage.model.requests import CandidateRequest
from moorage.model.values import SHARING_TRAIT, Inventory, ProviderRecord
from tests.unit.search.builders import group, index_of, provider
from tests.unit.search.test_explain_counts import why

TWO_CORES = CandidateRequest((group("", {"VCPU": 2}),))
UNDECIDED = "was not decided"


def copies(count: int, request: CandidateRequest, *records: ProviderRecord) -> Explanation:
    return why(index_of(*records), request, ExplainRequest(count=count))


def test_copies_of_an_ask_fit_where_all_their_amounts_are_free() -> None:
    hosts = [
        provider(1, {"VCPU": 5}),
        provider(2, {"VCPU": Inventory(6, max_unit=2)}, used={"VCPU": 2}),
        provider(3, {"VF": 1}),
    ]
    assert copies(4, TWO_CORES, *hosts).verdict == "fits"
    found = copies(5, TWO_CORES, *hosts)
    assert (found.verdict, found.feasible, found.exact) == ("no_room", 2, True)
    assert found.notes == ("the nearest trees and relaxations are those of one, and one fits",)
    assert copies(6, TWO_CORES, *hosts).verdict == "never_fits"


def test_an_ask_that_does_not_fit_once_is_explained_as_usual() -> None:
    host = provider(1, {"VCPU": 5}, used={"VCPU": 4})
    found = copies(2, TWO_CORES, host)
    assert (found.verdict, found.notes) == ("no_room", ())
    assert found.nearest
    assert copies(3, TWO_CORES, host).verdict == "never_fits"
    assert copies(3, CandidateRequest((group("", {"VF": 1}),)), host).verdict == "nobody_offers"


def test_copies_in_one_tree_take_of_its_providers_one_after_the_other() -> None:
    root = provider(1)
    cells = [provider(number, {"VCPU": 4}, below=root) for number in (2, 3)]
    request = CandidateRequest((group("_A", {"VCPU": 1}), group("_B", {"VCPU": 1})), "isolate")
    assert copies(4, request, root, *cells).verdict == "fits"
    assert copies(5, request, root, *cells).verdict == "never_fits"


def test_what_copies_take_of_a_sharing_provider_is_gone_for_other_trees() -> None:
    pool = provider(9, {"DISK_GB": 20}, traits=[SHARING_TRAIT], aggregates=["a"])
    hosts = [provider(number, {"VCPU": 2}, aggregates=["a"]) for number in (1, 2, 3)]
    request = CandidateRequest((group("", {"VCPU": 2, "DISK_GB": 10}),))
    assert copies(2, request, *hosts, pool).verdict == "fits"
    # Each tree alone could have all of it, so that no bound rules a third one out.
    found = copies(3, request, *hosts, pool)
    assert (found.verdict, found.exact) == ("cut_short", False)
    assert UNDECIDED in found.notes[0]


def test_a_tree_that_might_take_more_in_another_order_is_not_decided() -> None:
    root = provider(1)
    cells = [provider(number, {"VCPU": 3}, below=root) for number in (2, 3)]
    found = copies(3, TWO_CORES, root, *cells)
    assert (found.verdict, found.exact) == ("cut_short", False)


def test_room_for_copies_that_an_empty_cloud_might_not_have_is_not_decided() -> None:
    root = provider(1)
    cells = [provider(number, {"VCPU": 3}, below=root, used={"VCPU": 1}) for number in (2, 3)]
    found = copies(3, TWO_CORES, root, *cells)
    assert (found.verdict, found.exact) == ("cut_short", False)
    assert UNDECIDED in found.notes[0]


def test_copies_whose_steps_end_are_not_decided() -> None:
    index = index_of(provider(1, {"VCPU": 40}), provider(2, {"VCPU": 1}))
    how = ExplainRequest(count=20)
    whole = why(index, TWO_CORES, how)
    verdicts = {why(index, TWO_CORES, how, step_limit=steps).verdict for steps in range(0, 9_000, 30)}
    assert verdicts == {whole.verdict, "cut_short"} == {"fits", "cut_short"}


def test_steps_below_zero_are_no_bound() -> None:
    host = provider(1, {"VCPU": 4})
    assert why(index_of(host), TWO_CORES, step_limit=-1).exact
