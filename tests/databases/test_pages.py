"""Pages of bulk lists, on each kind of database."""

from __future__ import annotations

from moorage.model.commands import DeleteProvider
from moorage.model.values import UNKNOWN_CONSUMER_TYPE, ClaimSelection, ListedClaim, ProviderSelection
from moorage.service.facade import Service
from tests.databases.orders import add_provider, claim, new_uuid, order


def test_claims_come_page_by_page(service: Service) -> None:
    one, two = add_provider(service, VCPU=50, MEMORY_MB=50), add_provider(service, VCPU=50)
    consumers = [new_uuid() for _ in range(5)]
    for place, consumer in enumerate(consumers):
        held = {one: {"VCPU": 1, "MEMORY_MB": 2}} | ({two: {"VCPU": 3}} if place % 2 else {})
        kind = "INSTANCE" if place else None
        order(service, claim(consumer, held, None, kind, f"p{place % 2}"))
    found: list[ListedClaim] = []
    after = ""
    while True:
        revision, page = service.claim_page(ClaimSelection(limit=2, after=after))
        assert revision == service.revision()
        found += page.claims
        if not page.has_more:
            break
        after = found[-1].consumer
    assert sorted(each.consumer for each in found) == sorted(consumers)
    by_consumer = {each.consumer: each for each in found}
    assert by_consumer[consumers[1]].held == {one: {"VCPU": 1, "MEMORY_MB": 2}, two: {"VCPU": 3}}
    assert by_consumer[consumers[1]].since is not None

    def chosen(selection: ClaimSelection) -> set[int]:
        return {consumers.index(each.consumer) for each in service.claim_page(selection)[1].claims}

    assert chosen(ClaimSelection(limit=9, project_id="p0")) == {0, 2, 4}
    assert chosen(ClaimSelection(limit=9, provider=two)) == {1, 3}
    assert chosen(ClaimSelection(limit=9, consumer_type="INSTANCE", project_id="p0")) == {2, 4}
    assert chosen(ClaimSelection(limit=9, consumer_type=UNKNOWN_CONSUMER_TYPE)) == {0}


def test_generations_of_a_page_are_those_of_its_revision(service: Service) -> None:
    one, two = add_provider(service, VCPU=5), add_provider(service, VCPU=5)
    order(service, claim(new_uuid(), {one: {"VCPU": 2}}))
    revision, page = service.provider_page(ProviderSelection(limit=9), generations=True)
    assert revision == service.revision()
    assert page.generations == {uuid: service.provider(uuid).generation for uuid in (one, two)}
    assert {each.uuid: dict(each.used) for each in page.providers} == {one: {"VCPU": 2}, two: {"VCPU": 0}}


def test_news_of_providers_are_there_after_claims_only(service: Service) -> None:
    one, two = add_provider(service, VCPU=5), add_provider(service)
    _, page = service.provider_page(ProviderSelection(limit=9))
    ids = [each.id for each in page.providers]
    known = service.revision()
    order(service, claim(new_uuid(), {one: {"VCPU": 2}}))
    news = service._store.news_of_providers(known, ids)
    assert news is not None
    assert news.revision == known + 1
    assert list(news.used.values()) == [{"VCPU": 2}]
    assert service._store.news_of_providers(known + 2, ids) is None
    order(service, DeleteProvider(two))
    assert service._store.news_of_providers(known, ids) is None
