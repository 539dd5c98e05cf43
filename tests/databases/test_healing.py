"""Rows that an old Placement left incomplete are completed; damaged ones are refused, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.errors import SchemaError
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.service.verification import verify
from moorage.store import tables as t
from moorage.store.migrations import adoption
from moorage.store.store import Store
from moorage.store.tables import metadata
from tests.databases.prepared import OpenService, OpenStore

HOLDER = "00000000-0000-4000-8000-00000000000c"

Statement = sa.Insert | sa.Update


def provider(number: int, **more: Any) -> Statement:
    values = {"id": number, "uuid": f"{number:08d}-0000-4000-8000-000000000000", "name": f"p{number}"}
    return t.resource_providers.insert().values(
        {**values, "generation": 1, "root_provider_id": number, **more}
    )


def inventory(number: int, **more: Any) -> Statement:
    values = {
        "resource_provider_id": number,
        "resource_class_id": 0,
        "total": 8,
        "reserved": 0,
        "min_unit": 1,
    }
    rest = {"max_unit": 8, "step_size": 1, "allocation_ratio": 1.0}
    return t.inventories.insert().values({**values, **rest, **more})


def allocation(number: int, **more: Any) -> Statement:
    values = {"resource_provider_id": number, "resource_class_id": 0, "consumer_id": HOLDER, "used": 2}
    return t.allocations.insert().values({**values, **more})


def holder(**more: Any) -> Statement:
    values = {"uuid": HOLDER, "project_id": 77, "user_id": 78, "generation": 3}
    return t.consumers.insert().values({**values, **more})


def write(store: Store, *statements: Statement) -> None:
    """As another program may: SQLite does not ask for foreign keys then."""
    engine = sa.create_engine(store.engines.write.url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)


def healed(store: Store) -> dict[str, int]:
    return store.heal("a-project", "a-user")


def findings(store: Store) -> list[str]:
    return [str(each) for check in verify(store).checks for each in check.findings if not each.warning]


def test_what_an_old_placement_did_not_write_is_added(store: Store, open_service: OpenService) -> None:
    write(
        store,
        provider(1, root_provider_id=None, generation=None),
        provider(2, root_provider_id=None, parent_provider_id=1),
        provider(3, root_provider_id=None, parent_provider_id=2),
        provider(4),
        inventory(3),
        allocation(3),
    )
    with pytest.raises(SchemaError, match=r"3 providers have no root .* run 'moorage db sync'"):
        store.check_rows()
    before = store.revision()
    assert healed(store) == {
        "providers without a root": 3,
        "providers without a generation": 1,
        "consumers without a record": 1,
    }
    # Another process's index learns of it.
    # One write of its own, and one that begins a new history.
    assert store.revision() == before + 2
    assert healed(store) == {}
    store.check_rows()
    assert findings(store) == []
    service = open_service(store)
    service.warm_up()
    root = service.provider("00000003-0000-4000-8000-000000000000").root_uuid
    assert root == "00000001-0000-4000-8000-000000000000"
    held = service.consumer_allocations(HOLDER)
    assert (held.project_id, held.user_id, held.generation) == ("a-project", "a-user", 0)
    request = CandidateRequest((RequestGroup(resources={"VCPU": 6}),))
    assert len(service.candidates(request).candidates) == 1


def test_a_consumer_whose_owner_is_lost_gets_the_one_for_such_consumers(
    store: Store, open_service: OpenService
) -> None:
    write(store, provider(1), inventory(1), allocation(1), holder())
    assert healed(store) == {
        "consumers of a project that does not exist": 1,
        "consumers of a user that does not exist": 1,
    }
    held = open_service(store).consumer_allocations(HOLDER)
    assert (held.project_id, held.user_id, held.generation) == ("a-project", "a-user", 3)
    assert findings(store) == []


def unadopted(store: Store) -> None:
    """As Placement had it, before this package was there."""
    with store.engines.write.begin() as connection:
        ours = [name for name in metadata.tables if name.startswith("moorage_")]
        for table in (adoption.VERSION_TABLE, *ours):
            sa.Table(table, sa.MetaData()).drop(connection)


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ([provider(2, parent_provider_id=99)], "providers have a parent that does not exist"),
        ([provider(2, root_provider_id=99)], "providers have another root than their parents lead to"),
        (
            [provider(1, parent_provider_id=2), provider(2, parent_provider_id=1)],
            "providers are among their own ancestors",
        ),
        ([inventory(9)], "inventories are of a provider that does not exist"),
        ([provider(1), inventory(1, resource_class_id=999)], "inventories are of a resource class that does"),
        ([provider(1), inventory(1, step_size=0)], "a unit or step_size below 1"),
        ([allocation(9)], "allocations are of a provider that does not exist"),
        (
            [provider(1), allocation(1, resource_class_id=999)],
            "allocations are of a resource class",
        ),
    ],
)
def test_damaged_rows_are_refused_before_anything_is_changed(
    statements: Sequence[Statement], words: str, sqlite_store: Store
) -> None:
    store = sqlite_store
    write(store, *statements)
    unadopted(store)
    for refused in (store.check_adoptable, store.migrate):
        with pytest.raises(SchemaError, match=f"damaged: .*{words}.*rows with id .* no row was changed"):
            refused()
    assert store.schema_version() is None


def test_a_loop_without_a_root_cannot_be_healed(sqlite_store: Store) -> None:
    write(
        sqlite_store,
        provider(1, parent_provider_id=2, root_provider_id=None),
        provider(2, parent_provider_id=1, root_provider_id=None),
    )
    with pytest.raises(SchemaError, match="are among their own ancestors"):
        healed(sqlite_store)


def test_a_sound_database_of_placement_is_taken_over(sqlite_store: Store, open_store: OpenStore) -> None:
    write(sqlite_store, provider(1), provider(2, parent_provider_id=1, root_provider_id=1), inventory(2))
    unadopted(sqlite_store)
    sqlite_store.check_adoptable()
    sqlite_store.migrate()
    assert healed(sqlite_store) == {}
