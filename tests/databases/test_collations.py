"""Names that differ in case only: MariaDB's usual collation holds them equal, the others do not."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.api.placement import application
from moorage.auth.policy import default_policy
from moorage.cli.loading import load
from moorage.cli.parsing import parse
from moorage.model.commands import Batch, CreateTrait, SetAggregates
from moorage.model.errors import EqualNameError
from moorage.model.values import ConsumerAllocations
from moorage.service.facade import Service
from moorage.store.store import Store
from tests.databases.orders import VCPU, add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenService
from tests.databases.together import together
from tests.peer.exchange import call
from tests.peer.world import NEWEST_MINOR, request


@pytest.fixture
def ignores_case(store: Store) -> bool:
    return store.engines.write.dialect.name == "mysql"


def test_projects_and_users_that_differ_in_case_can_both_claim(
    store: Store, service: Service, ignores_case: bool, open_service: OpenService
) -> None:
    provider, consumers = add_provider(service, VCPU=10), [new_uuid() for _ in range(4)]
    order(service, claim(consumers[0], {provider: {VCPU: 1}}, project_id="Reds", user_id="Anne"))
    order(service, claim(consumers[1], {provider: {VCPU: 2}}, project_id="REDS", user_id="ANNE"))
    order(open_service(store), claim(consumers[2], {provider: {VCPU: 3}}, project_id="reds", user_id="anne"))
    order(service, claim(consumers[0], {provider: {VCPU: 4}}, project_id="REDS", user_id="anne"))
    assert service.usages("Reds") == ({VCPU: 9} if ignores_case else {})
    assert service.usages("REDS", "anne") == ({VCPU: 9} if ignores_case else {VCPU: 4})


def test_file_that_spells_an_owner_in_another_case_writes_once_at_most(
    store: Store, service: Service, ignores_case: bool
) -> None:
    host = "providers: [{name: h, inventories: {VCPU: 4}}]\n"
    consumer = "consumers: [{name: c, project: %s, user: Anne, allocations: {h: {VCPU: 1}}}]\n"
    first, other = (parse(host + consumer % project, "file") for project in ("Reds", "REDS"))
    assert len(load(service, first).done) == 2
    assert len(load(service, other).done) == (0 if ignores_case else 1)
    revision = store.revision()
    assert load(service, other).done == []
    assert store.revision() == revision


def test_new_names_of_one_group_that_are_held_equal_are_written_one_after_the_other(service: Service) -> None:
    provider = add_provider(service, VCPU=10)
    answers = together(
        service,
        claim(new_uuid(), {provider: {VCPU: 1}}, project_id="new", consumer_type="TYPE"),
        claim(new_uuid(), {provider: {VCPU: 2}}, project_id="NEW", consumer_type="type"),
    )
    assert answers == [None, None]
    assert service.provider_usages(provider).usages == {VCPU: 3}


def test_an_aggregate_in_two_cases_is_one_membership_where_they_are_equal(
    service: Service, ignores_case: bool
) -> None:
    lower, provider, other = new_uuid(), add_provider(service), add_provider(service)
    upper = lower.upper()
    order(service, SetAggregates(provider, None, (lower,)))
    order(service, SetAggregates(other, None, (upper, lower)))
    assert len(service.provider_aggregates(other).aggregates) == (1 if ignores_case else 2)
    order(service, SetAggregates(other, None, (upper,)))
    assert service.provider_aggregates(other).aggregates == ((lower,) if ignores_case else (upper,))


def test_a_consumer_or_a_trait_held_equal_to_another_is_refused_and_changes_nothing(
    store: Store, service: Service, ignores_case: bool
) -> None:
    provider, consumer = add_provider(service, VCPU=10), new_uuid()
    order(service, claim(consumer, {provider: {VCPU: 1}}))
    order(service, CreateTrait("CUSTOM_T"))
    revision = store.revision()
    second = claim(consumer.upper(), {provider: {VCPU: 2}}, None)
    if ignores_case:
        for command in (second, CreateTrait("CUSTOM_t"), Batch((second,))):
            with pytest.raises(EqualNameError):
                order(service, command)
        assert store.revision() == revision
        assert service.provider_usages(provider).usages == {VCPU: 1}
    else:
        order(service, second)
        assert order(service, CreateTrait("CUSTOM_t")) is True
        assert service.provider_usages(provider).usages == {VCPU: 3}
        order(service, claim(consumer.upper(), {}))
        assert service.consumer_allocations(consumer.upper()) == ConsumerAllocations()


def test_d28_clients_learn_of_a_consumer_that_is_held_equal_to_another(
    store: Store, service: Service, ignores_case: bool
) -> None:
    served = application.create(service, policy=default_policy())
    provider, consumer = add_provider(service, VCPU=10), new_uuid()

    def ask(method: str, path: str, body: Any = None) -> tuple[int, str | None, str]:
        answer = call(served, request(method, path, NEWEST_MINOR, body))
        return answer.status, answer.code, answer.detail

    def wanted(generation: int | None) -> dict[str, Any]:
        owner = {"project_id": "p", "user_id": "u", "consumer_type": "INSTANCE"}
        allocations = {provider: {"resources": {VCPU: 1}}}
        return {**owner, "consumer_generation": generation, "allocations": allocations}

    upper = consumer.upper()
    assert ask("PUT", f"/allocations/{consumer}", wanted(None))[0] == 204
    if not ignores_case:
        assert ask("POST", "/allocations", {upper: wanted(None)})[0] == 204
        assert ask("DELETE", f"/allocations/{upper}")[0] == 204
        return
    status, code, detail = ask("POST", "/allocations", {upper: wanted(None)})
    assert (status, code) == (409, "placement.undefined_code")
    assert "A name differs only in case from one that is there already." in detail
    assert ask("DELETE", f"/allocations/{upper}")[0] == 404
    status, code, detail = ask("PUT", f"/allocations/{upper}", wanted(None))
    assert (status, code) == (409, "placement.concurrent_update")
    assert "consumer generation conflict - expected 1 but got None" in detail
    assert ask("PUT", f"/allocations/{upper}", wanted(1))[0] == 204
    name = f"PROVIDER {provider.upper()}"
    status, code, detail = ask("POST", "/resource_providers", {"name": name, "uuid": new_uuid()})
    assert (status, code) == (409, "placement.duplicate_name")
    assert f"Conflicting resource provider name: {name} already exists." in detail
