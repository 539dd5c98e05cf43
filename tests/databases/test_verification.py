"""Damage of every kind, done behind the service's back, is told by a verification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.commands import CreateTrait, SetInventories
from moorage.model.errors import UnavailableError
from moorage.model.findings import Verification
from moorage.model.journal import JournalMode
from moorage.service.facade import Service
from moorage.service.verification import verify
from moorage.store.sql.errors import ConnectionLostError
from moorage.store.store import Store
from moorage.store.tables import (
    allocations,
    changes,
    consumers,
    inventories,
    journal,
    journal_refs,
    projects,
    provider_aggregates,
    provider_traits,
    resource_classes,
    resource_providers,
    revisions,
)
from tests.databases.orders import DISK, VCPU, add_provider, claim, new_uuid, order
from tests.databases.orders import inventories as totals

Damage = Callable[[sa.Connection], object]

NO_FOREIGN_KEYS = {
    "sqlite": "PRAGMA foreign_keys = OFF",
    "postgresql": "SET session_replication_role = replica",
    "mysql": "SET SESSION foreign_key_checks = 0",
}


@pytest.fixture
def account(service: Service) -> Service:
    """A tree of two and a lone provider, a trait, an aggregate, and a consumer that holds of two."""
    root = add_provider(service, "root", traits=("HW_NUMA_ROOT",), aggregates=(new_uuid(),), DISK_GB=100)
    child = add_provider(service, "child", parent=root, VCPU=8)
    add_provider(service, "lone")
    order(service, claim(new_uuid(), {root: {DISK: 10}, child: {VCPU: 3}}))
    return service


def told(found: Verification, *, warnings: bool = False) -> dict[str, list[str]]:
    """What was found, by check."""
    return {
        check.name: texts
        for check in found.checks
        if (texts := [str(finding) for finding in check.findings if finding.warning is warnings])
    }


def damage(store: Store, *statements: Any) -> None:
    """Carry out statements past foreign keys and the change log."""
    engine = sa.create_engine(store.engines.write.url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(NO_FOREIGN_KEYS[engine.dialect.name])
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def by_name(name: str) -> sa.ScalarSelect[int]:
    """Database id of a provider, wrapped so that MariaDB lets it stand in an update of that table."""
    table = resource_providers
    inner = sa.select(table.c.id).where(table.c.name == name).subquery()
    return sa.select(inner.c.id).scalar_subquery()


def test_sound_account_has_nothing_to_tell(account: Service, store: Store) -> None:
    found = verify(store)
    assert told(found) == {}
    assert told(found, warnings=True) == {}
    assert found.revision == store.revision()
    assert {check.name: check.examined for check in found.checks} == {
        # Creating the root, its inventory, trait and aggregate; so on; the claim is of one tree.
        "change log": found.revision,
        "journal": found.revision,
        "trees": 3,
        "inventories": 2,
        "traits and aggregates": 2,
        "consumers": 1,
        "allocations": 2,
        "usage": 2,
        "generations": 4,
        "index": 3,
    }


def test_index_follows_what_is_written_meanwhile(account: Service, store: Store) -> None:
    def write_on(_: float) -> None:
        order(account, CreateTrait("CUSTOM_NEW"))
        add_provider(account, "more", VCPU=4)

    found = verify(store, wait=write_on)
    assert told(found) == {}
    assert found.followed == 3


def test_write_that_the_log_has_lost_is_told(account: Service, store: Store) -> None:
    def write_past_the_log(_: float) -> None:
        damage(store, inventories.update().where(inventories.c.total == 8).values(total=9))

    found = verify(store, wait=write_past_the_log)
    assert list(told(found)) == ["journal", "index"]
    assert "'total': 9" in told(found)["journal"][0]
    [text] = told(found)["index"]
    assert "differs in VCPU inventory" in text
    assert "the index that caught up" in text


def test_compaction_meanwhile_is_a_warning(account: Service, store: Store) -> None:
    def compact(_: float) -> None:
        add_provider(account, "more")
        damage(store, changes.delete(), revisions.update().values(compacted=revisions.c.revision))

    found = verify(store, wait=compact)
    assert told(found) == {}
    assert "could not be followed" in told(found, warnings=True)["index"][0]


def test_wrong_root_is_told(account: Service, store: Store) -> None:
    table = resource_providers
    damage(store, table.update().where(table.c.name == "child").values(root_provider_id=by_name("lone")))
    assert "recorded as its root" in told(verify(store))["trees"][0]


def test_missing_root_is_told_and_no_index_can_be_built(account: Service, store: Store) -> None:
    table = resource_providers
    damage(store, table.update().where(table.c.name == "lone").values(root_provider_id=None))
    found = told(verify(store))
    assert "none recorded as its root" in found["trees"][0]
    assert "cannot be built" in found["index"][0]


def test_loop_of_parents_is_told(account: Service, store: Store) -> None:
    table = resource_providers
    damage(store, table.update().where(table.c.name == "root").values(parent_provider_id=by_name("child")))
    assert len(told(verify(store))["trees"]) == 2


def test_what_the_journal_lacks_is_told_until_a_new_history_begins(account: Service, store: Store) -> None:
    order(account, CreateTrait("CUSTOM_LAST"))
    last = store.revision()
    damage(store, journal.delete().where(journal.c.revision.in_((4, 5, last))))
    damage(store, journal_refs.insert().values(subject="nobody", revision=5))
    lacks = "missing in the journal, which was off or has lost it: see 'moorage db new-history'"
    assert told(verify(store)) == {
        "journal": [
            f"revisions 4 to 5 {lacks}",
            f"revision {last} {lacks}",
            "record 5 about nobody is referred to, but is not in the journal",
        ]
    }
    damage(store, journal_refs.delete())
    store.new_history()
    assert told(verify(store)) == {}


def test_without_a_journal_it_is_not_checked(
    account: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(store, journal.delete().where(journal.c.revision == 4))
    monkeypatch.setattr(store, "journal", JournalMode.OFF)
    found = verify(store)
    assert told(found) == {}
    assert "journal" not in {check.name for check in found.checks}


def test_missing_revision_and_missing_line_of_the_log_are_told(account: Service, store: Store) -> None:
    damage(store, changes.delete().where(changes.c.revision == 2))
    assert told(verify(store)) == {
        "change log": ["revision 2 missing in the change log: an index that catches up does not learn of it"]
    }


def test_counter_behind_the_log_is_told(account: Service, store: Store) -> None:
    damage(store, revisions.update().values(revision=revisions.c.revision - 1))
    assert "the counter is at" in told(verify(store))["change log"][0]


def test_missing_counter_is_told(account: Service, store: Store, request: pytest.FixtureRequest) -> None:
    last = store.revision()
    damage(store, revisions.delete())
    try:
        found = told(verify(store))
    finally:
        damage(store, revisions.insert().values(id=1, revision=last, compacted=0))
    assert found["change log"] == ["the revision counter must be one row, but is 0"]
    assert "cannot be built" in found["index"][0]


def test_consumer_without_allocations_and_allocation_without_consumer_are_told(
    account: Service, store: Store
) -> None:
    damage(store, consumers.update().values(uuid=new_uuid()))
    found = told(verify(store))
    assert "has no allocations" in found["consumers"][0]
    assert len(found["allocations"]) == 2
    assert "no such consumer" in found["allocations"][0]


def test_consumer_without_its_project_is_told(account: Service, store: Store) -> None:
    damage(store, projects.delete())
    assert "has a project that is not there" in told(verify(store))["consumers"][0]


def test_allocation_of_a_class_without_inventory_is_told(account: Service, store: Store) -> None:
    damage(store, inventories.delete().where(inventories.c.total == 8))
    assert "no inventory" in told(verify(store))["allocations"][0]


def test_allocation_that_was_written_twice_is_told(account: Service, store: Store) -> None:
    columns = [column for column in allocations.c if column.name != "id"]
    damage(store, allocations.insert().from_select([c.name for c in columns], sa.select(*columns)))
    found = told(verify(store))
    assert len(found["allocations"]) == 2
    assert "is there twice" in found["allocations"][0]


def test_orphans_of_a_provider_that_went_are_told(account: Service, store: Store) -> None:
    damage(store, resource_providers.delete().where(resource_providers.c.name == "root"))
    found = told(verify(store))
    assert "has a parent that is not there" in found["trees"][0]
    assert "is an orphan" in found["inventories"][0]
    assert len(found["traits and aggregates"]) == 2
    assert "is an orphan" in found["allocations"][0]


def test_orphans_of_names_that_went_are_told(account: Service, store: Store) -> None:
    damage(
        store,
        provider_traits.update().values(trait_id=999_999),
        provider_aggregates.update().values(aggregate_id=999_999),
        inventories.update().where(inventories.c.total == 100).values(resource_class_id=999_999),
    )
    found = told(verify(store))
    assert len(found["traits and aggregates"]) == 2
    assert "the missing resource class with id 999999" in found["inventories"][0]


def test_inventory_that_cannot_be_decided_on_is_told(account: Service, store: Store) -> None:
    damage(store, inventories.update().where(inventories.c.total == 8).values(step_size=0))
    assert "has step_size 0" in told(verify(store))["inventories"][0]


def test_use_over_capacity_after_a_shrink_is_a_warning(account: Service, store: Store) -> None:
    with store.engines.snapshot.connect() as connection:
        table = resource_providers
        row = connection.execute(
            sa.select(table.c.uuid, table.c.generation).where(table.c.name == "child")
        ).one()
    order(account, SetInventories(row.uuid, row.generation, totals(VCPU=2)))
    found = verify(store)
    assert told(found) == {}
    assert "is 3, over its capacity of 2" in told(found, warnings=True)["usage"][0]


def test_generation_below_zero_is_told(account: Service, store: Store) -> None:
    damage(store, resource_providers.update().values(generation=-1), consumers.update().values(generation=-1))
    assert len(told(verify(store))["generations"]) == 4


def test_class_that_an_index_would_not_know_is_followed_by_name(account: Service, store: Store) -> None:
    def add_a_class(_: float) -> None:
        damage(store, resource_classes.insert().values(id=20_000, name="CUSTOM_UNLOGGED"))

    found = told(verify(store, wait=add_a_class))
    assert found == {
        "index": ["CUSTOM_UNLOGGED is in the database, but not in the index (the index that caught up)"]
    }


def test_broken_connection_is_tried_again_and_then_given_up(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def broken(_: float) -> None:
        nonlocal tries
        tries += 1
        raise ConnectionLostError

    with pytest.raises(UnavailableError):
        verify(sqlite_store, wait=broken)
    assert tries == 3
