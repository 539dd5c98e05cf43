from __future__ import annotations

from random import Random

import pytest

from moorage.api.http.wire_error import WireError
from moorage.api.placement import query, routes
from moorage.model.errors import ResourceClassNotFoundError
from moorage.model.requests import SearchSettings
from moorage.search.match.candidates import find
from tests.unit.search.builders import index_of

SCHEMAS = routes.ROUTES["/allocation_candidates"]["GET"].query
assert SCHEMAS is not None
NEWEST, OLDER = SCHEMAS.at(39), SCHEMAS.at(16)


def test_a_query_that_was_asked_lately_is_not_read_again() -> None:
    text = "resources=VCPU:1,DISK_GB:77&limit=5"
    asked = query.read(text, NEWEST)
    assert query.read(text, NEWEST) is asked
    assert query.candidate_request(asked, 39) is query.candidate_request(query.read(text, NEWEST), 39)


def test_each_version_reads_a_query_in_its_own_way() -> None:
    text = "resources=VCPU:1&required=HW_CPU_X86_AVX"
    with pytest.raises(WireError):
        query.read(text, OLDER)
    asked = query.read(text, NEWEST)
    with pytest.raises(WireError):
        query.read(text, OLDER)
    assert query.candidate_request(asked, 28).one_provider_per_tree
    assert not query.candidate_request(asked, 29).one_provider_per_tree


def test_a_refusal_is_given_again_and_again() -> None:
    for _ in range(2):
        with pytest.raises(WireError):
            query.read("resources=VCPU:1&unheard_of=1", NEWEST)


def test_long_queries_are_remembered_as_well() -> None:
    wanted = ",".join(f"CUSTOM_{number:06}:1" for number in range(3_000))
    asked = query.read(f"resources={wanted}", NEWEST)
    assert query.read(f"resources={wanted}", NEWEST) is asked
    assert query.candidate_request(asked, 39) is query.candidate_request(asked, 39)
    assert len(query.candidate_request(asked, 39).groups[0].resources) == 3_000


SPOKEN = (
    "resources=DISK_GB:1,VCPU:2&resources2=VF:1&resources10=VF:2&required2=A,B&same_subtree=2,10&limit=5"
    "&same_subtree=2&group_policy=none"
)
SPOKEN_OTHERWISE = (
    "limit=5&group_policy=none&resources10=VF:2&required2=B,A,B&resources2=VF:1&resources=VCPU:2,DISK_GB:1"
    "&same_subtree=2&same_subtree=10,2"
)


def test_who_asks_the_same_in_another_order_makes_an_equal_request() -> None:
    first, second = (
        query.candidate_request(query.read(text, NEWEST), 39) for text in (SPOKEN, SPOKEN_OTHERWISE)
    )
    assert first == second
    assert hash(first) == hash(second)
    assert [group.suffix for group in first.groups] == ["", "2", "10"]
    assert first != query.candidate_request(query.read(SPOKEN + "&required=C", NEWEST), 39)


def test_of_unknown_classes_the_first_that_was_named_is_told() -> None:
    snapshot = index_of().snapshot()
    for text, told in (("resources=ZZZ:1,AAA:1", "ZZZ"), ("resources=AAA:1,ZZZ:1", "AAA")):
        request = query.candidate_request(query.read(text, NEWEST), 39)
        with pytest.raises(ResourceClassNotFoundError, match=told):
            find(snapshot, request, SearchSettings(), Random(0))
