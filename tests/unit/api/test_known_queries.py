from __future__ import annotations

import pytest

from moorage.api import candidate_query, query, routes
from moorage.api.wire_error import WireError

SCHEMAS = routes.ROUTES["/allocation_candidates"]["GET"].query
assert SCHEMAS is not None
NEWEST, OLDER = SCHEMAS.at(39), SCHEMAS.at(16)


def test_a_query_that_was_asked_lately_is_not_read_again() -> None:
    text = "resources=VCPU:1,DISK_GB:77&limit=5"
    asked = query.read(text, NEWEST)
    assert query.read(text, NEWEST) is asked
    assert candidate_query.request(asked, 39) is candidate_query.request(query.read(text, NEWEST), 39)


def test_each_version_reads_a_query_in_its_own_way() -> None:
    text = "resources=VCPU:1&required=HW_CPU_X86_AVX"
    with pytest.raises(WireError):
        query.read(text, OLDER)
    asked = query.read(text, NEWEST)
    with pytest.raises(WireError):
        query.read(text, OLDER)
    assert candidate_query.request(asked, 28).one_provider_per_tree
    assert not candidate_query.request(asked, 29).one_provider_per_tree


def test_a_refusal_is_given_again_and_again() -> None:
    for _ in range(2):
        with pytest.raises(WireError):
            query.read("resources=VCPU:1&unheard_of=1", NEWEST)


def test_long_queries_are_read_each_time() -> None:
    wanted = ",".join(f"CUSTOM_{number:06}:1" for number in range(200))
    text = f"resources={wanted}"
    assert len(text) > query.LONGEST_KNOWN
    asked = query.read(text, NEWEST)
    assert query.read(text, NEWEST) == asked
    assert query.read(text, NEWEST) is not asked
    first, second = (candidate_query.request(asked, 39) for _ in range(2))
    assert first == second
    assert first is not second
    assert len(first.groups[0].resources) == 200
