"""Histories: which revisions continue each other.

A database that was restored, or that another program has written to, does not continue what its journal
tells. Then a new history begins, under a new epoch. Readers of an earlier one have to read the state again.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from moorage.model.journal import NEW_HISTORY
from moorage.model.values import Requester
from moorage.rules.journal import adopted
from moorage.store.changes import changelog
from moorage.store.changes.counter import THE_ROW
from moorage.store.tables import allocations, changes, consumers, inventories, resource_providers, revisions

_COUNTED = {
    "providers": resource_providers,
    "inventories": inventories,
    "consumers": consumers,
    "allocations": allocations,
}


def present(connection: sa.Connection) -> str:
    """The epoch of the history that the last revision belongs to."""
    return str(connection.execute(sa.select(revisions.c.epoch)).scalar_one())


def begin(connection: sa.Connection, transaction_id: str, *, journals: bool) -> str:
    """Begin a new history with a revision of its own; returns its epoch.

    ``journals``: the journal has a record of each write.
    """
    epoch = secrets.token_hex(8)
    # The lock on the row comes first, so that nothing is written between the count and the revision.
    connection.execute(revisions.update().where(revisions.c.id == THE_ROW).values(epoch=epoch))
    counts = {
        name: int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
        for name, table in _COUNTED.items()
    }
    record = adopted(counts) if journals else None
    entry = changelog.LogEntry(NEW_HISTORY, frozenset(), True, Requester(), record)
    changelog.append(connection, entry, transaction_id)
    return epoch


def has_just_begun(connection: sa.Connection) -> bool:
    """Whether the last write has begun a new history."""
    last = sa.select(changes.c.kind).order_by(changes.c.revision.desc()).limit(1)
    return connection.execute(last).scalar() == NEW_HISTORY
