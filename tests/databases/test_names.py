from __future__ import annotations

import threading

import os_resource_classes
import os_traits
import sqlalchemy as sa

from moorage.store import tables
from moorage.store.changes import changelog
from moorage.store.store import Store
from tests.databases.prepared import OpenStore


def counts(store: Store) -> tuple[int, int]:
    return (
        store.read(lambda connection: len(connection.execute(sa.select(tables.traits.c.id)).all())),
        store.read(lambda connection: len(connection.execute(sa.select(tables.resource_classes.c.id)).all())),
    )


def test_standard_names_are_added_once_whoever_adds_them(database_url: str, open_store: OpenStore) -> None:
    first = open_store(database_url)
    first.migrate()
    stores = [first, open_store(database_url)]
    ready = threading.Barrier(2)
    added: list[int] = []

    def run(store: Store) -> None:
        ready.wait()
        added.append(store.synchronise_names())

    threads = [threading.Thread(target=run, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    standard = len(os_traits.get_traits()), len(os_resource_classes.STANDARDS)
    assert sorted(added) == [0, sum(standard)]
    assert first.synchronise_names() == 0
    assert counts(first) == standard
    assert first.revision() == 1
    missed = first.read(lambda connection: changelog.missed_since(connection, 0))
    assert missed == changelog.Missed(1, frozenset(), True)


def test_standard_classes_have_the_ids_of_their_librarys_order_and_traits_that_of_names(store: Store) -> None:
    def ask(connection: sa.Connection) -> tuple[dict[int, str], list[str]]:
        classes = connection.execute(sa.select(tables.resource_classes.c.id, tables.resource_classes.c.name))
        names = connection.execute(sa.select(tables.traits.c.name).order_by(tables.traits.c.id)).scalars()
        return {row.id: row.name for row in classes}, list(names)

    classes, traits = store.read(ask)
    assert classes == dict(enumerate(os_resource_classes.STANDARDS))
    assert traits == sorted(os_traits.get_traits())


def test_names_that_are_missing_are_added_with_their_own_ids(sqlite_store: Store) -> None:
    with sqlite_store.engines.write.begin() as connection:
        connection.execute(tables.resource_classes.delete().where(tables.resource_classes.c.id.in_([0, 3])))
        connection.execute(tables.traits.delete().where(tables.traits.c.name == "HW_CPU_X86_AVX"))
    assert sqlite_store.synchronise_names() == 3
    table = tables.resource_classes
    query = sa.select(table.c.id, table.c.name).where(table.c.id.in_([0, 3])).order_by(table.c.id)
    rows = sqlite_store.read(lambda connection: [tuple(row) for row in connection.execute(query)])
    assert rows == [(0, os_resource_classes.STANDARDS[0]), (3, os_resource_classes.STANDARDS[3])]
    assert "HW_CPU_X86_AVX" in sqlite_store.read(
        lambda connection: connection.execute(sa.select(tables.traits.c.name)).scalars().all()
    )
