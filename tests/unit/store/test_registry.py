from __future__ import annotations

import pytest
import sqlalchemy as sa

from moorage.store import registry
from moorage.store.registry import Registry
from moorage.store.sql.statements import batches
from moorage.store.store import Store
from moorage.store.tables import projects
from tests.databases.sql_watch import watching


@pytest.fixture
def known() -> Registry:
    return Registry(projects, "external_id")


def test_names_are_added_once_and_remembered_only_when_told_so(sqlite_store: Store, known: Registry) -> None:
    with sqlite_store.engines.write.begin() as connection:
        ids, added = known.ids(connection, ("one", "two", "one"))
    assert ids == added == {"one": ids["one"], "two": ids["two"]}
    with sqlite_store.engines.write.begin() as connection:
        assert known.ids(connection, ("one", "three"))[1].keys() == {"three"}
        connection.rollback()
    known.remember(added)
    with sqlite_store.engines.write.begin() as connection, watching(sqlite_store) as watched:
        assert known.ids(connection, ("two", "one")) == (ids, {})
        assert known.names(connection, ids.values()) == {id_: name for name, id_ in ids.items()}
        assert known.ids(connection, ()) == ({}, {})
        assert known.names(connection, ()) == {}
        assert len(watched) == 0
        assert known.ids(connection, ("three",))[1].keys() == {"three"}


def test_a_registry_that_is_full_forgets_and_still_answers(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "REMEMBERED_BYTES", 1_500)
    known = Registry(projects, "external_id")
    with sqlite_store.engines.write.begin() as connection:
        ids, added = known.ids(connection, ("one", "two", "three", "four", "five", "six"))
        known.remember({name: ids[name] for name in ("one", "two")})
        # Two are remembered; reading four more makes it forget some while it is asked for all.
        assert known.names(connection, ids.values()) == {id_: name for name, id_ in ids.items()}
        assert known.names(connection, ids.values()) == {id_: name for name, id_ in ids.items()}
        assert known.ids(connection, ids)[0] == ids
        assert 0 < len(known._ids) < len(ids)
        assert known._ids.size <= 1_500
        assert len(added) == len(ids) == 6


def test_ids_that_are_not_there_are_left_out(sqlite_store: Store, known: Registry) -> None:
    with sqlite_store.engines.single.connect() as connection:
        assert known.names(connection, (4711,)) == {}


def test_lists_are_cut_into_batches_of_a_size() -> None:
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches((), 2)) == []
    assert [len(batch) for batch in batches(range(10_001))] == [10_000, 1]


def test_a_list_longer_than_a_statement_takes_is_read_whole(sqlite_store: Store) -> None:
    names = [f"project {number}" for number in range(12_000)]
    with sqlite_store.engines.write.begin() as connection:
        connection.execute(projects.insert(), [{"external_id": name} for name in names])
        count = sa.select(sa.func.count()).select_from(projects)
        assert connection.execute(count).scalar_one() == len(names)
        found = [
            row.external_id
            for batch in batches(names)
            for row in connection.execute(sa.select(projects).where(projects.c.external_id.in_(batch)))
        ]
    assert sorted(found) == sorted(names)
