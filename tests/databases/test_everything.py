"""What an index is built from, column by column, is what the trees say that are read one by one."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
import sqlalchemy as sa

from moorage.model.commands import CreateTrait, DeleteProvider, SetInventories, SetTraits, UpdateProvider
from moorage.model.values import Inventory
from moorage.search.index.index import Index
from moorage.service.facade import Service
from moorage.service.live_index import bring_up, built
from moorage.store import everything as reading
from moorage.store import store as reading_store
from moorage.store import trees
from moorage.store.sql import statements
from moorage.store.sql.columns import ColumnsAfter, ColumnsAmong, ColumnsBetween
from moorage.store.store import Store
from moorage.store.tables import (
    allocations,
    inventories,
    provider_aggregates,
    provider_traits,
    resource_classes,
    resource_providers,
    traits,
)
from tests.databases.index_contents import contents
from tests.databases.orders import DISK, MEMORY, VCPU, add_provider, claim, new_uuid, order
from tests.databases.orders import inventories as inventories_of
from tests.databases.prepared import OpenStore, Prepare
from tests.databases.sql_watch import watching
from tests.servers.binaries import MARIADB
from tests.table import each

ODD_NAMES = ["null", "]]", '"', "a\tb\r\nc", "é 🚢 \u2028", "'; --", "\\u0041"]
FAR = 1_000_000
"""Distance of ids between which nothing is."""


def by_trees(store: Store) -> Index:
    """An index of all providers, read as changed trees are read."""
    index = Index()

    def read(connection: sa.Connection) -> None:
        roots = connection.execute(sa.select(resource_providers.c.root_provider_id).distinct()).scalars()
        index.set_names(*trees.read_names(connection))
        index.replace_trees((), trees.read_trees(connection, [root for root in roots if root is not None]))

    store.read(read)
    return index


def by_columns(store: Store) -> Index:
    with store.everything() as everything:
        return built(everything)


def varied_cloud(service: Service, random: Random) -> None:
    """Trees of all shapes, partly in use; some have moved, and some are gone."""
    names = iter([f"{name} {number}" for number in range(4) for name in ODD_NAMES])
    aggregates = [new_uuid() for _ in range(3)]
    order(service, CreateTrait("CUSTOM_LATE"))
    providers: list[str] = []
    for _ in range(24):
        parent = random.choice([None, None, *providers])
        totals = {name: random.randint(4, 6) for name in (VCPU, MEMORY, DISK) if random.random() < 0.6}
        uuid = add_provider(
            service,
            next(names),
            parent,
            tuple(random.sample(["CUSTOM_LATE", "COMPUTE_NODE", "HW_CPU_X86_AVX"], random.randint(0, 3))),
            tuple(random.sample(aggregates, random.randint(0, 3))),
            **totals,
        )
        providers.append(uuid)
        for _ in range(random.randint(0, 2) if totals else 0):
            order(service, claim(new_uuid(), {uuid: dict.fromkeys(totals, 1)}))
    odd = Inventory(9, 1, 2, 3, 4, 1.5)
    lone = add_provider(service, next(names))
    order(service, SetInventories(lone, None, {VCPU: odd, MEMORY: Inventory(3, allocation_ratio=0.3)}))
    order(service, UpdateProvider(lone, next(names), providers[0]))
    order(service, DeleteProvider(add_provider(service)))


@pytest.mark.parametrize("chunk", [1, 5, 4_096])
@pytest.mark.parametrize("dense", [0, 4])
def test_columns_and_trees_say_the_same(
    store: Store, service: Service, chunk: int, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether providers are read by a range of their ids (``dense``) or named one by one."""
    varied_cloud(service, Random(chunk))
    monkeypatch.setattr(reading, "CHUNK_PROVIDERS", chunk)
    monkeypatch.setattr(reading, "SKELETON_PROVIDERS", 7)
    monkeypatch.setattr(reading, "DENSE", dense)
    index = by_columns(store)
    assert len(index) == 25
    expected = by_trees(store)
    assert list(index.records()) == list(expected.records())
    assert contents(index.snapshot()) == contents(expected.snapshot())
    if chunk < 4_096:
        assert len(index.snapshot().blocks) > 1


@pytest.mark.parametrize("few", [0, 500])
def test_many_changed_trees_are_taken_over_in_columns(
    store: Store, service: Service, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And few of them in records (``few``), with the same outcome."""
    random = Random(few)
    varied_cloud(service, random)
    monkeypatch.setattr(reading, "CHUNK_PROVIDERS", 3)
    monkeypatch.setattr(reading_store, "FEW_TREES", few)
    providers = [record.uuid for record in by_columns(store).records()]
    leaf, alone = add_provider(service, parent=providers[0]), add_provider(service, VCPU=1)
    index, before = by_columns(store), store.revision()
    for uuid in random.sample(providers, 8):
        if service.provider_inventories(uuid).inventories:
            order(service, SetInventories(uuid, None, inventories_of(VCPU=20, MEMORY_MB=20, DISK_GB=20)))
            order(service, claim(new_uuid(), {uuid: {VCPU: 2}}))
        else:
            order(service, SetTraits(uuid, None, frozenset(("CUSTOM_LATE",))))
    lone, other = add_provider(service, VCPU=1), add_provider(service)
    order(service, UpdateProvider(lone, "moved in", providers[0]))
    child = add_provider(service, parent=other)
    order(service, UpdateProvider(child, "moved out", None))
    order(service, DeleteProvider(other))
    for uuid in (leaf, alone):
        order(service, DeleteProvider(uuid))
    refresh = store.refresh(before)
    assert refresh is not None
    assert bool(refresh.columns) is not bool(refresh.records)
    for _ in range(2):
        # What is taken over again changes nothing.
        bring_up(index, refresh)
        assert list(index.records()) == list(by_columns(store).records())


def test_who_lacks_too_many_trees_takes_everything(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sqlite_store.revision()
    for _ in range(3):
        add_provider(sqlite_service)
    monkeypatch.setattr(reading_store, "MOST_TREES", 3)
    assert sqlite_store.refresh(before) is not None
    monkeypatch.setattr(reading_store, "MOST_TREES", 2)
    assert sqlite_store.refresh(before) is None


def test_many_trees_cost_as_many_statements_as_their_chunks_do(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_store, "FEW_TREES", 1)
    counts = []
    for count in (2, 5):
        before = store.revision()
        for _ in range(count):
            add_provider(service, VCPU=4)
        with watching(store) as watched:
            assert store.refresh(before) is not None
        counts.append(len(watched))
    # Revision and log, ids and roots, names by id of three sorts, five sorts of rows.
    assert counts == [11, 11]


def test_an_empty_database_is_an_empty_index(store: Store, service: Service) -> None:
    index = by_columns(store)
    assert len(index) == 0
    assert VCPU in index.snapshot().resource_class_names
    assert contents(index.snapshot()) == contents(by_trees(store).snapshot())


def test_the_number_of_statements_grows_with_blocks_only(store: Store, service: Service) -> None:
    counts = []
    for _ in range(2):
        add_provider(service, VCPU=4, traits=("COMPUTE_NODE",))
        with watching(store) as watched:
            by_columns(store)
        counts.append(len(watched))
    # Revision, two sets of names, ids and roots, names by id of three sorts, five sorts of rows.
    assert counts == [12, 12]


def test_few_providers_among_many_ids_are_named(store: Store, service: Service) -> None:
    """So that no more is read than is shown."""
    with store.engines.write.begin() as connection:
        for id_ in (FAR, 2 * FAR):
            connection.execute(
                resource_providers.insert(),
                {"id": id_, "uuid": new_uuid(), "name": f"{id_}", "generation": 0, "root_provider_id": id_},
            )
    with watching(store) as watched:
        assert len(by_columns(store)) == 2
    assert not [statement for statement in watched.statements if "BETWEEN" in statement]


def test_rows_without_a_partner_are_left_out(sqlite_store: Store, sqlite_service: Service) -> None:
    """As they are where trees are read one by one: other programs may have left them."""
    provider = add_provider(sqlite_service, VCPU=4, traits=("COMPUTE_NODE",), aggregates=(new_uuid(),))
    gone = 99
    with sqlite_store.engines.single.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        id_ = connection.execute(sa.select(resource_providers.c.id)).scalar_one()
        numbers = {"total": 1, "reserved": 0, "min_unit": 1, "max_unit": 1, "step_size": 1}
        absent = {"resource_provider_id": id_, "resource_class_id": FAR}
        connection.execute(inventories.insert(), absent | numbers | {"allocation_ratio": 1.0})
        connection.execute(allocations.insert(), absent | {"consumer_id": new_uuid(), "used": 1})
        connection.execute(provider_traits.insert(), {"resource_provider_id": id_, "trait_id": FAR})
        connection.execute(provider_aggregates.insert(), {"resource_provider_id": id_, "aggregate_id": FAR})
        for root in (gone, None):
            row = {"uuid": new_uuid(), "name": None, "root_provider_id": root}
            connection.execute(resource_providers.insert(), row)
        connection.execute(
            resource_providers.update().where(resource_providers.c.id == id_).values(name=None)
        )
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
    index = by_columns(sqlite_store)
    [record] = index.records()
    assert (record.uuid, record.name) == (provider, "")
    assert contents(index.snapshot()) == contents(by_trees(sqlite_store).snapshot())


BETWEEN = ColumnsBetween(
    sa.select(inventories.c.resource_provider_id, inventories.c.allocation_ratio, inventories.c.total),
    inventories.c.resource_provider_id,
)
AMONG = ColumnsAmong(sa.select(traits.c.id, traits.c.name), traits.c.id)
AFTER = ColumnsAfter(sa.select(resource_classes.c.id, resource_classes.c.name), resource_classes.c.id)
BIG = 2**31 - 1


def forms_of(columns: Iterable[memoryview]) -> list[tuple[bool, int]]:
    """Whether these are floating-point numbers, and the bytes of each."""
    return [(column.format == "d", column.itemsize) for column in columns]


def test_columns_have_the_types_of_their_columns(store: Store, service: Service) -> None:
    add_provider(service, VCPU=3, DISK_GB=4)
    one_more = 2.5
    with store.engines.write.connect() as connection:
        of_disks = inventories.c.total == 4
        connection.execute(inventories.update().where(of_disks).values(allocation_ratio=one_more))
        first, last = (
            connection.scalar(sa.select(f(resource_providers.c.id))) for f in (sa.func.min, sa.func.max)
        )
        owners, ratios, totals = BETWEEN.between(connection, first, last)
        assert forms_of((owners, ratios, totals)) == [(False, 8), (True, 8), (False, 8)]
        assert sorted(zip(totals, ratios, owners, strict=True)) == [(3, 1.0, first), (4, one_more, first)]
        nothing = BETWEEN.between(connection, last + 1, BIG)
        assert forms_of(nothing) == [(False, 8), (True, 8), (False, 8)]
        assert [len(column) for column in nothing] == [0, 0, 0]


@each("tables", [True, False])
def test_texts_come_as_they_are(store: Store, tables: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from servers that make no tables of JSON, with drivers that take no lists."""
    if not tables:
        monkeypatch.setattr(statements, "makes_tables", lambda dialect: False)
        monkeypatch.setattr(statements, "LIST_DRIVERS", frozenset())
    with store.engines.write.connect() as connection:
        connection.execute(traits.insert(), [{"name": name} for name in ODD_NAMES])
        query = sa.select(traits.c.id, traits.c.name).where(traits.c.name.in_(ODD_NAMES))
        expected = dict[int, str](connection.execute(query).all())
        ids, names = AMONG.among(connection, [*expected, BIG])
        assert dict(zip(ids, names, strict=True)) == expected
        assert [list(column) for column in AMONG.among(connection, [BIG])] == [[], []]


def test_rows_come_in_pages(store: Store) -> None:
    with store.engines.single.connect() as connection:
        expected = dict[int, str](
            connection.execute(sa.select(resource_classes.c.id, resource_classes.c.name)).all()
        )
        found: dict[int, str] = {}
        sizes: list[int] = []
        while not sizes or sizes[-1] == 7:
            ids, names = AFTER.after(connection, max(found, default=-1), 7)
            assert not found or min(ids, default=BIG) > max(found)
            found |= zip(ids, names, strict=True)
            sizes.append(len(ids))
    assert found == expected
    assert len(sizes) == len(expected) // 7 + 1


@pytest.mark.databases
def test_columns_that_a_server_cuts_off_are_asked_for_row_by_row(
    prepare: Prepare, open_store: OpenStore
) -> None:
    store = open_store(prepare(MARIADB))
    with store.engines.write.connect() as connection:
        everything = list(connection.execute(sa.select(traits.c.id)).scalars())[:20]
        AMONG.among(connection, everything)
        connection.exec_driver_sql("SET SESSION group_concat_max_len = 64")
        with watching(store) as watched:
            ids, _ = AMONG.among(connection, everything)
    assert sorted(ids) == sorted(everything)
    assert len(watched) == 2
