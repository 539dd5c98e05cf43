"""How PostgreSQL plans the statements of a snapshot that look for few rows of a long table."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

BY_INDEXES: Final = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit")
"""Settings that are off. Each wanted row is found by an index, and nothing is worth compiling for that."""


def by_indexes(connection: sa.Connection, query: sa.Select[Any]) -> sa.Select[Any]:
    """``query``, from which on all statements of the transaction find rows by indexes, with columns for it.

    A table that has grown fast is longer than its statistics say. By these PostgreSQL would read all of it.
    """
    if connection.dialect.name != "postgresql":
        return query
    return query.add_columns(*(sa.func.set_config(name, "off", True) for name in BY_INDEXES))
