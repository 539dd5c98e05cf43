"""A COMMIT that fails before it is sent leaves nothing open on a connection that others get next."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from moorage.store.sql.engines import in_transaction
from moorage.store.store import Store
from moorage.store.tables import traits
from tests.databases.prepared import store_on


def held(store: Store, name: str) -> int:
    """Rows of a trait, as the engine for writing sees them."""
    query = sa.select(sa.func.count()).where(traits.c.name == name)
    with store.engines.write.begin() as connection:
        return int(connection.execute(query).scalar_one())


def test_what_a_failed_commit_left_is_neither_seen_nor_committed_later(prepared_url: str) -> None:
    store = store_on(prepared_url)
    engine = store.engines.write

    def refuse(_connection: sa.Connection) -> None:
        raise ValueError("before it is sent")

    sa.event.listen(engine, "commit", refuse)
    try:
        with pytest.raises(ValueError, match="before it is sent"), engine.begin() as connection:
            connection.execute(traits.insert().values(name="CUSTOM_LEFT"))
    finally:
        sa.event.remove(engine, "commit", refuse)
    assert held(store, "CUSTOM_LEFT") == 0
    store.close()


def test_a_driver_that_is_not_known_is_taken_to_be_in_a_transaction() -> None:
    unknown: Any = object()
    assert in_transaction(unknown)
