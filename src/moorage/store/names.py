"""Adds the standard resource classes and traits of their libraries to the database."""

from __future__ import annotations

import os_resource_classes
import os_traits
import sqlalchemy as sa

from moorage.model.values import CUSTOM_PREFIX, Requester
from moorage.rules.journal import names_added
from moorage.store.changes import changelog
from moorage.store.tables import resource_classes, traits


def synchronise(connection: sa.Connection, transaction_id: str, *, journals: bool) -> int:
    """Add the standard names that are missing; returns how many. ``journals``: the journal has a record of
    each write.

    Classes keep the ids of their library's order; traits are added in the order of their names.
    """
    known_classes = set(connection.execute(sa.select(resource_classes.c.name)).scalars())
    new_classes = [
        {"id": id_, "name": name}
        for id_, name in enumerate(os_resource_classes.STANDARDS)
        if name not in known_classes
    ]
    known_traits = set(connection.execute(sa.select(traits.c.name)).scalars())
    new_traits = [
        {"name": name}
        for name in sorted(os_traits.get_traits())
        if name not in known_traits and not name.startswith(CUSTOM_PREFIX)
    ]
    if new_classes:
        if connection.dialect.name == "mysql":
            # The first class has id 0, which MariaDB would take for "the next one".
            connection.exec_driver_sql("SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')")
        connection.execute(resource_classes.insert(), new_classes)
    if new_traits:
        connection.execute(traits.insert(), new_traits)
    if new_classes or new_traits:
        added = names_added(
            [str(row["name"]) for row in new_classes], [str(row["name"]) for row in new_traits]
        )
        record = added if journals else None
        entry = changelog.LogEntry("names.synchronise", frozenset(), True, Requester(), record)
        changelog.append(connection, entry, transaction_id)
    return len(new_classes) + len(new_traits)
