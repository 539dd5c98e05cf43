from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from moorage.model.errors import SchemaError
from moorage.model.values import Inventory
from moorage.store import migrations, tables
from moorage.store.migrations import scripts
from moorage.store.migrations.adoption import VERSION_TABLE
from moorage.store.sql.engines import make_file
from tests.databases.orders import DISK, VCPU, add_provider, claim, new_uuid, order, uuids_with_room
from tests.databases.prepared import OpenService, OpenStore
from tests.databases.released_schemas import described, engine_for

PLACEMENT_VERSION = sa.Table(
    "alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True)
)


def create_placement(url: str, stamp: str | None, *left_out: str) -> None:
    """Tables as openstack-placement has them, without ours."""
    engine = engine_for(url)
    with engine.begin() as connection:
        tables.metadata.create_all(
            connection, [table for table in tables.PLACEMENT_TABLES if table.name not in left_out]
        )
        if stamp is not None:
            PLACEMENT_VERSION.create(connection)
            connection.execute(PLACEMENT_VERSION.insert().values(version_num=stamp))


def placement_stamps(url: str) -> list[str]:
    with engine_for(url).connect() as connection:
        return list(connection.execute(sa.select(PLACEMENT_VERSION)).scalars())


def wanted(table: sa.Table) -> dict[str, Any]:
    """What ``described`` has to say of a table, without the types of its columns."""
    return {
        "columns": {column.name: column.nullable for column in table.columns},
        "key": [column.name for column in table.primary_key],
        "unique": sorted(
            [constraint.name, [column.name for column in constraint.columns]]
            for constraint in table.constraints
            if isinstance(constraint, sa.UniqueConstraint)
        ),
        "indexes": sorted([index.name, [column.name for column in index.columns]] for index in table.indexes),
        "references": sorted(
            [key.column_keys, key.referred_table.name, [item.column.name for item in key.elements]]
            for key in table.foreign_key_constraints
        ),
    }


def test_a_new_database_gets_every_table_column_index_and_constraint(
    database_url: str, open_store: OpenStore
) -> None:
    open_store(database_url).migrate()
    found = described(database_url)
    for table in found.values():
        table["columns"] = {name: nullable for name, (_, nullable) in table["columns"].items()}
    versions = {"alembic_version", VERSION_TABLE}
    assert found.keys() == tables.metadata.tables.keys() | versions
    assert {name: table for name, table in found.items() if name not in versions} == {
        name: wanted(table) for name, table in tables.metadata.tables.items()
    }
    # Placement itself takes the schema for its own newest one.
    assert placement_stamps(database_url) == [tables.PLACEMENT_REVISION]


def test_migrating_twice_changes_nothing_and_only_the_right_revision_passes_the_check(
    database_url: str, open_store: OpenStore
) -> None:
    store = open_store(database_url)
    make_file(store.engines.write.url)
    with pytest.raises(SchemaError, match=f"has no tables of Moorage, this version needs {migrations.HEAD}"):
        store.check_schema()
    assert store.schema_version() is None
    store.migrate()
    before = described(database_url)
    store.migrate()
    assert described(database_url) == before
    assert store.revision() == 0
    assert store.schema_version() == migrations.HEAD
    store.check_schema()


def test_head_is_the_newest_script() -> None:
    assert ScriptDirectory.from_config(scripts.configuration()).get_heads() == [migrations.HEAD]


def test_a_database_of_placement_is_adopted_with_all_that_it_holds(
    database_url: str, open_service: OpenService, open_store: OpenStore
) -> None:
    create_placement(database_url, tables.PLACEMENT_REVISION)
    before = described(database_url)
    provider, child, consumer = new_uuid(), new_uuid(), new_uuid()
    rows: list[tuple[sa.Table, dict[str, Any]]] = [
        (
            tables.resource_providers,
            {"uuid": provider, "name": "old", "generation": 7, "root_provider_id": 1},
        ),
        (
            tables.resource_providers,
            {"uuid": child, "name": "c", "generation": 3, "root_provider_id": 1, "parent_provider_id": 1},
        ),
        (tables.resource_classes, {"id": 10_000, "name": "CUSTOM_OLD"}),
        (
            tables.inventories,
            {
                "resource_provider_id": 2,
                "resource_class_id": 10_000,
                "total": 8,
                "reserved": 1,
                "min_unit": 1,
                "max_unit": 4,
                "step_size": 2,
                "allocation_ratio": 1.5,
            },
        ),
        (tables.projects, {"external_id": "old project"}),
        (tables.users, {"external_id": "old user"}),
        (tables.consumers, {"uuid": consumer, "project_id": 1, "user_id": 1, "generation": 4}),
        (
            tables.allocations,
            {"resource_provider_id": 2, "resource_class_id": 10_000, "consumer_id": consumer, "used": 2},
        ),
    ]
    with engine_for(database_url).begin() as connection:
        for table, row in rows:
            connection.execute(table.insert(), row)

    store = open_store(database_url)
    store.migrate()
    store.check_schema()
    after = described(database_url)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {
        VERSION_TABLE,
        "moorage_revision",
        "moorage_changes",
        "moorage_tokens",
        "moorage_unmet",
        "moorage_findings",
        "moorage_healings",
        "moorage_reports",
        "moorage_clock",
        "moorage_keys",
        "moorage_leases",
        "moorage_journal",
        "moorage_journal_refs",
        "moorage_journal_subjects",
        "moorage_claims",
        "moorage_mixes",
    }

    service = open_service(store)
    assert (service.provider(child).parent_uuid, service.provider(child).generation) == (provider, 3)
    assert service.provider_inventories(child).inventories == {"CUSTOM_OLD": Inventory(8, 1, 1, 4, 2, 1.5)}
    assert service.provider_usages(child).usages == {"CUSTOM_OLD": 2}
    held = service.consumer_allocations(consumer)
    assert (held.project_id, held.user_id, held.generation) == ("old project", "old user", 4)
    assert uuids_with_room(service, "CUSTOM_OLD", 4) == {child}
    order(service, claim(consumer, {child: {"CUSTOM_OLD": 4}}, generation=4))
    assert service.provider_usages(child).usages == {"CUSTOM_OLD": 4}

    # What is written from now on is complete as Placement wants it.
    store.synchronise_names()
    new = add_provider(service, VCPU=4, DISK_GB=10, aggregates=(new_uuid(),), traits=("HW_CPU_X86_AVX",))
    order(service, claim(new_uuid(), {new: {VCPU: 1, DISK: 1}}, consumer_type="INSTANCE"))
    with engine_for(database_url).connect() as connection:
        for table in tables.PLACEMENT_TABLES:
            newest = connection.execute(sa.select(table)).mappings().all()[-1]
            assert newest["created_at"] is not None
        roots = connection.execute(sa.select(tables.resource_providers.c.root_provider_id)).scalars().all()
        assert roots == [1, 1, 3]


def test_placement_tables_without_a_stamp_are_adopted_and_get_one(
    sqlite_url: str, open_store: OpenStore
) -> None:
    create_placement(sqlite_url, None)
    add_a_row(sqlite_url)
    store = open_store(sqlite_url)
    store.migrate()
    store.check_schema()
    assert placement_stamps(sqlite_url) == [tables.PLACEMENT_REVISION]


def add_a_row(url: str) -> None:
    with engine_for(url).begin() as connection:
        connection.execute(tables.traits.insert().values(name="CUSTOM_KEPT"))


def refused_and_left_alone(url: str, open_store: OpenStore, reason: str) -> None:
    before = described(url)
    store = open_store(url)
    with pytest.raises(SchemaError, match=reason):
        store.migrate()
    after = described(url)
    # MariaDB cannot take back that a table was created: our own empty version table may stay.
    assert after.keys() - before.keys() <= {VERSION_TABLE}
    assert {name: after[name] for name in before} == before
    assert store.schema_version() is None


@pytest.mark.parametrize(
    ("stamp", "reason"),
    [
        ("b4ed3a175331", "older Placement schema .b4ed3a175331.*placement-manage db sync"),
        ("fedcba987654", "does not know .fedcba987654, newer than a082b8bb98d0.*needs a newer Moorage"),
    ],
)
def test_another_schema_of_placement_is_refused_and_left_alone(
    stamp: str, reason: str, database_url: str, open_store: OpenStore
) -> None:
    create_placement(database_url, stamp)
    refused_and_left_alone(database_url, open_store, reason)
    assert placement_stamps(database_url) == [stamp]


@pytest.mark.parametrize(
    ("stamp", "left_out", "missing"),
    [
        (None, ("traits", "consumer_types"), "it lacks traits, consumer_types"),
        (None, ("consumer_types", "consumers"), "it lacks consumer_types, consumers"),
        (tables.PLACEMENT_REVISION, ("users",), "it lacks users"),
        (
            tables.PLACEMENT_REVISION,
            tuple(table.name for table in tables.PLACEMENT_TABLES),
            "none of its tables",
        ),
    ],
)
def test_half_a_schema_is_refused_and_left_alone(
    sqlite_url: str, stamp: str | None, left_out: tuple[str, ...], missing: str, open_store: OpenStore
) -> None:
    create_placement(sqlite_url, stamp, *left_out)
    if "traits" not in left_out:
        add_a_row(sqlite_url)
    refused_and_left_alone(sqlite_url, open_store, f"half-made: .*{missing}")


def test_tables_that_lack_columns_are_refused_and_left_alone(sqlite_url: str, open_store: OpenStore) -> None:
    create_placement(sqlite_url, tables.PLACEMENT_REVISION)
    with engine_for(sqlite_url).begin() as connection:
        connection.execute(sa.text("ALTER TABLE inventories DROP COLUMN step_size"))
    refused_and_left_alone(sqlite_url, open_store, "inventories lacks step_size")


@pytest.mark.parametrize(
    ("stamp", "names", "reason"),
    [
        (
            "29e87d24a316",
            ("project",),
            "alembic_version says 29e87d24a316, which is no revision of Placement",
        ),
        (
            None,
            ("user", "project", "role", "token"),
            r"holds the tables project, role, token, \.\.\. and none",
        ),
        (None, ("users_of_another_program",), "holds the tables users_of_another_program and none"),
    ],
)
def test_a_database_of_something_else_is_refused_and_left_alone(
    stamp: str | None, names: tuple[str, ...], reason: str, database_url: str, open_store: OpenStore
) -> None:
    strange = sa.MetaData()
    for name in names:
        sa.Table(name, strange, sa.Column("id", sa.Integer, primary_key=True))
    with engine_for(database_url).begin() as connection:
        strange.create_all(connection)
        if stamp is not None:
            PLACEMENT_VERSION.create(connection)
            connection.execute(PLACEMENT_VERSION.insert().values(version_num=stamp))
    refused_and_left_alone(database_url, open_store, f"belongs to something else: .*{reason}")
    if stamp is not None:
        assert placement_stamps(database_url) == [stamp]


def test_processes_that_migrate_at_once_wait_for_each_other(database_url: str, open_store: OpenStore) -> None:
    def migrate(_number: int) -> str | None:
        store = open_store(database_url)
        store.migrate()
        return store.schema_version()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(migrate, range(4))) == {migrations.HEAD}
