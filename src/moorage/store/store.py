"""The store: what service/ asks of the database, with the errors that it can act on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar
from uuid import uuid4

import sqlalchemy as sa

from moorage.model.errors import SchemaError, UnavailableError
from moorage.model.valueclass import valueclass
from moorage.model.values import ClassTotal, ProviderRecord
from moorage.rules.audit import CounterFact, Facts, LogFact
from moorage.store import audit, changelog, migrations, names, tables, trees
from moorage.store.direct import DirectQuery
from moorage.store.engines import create_engines
from moorage.store.errors import ConnectionLostError, ConstraintError, WriteConflictError, translated
from moorage.store.migrations import adoption
from moorage.store.reading import Registries
from moorage.store.settings import StoreSettings
from moorage.store.tables import utcnow
from moorage.store.totals import totals
from moorage.store.transaction import WriteTransaction
from moorage.store.usage_news import UsageNews, UsageReader

ResultT = TypeVar("ResultT")

LOG = logging.getLogger(__name__)

READ_ATTEMPTS = 3
"""A read whose connection broke is asked again: a server that restarts cuts all old ones."""

SYNCHRONISE_ATTEMPTS = 5
"""Processes that start at the same time may all add the same names; one of them wins."""


@valueclass(frozen=True, slots=True)
class Refresh:
    """The present state of all that changed after a revision, up to ``revision``.

    ``names`` is None if none came or went.
    """

    revision: int
    root_ids: frozenset[int]
    records: list[ProviderRecord]
    names: trees.Names | None


@valueclass(frozen=True, slots=True)
class Everything:
    """All that an index is built from; ``chunks`` are read as they are taken."""

    revision: int
    names: trees.Names
    chunks: Iterator[list[ProviderRecord]]


@valueclass(frozen=True, slots=True)
class Examined:
    """One snapshot, to be looked at from all sides. All methods raise the errors of ``store.errors``."""

    _connection: sa.Connection

    def counters(self) -> list[CounterFact]:
        """All rows of the revision table; one is right."""
        return audit.read_counters(self._connection)

    def log(self) -> list[LogFact]:
        """The change log by revision and position."""
        return audit.read_log(self._connection)

    def facts(self) -> Facts:
        """The rows of all other tables."""
        return audit.read_facts(self._connection)

    def can_be_indexed(self) -> bool:
        """Whether there is one revision, and a root recorded for every provider."""
        return len(self.counters()) == 1 and not audit.has_rootless(self._connection)

    def refresh(self, revision: int) -> Refresh | None:
        """As ``Store.refresh``, in this snapshot."""
        return _refresh(self._connection, revision)

    def everything(self) -> Everything:
        """As ``Store.everything``, in this snapshot."""
        return _everything(self._connection)


def _refresh(connection: sa.Connection, revision: int) -> Refresh | None:
    missed = changelog.missed_since(connection, revision)
    if missed is None:
        return None
    return Refresh(
        missed.revision,
        missed.root_ids,
        trees.read_trees(connection, missed.root_ids),
        trees.read_names(connection) if missed.changes_names else None,
    )


def _everything(connection: sa.Connection) -> Everything:
    return Everything(changelog.current(connection), trees.read_names(connection), trees.read_all(connection))


class Store:
    """A database with our tables. Safe for use by several threads."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self.engines = create_engines(settings)
        self._registries = Registries()
        self._poll = DirectQuery(self.engines.single, changelog.CURRENT)
        self._usage_reader = UsageReader(self.engines.single)

    def close(self) -> None:
        """Close all connections."""
        self.engines.dispose()

    def wait_until_reachable(self) -> None:
        """Wait for the database as long as the settings say. Raises UnavailableError."""
        self.patiently(
            lambda: self.read(lambda connection: connection.execute(sa.select(sa.literal(1))).scalar())
        )

    def patiently(self, action: Callable[[], ResultT]) -> ResultT:
        """Begin ``action`` anew until the database stays there to its end, as long as the settings say.

        Raises UnavailableError, and what else the action raises.
        """
        address = self.engines.single.url.render_as_string(hide_password=True)
        retries, pause = self._settings.connect_retries, self._settings.connect_retry_seconds
        attempts = 0
        while True:
            try:
                result = action()
            except (UnavailableError, ConnectionLostError) as error:
                attempts += 1
                if 0 <= retries < attempts:
                    reason = (
                        error.reason
                        if isinstance(error, UnavailableError)
                        else "the database cannot be reached"
                    )
                    raise UnavailableError(f"{address}: {reason} (tried {attempts} times)") from error
                LOG.warning(
                    "Waiting for the database %s: it cannot be reached; trying again in %d s (%s).",
                    address,
                    pause,
                    f"{attempts} of {retries}" if retries >= 0 else f"{attempts}, without end",
                )
                time.sleep(pause)
            else:
                if attempts:
                    LOG.warning("The database %s is there now.", address)
                return result

    def migrate(self) -> None:
        """Create the schema, take over Placement's, or upgrade our own. Safe to repeat."""
        with translated():
            migrations.upgrade(self.engines.write)

    def check_schema(self) -> None:
        """Raises SchemaError unless the schema is what this version needs."""
        with translated():
            present = migrations.version(self.engines.write)
        migrations.check_known(present)
        if present != migrations.HEAD:
            found = "has no tables of Moorage" if present is None else f"is at revision {present}"
            raise SchemaError(
                f"the database {found}, this version needs {migrations.HEAD}: run 'moorage db sync'"
            )

    def check_adoptable(self) -> None:
        """Raises SchemaError if ``migrate`` would refuse the database. Nothing is changed."""
        with translated(), self.engines.snapshot.connect() as connection:
            present = migrations.version(self.engines.write)
            migrations.check_known(present)
            if present is None:
                adoption.examine(connection)

    def has_tables(self) -> bool:
        """Whether the tables that Placement knows are there, adopted or not."""
        with translated(), self.engines.snapshot.connect() as connection:
            return sa.inspect(connection).has_table(tables.resource_providers.name)

    def schema_version(self) -> str | None:
        """Revision of our tables in the database; None if there are none."""
        with translated():
            return migrations.version(self.engines.write)

    def synchronise_names(self) -> int:
        """Add missing standard resource classes and traits; returns how many were missing."""
        for attempt in range(SYNCHRONISE_ATTEMPTS):
            try:
                with translated(), self.engines.write.begin() as connection:
                    return names.synchronise(connection, uuid4().hex)
            except (ConstraintError, WriteConflictError):
                time.sleep(0.1 * attempt)
        raise UnavailableError("standard names could not be written: others write them too")

    def forget(self) -> None:
        """Forget remembered ids: the database was put back to an older state."""
        self._registries = Registries()

    def totals(self) -> list[ClassTotal]:
        """Capacity and use of each resource class that anybody provides. Raises UnavailableError."""
        return self.read(totals)

    def transaction(self) -> WriteTransaction:
        """A new write transaction. Raises ConnectionLostError, UnavailableError."""
        return WriteTransaction(self.engines, self._registries)

    def compact(self, kept_revisions: int, kept_seconds: float, settled: int) -> int:
        """Forget a batch of the oldest entries of the change log; returns how many writes that were.

        Raises WriteConflictError if another process is at it, ConnectionLostError, UnavailableError.
        """
        before = utcnow() - timedelta(seconds=kept_seconds)
        with translated(), self.engines.write.begin() as connection:
            return changelog.compact_some(connection, kept_revisions, before, settled)

    def was_committed(self, transaction_id: str) -> bool:
        """Whether a transaction whose COMMIT got lost has happened; final once answered.

        Raises ConnectionLostError, WriteConflictError, UnavailableError if it cannot be told yet.
        """
        with translated(), self.engines.write.begin() as connection:
            return changelog.was_committed(connection, transaction_id)

    def read(self, question: Callable[[sa.Connection], ResultT]) -> ResultT:
        """Ask within one snapshot. Raises UnavailableError, and what the question raises."""
        return self._retried(self.engines.snapshot, question)

    def _retried(self, engine: sa.Engine, question: Callable[[sa.Connection], ResultT]) -> ResultT:
        for _ in range(READ_ATTEMPTS):
            try:
                with translated(), engine.connect() as connection:
                    return question(connection)
            except (ConnectionLostError, WriteConflictError):
                continue
        raise UnavailableError("the database cannot be reached")

    def revision(self) -> int:
        """Number of the last write that was committed before this was asked."""
        try:
            [[revision]] = self._poll.rows()
            return int(revision)
        except Exception as error:  # noqa: BLE001 - the ordinary way says in our words what it is
            LOG.debug("The revision is asked for the ordinary way after %r.", error)
            return self._retried(self.engines.single, changelog.current)

    def usage_news(self, revision: int, latest: int) -> UsageNews | None:
        """What a reader that knows ``revision`` needs to be up to date with ``latest`` and later.

        None if more than use has changed, or much of it, or the log no longer goes back that far:
        ``refresh`` tells.
        """
        try:
            return self._usage_reader.since(revision, latest)
        except Exception as error:  # noqa: BLE001 - the ordinary way says in our words what it is
            LOG.debug("What changed is asked for the ordinary way after %r.", error)
            return None

    def refresh(self, revision: int) -> Refresh | None:
        """What a reader that knows ``revision`` needs to be up to date.

        None if the log no longer goes back that far: the reader must take everything.
        """
        return self.read(lambda connection: _refresh(connection, revision))

    @contextmanager
    def everything(self) -> Iterator[Everything]:
        """Revision, names and all providers, of one snapshot that lasts as long as the context.

        Raises ConnectionLostError, UnavailableError.
        """
        with translated(), self.engines.snapshot.connect() as connection:
            yield _everything(connection)

    @contextmanager
    def examined(self) -> Iterator[Examined]:
        """One snapshot for as long as the context.

        Raises ConnectionLostError, WriteConflictError, UnavailableError.
        """
        with translated(), self.engines.snapshot.connect() as connection:
            yield Examined(connection)
