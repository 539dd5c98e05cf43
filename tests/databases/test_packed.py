"""Rows that come as one value are the rows that come one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.commands import CreateTrait
from moorage.model.errors import CapacityExceededError
from moorage.service.facade import Service
from moorage.store.changes import journal as kept
from moorage.store.sql.packed import BETWEEN, packs, unpacked
from moorage.store.sql.statements import Part, Selection, Selections
from moorage.store.store import Store
from moorage.store.tables import allocations, inventories, journal, resource_providers, traits
from tests.databases.orders import ASKER, VCPU, add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenService, OpenStore, Prepare
from tests.databases.sql_watch import watching
from tests.servers.binaries import MARIADB

DISK_ID = 2
"""The library's number of DISK_GB."""

ODD_TEXTS = ["null", '"', "]]", "\\", "\\u0041", "a\tb\r\nc\x01\x7f", "</é 🚢 \u2028>", "'", ""]

NAMES = Selection(sa.select(traits.c.id, traits.c.name), traits.c.name)
NUMBERS = Selections(
    Part(
        sa.select(
            sa.literal(0),
            inventories.c.resource_class_id,
            inventories.c.allocation_ratio,
        ),
        inventories.c.resource_provider_id,
        "inventories",
        0,
    ),
    Part(
        sa.select(
            allocations.c.resource_class_id,
            sa.cast(sa.func.sum(allocations.c.used), sa.BigInteger),
            sa.null(),
        ).group_by(allocations.c.resource_class_id),
        allocations.c.resource_provider_id,
        "used",
        0,
    ),
)


def cut_texts(store: Store, length: int) -> None:
    """Let no text be longer that a MariaDB server puts together for a writer."""

    @sa.event.listens_for(store.engines.write, "connect")
    def on_connect(connection: Any, _entry: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET SESSION group_concat_max_len = {length}")
        cursor.close()


def in_order(rows: Iterable[Iterable[Any]]) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, rows))


def test_texts_come_as_they_are(store: Store) -> None:
    wanted = [f"{name}." for name in ODD_TEXTS]
    with store.engines.write.connect() as connection:
        connection.execute(traits.insert(), [{"name": name} for name in wanted])
        found = NAMES.tuples(connection, wanted)
        assert {name for _, name in found} == {*wanted}
        assert in_order(found) == in_order(NAMES.rows(connection, wanted))
        assert NAMES.tuples(connection, ["absent"]) == []


def test_numbers_keep_their_types(store: Store, service: Service) -> None:
    provider = add_provider(service, VCPU=8, DISK_GB=9)
    for amount in (3, 4):
        order(service, claim(new_uuid(), {provider: {VCPU: amount}}))
    with store.engines.write.connect() as connection:
        wanted = list(connection.execute(sa.select(resource_providers.c.id)).scalars())
        disk = inventories.c.resource_class_id == DISK_ID
        connection.execute(inventories.update().where(disk).values(allocation_ratio=1.5))
        rows = NUMBERS.rows(connection, inventories=wanted, used=wanted)
        assert NUMBERS.rows(connection, inventories=[], used=[0]) == []
    assert sorted(map(repr, map(tuple, rows))) == ["(0, 0, 1.0)", "(0, 2, 1.5)", "(0, 7, None)"]


@pytest.mark.databases
def test_rows_that_a_server_cuts_off_are_asked_for_one_by_one(
    prepare: Prepare, open_store: OpenStore
) -> None:
    """Also where what it leaves looks whole."""
    store = open_store(prepare(MARIADB))
    wanted = [f"CUSTOM_{number}" for number in range(5)]
    outcomes = set()
    with store.engines.write.connect() as connection:
        assert packs(connection.dialect)
        connection.execute(traits.insert(), [{"name": name} for name in wanted])
        everything = in_order(NAMES.rows(connection, wanted))
        enough = len(str(everything))
        for length in range(4, enough):
            connection.exec_driver_sql(f"SET SESSION group_concat_max_len = {length}")
            with watching(store) as watched:
                assert in_order(NAMES.tuples(connection, wanted)) == everything
            outcomes.add(len(watched))
    # It was enough in the end.
    assert outcomes == {1, 2}


@pytest.mark.databases
def test_claims_are_exact_on_a_server_that_cuts_off_rows(
    prepare: Prepare, open_store: OpenStore, open_service: OpenService
) -> None:
    store = open_store(prepare(MARIADB))
    cut_texts(store, 4)
    service = open_service(store)
    provider = add_provider(service, VCPU=8)
    for _ in range(8):
        order(service, claim(new_uuid(), {provider: {VCPU: 1}}))
    with pytest.raises(CapacityExceededError):
        order(service, claim(new_uuid(), {provider: {VCPU: 1}}))
    assert service.provider_usages(provider).usages == {VCPU: 8}


@pytest.mark.databases
def test_records_come_as_few_values_and_one_by_one_where_these_do_not_fit(
    prepare: Prepare, open_store: OpenStore, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "JOINED_TOGETHER", 2)
    store = open_store(prepare(MARIADB))
    service = open_service(store)
    start = store.revision()
    for number in range(5):
        service.execute(CreateTrait(f"CUSTOM_{number}"), ASKER)

    def statements(most: int = 10) -> int:
        with store.engines.snapshot.connect() as connection:
            wanted = kept.page(connection, start, most)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(kept, "packs", lambda _dialect: False)
                assert kept.page(connection, start, most) == wanted
        with watching(store) as watched:
            store.changes(start, most)
        assert len(wanted.changes) == min(most, store.revision() - start)
        return len(watched)

    assert (statements(), statements(3), statements(1)) == (4, 3, 2)
    with store.engines.snapshot.connect() as connection:
        whole = kept.page(connection, start, 2)
        for length in range(4, 1_000):
            connection.exec_driver_sql(f"SET SESSION group_concat_max_len = {length}")
            assert kept.page(connection, start, 2) == whole
        connection.exec_driver_sql("SET SESSION group_concat_max_len = 1000000")
    service.execute(CreateTrait("CUSTOM_6"), replace(ASKER, user_id=f"odd{BETWEEN}name"))
    assert (statements(), statements(5)) == (5, 4)
    with store.engines.write.begin() as connection:
        connection.execute(journal.delete().where(journal.c.revision == start + 3))
    assert [change.revision - start for change in store.changes(start, 3).changes] == [1, 2, 4]


@pytest.mark.parametrize(
    ("url", "is_mariadb", "version", "expected"),
    [
        ("mysql+pymysql://", True, (10, 6, 1), True),
        ("mysql+pymysql://", True, (10, 5, 9), False),
        ("mysql+pymysql://", True, None, False),
        ("mysql+pymysql://", False, (8, 0, 36), False),
        ("postgresql+psycopg://", False, (15,), False),
        ("sqlite://", False, (3, 40, 1), False),
    ],
)
def test_only_a_driver_written_in_python_is_spared_rows(
    url: str, is_mariadb: bool, version: tuple[int, ...] | None, expected: bool
) -> None:
    dialect = sa.create_engine(url).dialect
    dialect.server_version_info = version
    if dialect.name == "mysql":
        dialect.is_mariadb = is_mariadb  # type: ignore[attr-defined]
    assert packs(dialect) is expected


@pytest.mark.parametrize(
    ("parts", "rows"),
    [
        ([], []),
        ([(0, None)], []),
        ([(2, "[[1],[2]]"), (0, None), (1, '[["a"]]')], [[1], [2], ["a"]]),
        ([(2, "[[1]]")], None),
        ([(2, "[[1],[2]")], None),
        ([(1, "[[1]]"), (1, "")], None),
    ],
)
def test_what_is_not_whole_is_nothing(
    parts: list[tuple[int, str | None]], rows: list[list[Any]] | None
) -> None:
    assert unpacked(parts) == rows
