"""How databases are made to find rows, and texts in them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from moorage.store.nouns.consumers import select_used
from moorage.store.sql.plans import BY_INDEXES, by_indexes
from moorage.store.sql.texts import has_part
from moorage.store.store import Store
from moorage.store.tables import revisions, traits


def test_a_transaction_finds_rows_by_indexes_and_the_next_one_as_ever(store: Store) -> None:
    with store.engines.snapshot.connect() as connection:
        plain = sa.select(revisions.c.revision)
        query = by_indexes(connection, plain)
        if connection.dialect.name != "postgresql":
            assert query is plain
            return
        settings = sa.select(*(sa.func.current_setting(name) for name in BY_INDEXES))
        before = tuple(connection.execute(settings).one())
        assert connection.execute(query).one()[0] == store.revision()
        assert set(connection.execute(settings).one()) == {"off"}
        connection.rollback()
        assert tuple(connection.execute(settings).one()) == before != ("off",) * len(BY_INDEXES)


def test_a_part_of_a_text_is_found_byte_for_byte(store: Store) -> None:
    names = ["CUSTOM_A%B", "CUSTOM_AXB", "CUSTOM_A_B", 'q"A%B"']
    with store.engines.write.begin() as connection:
        connection.execute(traits.insert(), [{"name": name} for name in names])
    with store.engines.snapshot.connect() as connection:

        def with_part(part: str, *, has: bool = True) -> set[str]:
            found = has_part(connection.dialect, traits.c.name, part)
            query = sa.select(traits.c.name).where(found if has else ~found, traits.c.name.in_(names))
            return set(connection.execute(query).scalars())

        assert with_part("A%B") == {"CUSTOM_A%B", 'q"A%B"'}
        assert with_part('"A%B"') == {'q"A%B"'}
        assert with_part("A_B") == {"CUSTOM_A_B"}
        assert with_part("a_b") == set()
        assert with_part("A%B", has=False) == {"CUSTOM_AXB", "CUSTOM_A_B"}


def test_mariadb_sums_up_before_it_looks_for_names() -> None:
    assert str(select_used().compile(dialect=mysql.dialect())).startswith("SELECT STRAIGHT_JOIN ")
