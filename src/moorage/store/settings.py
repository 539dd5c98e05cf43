"""How the database is reached."""

from __future__ import annotations

from moorage.model.valueclass import valueclass


@valueclass(frozen=True, slots=True)
class StoreSettings:
    """Connection and pool. Source of the fields: placement.conf ``[placement_database]``.

    ``max_overflow`` and the pool sizes count connections of one process. ``connect_retries``
    below 0 waits for the database for ever.
    """

    url: str
    max_pool_size: int | None = None
    max_overflow: int | None = None
    pool_timeout_seconds: int | None = None
    recycle_seconds: int = 3600
    connect_retries: int = 10
    connect_retry_seconds: int = 10
    sqlite_synchronous_full: bool = True
    mysql_sql_mode: str = "TRADITIONAL"
