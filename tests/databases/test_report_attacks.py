"""Sources that are wiped, half-told or lie, and claims that change while findings are healed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from moorage.model.errors import MoorageError
from moorage.model.reports import CLAIM, RELEASE, Amounts, ClaimOwner, Received, Report
from moorage.service.facade import Service
from moorage.service.reports import ReportDesk
from moorage.service.settings import AuditSettings
from moorage.store.reports import MS_PER_HOUR, ReportTable
from moorage.store.sql.texts import unpacked_text
from moorage.store.store import Store
from moorage.store.tables import journal
from tests.databases.orders import ASKER, VCPU, add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenService, OpenStore

SETTLE = 600_000
MOST_ACTIONS = 4
HEAL = {"s": frozenset({RELEASE, CLAIM})}
OWNER = ClaimOwner("project", "user", "INSTANCE")


def records(store: Store) -> list[tuple[int, str, dict[str, Any]]]:
    """Revision, kind and body of all that the journal has."""
    query = sa.select(journal.c.revision, journal.c.kind, journal.c.body).order_by(journal.c.revision)
    rows = store.read(lambda connection: list(connection.execute(query)))
    return [(row.revision, row.kind, orjson.loads(unpacked_text(row.body))) for row in rows]


class Cloud:
    """Hosts, what runs on them, what is held and used by nothing, and a source that may lie about it."""

    def __init__(self, service: Service, store: Store, seed: int) -> None:
        self.service = service
        self.store = store
        self.random = random.Random(seed)
        self.now = 0
        self.hosts = [add_provider(service, VCPU=32) for _ in range(4)]
        self.runs: dict[str, dict[str, dict[str, int]]] = {}
        self.leaks: set[str] = set()
        self.acted: list[int] = []
        self.done = 0
        for _ in range(24):
            self.begin(self.random.choice(self.hosts))
        settings = AuditSettings(SETTLE / 1000, MOST_ACTIONS, HEAL)
        self.desk = ReportDesk(ReportTable(store, lambda: self.now), service.outcome, settings)

    def begin(self, host: str) -> None:
        """Something begins to run."""
        consumer, amounts = new_uuid(), {host: {VCPU: self.random.randint(1, 2)}}
        try:
            order(self.service, claim(consumer, amounts, None, "INSTANCE"))
        except MoorageError:
            return
        self.runs[consumer] = amounts

    def happen(self) -> None:
        """Something begins, ends as it should, or ends and leaves its claim behind."""
        chance = self.random.random()
        if chance < 0.4:
            self.begin(self.random.choice(self.hosts))
        elif chance < 0.6 and self.runs:
            consumer = self.random.choice(sorted(self.runs))
            del self.runs[consumer]
            if self.random.random() < 0.5:
                order(self.service, claim(consumer, {}))
            else:
                self.leaks.add(consumer)

    def truth(self) -> dict[str, Amounts | None]:
        return dict(self.runs)

    def lie(self) -> dict[str, Amounts | None]:
        """A report that is wiped, half-told, or wrong about amounts and places."""
        told = self.truth()
        way = self.random.choice(["wiped", "half", "few", "amounts", "places", "ghosts"])
        if way == "wiped":
            return {}
        if way in ("half", "few"):
            kept = 0.5 if way == "half" else 0.9
            return {name: each for name, each in told.items() if self.random.random() < kept}
        for name in list(told):
            if self.random.random() < 0.3:
                host = self.random.choice(self.hosts)
                told[name] = {host: {VCPU: self.random.randint(1, 4)}}
        if way == "ghosts":
            told |= {new_uuid(): {self.hosts[0]: {VCPU: 1}} for _ in range(3)}
        return told

    def tell(self, consumers: Mapping[str, Amounts | None], minutes: float, **more: Any) -> Received:
        """A report after some minutes."""
        self.now += int(minutes * 60_000)
        owners = dict.fromkeys(consumers, OWNER)
        report = Report("s", frozenset(self.hosts), consumers, owners=owners, **more)
        received = self.desk.receive(report, ASKER)
        self.acted += [self.now] * len(received.carried)
        self.done += sum(each.trouble is None for each in received.carried)
        return received

    def check(self) -> None:
        """What runs holds all that it has; actions were few; no host is over capacity."""
        for consumer, amounts in self.runs.items():
            _, held = self.service.claim(consumer)
            assert held is not None
            assert held.held == amounts, "capacity that is in use was given away"
        for at in self.acted:
            assert sum(at - MS_PER_HOUR < each <= at for each in self.acted) <= MOST_ACTIONS
        for host in self.hosts:
            assert self.service.provider_usages(host).usages[VCPU] <= 32

    def check_journal(self) -> None:
        healed = [body for _, kind, body in records(self.store) if kind == "allocations.heal"]
        assert len(healed) == self.done
        for body in healed:
            assert body["reason"].keys() == {"finding", "kind", "source", "action", "compared_at"}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_lies_that_last_less_than_the_settle_time_give_nothing_away_that_is_in_use(
    seed: int, sqlite_service: Service, sqlite_store: Store
) -> None:
    cloud = Cloud(sqlite_service, sqlite_store, seed)
    for _ in range(6):
        cloud.happen()
        cloud.tell(cloud.truth(), cloud.random.uniform(1, 5))
        cloud.check()
        # Each episode of lies is over before the first of them has settled.
        for _ in range(cloud.random.randint(0, 3)):
            cloud.tell(cloud.lie(), cloud.random.uniform(0.5, 2.5), complete=cloud.random.random() < 0.8)
            cloud.check()
    for _ in range(6):
        cloud.tell(cloud.truth(), 31)
        cloud.check()
    assert not any(cloud.service.claim(leak)[1] for leak in cloud.leaks), (
        "what is leaked comes back in the end"
    )
    assert cloud.done >= len(cloud.leaks)
    cloud.check_journal()


@pytest.mark.parametrize("complete", [True, False])
def test_a_source_that_stays_wiped_or_tells_but_a_part_for_a_day_causes_nothing(
    complete: bool, sqlite_service: Service, sqlite_store: Store
) -> None:
    cloud = Cloud(sqlite_service, sqlite_store, 7)
    cloud.tell(cloud.truth(), 1)
    part = {} if complete else dict(list(cloud.truth().items())[:2])
    for _ in range(24):
        assert cloud.tell(part, 60, complete=complete).carried == ()
    cloud.check()


@pytest.mark.slow
def test_a_source_that_lies_for_days_gives_away_no_more_than_its_budget(
    sqlite_service: Service, sqlite_store: Store
) -> None:
    cloud = Cloud(sqlite_service, sqlite_store, 3)
    cloud.tell(cloud.truth(), 1)
    few = dict(list(cloud.truth().items())[:4])
    begun, before = cloud.now, len(cloud.runs)
    while cloud.now < begun + 3 * MS_PER_HOUR:
        cloud.tell(few, 5)
        hours = -(-(cloud.now - begun) // MS_PER_HOUR)
        left = sum(cloud.service.claim(each)[1] is not None for each in cloud.runs)
        assert before - left <= MOST_ACTIONS * hours
    cloud.check_journal()


def test_a_claim_that_changes_while_it_is_healed_is_healed_as_it_was_compared_or_not_at_all(
    prepared_url: str, open_store: OpenStore, open_service: OpenService
) -> None:
    stores = [open_store(prepared_url) for _ in range(2)]
    services = [open_service(store) for store in stores]
    host = add_provider(services[0], VCPU=100)
    consumers = [new_uuid() for _ in range(3)]
    settings = AuditSettings(0, 1_000, HEAL)
    desks = [
        ReportDesk(ReportTable(store), service.outcome, settings)
        for store, service in zip(stores, services, strict=True)
    ]

    def change(number: int) -> None:
        chance = random.Random(number)
        for _ in range(12):
            wanted = claim(chance.choice(consumers), {host: {VCPU: chance.randint(1, 3)}})
            services[number % 2].execute(wanted, ASKER)

    def heal(number: int) -> None:
        chance = random.Random(number)
        for _ in range(8):
            told: dict[str, Amounts | None] = {
                each: {host: {VCPU: 2}} for each in consumers if chance.random() < 0.5
            }
            owners = dict.fromkeys(told, OWNER)
            report = Report("s", frozenset({host}), told, owners=owners, accept_shrink=True)
            try:
                desks[number % 2].receive(report, ASKER)
            except MoorageError:
                continue

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(change, 0), pool.submit(heal, 1), pool.submit(change, 3), pool.submit(heal, 2)]
        for each in running:
            each.result()
    found = records(stores[0])
    healed = 0
    for revision, kind, body in found:
        if kind == "allocations.heal":
            healed += 1
            (consumer,) = body["consumers"]
            between = [
                at
                for at, _, other in found
                if body["reason"]["compared_at"] < at < revision and consumer in other.get("consumers", {})
            ]
            assert not between, "it had changed since the report was compared"
    assert healed
    held = {each: services[0].claim(each)[1] for each in consumers}
    used = sum(each.held[host][VCPU] for each in held.values() if each is not None)
    assert services[0].provider_usages(host).usages == {VCPU: used}
