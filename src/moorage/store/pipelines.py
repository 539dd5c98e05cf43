"""Statements whose answers nobody waits for one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa


@contextmanager
def together(connection: sa.Connection) -> Iterator[None]:
    """Send what is executed within at once, where the driver can, and wait for all answers at the end.

    Only for statements without rows; how many rows they found is known after the end. Locks are
    held for a few round trips less. Raises whatever any of them meets, at the end at the latest.
    """
    driver: object = connection.connection.dbapi_connection
    if not isinstance(driver, psycopg.Connection) or not psycopg.Pipeline.is_supported():
        yield
        return
    try:
        with driver.pipeline():
            yield
    except psycopg.Error as error:
        # It comes from no statement in particular, and so not through SQLAlchemy, whose filters name errors.
        connection._handle_dbapi_exception(error, None, None, None, None)
