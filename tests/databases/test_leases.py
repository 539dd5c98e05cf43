"""Leases in databases: grants, claims that hang on them, renewals against expiries, the keeper's row."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from moorage.model.commands import (
    AttachClaim,
    Claim,
    DeleteAllocations,
    DetachClaim,
    EndLease,
    ExpireLeases,
    GrantClaims,
    GrantLease,
    QuarantineClaims,
    ReleaseClaims,
    ResolveLease,
)
from moorage.model.errors import EntriesRefusedError, LeaseCrowdedError, LeaseGoneError, LeaseNotFoundError
from moorage.model.journal import ChangeSelection
from moorage.model.leases import (
    SLACK_MS,
    Gone,
    LeaseAt,
    LeaseSelection,
    LeaseState,
    OnExpiry,
    Renewed,
    Resolution,
)
from moorage.model.placing import ClaimOrigin
from moorage.rules.state import MOST_LEFT
from moorage.service.facade import Service
from moorage.service.keeper import SERVICE, TOGETHER
from moorage.service.verification import verify
from moorage.store import transaction
from moorage.store.changes.journal import compact_some
from moorage.store.leases import LeaseTable, _look, _renewed
from moorage.store.nouns import leases as nouns
from moorage.store.nouns.noun import GroupWork
from moorage.store.store import Store
from moorage.store.tables import allocations, claims, clock, consumers, journal_refs, leases, reports
from moorage.store.transaction import WriteTransaction
from tests.databases.orders import ASKER, VCPU, add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenService
from tests.databases.sql_watch import watching

TTL, GRACE = 10_000, 5_000

LATEST = datetime(9999, 1, 1)  # noqa: DTZ001 - times of the journal are naive


def grant(service: Service, **parts: object) -> str:
    uuid = new_uuid()
    values: dict[str, object] = {"ttl_ms": TTL, "grace_ms": GRACE, **parts}
    order(service, GrantLease(uuid, "agent", "p1", "u1", **values))  # type: ignore[arg-type]
    return uuid


def hold(
    service: Service, provider: str, lease: str | None, count: int = 1, origin: ClaimOrigin | None = None
) -> list[str]:
    """Claims of one VCPU each, which hang on a lease."""
    consumers = [new_uuid() for _ in range(count)]
    wanted = tuple(
        Claim(consumer, {provider: {VCPU: 1}}, "p1", "u1", origin=origin, lease=lease)
        for consumer in consumers
    )
    order(service, GrantClaims(wanted, count))
    return consumers


def pass_time(store: Store, milliseconds: int) -> None:
    """Service time goes on."""
    table = LeaseTable(store)
    known = table.look()
    assert table.advance(known, known.ticks + milliseconds)


def shown(service: Service, uuid: str) -> LeaseAt:
    return service.leases.lease(uuid)[1]


def state_of(service: Service, uuid: str) -> LeaseState:
    return shown(service, uuid).lease.state


def lease_of(service: Service, consumer: str) -> str | None:
    found = service.claim(consumer)[1]
    assert found is not None
    return found.lease


def used(service: Service, provider: str) -> int:
    return service.provider_usages(provider).usages[VCPU]


def test_a_grant_is_a_revision_and_its_fence(service: Service) -> None:
    start = service.revision()
    first, second = grant(service), grant(service, on_expiry=OnExpiry.RELEASE, max_life_ms=60_000)
    found = shown(service, first)
    assert (found.lease.fence, found.lease.revision, found.claims) == (start + 1, start + 1, 0)
    assert (found.lease.owner, found.lease.project_id, found.lease.user_id) == ("agent", "p1", "u1")
    assert found.remaining_ms == TTL
    found = shown(service, second)
    assert (found.lease.fence, found.lease.on_expiry) == (start + 2, OnExpiry.RELEASE)
    assert found.lease.end_tick == found.ticks + 60_000 + SLACK_MS
    with pytest.raises(LeaseNotFoundError):
        shown(service, new_uuid())


def test_no_index_is_disturbed_by_a_lease(store: Store, service: Service) -> None:
    add_provider(service, VCPU=8)
    service.warm_up()
    other = Service(store)
    other.warm_up()
    grant(service)
    with watching(store) as watched:
        other.warm_up()
        service.warm_up()
    assert watched.statements == [], "one statement, straight to the driver, tells all"
    assert other._index.revision == service.revision()


def test_claims_hang_on_a_lease_in_the_same_commit(service: Service) -> None:
    provider, lease = add_provider(service, VCPU=8), grant(service)
    origin = ClaimOrigin("{}", "pack", {"job": "42"}, 3)
    [with_origin] = hold(service, provider, lease, origin=origin)
    [without] = hold(service, provider, lease)
    [free] = hold(service, provider, None)
    assert [lease_of(service, each) for each in (with_origin, without, free)] == [lease, lease, None]
    assert shown(service, lease).claims == 2
    found = service.claim(with_origin)[1]
    assert found is not None
    assert found.origin == origin
    changed = service.changes(ChangeSelection(service.revision() - 3, 10), None, 0)
    assert f'"lease":[null,"{lease}"]' in changed.changes[0].body  # type: ignore[union-attr]


def test_a_lease_that_is_gone_takes_no_claims(service: Service) -> None:
    provider, lease = add_provider(service, VCPU=8), grant(service)
    order(service, EndLease(lease, keeps_claims=True))
    with pytest.raises(EntriesRefusedError) as refused:
        hold(service, provider, lease)
    assert isinstance(refused.value.refused[0][1], LeaseGoneError)
    assert used(service, provider) == 0


def test_claims_are_attached_moved_between_leases_and_detached(service: Service) -> None:
    provider, first, second = add_provider(service, VCPU=8), grant(service), grant(service)
    [free] = hold(service, provider, None)
    [noted] = hold(service, provider, None, origin=ClaimOrigin("{}"))
    for consumer in (free, noted):
        order(service, AttachClaim(first, consumer))
        assert lease_of(service, consumer) == first
    order(service, AttachClaim(second, noted))
    order(service, DetachClaim(first, free))
    assert (lease_of(service, free), lease_of(service, noted)) == (None, second)
    # A move over the native API keeps the lease, and so does a change by a client of Placement.
    move = Claim(noted, {provider: {VCPU: 2}}, "p1", "u1", 1, origin=ClaimOrigin('{"a":1}'))
    order(service, GrantClaims((move,), 1))
    order(service, claim(noted, {provider: {VCPU: 3}}, 2, project_id="p1"))
    found = service.claim(noted)[1]
    assert found is not None
    assert (found.lease, found.origin) == (second, ClaimOrigin('{"a":1}'))
    # A move may hang it elsewhere.
    order(service, GrantClaims((replace(move, generation=3, lease=first),), 1))
    assert lease_of(service, noted) == first
    order(service, EndLease(first, keeps_claims=True))
    assert lease_of(service, noted) is None
    assert used(service, provider) == 3


def test_what_placement_clients_take_away_hangs_on_no_lease(service: Service, store: Store) -> None:
    provider, lease = add_provider(service, VCPU=8), grant(service)
    first, second, third = hold(service, provider, lease, 3)
    order(service, DeleteAllocations(first))
    order(service, claim(second, {}, 1, project_id="p1"))
    order(service, ReleaseClaims((third,)))
    with store.engines.single.connect() as connection:
        assert connection.execute(sa.select(claims.c.consumer_uuid)).all() == []
    assert shown(service, lease).claims == 0


@pytest.mark.parametrize("native", [False, True])
def test_a_new_consumer_does_not_hang_on_what_an_earlier_one_of_its_uuid_did(
    service: Service, store: Store, native: bool
) -> None:
    provider, lease = add_provider(service, VCPU=8), grant(service)
    [consumer] = hold(service, provider, lease, origin=ClaimOrigin("{}"))
    # As the real Placement takes a claim away, which knows nothing of leases.
    with store.engines.write.begin() as connection:
        connection.execute(allocations.delete().where(allocations.c.consumer_id == consumer))
        connection.execute(consumers.delete().where(consumers.c.uuid == consumer))
    service.warm_up()
    again = claim(consumer, {provider: {VCPU: 1}}, None, project_id="p2")
    order(service, GrantClaims(again.claims, 1) if native else again)
    assert claim_row(store, consumer) is None
    order(service, EndLease(lease, keeps_claims=False))
    assert service.leases.take_away(lease, ASKER) == 0
    assert service.claim(consumer)[1] is not None


@pytest.mark.parametrize("native", [False, True])
def test_a_claim_that_comes_to_another_project_stays_when_its_lease_ends(
    service: Service, store: Store, native: bool
) -> None:
    provider, lease = add_provider(service, VCPU=8), grant(service)
    first, second = hold(service, provider, lease, 2, ClaimOrigin("{}"))
    moved = claim(first, {provider: {VCPU: 1}}, 1, project_id="p2")
    order(service, GrantClaims(moved.claims, 1) if native else moved)
    assert claim_row(store, first) == ("{}", None)
    order(service, EndLease(lease, keeps_claims=False))
    assert service.leases.take_away(lease, ASKER) == 1
    assert service.claim(second)[1] is None
    assert service.claim(first)[1] is not None


def history(service: Service, consumer: str, project_id: str | None = None, limit: int = 100) -> list[Any]:
    """Kind, path and the states of leases of each record, the oldest first, read in pages."""
    found: list[Any] = []
    before: int | None = None
    while True:
        page = service.history_of_consumer(consumer, before, limit, project_id)
        for each in page.changes:
            body = orjson.loads(each.body)
            states = {uuid: parts["state"][1] for uuid, parts in body.get("leases", {}).items()}
            found.append((each.kind, each.path, states))
        before = page.next_before
        if before is None:
            return found[::-1]


def test_the_history_of_a_consumer_tells_what_became_of_its_lease_while_it_hung_on_it(
    service: Service, store: Store
) -> None:
    provider, lease, other = add_provider(service, VCPU=8), grant(service), grant(service)
    [consumer] = hold(service, provider, None)
    [neighbour] = hold(service, provider, other)
    order(service, AttachClaim(lease, consumer))
    pass_time(store, TTL + SLACK_MS)
    assert len(service.execute(ExpireLeases((lease, other)), SERVICE)) == 2
    service.leases.renew([lease])
    order(service, DetachClaim(lease, consumer))
    pass_time(store, TTL + SLACK_MS)
    assert len(service.execute(ExpireLeases((lease, other)), SERVICE)) == 2
    service.leases.renew([lease])
    order(service, AttachClaim(lease, consumer))
    for milliseconds in (TTL + SLACK_MS, GRACE):
        pass_time(store, milliseconds)
        service.execute(ExpireLeases((lease,)), SERVICE)
    order(service, ResolveLease(lease, Resolution.RELEASE))
    assert service.leases.take_away(lease, SERVICE) == 1
    told = [
        ("allocations.replace", "service", {}),
        ("leases.attach", "service", {}),
        ("leases.expire", "service", {lease: "expired"}),
        ("leases.detach", "service", {}),
        ("leases.attach", "service", {}),
        ("leases.expire", "service", {lease: "expired"}),
        ("leases.expire", "service", {lease: "quarantined"}),
        ("leases.release", "service", {lease: "releasing"}),
        ("allocations.delete", "service", {lease: "released"}),
    ]
    assert history(service, consumer) == history(service, consumer, limit=1) == told
    assert history(service, consumer, "p1", limit=3) == told
    assert history(service, consumer, "p2") == []
    assert [kind for kind, _, _ in history(service, neighbour)] == [
        "allocations.replace",
        "leases.expire",
        "leases.expire",
    ]
    assert not [check.findings for check in verify(store).checks if check.findings]


def lease_at(service: Service, consumer: str, revision: int) -> str | None:
    found = service.past.claim(consumer, revision, None)[1]
    assert found is not None
    return found.lease


def test_claims_of_the_past_hang_on_a_lease_that_ended_without_them(service: Service, store: Store) -> None:
    provider, lease = add_provider(service, VCPU=8), grant(service)
    first, second = hold(service, provider, lease, 2)
    [finding_of] = hold(service, provider, None)
    finding = new_uuid()
    order(service, QuarantineClaims(finding, "nova", "p1", "u1", (finding_of,)))
    before = service.revision()
    order(service, EndLease(lease, keeps_claims=True))
    order(service, ResolveLease(finding, Resolution.RESTORE))
    assert [lease_at(service, each, before) for each in (first, second, finding_of)] == [
        lease,
        lease,
        finding,
    ]
    assert [lease_of(service, each) for each in (first, second, finding_of)] == [None] * 3
    assert history(service, first)[-1] == ("leases.release", "service", {lease: "released"})
    assert not [check.findings for check in verify(store).checks if check.findings]


def test_what_a_program_without_leases_took_away_loses_its_lease_as_well(
    service: Service, store: Store
) -> None:
    provider, lease = add_provider(service, VCPU=8), grant(service)
    [gone] = hold(service, provider, lease)
    with store.engines.write.begin() as connection:
        connection.execute(allocations.delete().where(allocations.c.consumer_id == gone))
        connection.execute(consumers.delete().where(consumers.c.uuid == gone))
    order(service, EndLease(lease, keeps_claims=True))
    assert claim_row(store, gone) == (None, None)
    assert gone not in service.changes(ChangeSelection(service.revision() - 1, 1), None, 0).changes[0].body  # type: ignore[union-attr]


def test_a_claim_that_comes_to_hang_on_a_lease_while_it_ends_is_in_its_record(
    server_service: Service,
    server_store: Store,
    open_service: OpenService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider, lease = add_provider(server_service, VCPU=8), grant(server_service)
    [early, late] = [hold(server_service, provider, None)[0] for _ in range(2)]
    order(server_service, AttachClaim(lease, early))
    other, real, asked = open_service(server_store), nouns.hanging_on, list[object]()

    def hanging_on(work: GroupWork, wanted: Iterable[str]) -> dict[str, frozenset[str]]:
        found = real(work, wanted)
        if not asked:
            order(other, AttachClaim(lease, late))
        asked.append(found)
        return found

    monkeypatch.setattr(transaction, "hanging_on", hanging_on)
    order(server_service, EndLease(lease, keeps_claims=True))
    assert len(asked) == 2, "the write was repeated"
    before = server_service.revision() - 1
    assert [lease_at(server_service, each, before) for each in (early, late)] == [lease, lease]


def test_very_many_claims_lose_a_lease_before_it_ends(sqlite_service: Service) -> None:
    count = 2 * MOST_LEFT + 1
    provider, lease, other = (
        add_provider(sqlite_service, VCPU=count + 1),
        grant(sqlite_service),
        grant(sqlite_service),
    )
    held = hold(sqlite_service, provider, lease, count)
    [neighbour] = hold(sqlite_service, provider, other)
    with pytest.raises(LeaseCrowdedError):
        order(sqlite_service, EndLease(lease, keeps_claims=True))
    before = sqlite_service.revision()
    sqlite_service.leases.let_some_go(lease, ASKER)
    with pytest.raises(LeaseCrowdedError):
        order(sqlite_service, EndLease(lease, keeps_claims=True))
    sqlite_service.leases.let_some_go(lease, ASKER)
    order(sqlite_service, EndLease(lease, keeps_claims=True))
    assert sqlite_service.revision() == before + 3
    assert {lease_at(sqlite_service, each, before) for each in held[::100]} == {lease}
    assert {lease_of(sqlite_service, each) for each in held[::100]} == {None}
    assert lease_of(sqlite_service, neighbour) == other


def test_a_record_of_a_lease_is_forgotten_with_what_refers_to_it(service: Service, store: Store) -> None:
    provider, lease = add_provider(service, VCPU=8), grant(service)
    [consumer] = hold(service, provider, lease)
    order(service, EndLease(lease, keeps_claims=False))
    assert service.leases.take_away(lease, ASKER) == 1
    assert len(history(service, consumer)) == 3
    with store.engines.write.begin() as connection:
        compact_some(connection, 0, LATEST, 0)
        assert connection.execute(sa.select(journal_refs.c.subject)).all() == []


def claim_row(store: Store, consumer: str) -> tuple[str, str | None] | None:
    with store.engines.single.connect() as connection:
        query = sa.select(claims.c.ask, claims.c.lease).where(claims.c.consumer_uuid == consumer)
        row = connection.execute(query).first()
    return None if row is None else (row.ask, row.lease)


def test_an_expiry_is_a_revision_and_a_renewal_is_none(store: Store, service: Service) -> None:
    lease = grant(service)
    start = service.revision()
    pass_time(store, TTL)
    revision, [renewed] = service.leases.renew([lease])
    assert (revision, renewed) == (start, Renewed(lease, TTL, revived=False))
    pass_time(store, TTL + SLACK_MS)
    assert service.execute(ExpireLeases((lease,)), SERVICE) == (lease,)
    found = shown(service, lease).lease
    assert (found.state, found.revision, found.fence) == (LeaseState.EXPIRED, start + 1, start)
    assert service.leases.renew([lease]) == (start + 1, [Renewed(lease, TTL, revived=True)])
    assert service.execute(ExpireLeases((lease,)), SERVICE) == ()
    assert service.revision() == start + 1
    kinds = [each.kind for each in service.changes(ChangeSelection(start - 1, 10), None, 0).changes]  # type: ignore[union-attr]
    assert kinds == ["leases.grant", "leases.expire"]


def test_a_renewal_tells_of_each_lease(store: Store, service: Service) -> None:
    active, ended, unknown, dead = (
        grant(service),
        grant(service),
        new_uuid(),
        grant(service, max_life_ms=1_000),
    )
    order(service, EndLease(ended, keeps_claims=True))
    at = service.revision()
    pass_time(store, 1_000 + SLACK_MS)
    found = service.leases.renew([dead, active, unknown, ended, active])[1]
    assert found == [
        Gone(dead, LeaseState.ACTIVE, at - 1),
        Renewed(active, TTL, revived=False),
        Gone(unknown),
        Gone(ended, LeaseState.RELEASED, at),
    ]
    late = grant(service, max_life_ms=4_000)
    assert service.leases.renew([late])[1] == [Renewed(late, 4_000, revived=False)]


def test_leases_of_other_projects_are_not_known_to_a_client_of_one(service: Service) -> None:
    lease = grant(service)
    assert isinstance(service.leases.renew([lease], "p1")[1][0], Renewed)
    _, found = service.leases.renew([lease, "unknown", lease], "p2")
    assert found == [Gone(lease), Gone("unknown")]
    _, found = service.leases.renew(["unknown", lease], "p1")
    assert found[0] == Gone("unknown")
    assert isinstance(found[1], Renewed)


def test_the_keeper_ends_what_is_due_in_batches(store: Store, service: Service) -> None:
    count = 2 * TOGETHER + 3
    provider = add_provider(service, VCPU=1_000)
    job = grant(service, grace_ms=0, on_expiry=OnExpiry.RELEASE)
    hold(service, provider, job, count)
    [kept] = hold(service, provider, grant(service, grace_ms=0))
    keeper = service.leases.keeper
    keeper.turn()
    pass_time(store, TTL + SLACK_MS)
    start = service.revision()
    while keeper.turn():
        pass
    assert state_of(service, job) is LeaseState.RELEASED
    assert used(service, provider) == 1
    assert service.revision() == start + 1 + 3
    assert lease_of(service, kept) is not None
    found = service.changes(ChangeSelection(start, 10), None, 0)
    assert [(each.kind, each.path) for each in found.changes] == [  # type: ignore[union-attr]
        ("leases.expire", "service"),
        *[("allocations.delete", "service")] * 3,
    ]
    assert service.leases.counts().states == {LeaseState.RELEASED: 1, LeaseState.QUARANTINED: 1}


def test_a_client_that_ends_a_lease_with_its_claims_has_them_taken_away(service: Service) -> None:
    provider, lease = add_provider(service, VCPU=1_000), grant(service)
    hold(service, provider, lease, TOGETHER + 1)
    order(service, EndLease(lease, keeps_claims=False))
    assert state_of(service, lease) is LeaseState.RELEASING
    assert service.leases.take_away(lease, ASKER) == TOGETHER + 1
    assert state_of(service, lease) is LeaseState.RELEASED
    assert service.leases.take_away(lease, ASKER) == 0
    assert used(service, provider) == 0


def test_a_quarantine_is_resolved(store: Store, service: Service) -> None:
    provider, lease = add_provider(service, VCPU=8), grant(service, grace_ms=0)
    hold(service, provider, lease)
    pass_time(store, TTL + SLACK_MS)
    service.execute(ExpireLeases((lease,)), SERVICE)
    assert service.leases.renew([lease])[1] == [Gone(lease, LeaseState.QUARANTINED, service.revision())]
    order(service, ResolveLease(lease, Resolution.RESTORE))
    assert shown(service, lease).remaining_ms == TTL
    [found] = hold(service, provider, None)
    finding = new_uuid()
    order(service, QuarantineClaims(finding, "nova", "", "", (found,)))
    assert (lease_of(service, found), state_of(service, finding)) == (finding, LeaseState.QUARANTINED)


def test_leases_are_listed_in_pages(service: Service) -> None:
    uuids = sorted(grant(service) for _ in range(3))
    order(service, EndLease(uuids[1], keeps_claims=True))
    revision, page = service.leases.page(LeaseSelection(2))
    assert revision == service.revision()
    assert ([each.lease.uuid for each in page.leases], page.has_more) == (uuids[:2], True)
    page = service.leases.page(LeaseSelection(2, uuids[1]))[1]
    assert ([each.lease.uuid for each in page.leases], page.has_more) == (uuids[2:], False)

    def found(**wanted: object) -> list[str]:
        page = service.leases.page(LeaseSelection(9, **wanted))[1]  # type: ignore[arg-type]
        return [each.lease.uuid for each in page.leases]

    assert found(states=(LeaseState.ACTIVE,)) == [uuids[0], uuids[2]]
    assert found(owner="agent", project_id="p1") == uuids
    assert found(owner="other") == found(project_id="p2") == []


def test_released_leases_are_forgotten_later(store: Store, service: Service) -> None:
    lease, table = grant(service), LeaseTable(store)
    order(service, EndLease(lease, keeps_claims=True))
    assert table.forget(0) == 0
    assert table.forget(1) == 1
    with pytest.raises(LeaseNotFoundError):
        shown(service, lease)


def test_only_the_present_keeper_sets_the_clock(store: Store, service: Service) -> None:
    lease, table = grant(service), LeaseTable(store)
    first = table.look()
    assert (first.term, first.keeper, first.has_ended) == (0, "", False)
    assert first.due == shown(service, lease).lease.due_tick
    assert table.take_over(first, "a")
    assert not table.take_over(first, "b")
    second = table.look()
    assert (second.term, second.keeper) == (1, "a")
    assert table.advance(second, second.ticks + 500)
    assert not table.advance(second, second.ticks + 500)
    assert not table.advance(first, first.ticks + 500)
    assert table.look().ticks == second.ticks + 500


def test_a_look_at_service_time_reads_no_table_of_reports_whole(sqlite_store: Store) -> None:
    with sqlite_store.engines.single.connect() as connection:
        text = str(_look.compile(connection, compile_kwargs={"literal_binds": True}))
        plan = [str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert [each for each in plan if "moorage_reports_doubted_idx" in each], plan
    assert not [each for each in plan if each.startswith(f"SCAN {reports.name}")]


def test_a_claim_without_a_lease_costs_no_further_statement(store: Store, service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    hold(service, provider, None)
    service.warm_up()
    with watching(store) as watched:
        hold(service, provider, None)
    assert len(watched) == 8, "as many as before there were leases"
    assert not [each for each in watched.statements if leases.name in each or clock.name in each]


def test_verify_finds_nothing_and_a_sync_takes_orphans_off(store: Store, service: Service) -> None:
    provider, lease = add_provider(service, VCPU=8), grant(service)
    first, second = hold(service, provider, lease, 2)
    with store.examined() as examined:
        assert examined.facts().origins == {first: lease, second: lease}
        assert examined.facts().leases == {lease: "active"}
    with store.engines.write.begin() as connection:
        connection.execute(claims.update().where(claims.c.consumer_uuid == first).values(lease=new_uuid()))
    healed = store.heal("p", "u")
    assert healed["claims that hung on a lease that has ended (taken off it)"] == 1
    assert (lease_of(service, first), lease_of(service, second)) == (None, lease)


@pytest.mark.parametrize(("seconds", "stays"), [(-60, True), (0, True), (5, True), (60, False)])
def test_a_sync_takes_off_a_lease_what_placement_has_created_anew(
    store: Store, service: Service, seconds: int, stays: bool
) -> None:
    """Placement deletes a consumer and creates it again, and leaves the rows that it does not know."""
    provider, lease = add_provider(service, VCPU=8), grant(service)
    first, second = hold(service, provider, lease, 2)
    with store.engines.write.begin() as connection:
        claimed = connection.execute(
            sa.select(claims.c.created_at).where(claims.c.consumer_uuid == first)
        ).scalar_one()
        created = {"created_at": claimed + timedelta(seconds=seconds), "generation": 1}
        row = connection.execute(sa.select(consumers).where(consumers.c.uuid == first)).one()
        connection.execute(consumers.delete().where(consumers.c.uuid == first))
        values = {name: value for name, value in row._mapping.items() if name != "id"}
        connection.execute(consumers.insert().values({**values, **created}))
    healed = store.heal("p", "u")
    assert len(healed) == (not stays), healed
    assert (lease_of(service, first), lease_of(service, second)) == (lease if stays else None, lease)
    order(service, EndLease(lease, keeps_claims=False))
    assert service.leases.take_away(lease, ASKER) == 1 + stays
    assert (service.claim(first)[1] is None) == stays


def due_lease(store: Store, service: Service) -> str:
    lease = grant(service, grace_ms=0)
    pass_time(store, TTL + SLACK_MS)
    return lease


def test_an_expiry_finds_what_a_renewal_under_way_has_made(store: Store, service: Service) -> None:
    lease, ended = due_lease(store, service), list[tuple[str, ...]]()
    thread = threading.Thread(target=lambda: ended.append(service.execute(ExpireLeases((lease,)), SERVICE)))
    with store.engines.write.begin() as connection:
        found = _renewed(connection, [lease])[1]
        # Wherever it is by the time of the COMMIT, it comes second.
        thread.start()
    thread.join()
    assert (found[lease], ended) == (Renewed(lease, TTL, revived=False), [()])
    assert state_of(service, lease) is LeaseState.ACTIVE


def test_a_renewal_finds_what_an_expiry_under_way_has_made(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, renewed = due_lease(store, service), list[Renewed | Gone]()
    thread = threading.Thread(target=lambda: renewed.extend(service.leases.renew([lease])[1]))
    real = WriteTransaction.commit

    def commit(transaction: WriteTransaction, work: GroupWork) -> None:
        thread.start()
        real(transaction, work)

    monkeypatch.setattr(WriteTransaction, "commit", commit)
    assert service.execute(ExpireLeases((lease,)), SERVICE) == (lease,)
    thread.join()
    assert renewed == [Gone(lease, LeaseState.QUARANTINED, service.revision())]
