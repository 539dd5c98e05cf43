"""Explanations of an ask that is to be placed several times."""

from __future__ import annotations

import pytest

from moorage.api.native.explanations import MOST_COPIES
from moorage.service.facade import Service
from tests.databases.orders import add_provider, claim, new_uuid, order
from tests.unit.api.native.client import NativeClient, problem

PATH = "/moorage/v1/explanations"
ASK = {"groups": {"": {"resources": {"VCPU": 2}}}}


@pytest.fixture
def client(sqlite_service: Service) -> NativeClient:
    held = add_provider(sqlite_service, "host-1", VCPU=4)
    add_provider(sqlite_service, "host-2", VCPU=4)
    order(sqlite_service, claim(new_uuid(), {held: {"VCPU": 2}}, None, "INSTANCE", "p2", "u2"))
    return NativeClient(sqlite_service)


def test_the_verdict_and_the_summary_are_for_all_copies(client: NativeClient) -> None:
    said = {
        count: client.post(PATH, {"ask": ASK, "count": count}).json for count in (1, 3, 4, 5, MOST_COPIES)
    }
    assert {count: (told["verdict"], told["feasible"]) for count, told in said.items()} == {
        1: ("fits", 2),
        3: ("fits", 2),
        4: ("no_room", 2),
        5: ("never_fits", 2),
        MOST_COPIES: ("never_fits", 2),
    }
    assert said[1]["summary"] == "2 of 2 trees can serve this now."
    assert said[3]["summary"] == "3 fit now. 2 of 2 trees can serve one."
    assert said[4]["summary"].startswith("4 do not fit now; in an empty cloud they would.")
    assert said[5]["summary"] == "5 would not fit even if nothing were used."


def test_a_number_of_copies_out_of_range_is_refused_with_its_place(client: NativeClient) -> None:
    for count in (0, MOST_COPIES + 1, "2"):
        refused = problem(client.post(PATH, {"ask": ASK, "count": count}))
        assert (refused["code"], refused["pointer"]) == ("invalid_request", "/count")
