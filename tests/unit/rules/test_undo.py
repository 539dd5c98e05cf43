"""Taking records back: what each kind of record leads back to."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moorage.model.values import Inventory, ListedClaim, ListedProvider
from moorage.rules.journal import inventory_told
from moorage.rules.undo import (
    Leading,
    Past,
    Unresolved,
    begins,
    claim_in,
    consumer_parts,
    has_values,
    members_of,
    provider_in,
    roots_of_moves,
)

HOST, OTHER, VM = "host", "other", "vm"


def parts(**other: Any) -> dict[str, Any]:
    return {
        "generation": 4,
        "name": "a host",
        "parent": None,
        "root": HOST,
        "inventories": {"VCPU": inventory_told(Inventory(8)), "CUSTOM_NEW": inventory_told(Inventory(2))},
        "traits": ["A"],
        "aggregates": [],
        "used": {"VCPU": 3},
        **other,
    }


def test_a_claim_is_taken_back_from_the_provider_and_the_consumer() -> None:
    held = consumer_parts(ListedClaim(VM, None, "p", "u", 2, None, {HOST: {"VCPU": 3}}))
    past = Past({HOST: parts()}, {VM: held})
    past.take_back(
        {
            "providers": {
                HOST: {"tree": HOST, "generation": [3, 4], "used": {"VCPU": [0, 3], "CUSTOM_NEW": [1, 0]}},
                OTHER: {"tree": OTHER, "used": {"VCPU": [1, 0]}},
            },
            "consumers": {
                VM: {
                    "project_id": ["q", "p"],
                    "generation": [1, 2],
                    "held": {HOST: {"VCPU": [0, 3]}, OTHER: {"VCPU": [1, 0]}},
                },
                "another": {"project_id": ["p", "p"]},
            },
        }
    )
    assert provider_in(past, HOST) == (
        3,
        ListedProvider(
            0,
            HOST,
            "a host",
            None,
            HOST,
            {"VCPU": Inventory(8), "CUSTOM_NEW": Inventory(2)},
            {"VCPU": 0, "CUSTOM_NEW": 1},
            ("A",),
            (),
        ),
    )
    assert provider_in(past, OTHER) is None
    assert claim_in(past, VM) == ListedClaim(VM, None, "q", "u", 1, None, {OTHER: {"VCPU": 1}})


def test_what_was_made_was_not_there_before() -> None:
    past = Past({HOST: parts()}, {VM: consumer_parts(None)})
    assert claim_in(past, VM) is None
    past.take_back({"providers": {HOST: {"tree": HOST, "generation": [None, 4], "inventories": [None, {}]}}})
    assert provider_in(past, HOST) is None
    past.follow([HOST, OTHER])
    assert provider_in(past, OTHER) is None


def test_a_renamed_class_has_its_earlier_name_everywhere() -> None:
    past = Past(
        {HOST: parts(used={"CUSTOM_NEW": 1}), OTHER: {"generation": None, "used": {}}},
        {VM: consumer_parts(ListedClaim(VM, None, "p", "u", 2, None, {HOST: {"CUSTOM_NEW": 1}}))},
    )
    past.take_back({"renamed": {"CUSTOM_OLD": "CUSTOM_NEW"}})
    found = provider_in(past, HOST)
    assert found is not None
    assert found[1].inventories.keys() == {"VCPU", "CUSTOM_OLD"}
    assert found[1].used == {"VCPU": 0, "CUSTOM_OLD": 1}
    claim = claim_in(past, VM)
    assert claim is not None
    assert claim.held == {HOST: {"CUSTOM_OLD": 1}}


def test_a_record_without_values_is_told_from_one_with_values() -> None:
    assert has_values({})
    assert has_values({"traits": {"CUSTOM_T": [False, True]}})
    assert has_values({"providers": {HOST: {"tree": HOST, "root": [OTHER, HOST], "parent": [None, "x"]}}})
    assert not has_values({"providers": {HOST: {"tree": HOST, "root": [OTHER, HOST]}}})
    assert not has_values({"consumers": {VM: {"project_id": [None, "p"]}}})


def test_a_record_names_trees_and_their_members() -> None:
    body = {
        "providers": {
            "moved": {"tree": HOST, "root": [OTHER, HOST]},
            "new": {"tree": HOST, "root": [None, HOST]},
            "elsewhere": {"tree": "third", "generation": [1, 2]},
        }
    }
    assert roots_of_moves(body) == {HOST, OTHER}
    assert members_of(body, OTHER) == {"moved"}
    assert members_of(body, HOST) == {"moved", "new"}
    assert members_of(body, "third") == {"elsewhere"}


def test_a_consumer_begins_where_it_had_no_generation() -> None:
    assert begins({"consumers": {VM: {"project_id": [None, "p"], "generation": [None, 1]}}}, VM)
    assert not begins({"consumers": {VM: {"project_id": ["p", "p"], "generation": [1, 2]}}}, VM)
    assert not begins({}, VM)


def test_of_many_claims_those_are_wanted_that_may_be_the_oldest_to_tell_a_value() -> None:
    past = Past({HOST: parts(inventories={"VCPU": inventory_told(Inventory(8))})})
    past.follow([OTHER])
    had = {
        "providers": {
            OTHER: {"tree": OTHER, "inventories": [{"DISK_GB": inventory_told(Inventory(1))}, None]}
        }
    }
    elsewhere: dict[str, Any] = {"providers": {"third": {"tree": HOST, "inventories": [None, {"PGPU": {}}]}}}
    wanted = Unresolved(past, [had, elsewhere, {}])

    def claim(uuid: str, *names: str, raises: bool = True) -> dict[str, Any]:
        changed: dict[str, Any] = {"tree": uuid, "used": {name: [0, 1] for name in names}}
        if raises:
            changed["generation"] = [1, 2]
        return {"providers": {uuid: changed}, "consumers": {VM: {"generation": [None, 1]}}}

    def may_be_in(body: dict[str, Any]) -> bool:
        return wanted.may_be_in(json.dumps(body))

    assert may_be_in({"providers": {HOST: {"tree": HOST}}}), "it has no values"
    assert may_be_in(claim(HOST, "VCPU"))
    assert not may_be_in(claim("third", "VCPU"))
    wanted.resolve(claim(HOST, "PGPU", raises=False))
    assert may_be_in(claim(HOST, "PGPU"))
    wanted.resolve(claim(HOST, "VCPU"))
    assert not may_be_in(claim(HOST, "VCPU", "DISK_GB"))
    assert may_be_in(claim(OTHER, "DISK_GB"))
    wanted.resolve(claim(OTHER, "DISK_GB", raises=False))
    wanted.resolve(claim("third", "VCPU"))
    assert may_be_in(claim(OTHER)), "its generation is not known"
    wanted.resolve({"providers": {OTHER: {"tree": OTHER, "generation": [1, 2]}}})
    assert not may_be_in(claim(OTHER))


def test_records_that_tell_only_what_earlier_ones_have_told_do_not_lead() -> None:
    leading = Leading()

    def leads(uuid: str, *names: str, is_claim: bool = True) -> bool:
        parts = {"tree": HOST, "generation": [1, 2], "used": {name: [0, 1] for name in names}}
        return leading.leads({"providers": {uuid: parts}}, is_claim=is_claim)

    assert leads(HOST, "VCPU")
    assert not leads(HOST, "VCPU")
    assert leads(HOST, "VCPU", "DISK_GB")
    assert leads(OTHER, "VCPU")
    assert leads(OTHER, "PGPU", is_claim=False)
    assert not leads(OTHER, "PGPU"), "the one before has told it"
    assert leads(HOST, is_claim=False), "it may say more than claims do"
    assert leading.leads({"providers": {HOST: {"tree": HOST}}}, is_claim=True), "it has no values"
    assert not leading.leads(
        {"consumers": {VM: {"project_id": ["p", "p"], "lease": [None, "l"]}}}, is_claim=True
    )
    assert leading.leads({"providers": {"third": {"tree": HOST, "generation": [1, 2]}}}, is_claim=True)


@given(st.lists(st.tuples(st.sampled_from((HOST, OTHER)), st.sets(st.sampled_from("ABC"))), max_size=12))
def test_leading_records_lead_back_as_all_do(claims: list[tuple[str, set[str]]]) -> None:
    used: dict[str, dict[str, int]] = {HOST: {}, OTHER: {}}
    generations = {HOST: 0, OTHER: 0}
    bodies = []
    for uuid, names in claims:
        pairs = {name: [used[uuid].get(name, 0), used[uuid].get(name, 0) + 1] for name in sorted(names)}
        used[uuid] |= {name: after for name, (_, after) in pairs.items()}
        raised = [generations[uuid], generations[uuid] + 1]
        generations[uuid] += 1
        bodies.append({"providers": {uuid: {"tree": HOST, "generation": raised, "used": pairs}}})

    def before(taken: list[dict[str, Any]]) -> Past:
        past = Past({uuid: {"generation": generations[uuid], "used": dict(used[uuid])} for uuid in used})
        for body in reversed(taken):
            past.take_back(body)
        return past

    for start in range(len(bodies) + 1):
        leading = Leading()
        leads = [body for body in bodies[start:] if leading.leads(body, is_claim=True)]
        assert before(leads) == before(bodies[start:])
