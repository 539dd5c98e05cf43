"""Reports and findings on each kind of database, with what they cause."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from moorage.model.commands import CreateProvider, ResolveLease, SetInventories
from moorage.model.errors import FindingNotFoundError, ReportFaultError, UnavailableError
from moorage.model.keys import IdempotencyKey
from moorage.model.leases import Resolution
from moorage.model.reports import (
    CLAIM,
    DIFFERS,
    IGNORED,
    LEAKED,
    MISSING,
    OPEN,
    QUARANTINE,
    QUARANTINED,
    RELEASE,
    Amounts,
    ClaimOwner,
    FindingSelection,
    Received,
    Report,
    ReportFinding,
)
from moorage.model.values import Inventory
from moorage.service.facade import Service
from moorage.service.keeper import TimeKeeper
from moorage.service.reports import ReportDesk
from moorage.service.settings import AuditSettings
from moorage.store.leases import LeaseTable
from moorage.store.reports import MS_PER_HOUR, ReportTable
from moorage.store.sql.errors import WriteConflictError
from moorage.store.sql.texts import unpacked_text
from moorage.store.store import Store
from moorage.store.tables import findings, healings, journal, leases
from tests.databases.orders import ASKER, VCPU, add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenService, OpenStore

SETTLE = 600_000
ONE: Mapping[str, int] = {VCPU: 1}
TWO: Mapping[str, int] = {VCPU: 2}
OWNER = ClaimOwner("p1", "u1", "INSTANCE")


class World:
    """Two hosts, of which a source reports, and a clock that the test moves."""

    def __init__(self, service: Service, store: Store, **settings: Any) -> None:
        self.service = service
        self.store = store
        self.now = 1_000
        self.host = add_provider(service, VCPU=100)
        self.gpu = add_provider(service, parent=self.host, VCPU=4)
        self.other = add_provider(service, VCPU=100)
        self.steady = [new_uuid() for _ in range(10)]
        for consumer in self.steady:
            order(service, claim(consumer, {self.host: ONE}))
        self.desk = self.opened(service, store, **settings)

    def opened(self, service: Service, store: Store, **settings: Any) -> ReportDesk:
        """A desk on a service, at the same time."""
        heal = settings.pop("heal", {"nova": frozenset({RELEASE, CLAIM})})
        table = ReportTable(store, lambda: self.now)
        return ReportDesk(table, service.outcome, AuditSettings(heal=heal, **settings))

    def report(self, told: Mapping[str, Amounts | None] | None = None, **more: Any) -> Report:
        steady = {consumer: {self.host: ONE} for consumer in self.steady}
        return replace(Report("nova", frozenset({self.host}), {**steady, **(told or {})}), **more)

    def tell(self, told: Mapping[str, Amounts | None] | None = None, after: int = 0, **more: Any) -> Received:
        self.now += after
        return self.desk.receive(self.report(told, **more), ASKER)

    def findings(self, **wanted: Any) -> list[ReportFinding]:
        page = self.desk.page(FindingSelection(100, **wanted))
        assert page.total == len(page.findings)
        return [each.finding for each in page.findings]

    def holds(self, consumer: str) -> Mapping[str, Mapping[str, int]]:
        _, listed = self.service.claim(consumer)
        return {} if listed is None else listed.held


@pytest.fixture
def world(service: Service, store: Store) -> World:
    return World(service, store)


@pytest.fixture
def sqlite_world(sqlite_service: Service, sqlite_store: Store) -> World:
    return World(sqlite_service, sqlite_store)


def rows(store: Store, table: sa.Table) -> list[Any]:
    return store.read(lambda connection: list(connection.execute(sa.select(table))))


def test_what_is_leaked_is_released_by_a_report_after_the_settle_time(world: World) -> None:
    leak = new_uuid()
    order(world.service, claim(leak, {world.gpu: TWO, world.other: ONE}, None, "INSTANCE"))
    assert world.tell().carried == ()
    (finding,) = world.findings()
    assert (finding.kind, finding.state, finding.action) == (LEAKED, OPEN, RELEASE)
    assert (finding.held, finding.rest) == ({world.gpu: TWO}, {world.other: ONE})
    assert world.tell(after=SETTLE - 1).carried == ()
    (done,) = world.tell(after=1).carried
    assert done.revision == world.service.revision()
    assert world.holds(leak) == {world.other: ONE}
    assert world.findings() == []
    (row,) = rows(world.store, healings)
    assert (row.finding, row.action, row.revision) == (finding.id, RELEASE, done.revision)
    last = rows(world.store, journal)[-1]
    assert (last.kind, last.path, last.user_id) == ("allocations.heal", "service", ASKER.user_id)
    reason = orjson.loads(unpacked_text(last.body))["reason"]
    assert (reason["finding"], reason["kind"], reason["source"]) == (finding.id, LEAKED, "nova")


def test_what_is_missing_is_claimed_for_its_owner(world: World) -> None:
    lost = new_uuid()
    for after in (0, SETTLE):
        world.tell({lost: {world.host: TWO}}, after, owners={lost: OWNER})
    assert world.holds(lost) == {world.host: TWO}
    _, listed = world.service.claim(lost)
    assert listed is not None
    assert (listed.project_id, listed.user_id, listed.consumer_type) == ("p1", "u1", "INSTANCE")
    assert world.tell({lost: {world.host: TWO}}).carried == ()
    assert world.findings() == []


@pytest.mark.parametrize("over_capacity", [False, True])
def test_what_is_missing_goes_over_capacity_only_if_the_settings_allow_it(
    sqlite_world: World, over_capacity: bool
) -> None:
    world, lost = sqlite_world, new_uuid()
    world.desk = world.opened(world.service, world.store, over_capacity=over_capacity)
    reported = {lost: {world.gpu: {VCPU: 5}}}
    order(world.service, SetInventories(world.gpu, None, {VCPU: Inventory(4, max_unit=10)}))
    world.tell(reported, owners={lost: OWNER})
    (done,) = world.tell(reported, SETTLE, owners={lost: OWNER}).carried
    assert (done.trouble is None) == over_capacity
    assert bool(world.holds(lost)) == over_capacity
    if not over_capacity:
        (finding,) = world.findings()
        assert (finding.state, finding.trouble, finding.acted_at) == (OPEN, done.trouble, world.now)
        assert world.tell(reported, SETTLE - 1, owners={lost: OWNER}).carried == ()


def test_other_amounts_become_those_reported(world: World) -> None:
    consumer = world.steady[0]
    for after in (0, SETTLE):
        world.tell({consumer: {world.host: TWO}}, after)
    assert world.holds(consumer) == {world.host: TWO}


def test_a_claim_that_changed_after_the_report_was_compared_is_left_alone(sqlite_world: World) -> None:
    world, leak = sqlite_world, new_uuid()
    order(world.service, claim(leak, {world.host: ONE}))
    world.tell()
    world.now += SETTLE
    execute = world.service.outcome

    def later(command: Any, requester: Any, key: Any = None) -> Any:
        order(world.service, claim(leak, {world.host: TWO}))
        return execute(command, requester, key)

    desk = ReportDesk(
        ReportTable(world.store, lambda: world.now), later, AuditSettings(heal={"nova": frozenset({RELEASE})})
    )
    (done,) = desk.receive(world.report(), ASKER).carried
    assert done.trouble is not None
    assert world.holds(leak) == {world.host: TWO}
    assert [each.state for each in world.findings()] == [OPEN]


def test_actions_within_an_hour_are_bounded_over_all_sources(sqlite_world: World) -> None:
    world = sqlite_world
    world.desk = world.opened(
        world.service,
        world.store,
        heal={"nova": frozenset({RELEASE}), "lab-*": frozenset({RELEASE})},
        most_actions=3,
    )
    leaks = [new_uuid() for _ in range(2)]
    for leak in leaks:
        order(world.service, claim(leak, {world.host: ONE}))
    for source in ("nova", "lab-1"):
        world.tell(source=source)
    received = world.tell(after=SETTLE)
    assert (len(received.carried), received.held_back) == (2, 0)
    more = [new_uuid() for _ in range(2)]
    for leak in more:
        order(world.service, claim(leak, {world.host: ONE}))
    world.tell(source="lab-1")
    received = world.tell(after=SETTLE, source="lab-1")
    assert (len(received.carried), received.held_back) == (1, 1)
    received = world.tell(after=SETTLE, source="lab-1")
    assert (len(received.carried), received.held_back) == (0, 1)
    received = world.tell(after=MS_PER_HOUR, source="lab-1")
    assert (len(received.carried), received.held_back) == (1, 0)
    assert not any(world.holds(each) for each in (*leaks, *more))


def test_without_a_word_in_the_settings_nothing_is_done(sqlite_world: World) -> None:
    world, leak = sqlite_world, new_uuid()
    world.desk = world.opened(world.service, world.store, heal={"other": frozenset({RELEASE})})
    order(world.service, claim(leak, {world.host: ONE}))
    for after in (0, SETTLE, SETTLE):
        assert world.tell(after=after).carried == ()
    assert world.holds(leak)
    world.desk = world.opened(world.service, world.store, most_actions=0)
    received = world.tell()
    assert (received.carried, received.held_back) == ((), 1)


def test_a_wiped_source_causes_nothing(world: World) -> None:
    for after in (0, SETTLE, SETTLE, MS_PER_HOUR):
        received = world.tell(None, after, consumers={})
        assert received.suspect == {world.host}
        assert received.carried == ()
    assert all(world.holds(each) for each in world.steady)
    assert world.tell(None, consumers={}, accept_shrink=True).suspect == frozenset()
    figures = {each.source: each for each in world.desk.figures()}
    assert figures["nova"].findings == {LEAKED: 10}


def test_what_a_report_may_not_name_is_refused_and_nothing_is_kept(world: World) -> None:
    with pytest.raises(ReportFaultError, match="no tree whose root is"):
        world.tell(trees=frozenset({world.gpu}))
    with pytest.raises(ReportFaultError, match="in no tree of the report"):
        world.tell({world.steady[0]: {world.other: ONE}})
    assert world.desk.figures() == []


def test_findings_are_selected_and_paged(sqlite_world: World) -> None:
    world = sqlite_world
    lost = sorted(new_uuid() for _ in range(3))
    reported: dict[str, Amounts | None] = {each: {world.host: ONE} for each in lost}
    world.tell({**reported, world.steady[0]: {world.host: TWO}})
    assert [each.kind for each in world.findings(kind=DIFFERS)] == [DIFFERS]
    assert len(world.findings(kind=MISSING)) == 3
    assert len(world.findings(consumer=lost[0])) == 1
    assert world.findings(source="other") == world.findings(state=IGNORED) == []
    ids = [each.id for each in world.findings()]
    assert ids == sorted(ids)
    first = world.desk.page(FindingSelection(3))
    assert (first.total, first.has_more) == (4, True)
    rest = world.desk.page(FindingSelection(3, after=first.findings[-1].finding.id))
    assert [each.finding.id for each in rest.findings] == ids[3:]
    assert not rest.has_more


def test_an_ignored_finding_stays_ignored_and_can_be_reopened(world: World) -> None:
    leak = new_uuid()
    order(world.service, claim(leak, {world.host: ONE}))
    world.tell()
    (finding,) = world.findings()
    assert world.desk.answer(finding.id, "ignore").finding.state == IGNORED
    assert world.tell(after=2 * SETTLE).carried == ()
    assert world.desk.find(finding.id).finding.state == IGNORED
    world.desk.answer(finding.id, "reopen")
    assert len(world.tell().carried) == 1
    for missing in (world.desk.find, lambda id_: world.desk.answer(id_, "ignore")):
        with pytest.raises(FindingNotFoundError):
            missing(finding.id)


def test_an_operator_heals_at_once_and_a_replay_has_the_same_answer(world: World) -> None:
    leak = new_uuid()
    order(world.service, claim(leak, {world.host: ONE}))
    world.tell()
    (finding,) = world.findings()
    key = IdempotencyKey("k" * 64, "f" * 64, lambda result: result.consumer)
    done = world.desk.heal(finding.id, ASKER, key, over_capacity=False)
    assert (done.error, done.result is not None) == (None, True)
    assert not world.holds(leak)
    assert world.findings() == []
    again = world.desk.heal(finding.id, ASKER, key, over_capacity=False)
    assert (again.replayed, again.revision) == (leak, done.revision)
    refused = world.desk.heal(finding.id, ASKER, None, over_capacity=False)
    assert isinstance(refused.error, FindingNotFoundError)
    assert len(rows(world.store, healings)) == 1


def test_what_is_quarantined_stays_taken_until_an_operator_decides(world: World) -> None:
    world.desk = world.opened(world.service, world.store, heal={"nova": frozenset({QUARANTINE, RELEASE})})
    leaks = [new_uuid() for _ in range(2)]
    for leak in leaks:
        order(world.service, claim(leak, {world.host: ONE}))
    world.tell()
    found = {each.consumer: each for each in world.findings()}
    done = world.desk.heal(found[leaks[0]].id, ASKER, None, quarantines=True)
    assert done.error is None
    (carried,) = world.tell(after=SETTLE).carried
    assert (carried.action, carried.trouble) == (QUARANTINE, None)
    assert [each.state for each in world.findings()] == [QUARANTINED] * 2
    assert all(world.holds(leak) for leak in leaks)
    assert world.tell(after=2 * SETTLE).carried == ()
    bodies = [orjson.loads(unpacked_text(row.body)) for row in rows(world.store, journal)]
    reasons = [body.get("reason") for body in bodies]
    assert [each["action"] for each in reasons if each] == [QUARANTINE] * 2
    lease = rows(world.store, leases)[0]
    assert (lease.state, lease.owner) == ("quarantined", "finding of nova")
    for row in rows(world.store, leases):
        order(world.service, ResolveLease(row.uuid, Resolution.RESTORE))
    assert world.tell(after=2 * SETTLE).carried == (), "an operator has decided that it stays"


def test_findings_age_by_service_time_which_runs_while_there_are_some(
    sqlite_service: Service, sqlite_store: Store
) -> None:
    world = World(sqlite_service, sqlite_store)
    clock, steady = LeaseTable(sqlite_store), [0.0]
    keeper = TimeKeeper(clock, sqlite_service.leases, sqlite_service.execute, steady=lambda: steady[0])
    desk = ReportDesk.on(sqlite_store, sqlite_service.outcome, AuditSettings())
    order(sqlite_service, claim(new_uuid(), {world.host: ONE}))
    begun = desk.now()
    assert not keeper.look(), "nothing waits for the time"
    desk.receive(world.report(dict.fromkeys(world.steady)), ASKER)
    for _ in range(5):
        assert keeper.look()
        steady[0] += 1.25
    assert desk.now() == begun + 5_000
    (kept,) = desk.page(FindingSelection(10)).findings
    assert (desk.now() - kept.finding.since, desk.due_in(kept.finding, desk.now())) == (5_000, None)
    desk.receive(world.report(accept_shrink=True, consumers={}), ASKER)
    for each in desk.page(FindingSelection(100)).findings:
        desk.heal(each.finding.id, ASKER, None)
    assert not clock.look().has_findings
    assert not keeper.look()


def test_two_processes_with_the_same_report_act_once(
    prepared_url: str, open_store: OpenStore, open_service: OpenService
) -> None:
    here = open_store(prepared_url)
    world = World(open_service(here), here)
    leaks = [new_uuid() for _ in range(6)]
    for leak in leaks:
        order(world.service, claim(leak, {world.host: ONE}))
    more: dict[str, Amounts | None] = {leak: {world.host: ONE} for leak in leaks[:3]}
    world.tell({leak: {world.host: ONE} for leak in leaks})
    world.tell(more)
    world.now += SETTLE
    there = open_store(prepared_url)
    desks = [world.desk, world.opened(open_service(there), there)]

    def tell(desk: ReportDesk) -> Received | None:
        try:
            return desk.receive(world.report(more), ASKER)
        except UnavailableError:
            return None

    with ThreadPoolExecutor(2) as pool:
        received = [each for each in pool.map(tell, desks * 3) if each is not None]
    done = [each.finding.consumer for one in received for each in one.carried if each.trouble is None]
    assert sorted(done) == sorted(leaks[3:])
    assert len(rows(here, healings)) == 3
    assert not any(world.holds(each) for each in leaks[3:])
    assert all(world.holds(each) for each in (*leaks[:3], *world.steady))
    assert rows(here, findings) == []


def test_a_report_is_compared_anew_if_another_one_was_faster(sqlite_world: World) -> None:
    world = sqlite_world
    raced: list[Report] = []

    class Racing(ReportTable):
        def keep(self, report: Report, *rest: Any) -> bool:
            if not raced:
                raced.append(report)
                world.tell()
            return super().keep(report, *rest)

    table = Racing(world.store, lambda: world.now)
    ReportDesk(table, world.service.outcome, AuditSettings()).receive(world.report(), ASKER)
    assert raced


def test_a_report_that_always_loses_is_refused(sqlite_world: World) -> None:
    world = sqlite_world

    class Losing(ReportTable):
        def keep(self, *_: Any) -> bool:
            raise WriteConflictError

        def take(self, *_: Any) -> Any:
            raise WriteConflictError

    lost = ReportDesk(Losing(world.store), world.service.outcome, AuditSettings())
    with pytest.raises(UnavailableError):
        lost.receive(world.report(), ASKER)


def test_a_tree_that_gets_a_provider_is_covered_with_it(sqlite_world: World) -> None:
    world, consumer = sqlite_world, new_uuid()
    world.tell()
    child = new_uuid()
    order(world.service, CreateProvider(child, "child", world.host))
    order(world.service, SetInventories(child, None, {VCPU: Inventory(4)}))
    order(world.service, claim(consumer, {child: ONE}))
    world.tell()
    assert [each.held for each in world.findings()] == [{child: ONE}]
