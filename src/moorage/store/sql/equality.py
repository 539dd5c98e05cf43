"""Which names a database holds equal: its collations may ignore case, accents or spaces at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

from moorage.store.sql.literals import number
from moorage.store.sql.statements import batches

BRANCHES: Final = 100
"""Names that one statement compares: databases bound the number of queries in a union."""


def held_equal(connection: sa.Connection, column: sa.Column[Any], names: Iterable[str]) -> dict[str, str]:
    """Values in ``column`` that are held equal to one of ``names``, by that name; one each at most.

    The database decides, by the rules of the column.
    """
    found: dict[str, str] = {}
    for batch in batches(sorted(names), BRANCHES):
        queries = [sa.select(number(place), column).where(column == name) for place, name in enumerate(batch)]
        for place, present in connection.execute(sa.union_all(*queries)):
            found[batch[place]] = present
    return found
