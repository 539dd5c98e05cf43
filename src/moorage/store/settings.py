"""How to reach the database."""

from __future__ import annotations

from dataclasses import field
from typing import Final

from moorage.model.journal import JournalMode
from moorage.model.valueclass import valueclass

SYNC_COMMAND: Final = "moorage db sync"
"""The command that brings a schema up to date."""


@valueclass(frozen=True, slots=True)
class StoreSettings:
    """Connection and pool. Source of the fields: placement.conf ``[placement_database]``.

    ``max_overflow`` and the pool sizes count connections of one process. ``connect_retries`` below 0 means
    to wait for the database for ever. ``looks_only``: an SQLite file is not prepared for writing.
    ``sync_command`` is the command that errors name to bring the schema up to date. ``journal``: what is kept
    of each write.
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
    looks_only: bool = False
    journal: JournalMode = JournalMode.FULL
    sync_command: str = field(default=SYNC_COMMAND, compare=False)
