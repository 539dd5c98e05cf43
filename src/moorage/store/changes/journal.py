"""The journal: a record of each write, in the transaction that it describes.

The change log says which trees changed, and is short. The journal says what changed and by which request, and
is kept for weeks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa

from moorage.model.journal import NEW_HISTORY, KeptChange
from moorage.model.valueclass import valueclass
from moorage.model.values import Requester
from moorage.rules.journal import EVERYTHING, Body, Hanging, Record, hung_on, in_history_of, record_of
from moorage.rules.journal_audit import JournalFacts
from moorage.rules.undo import GENERATION, VALUES
from moorage.store.changes import subjects
from moorage.store.changes.counter import CURRENT
from moorage.store.changes.news import CLAIM_KINDS
from moorage.store.sql.packed import joined, packs, parted
from moorage.store.sql.plans import by_indexes
from moorage.store.sql.statements import Insertion, Planned, batches
from moorage.store.sql.texts import COMPRESSED, has_part, packed_text, unpacked_text
from moorage.store.tables import claims, journal, journal_refs, revisions

NAME_LENGTH: Final = 255
REQUEST_ID_LENGTH: Final = 64
PATH_LENGTH: Final = 16

NEW_RECORDS: Final = Insertion(
    journal,
    "revision",
    "kind",
    "path",
    "user_id",
    "project_id",
    "request_id",
    "global_request_id",
    "consumer",
    "tree",
    "body",
    origin=CURRENT,
)
NEW_REFS: Final = Insertion(journal_refs, "revision", "subject", origin=CURRENT)
"""Revisions in the rows of both count from the last one."""

COMPACTED_TOGETHER: Final = 1_000
"""Records that one transaction forgets."""


def plan(writes: Sequence[tuple[str, Requester, Record | None]]) -> list[Planned]:
    """Plan to keep the records of a group's writes, by kind and requester. The revision was raised before."""
    rows = []
    refs: list[tuple[int, str]] = []
    for offset, (kind, requester, record) in enumerate(writes, 1 - len(writes)):
        if record is not None:
            consumer, tree, others = _subjects(record)
            refs += [(offset, subject) for subject in others]
            rows.append(
                (
                    offset,
                    kind,
                    requester.path[:PATH_LENGTH],
                    requester.user_id[:NAME_LENGTH],
                    requester.project_id[:NAME_LENGTH],
                    requester.request_id[:REQUEST_ID_LENGTH],
                    requester.global_request_id[:REQUEST_ID_LENGTH],
                    consumer,
                    tree,
                    packed_text(orjson.dumps(record.body).decode()),
                )
            )
    planned: list[Planned] = []
    if rows:
        planned.append((NEW_RECORDS, rows))
    if refs:
        planned.append((NEW_REFS, refs))
    return planned


def _subjects(record: Record) -> tuple[str | None, str | None, list[str]]:
    """The consumer and the tree of a record's own row, and the subjects that have rows of their own.

    A record that has such rows lacks one of the others: so it is found when it is forgotten.
    """
    consumers, trees = record.consumers, record.trees
    consumer = consumers[0] if len(consumers) == 1 and not record.leases else None
    tree = trees[0] if len(trees) == 1 else None
    others = list(record.leases)
    if consumer is None:
        others += consumers
    if tree is None:
        others += trees
    return consumer, tree, others


def compact_some(connection: sa.Connection, kept: int, before: datetime, settled: int) -> int:
    """Forget a batch of the oldest records; returns how many.

    A record is forgotten if there are more than ``kept`` revisions after it, or if it was written before
    ``before`` and is no newer than revision ``settled``.
    """
    present, first = connection.execute(
        sa.select(revisions.c.revision, sa.select(sa.func.min(journal.c.revision)).scalar_subquery())
    ).one()
    if first is None:
        return 0
    end = first + COMPACTED_TOGETHER - 1
    beyond, aged = min(present - kept, end), min(end, present, settled)
    end = beyond
    if first <= aged > beyond:
        last = sa.select(journal.c.created_at).where(journal.c.revision <= aged)
        if connection.execute(last.order_by(journal.c.revision.desc()).limit(1)).scalar_one() < before:
            end = aged
    if end < first:
        return 0
    old = journal.c.revision <= end
    of_several = sa.select(journal.c.revision, journal.c.body).where(
        old, sa.or_(journal.c.consumer.is_(None), journal.c.tree.is_(None))
    )
    pairs = [
        (subject, revision)
        for revision, body in connection.execute(of_several).all()
        for subject in _referred(orjson.loads(unpacked_text(body)))
    ]
    for batch in batches(pairs, COMPACTED_TOGETHER):
        connection.execute(
            journal_refs.delete().where(sa.tuple_(journal_refs.c.subject, journal_refs.c.revision).in_(batch))
        )
    subjects.forget(connection, end)
    return connection.execute(journal.delete().where(old)).rowcount


JOINED_TOGETHER: Final = 500
"""Records in one value, where several come as one. A server makes none that is longer than a megabyte."""


@valueclass(frozen=True, slots=True)
class KeptPage:
    """Records after a revision, in order; ``revision`` is the last one of the history ``epoch``."""

    epoch: str
    revision: int
    changes: Sequence[KeptChange]


def page(connection: sa.Connection, after: int | None, most: int) -> KeptPage:
    """The first records after a revision, in the connection's snapshot; none after None."""
    begun = by_indexes(connection, sa.select(revisions.c.revision, revisions.c.epoch))
    revision, epoch, *_ = connection.execute(begun).one()
    if after is None or after >= revision:
        return KeptPage(epoch, revision, ())
    if packs(connection.dialect):
        changes = _dense(connection, after, min(after + most, revision))
        if changes is not None:
            return KeptPage(epoch, revision, changes)
    query = sa.select(*_SHOWN).where(journal.c.revision > after).order_by(journal.c.revision)
    last = min(after + most, revision)
    # A database that does not know how many records follow may read all of them, and sort them.
    rows = connection.execute(query.where(journal.c.revision <= last)).all()
    if len(rows) != last - after:
        rows = connection.execute(query.limit(most)).all()
    return KeptPage(epoch, revision, [_kept(*row) for row in rows])


def _dense(connection: sa.Connection, after: int, last: int) -> list[KeptChange] | None:
    """The records of all revisions after one up to another, which come as few values.

    None if some are missing, or if the values are too long.
    """
    changes = []
    for begin in range(after, last, JOINED_TOGETHER):
        end = min(begin + JOINED_TOGETHER, last)
        rows = parted(connection.execute(_joined, {"begin": begin, "end": end}).one(), len(_SHOWN))
        if rows is None or len(rows) != end - begin:
            return None
        for revision, kind, path, user_id, project_id, request_id, global_id, created_at, body in rows:
            at = datetime.fromisoformat(created_at)
            ids = user_id, project_id, request_id, global_id
            changes.append(_kept(int(revision), kind, path, *ids, at, body))
    return sorted(changes, key=lambda change: change.revision)


def _kept(
    revision: int,
    kind: str,
    path: str,
    user_id: str,
    project_id: str,
    request_id: str,
    global_request_id: str,
    created_at: datetime,
    body: str,
) -> KeptChange:
    text = body if body[0] != COMPRESSED else unpacked_text(body)
    return KeptChange(
        revision, kind, path, user_id, project_id, request_id, global_request_id, created_at, text
    )


@valueclass(frozen=True, slots=True)
class KeptHistory:
    """Records about a subject, the newest first. ``begins``: the first revision of the journal."""

    revision: int
    begins: int
    changes: Sequence[KeptChange]


def history_of_consumer(
    connection: sa.Connection, consumer: str, before: int | None, most: int
) -> KeptHistory:
    """As ``history``, with what became of the leases that the consumer's claim hung on, while it did.

    The record of a lease says in it nothing of other leases.
    """
    about = sorted(about_consumer(connection, consumer, 0))
    # Most consumers never hang on a lease: their records need not be read as JSON.
    told = [(revision, orjson.loads(body)) for revision, _, _, body in about if '"lease"' in body]
    present = connection.execute(sa.select(claims.c.lease).where(claims.c.consumer_uuid == consumer)).scalar()
    hung = hung_on(consumer, told, present)
    found = history(connection, consumer, before, most, hung)
    if not hung:
        return found
    leases = {each.lease for each in hung}
    return replace(
        found,
        changes=[
            replace(
                each,
                body=orjson.dumps(in_history_of(consumer, leases, orjson.loads(each.body))).decode(),
            )
            for each in found.changes
        ],
    )


def history(
    connection: sa.Connection,
    subject: str,
    before: int | None,
    most: int,
    hung: Sequence[Hanging] = (),
) -> KeptHistory:
    """The newest records about a consumer or a tree, of those before a revision.

    Records that concern everything are among them, and those of leases in the times in which it hung on them.
    """
    revision, first = connection.execute(
        sa.select(revisions.c.revision, sa.select(sa.func.min(journal.c.revision)).scalar_subquery())
    ).one()
    end = revision + 1 if before is None else before
    of_leases = []
    for each in hung:
        lease = sa.and_(journal_refs.c.subject == each.lease, journal_refs.c.revision >= each.first)
        last = end if each.last is None else min(end, each.last + 1)
        of_leases.append(subjects.last_of(journal_refs.c.revision, lease, last, most))
    found = subjects.newest(connection, subject, end, most)
    if of_leases:
        found += connection.execute(sa.union_all(*of_leases)).scalars()
        found = sorted(set(found), reverse=True)[:most]
    rows = connection.execute(
        sa.select(*_SHOWN).where(journal.c.revision.in_(found)).order_by(journal.c.revision.desc())
    ).all()
    changes = [_kept(*row) for row in rows]
    return KeptHistory(revision, revision + 1 if first is None else first, changes)


def newest_kinds(connection: sa.Connection, most: int) -> list[tuple[str, datetime]]:
    """Kind and time of the newest records."""
    query = sa.select(journal.c.kind, journal.c.created_at).order_by(journal.c.revision.desc()).limit(most)
    return [(kind, at) for kind, at in connection.execute(query).all()]


def newest_bodies(connection: sa.Connection, most: int) -> list[Body]:
    """What the newest records say."""
    query = sa.select(journal.c.body).order_by(journal.c.revision.desc()).limit(most)
    return [orjson.loads(unpacked_text(body)) for body in connection.execute(query).scalars()]


FOUND_TOGETHER: Final = 100
"""Gaps, and rows without a record, that an audit is shown."""

NEWEST_CHECKED: Final = 1_000
"""Records whose values an audit compares with the rows."""


def read_facts(connection: sa.Connection) -> JournalFacts:
    """What an audit needs to know of the journal."""
    count, last = connection.execute(
        sa.select(sa.func.count(journal.c.revision), sa.func.max(journal.c.revision))
    ).one()
    start = last_new_history(connection, -1) or 0
    earlier, previous = journal.alias(), journal.alias()
    before = sa.select(sa.func.max(earlier.c.revision)).where(earlier.c.revision < journal.c.revision)
    after_gaps = (
        sa.select(journal.c.revision, before.correlate(journal).scalar_subquery().label("before"))
        .where(
            journal.c.revision > start,
            ~sa.exists().where(previous.c.revision == journal.c.revision - 1),
        )
        .order_by(journal.c.revision)
        .limit(FOUND_TOGETHER)
    )
    gaps = [
        (before + 1, revision - 1)
        for revision, before in connection.execute(after_gaps).all()
        if before is not None
    ]
    lost = (
        sa.select(journal_refs.c.subject, journal_refs.c.revision)
        .outerjoin_from(journal_refs, journal, journal_refs.c.revision == journal.c.revision)
        .where(journal.c.revision.is_(None))
        .limit(FOUND_TOGETHER)
    )
    rows = subjects.read_rows(connection, FOUND_TOGETHER)
    newest = (
        sa.select(journal.c.revision, journal.c.body)
        .order_by(journal.c.revision.desc())
        .limit(NEWEST_CHECKED)
    )
    return JournalFacts(
        count,
        last,
        gaps,
        [*((subject, revision) for subject, revision in connection.execute(lost).all()), *rows.lost],
        (rows.present, rows.wanted),
        [
            (revision, orjson.loads(unpacked_text(body)))
            for revision, body in connection.execute(newest).all()
        ],
    )


MOST_CLASSES: Final = 8
"""Classes of a provider that a database looks for in the texts of records."""

KeptBody = tuple[int, str, str, str]
"""Revision, kind, path and JSON of a record. There may be very many."""

_KEPT_BODY: Final = (journal.c.revision, journal.c.kind, journal.c.path, journal.c.body)


def about_consumer(connection: sa.Connection, consumer: str, after: int) -> list[KeptBody]:
    """All records about a consumer after a revision, in no order. Those that concern everything too."""
    return [
        _unpacked(row)
        for row in subjects.about(
            connection, subjects.indexed(connection), _KEPT_BODY, journal.c.consumer, consumer, after
        )
    ]


class AboutTree:
    """Records about the tree with a root after a revision, read in two steps.

    Records that are left out would not change where those lead that are read.
    """

    def __init__(self, connection: sa.Connection, root: str, after: int) -> None:
        self._connection = connection
        self._root = root
        self._after = after
        self._known = subjects.indexed(connection)
        self._led: frozenset[int] = frozenset()

    def first(self, early: int) -> list[KeptBody]:
        """The records that are not of claims, and of claims those up to ``early`` at least."""
        led, self._led = subjects.leading(self._connection, self._known, _KEPT_BODY, self._root, self._after)
        chosen = sa.or_(journal.c.kind.not_in(CLAIM_KINDS), journal.c.revision <= early)
        return [*map(_unpacked, led), *self._about(self._after, chosen)]

    def later(self, early: int, named: Mapping[str, Collection[str]] | None) -> list[KeptBody]:
        """Of the others those that may tell one of the ``names`` of ``Unresolved``, or have no values.

        ``named`` None: all. The database looks at the texts, so that few must be sent.
        """
        return self._about(early, None if named is None else self._tells(named))

    def _about(self, after: int, chosen: sa.ColumnElement[bool] | None) -> list[KeptBody]:
        rows = subjects.about(
            self._connection,
            self._known,
            _KEPT_BODY,
            journal.c.tree,
            self._root,
            after,
            chosen,
            self._led,
        )
        return [_unpacked(row) for row in rows]

    def _tells(self, named: Mapping[str, Collection[str]]) -> sa.ColumnElement[bool]:
        def has(part: str) -> sa.ColumnElement[bool]:
            return has_part(self._connection.dialect, journal.c.body, part)

        texts = [
            has(uuid)
            if GENERATION in names or len(names) > MOST_CLASSES
            else sa.and_(sa.or_(*(has(f'"{name}"') for name in sorted(names))), has(uuid))
            for uuid, names in named.items()
        ]
        # A compressed text has no part of its JSON.
        return sa.or_(~has(VALUES), *texts)


def _unpacked(row: Any) -> KeptBody:
    revision, kind, path, body = row
    return revision, kind, path, body if body[0] != COMPRESSED else unpacked_text(body)


def last_missing(connection: sa.Connection, after: int, present: int) -> int | None:
    """The last revision after ``after`` without a record; None if all up to ``present`` have one."""
    later = journal.c.revision > after
    count = connection.execute(sa.select(sa.func.count()).select_from(journal).where(later)).scalar_one()
    if count == present - after:
        return None
    previous = journal.alias()
    begins_anew = ~sa.exists().where(previous.c.revision == journal.c.revision - 1)
    runs = sa.select(sa.func.max(journal.c.revision), _last.scalar_subquery()).where(later, begins_anew)
    first, last = connection.execute(runs).one()
    return present if last != present else first - 1


def last_new_history(connection: sa.Connection, after: int) -> int | None:
    """The last revision after one with which a new history began; None if there is none."""
    columns = (journal.c.revision, journal.c.kind)
    known = subjects.indexed(connection)
    found = subjects.about(connection, known, columns, journal.c.tree, EVERYTHING, after)
    return max((revision for revision, kind in found if kind == NEW_HISTORY), default=None)


_last: Final = sa.select(sa.func.max(journal.c.revision))


_SHOWN: Final = (
    journal.c.revision,
    journal.c.kind,
    journal.c.path,
    journal.c.user_id,
    journal.c.project_id,
    journal.c.request_id,
    journal.c.global_request_id,
    journal.c.created_at,
    journal.c.body,
)


_joined: Final = joined(
    sa.select(*_SHOWN).where(
        journal.c.revision > sa.bindparam("begin"), journal.c.revision <= sa.bindparam("end")
    )
)


def _referred(body: Body) -> list[str]:
    return _subjects(record_of(body))[2]
