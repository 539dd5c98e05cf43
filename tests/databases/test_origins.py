"""What a native claim asked for: written with it, and gone with its consumer, whoever ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.commands import (
    Claim,
    Command,
    DeleteAllocations,
    GrantClaims,
    PlaceClaims,
    ReleaseClaims,
    ReplaceAllocations,
)
from moorage.model.placing import ClaimOrigin
from moorage.service.facade import Service
from moorage.service.verification import verify
from moorage.store.store import Store
from moorage.store.tables import claims
from tests.databases.orders import ASKER, VCPU, add_provider, claim, new_uuid, order
from tests.databases.sql_watch import watching
from tests.databases.test_placing import place
from tests.databases.together import together

ASKED = ClaimOrigin('{"query":"resources=VCPU:1"}', "default", {"job": "42"})


def rows(store: Store) -> dict[str, int | None]:
    """Consumers that have an origin, and where it was decided."""
    with store.engines.single.connect() as connection:
        return {row.consumer_uuid: row.decided_at for row in connection.execute(sa.select(claims))}


def noted(amount: int = 1, consumer: str | None = None) -> PlaceClaims:
    """A placed claim with an origin."""
    command = place(amount)
    made = tuple(replace(each, origin=ASKED, consumer=consumer or each.consumer) for each in command.claims)
    return replace(command, claims=made)


def placed(service: Service, amount: int = 1) -> str:
    """A consumer whose claim has an origin."""
    command = noted(amount)
    assert service.place(command, ASKER).error is None
    return command.claims[0].consumer


def test_it_is_kept_with_the_revision_that_the_place_was_chosen_on(service: Service, store: Store) -> None:
    add_provider(service, VCPU=8)
    start = service.revision()
    consumer = placed(service)
    _, shown = service.claim(consumer)
    assert shown is not None
    assert shown.origin == replace(ASKED, decided_at=start)
    assert rows(store) == {consumer: start}
    exact = GrantClaims(
        (Claim(new_uuid(), shown.held, "p", "u", None, None, ClaimOrigin(labels={"a": "b"})),), 1
    )
    order(service, exact)
    assert service.claim(exact.claims[0].consumer)[1].origin == ClaimOrigin(labels={"a": "b"})  # type: ignore[union-attr]
    assert service.claim(consumer)[1].origin == replace(ASKED, decided_at=start)  # type: ignore[union-attr]


def test_a_refusal_leaves_no_row(service: Service, store: Store) -> None:
    add_provider(service, VCPU=8)
    assert service.place(noted(9), ASKER).error is not None
    assert rows(store) == {}


ENDS: list[Callable[[str], Command[Any]]] = [
    DeleteAllocations,
    lambda consumer: ReleaseClaims((consumer,)),
    lambda consumer: ReplaceAllocations((Claim(consumer, {}, "p", "u", 1),)),
]


@pytest.mark.parametrize("end", ENDS)
def test_it_goes_with_its_consumer(
    service: Service, store: Store, end: Callable[[str], Command[Any]]
) -> None:
    add_provider(service, VCPU=8)
    consumer, other = placed(service), placed(service)
    order(service, end(consumer))
    assert rows(store).keys() == {other}
    assert verify(store).differences == 0


def test_a_client_of_placement_that_changes_the_claim_leaves_it(service: Service, store: Store) -> None:
    provider = add_provider(service, VCPU=8)
    consumer = placed(service)
    order(service, claim(consumer, {provider: {VCPU: 5}}, generation=1))
    assert rows(store).keys() == {consumer}


def test_a_move_replaces_it(service: Service, store: Store) -> None:
    provider, taker = add_provider(service, VCPU=8), new_uuid()
    consumer = placed(service)
    start = service.revision()
    command = noted(2, consumer)
    moved = replace(
        command,
        claims=tuple(replace(each, generation=1) for each in command.claims),
        passed_on=(Claim(taker, {provider: {VCPU: 1}}, "p", "u"),),
    )
    assert service.place(moved, ASKER).error is None
    assert rows(store) == {consumer: start}
    assert service.generations([taker]) == {taker: 1}


def test_within_a_group_it_follows_what_happens_to_the_consumer(service: Service, store: Store) -> None:
    provider = add_provider(service, VCPU=8)
    consumer, other = new_uuid(), placed(service)
    made = Claim(consumer, {provider: {VCPU: 1}}, "p", "u", None, None, ASKED)
    together(
        service,
        GrantClaims((made,), 1),
        DeleteAllocations(consumer),
        claim(consumer, {provider: {VCPU: 2}}),
        DeleteAllocations(other),
        GrantClaims((replace(made, consumer=other),), 1),
    )
    assert rows(store) == {other: None}
    assert service.generations([consumer, other]) == {consumer: 1, other: 1}


def test_what_placement_has_left_behind_is_replaced_or_removed(service: Service, store: Store) -> None:
    add_provider(service, VCPU=8)
    again, gone = new_uuid(), new_uuid()
    with store.engines.write.begin() as connection:
        connection.execute(claims.insert(), [{"consumer_uuid": each, "ask": "{}"} for each in (again, gone)])
    found = [str(each) for check in verify(store).checks for each in check.findings]
    assert len(found) == 2
    assert all("there is no such consumer" in each for each in found)
    assert service.place(noted(1, again), ASKER).error is None
    assert rows(store).keys() == {again, gone}
    assert store.heal("p", "u") == {"origins of claims of consumers that do not exist (removed)": 1}
    assert rows(store).keys() == {again}


def test_only_claims_that_have_it_cost_a_statement(service: Service, store: Store) -> None:
    provider = add_provider(service, VCPU=8)
    service.warm_up()

    def statements(*commands: Command[Any]) -> int:
        with watching(store) as watched:
            together(service, *commands)
        return len(watched) + len(watched.direct)

    def exact(origin: ClaimOrigin | None) -> GrantClaims:
        return GrantClaims((Claim(new_uuid(), {provider: {VCPU: 1}}, "p", "u", None, None, origin),), 1)

    plain, with_it = [exact(None), exact(None)], [exact(ASKED), exact(ASKED)]
    statements(*plain, *with_it)
    deleted = [
        statements(*(DeleteAllocations(each.claims[0].consumer) for each in pair))
        for pair in (plain, with_it)
    ]
    assert deleted[1] == deleted[0] + 1
    assert statements(exact(ASKED), exact(ASKED)) == statements(exact(None), exact(None)) + 1
