"""The store: what service/ needs of the database, with errors that it can act on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar
from uuid import uuid4

import sqlalchemy as sa

from moorage.model.columns import ProviderColumns
from moorage.model.errors import (
    MissingFileError,
    ProviderNotFoundError,
    SchemaError,
    UnavailableError,
)
from moorage.model.explanations import HoldersAt, Lack
from moorage.model.journal import JournalMode
from moorage.model.valueclass import valueclass
from moorage.model.values import ClaimPage, ClaimSelection, ClassTotal, ListedClaim, ProviderRecord
from moorage.rules.audit import CounterFact, Facts, LogFact
from moorage.rules.journal_audit import JournalFacts
from moorage.store import healing, holders, migrations, names, pages, tables, trees
from moorage.store.changes import changelog, epochs, journal, subjects
from moorage.store.changes.counter import CURRENT
from moorage.store.changes.news import UsageNews, UsageReader
from moorage.store.everything import read_everything, read_many_trees
from moorage.store.migrations import adoption
from moorage.store.nouns import order, providers
from moorage.store.nouns.inventories import totals
from moorage.store.nouns.keys import forget_keys
from moorage.store.registry import Registries
from moorage.store.settings import SYNC_COMMAND, StoreSettings
from moorage.store.sql.direct import DirectQuery
from moorage.store.sql.engines import create_engines
from moorage.store.sql.errors import ConnectionLostError, ConstraintError, WriteConflictError, translated
from moorage.store.sql.statements import utcnow
from moorage.store.waiting import Waiting

ResultT = TypeVar("ResultT")

LOG = logging.getLogger(__name__)

FEW_TREES = 500
"""Up to so many changed trees are read as records: their statements are fewer."""

MOST_TREES = 100_000
"""A reader that lacks more changed trees must take everything, in chunks. This many need 50 MiB."""

READ_ATTEMPTS = 3
"""How often a read is repeated if its connection breaks: a restarting server cuts all old connections."""

SYNCHRONISE_ATTEMPTS = 5
"""Processes that start at the same time may all add the same names. One of them wins."""


@valueclass(frozen=True, slots=True)
class Refresh:
    """The present state of all that changed after a revision, up to ``revision``.

    Few trees are in ``records``, and many in ``columns``. A tree of ``root_ids`` that is in neither does not
    exist any more. ``names`` is None if none was added or removed.
    """

    revision: int
    root_ids: frozenset[int]
    records: Sequence[ProviderRecord]
    columns: Sequence[ProviderColumns]
    names: trees.Names | None


@valueclass(frozen=True, slots=True)
class Everything:
    """All that an index is built from. ``chunks`` are whole trees by the ids of their roots.

    They are read as the caller takes them.
    """

    revision: int
    names: trees.Names
    chunks: Iterator[ProviderColumns]


@valueclass(frozen=True, slots=True)
class Examined:
    """One snapshot for several questions. All methods raise the errors of ``store.sql.errors``."""

    _connection: sa.Connection

    def counters(self) -> list[CounterFact]:
        """All rows of the revision table, which should be one."""
        return changelog.read_counters(self._connection)

    def log(self) -> list[LogFact]:
        """The change log in order of revision and position."""
        return changelog.read_log(self._connection)

    def journal(self) -> JournalFacts:
        """The journal, as far as an audit needs it."""
        return journal.read_facts(self._connection)

    def facts(self) -> Facts:
        """The rows of all other tables."""
        return order.read_facts(self._connection)

    def can_be_indexed(self) -> bool:
        """Whether there is one revision row, and every provider has a root recorded."""
        return len(self.counters()) == 1 and not providers.has_rootless(self._connection)

    def refresh(self, revision: int) -> Refresh | None:
        """As ``Store.refresh``, in this snapshot."""
        return _refresh(self._connection, revision)

    def everything(self) -> Everything:
        """As ``Store.everything``, in this snapshot."""
        return _everything(self._connection)


def _refresh(connection: sa.Connection, revision: int) -> Refresh | None:
    missed = changelog.missed_since(connection, revision)
    if missed is None or len(missed.root_ids) > MOST_TREES:
        return None
    many = len(missed.root_ids) > FEW_TREES
    return Refresh(
        missed.revision,
        missed.root_ids,
        () if many else trees.read_trees(connection, missed.root_ids),
        list(read_many_trees(connection, missed.root_ids)) if many else (),
        trees.read_names(connection) if missed.changes_names else None,
    )


def _ready(connection: sa.Connection) -> int:
    _require_newest(migrations.version_in(connection))
    return changelog.current(connection)


def _require_newest(present: str | None, remedy: str = SYNC_COMMAND) -> None:
    migrations.check_known(present)
    if present != migrations.HEAD:
        found = "has no tables of Moorage" if present is None else f"is at revision {present}"
        raise SchemaError(f"the database {found}, this version needs {migrations.HEAD}: run '{remedy}'")


def _everything(connection: sa.Connection) -> Everything:
    return Everything(
        changelog.current(connection), trees.read_names(connection), read_everything(connection)
    )


class Store:
    """A database with Moorage's tables. Safe for use by several threads.

    Writes are transactions of their own: ``store.transaction``. ``registries`` are the ids that they know.
    ``locks``: they lock what they read, for the database lets several writers in.

    ``ignores_case``: the database may hold names equal that differ, for its usual collations ignore case.
    ``journal``: what is kept of each write.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self.engines = create_engines(settings)
        self.ignores_case = self.engines.write.dialect.name == "mysql"
        self.locks = not self.engines.serializes_writes
        self.journal = settings.journal
        self.registries = Registries()
        self._poll = DirectQuery(self.engines.single, CURRENT)
        self._usage_reader = UsageReader(self.engines.single)

    def close(self) -> None:
        """Close all connections."""
        self.engines.dispose()

    def wait_until_reachable(self) -> None:
        """Wait for the database as long as the settings allow. Raises UnavailableError."""
        self.patiently(
            lambda: self.read(lambda connection: connection.execute(sa.select(sa.literal(1))).scalar())
        )

    def patiently(self, action: Callable[[], ResultT]) -> ResultT:
        """Repeat ``action`` until no connection is lost and no lock in the way, as the settings allow.

        Raises UnusableDatabaseError, and what else the action raises.
        """
        waiting = Waiting(self._settings, self.engines.single.url)
        while True:
            try:
                result = action()
            except (UnavailableError, ConnectionLostError, WriteConflictError) as error:
                # A node that has left its cluster may keep a lock for as long as it does not come back.
                time.sleep(waiting.pause_after(error))
            else:
                waiting.end()
                return result

    def migrate(self) -> None:
        """Create the schema, take over Placement's, or upgrade Moorage's. Safe to repeat."""
        with translated():
            migrations.upgrade(self.engines.write)

    def check_schema(self) -> None:
        """Raises SchemaError unless the schema is what this version needs."""
        with translated():
            _require_newest(migrations.version(self.engines.single), self._settings.sync_command)

    def check_ready(self) -> int:
        """The revision, if the database answers and its schema is what this version needs.

        It takes no lock, and no connection that requests use. Raises SchemaError, UnavailableError.
        """
        return self._retried(self.engines.health, _ready)

    def check_adoptable(self) -> None:
        """Raises SchemaError if ``migrate`` would refuse the database. Nothing is changed."""
        with suppress(MissingFileError), translated(), self.engines.snapshot.connect() as connection:
            present = migrations.version(self.engines.single)
            migrations.check_known(present)
            if present is None:
                adoption.examine(connection)

    def has_tables(self) -> bool:
        """Whether Placement's tables exist, taken over or not."""
        with suppress(MissingFileError), translated(), self.engines.snapshot.connect() as connection:
            return sa.inspect(connection).has_table(tables.resource_providers.name)
        return False

    def schema_version(self) -> str | None:
        """Revision of Moorage's tables in the database; None if there are none."""
        with translated():
            return migrations.version(self.engines.single)

    def placement_version(self) -> str | None:
        """Revision of Placement's own schema that the database is marked with; None if it has no mark."""
        with translated(), self.engines.snapshot.connect() as connection:
            return adoption.placement_stamp(connection)

    def synchronise_names(self) -> int:
        """Add missing standard resource classes and traits; returns how many were missing."""
        for attempt in range(SYNCHRONISE_ATTEMPTS):
            try:
                with translated(), self.engines.write.begin() as connection:
                    return names.synchronise(connection, uuid4().hex, journals=self._journals)
            except (ConstraintError, WriteConflictError):
                time.sleep(0.1 * attempt)
        raise UnavailableError("standard names could not be written: others write them too")

    def heal(self, project: str, user: str) -> dict[str, int]:
        """Add what an old Placement has not written; how many rows of which sort that were. Safe to repeat.

        ``project`` and ``user`` own what has no known owner. Raises SchemaError for what cannot be healed.
        """
        for attempt in range(SYNCHRONISE_ATTEMPTS):
            try:
                with translated(), self.engines.write.begin() as connection:
                    healed = healing.heal(connection, project, user, uuid4().hex, journals=self._journals)
                    if healed:
                        epochs.begin(connection, uuid4().hex, journals=self._journals)
                    return healed
            except (ConstraintError, WriteConflictError):
                time.sleep(0.1 * attempt)
        raise UnavailableError("incomplete rows could not be completed: other processes write them too")

    def new_history(self) -> str:
        """Begin a new history, for the journal may lack what the database holds. Returns its epoch.

        Raises UnavailableError.
        """
        for attempt in range(SYNCHRONISE_ATTEMPTS):
            try:
                with translated(), self.engines.write.begin() as connection:
                    return epochs.begin(connection, uuid4().hex, journals=self._journals)
            except (ConnectionLostError, ConstraintError, WriteConflictError):
                time.sleep(0.1 * attempt)
        raise UnavailableError("a new history could not be begun")

    def stepped_back(self) -> str:
        """As ``new_history``, unless another process has just begun one. Returns the present epoch."""
        if self.read(epochs.has_just_begun):
            return self.epoch()
        return self.new_history()

    def transactions_at(self, revisions: Collection[int]) -> dict[int, str]:
        """See ``changelog.transactions_at``. Raises UnavailableError."""
        return self.read(lambda connection: changelog.transactions_at(connection, revisions))

    def epoch(self) -> str:
        """Name of the present history. Raises UnavailableError."""
        return self.read(epochs.present)

    @property
    def _journals(self) -> bool:
        return self.journal is not JournalMode.OFF

    def check_sound(self) -> None:
        """Raises SchemaError with all rows that cannot be healed. Nothing is changed."""
        self.read(lambda connection: healing.require_sound(connection, "all else is up to date"))

    def check_rows(self) -> None:
        """Raises SchemaError if no index can be built of the providers."""
        count = self.read(healing.rootless)
        if count:
            raise SchemaError(
                f"{count} providers have no root (an old Placement did not write it): run "
                f"'{self._settings.sync_command}', which adds it"
            )

    def forget(self) -> None:
        """Forget remembered ids: the database was put back to an older state."""
        self.registries = Registries()

    def totals(self) -> list[ClassTotal]:
        """Capacity and use of each resource class that a provider has inventory of. Raises
        UnavailableError."""
        return self.read(totals)

    def compact(self, kept_revisions: int, kept_seconds: float, settled: int) -> int:
        """Forget a batch of the oldest entries of the change log; returns how many writes that were.

        Raises WriteConflictError if another process is compacting, ConnectionLostError, UnavailableError.
        """
        before = utcnow() - timedelta(seconds=kept_seconds)
        with translated(), self.engines.write.begin() as connection:
            return changelog.compact_some(connection, kept_revisions, before, settled)

    def changes(self, after: int | None, most: int) -> journal.KeptPage:
        """See ``store.changes.journal.page``. Raises UnavailableError."""
        return self.read(lambda connection: journal.page(connection, after, most))

    def history(self, subject: str, before: int | None, most: int) -> journal.KeptHistory:
        """See ``store.changes.journal.history``. Raises UnavailableError."""
        return self.read(lambda connection: journal.history(connection, subject, before, most))

    def history_of_consumer(self, consumer: str, before: int | None, most: int) -> journal.KeptHistory:
        """See ``store.changes.journal.history_of_consumer``. Raises UnavailableError."""
        return self.read(lambda connection: journal.history_of_consumer(connection, consumer, before, most))

    def root_of(self, uuid: str) -> str | None:
        """The root of a provider's tree; None if there is no such provider. Raises UnavailableError."""
        try:
            return self.read(lambda connection: providers.provider(connection, uuid)).root_uuid
        except ProviderNotFoundError:
            return None

    def compact_journal(self, kept_revisions: int, kept_seconds: float, settled: int) -> int:
        """Forget a batch of the journal's oldest records; returns how many. See ``journal.compact_some``.

        Raises WriteConflictError, ConnectionLostError, UnavailableError.
        """
        before = utcnow() - timedelta(seconds=kept_seconds)
        with translated(), self.engines.write.begin() as connection:
            return journal.compact_some(connection, kept_revisions, before, settled)

    def index_journal(self) -> bool:
        """Index the next complete segment of the journal; False if there is none.

        Raises WriteConflictError if another process does so too, ConnectionLostError, UnavailableError.
        """
        due = self.read(subjects.due)
        if due is None:
            return False
        try:
            with translated(), self.engines.write.begin() as connection:
                subjects.index_some(connection, due)
        except ConstraintError as error:
            raise WriteConflictError from error
        return True

    def forget_keys(self, kept_seconds: float, settled: int) -> int:
        """Forget a batch of idempotency keys that are older, up to revision ``settled``; returns how many.

        Raises WriteConflictError, ConnectionLostError, UnavailableError.
        """
        before = utcnow() - timedelta(seconds=kept_seconds)
        with translated(), self.engines.write.begin() as connection:
            return forget_keys(connection, before, settled)

    def was_committed(self, transaction_id: str) -> bool:
        """Whether a transaction whose COMMIT got lost has happened. The answer is final.

        Raises ConnectionLostError, WriteConflictError, UnavailableError if there is no answer yet.
        """
        with translated(), self.engines.write.begin() as connection:
            return changelog.was_committed(connection, transaction_id, journals=self._journals)

    def read(self, question: Callable[[sa.Connection], ResultT]) -> ResultT:
        """Ask within one snapshot. Raises UnavailableError, and what the question raises."""
        return self._retried(self.engines.snapshot, question)

    def _retried(self, engine: sa.Engine, question: Callable[[sa.Connection], ResultT]) -> ResultT:
        last: Exception | None = None
        for _ in range(READ_ATTEMPTS):
            try:
                with translated(), engine.connect() as connection:
                    return question(connection)
            except (ConnectionLostError, WriteConflictError) as error:
                last = error
        raise UnavailableError("the database cannot be reached") from last

    def revision(self) -> int:
        """Number of the last write that was committed before this was asked."""
        try:
            [[revision]] = self._poll.rows()
            return int(revision)
        except Exception as error:  # noqa: BLE001 - the ordinary way says in our words what it is
            LOG.debug("The revision is read through SQLAlchemy after %r.", error)
            return self._retried(self.engines.single, changelog.current)

    def usage_news(self, revision: int, latest: int) -> UsageNews | None:
        """What a reader that knows ``revision`` needs to be up to date with ``latest`` and later.

        None if more than use has changed, or much of it, or the log no longer goes back that far. Then the
        reader must call ``refresh``.
        """
        try:
            return self._usage_reader.since(revision, latest)
        except Exception as error:  # noqa: BLE001 - the ordinary way says in our words what it is
            LOG.debug("What changed is read from the change log after %r.", error)
            return None

    def news_of_providers(self, revision: int, ids: Sequence[int]) -> pages.ProviderNews | None:
        """See ``store.pages``."""
        return self.read(lambda connection: pages.news_of_providers(connection, revision, ids))

    def holders_at(self, known: int, lacks: Mapping[str, Collection[Lack]]) -> HoldersAt:
        """See ``store.holders``."""
        return self.read(lambda connection: holders.holders_at(connection, known, lacks))

    def claim_page(self, wanted: ClaimSelection) -> tuple[int, ClaimPage]:
        """Revision and page, of one snapshot. Raises ProviderNotFoundError."""
        return self.read(
            lambda connection: (changelog.current(connection), pages.claim_page(connection, wanted))
        )

    def claim(self, consumer: str) -> tuple[int, ListedClaim | None]:
        """Revision and what a consumer holds, None if nothing, of one snapshot."""
        return self.read(
            lambda connection: (changelog.current(connection), pages.claim_of(connection, consumer))
        )

    def generations(self, consumers: Collection[str], project_id: str | None = None) -> dict[str, int]:
        """Generations of the consumers that hold something, for the project if one is named."""
        return self.read(lambda connection: pages.generations_of(connection, consumers, project_id))

    def refresh(self, revision: int) -> Refresh | None:
        """What a reader that knows ``revision`` needs to be up to date.

        None if the log no longer goes back that far, or if too much has changed: the reader must take
        everything.
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
