"""Which records are about one consumer or one tree.

Most records have one of each, in columns of their own. An index of these columns would be written at a random
place for each claim. On SQLite that costs more than all else that a claim writes of the journal. So a segment
of revisions is indexed at once, when it is complete, in a range of the table that has only its rows. Records
after the last segment are read to find those about a subject: there are few, and the answer is the same.
Subjects of records that have several are written with the record (``journal_refs``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from moorage.model.valueclass import valueclass
from moorage.rules.journal import EVERYTHING
from moorage.store.tables import journal, journal_refs, revisions
from moorage.store.tables import journal_subjects as kept

SEGMENT: Final = 4096
"""Revisions of a segment. The database has them by number, so this must never change."""

MARK: Final = ""
"""Stands for a subject in the row that each segment has."""

FEW_SEGMENTS: Final = 8
MOST_SEGMENTS: Final = 1_000
"""Segments that the first statement asks, and those that a statement asks at most."""


@valueclass(frozen=True, slots=True)
class IndexedSegments:
    """Which segments have been indexed. Records from the revision ``end`` on have not."""

    segments: range

    @property
    def end(self) -> int:
        """The first revision that is not indexed."""
        return self.segments.stop * SEGMENT


def indexed(connection: sa.Connection) -> IndexedSegments:
    """What is indexed, in the connection's snapshot."""
    first, last = connection.execute(
        sa.select(
            sa.select(sa.func.min(kept.c.segment)).scalar_subquery(),
            sa.select(sa.func.max(kept.c.segment)).scalar_subquery(),
        )
    ).one()
    return IndexedSegments(range(0) if last is None else range(first, last + 1))


def _due(connection: sa.Connection) -> int | None:
    """The next segment to be indexed, if all its revisions are there."""
    present, first = connection.execute(
        sa.select(revisions.c.revision, sa.select(sa.func.min(journal.c.revision)).scalar_subquery())
    ).one()
    if first is None:
        return None
    segment = int(max(indexed(connection).segments.stop, first // SEGMENT))
    return segment if present >= (segment + 1) * SEGMENT - 1 else None


def is_due(connection: sa.Connection) -> bool:
    """Whether a segment is complete that has not been indexed."""
    return _due(connection) is not None


def index_some(connection: sa.Connection) -> bool:
    """Index the next segment; False if none is complete. Of two processes that do so one fails."""
    segment = _due(connection)
    if segment is None:
        return False
    begin, end = segment * SEGMENT, (segment + 1) * SEGMENT
    connection.execute(kept.insert().values(segment=segment, subject=MARK, revision=end - 1))
    number = sa.literal(segment, sa.Integer).label("segment")
    of_one: list[sa.Select[Any]] = [
        sa.select(number, column.label("subject"), journal.c.revision).where(
            journal.c.revision >= begin, journal.c.revision < end, column.is_not(None)
        )
        for column in (journal.c.consumer, journal.c.tree)
    ]
    # A provider and a consumer may have the same uuid: the union has their row once. Sorted rows fill pages.
    rows = sa.union(*of_one).order_by("subject", "revision")
    connection.execute(kept.insert().from_select(["segment", "subject", "revision"], rows))
    return True


def forget(connection: sa.Connection, end: int) -> None:
    """Forget the segments whose records up to the revision ``end`` have been forgotten."""
    connection.execute(kept.delete().where(kept.c.segment < (end + 1) // SEGMENT))


def newest(connection: sa.Connection, subject: str, end: int, most: int) -> list[int]:
    """The last revisions below ``end`` of records about a subject, the newest first, ``most`` at most.

    Records that concern everything are among them.
    """
    known = indexed(connection)
    later = journal.c.revision >= known.end
    named = [
        last_of(journal.c.revision, sa.and_(journal.c.consumer == subject, later), end, most),
        last_of(journal.c.revision, sa.and_(journal.c.tree.in_((subject, EVERYTHING)), later), end, most),
        last_of(journal_refs.c.revision, journal_refs.c.subject == subject, end, most),
    ]
    found: set[int] = set(connection.execute(sa.union_all(*named)).scalars())
    asked = range(known.segments.start, min(known.segments.stop, -(-end // SEGMENT)))
    for segments in _portions(asked[::-1]):
        if sum(revision >= (segments[0] + 1) * SEGMENT for revision in found) >= most:
            break
        recent = last_of(kept.c.revision, _is_in(segments, subject), end, most)
        found.update(connection.execute(recent).scalars())
    return sorted(found, reverse=True)[:most]


def about(
    connection: sa.Connection,
    columns: Sequence[sa.Column[Any]],
    column: sa.Column[Any],
    subject: str,
    after: int,
    chosen: sa.ColumnElement[bool] | None = None,
) -> list[Any]:
    """``columns`` of all records about a subject after a revision, in no order, some of them twice.

    ``column`` of the journal has the subject if it is the only one. Records that concern everything, and
    records about another kind of subject with the same uuid, are among them. ``chosen``: a further condition.
    """
    known = indexed(connection)
    wanted = sa.select(*columns) if chosen is None else sa.select(*columns).where(chosen)
    later = journal.c.revision >= max(known.end, after + 1)
    of_several = wanted.join_from(journal_refs, journal, journal_refs.c.revision == journal.c.revision).where(
        journal_refs.c.subject == subject, journal_refs.c.revision > after
    )
    query = sa.union_all(
        wanted.where(sa.or_(column == subject, journal.c.tree == EVERYTHING), later),
        of_several,
    )
    found: list[Any] = list(connection.execute(query).all())
    asked = range(max(known.segments.start, (after + 1) // SEGMENT), known.segments.stop)
    in_segment = wanted.join_from(kept, journal, kept.c.revision == journal.c.revision)
    for segments in _portions(asked):
        found += connection.execute(
            in_segment.where(_is_in(segments, subject), kept.c.revision > after)
        ).all()
    return found


class SubjectRows(NamedTuple):
    """How many rows of single subjects there are, and how many there should be; some that have no record."""

    present: int
    wanted: int
    lost: Sequence[tuple[str, int]]


def read_rows(connection: sa.Connection, most: int) -> SubjectRows:
    """What an audit needs to know; ``most`` of the rows without a record.

    Rows of records that were forgotten go later, with their segment.
    """
    begin = connection.execute(sa.select(sa.func.min(journal.c.revision))).scalar() or 0
    of_subject = sa.and_(kept.c.subject != MARK, kept.c.revision >= begin)
    in_segments = journal.c.revision < indexed(connection).end
    count = sa.select(sa.func.count()).select_from(kept).where(of_subject)
    consumers = sa.select(sa.func.count(journal.c.consumer)).where(in_segments)
    trees = sa.select(sa.func.count(journal.c.tree)).where(
        in_segments, sa.or_(journal.c.consumer.is_(None), journal.c.consumer != journal.c.tree)
    )
    lost = (
        sa.select(kept.c.subject, kept.c.revision)
        .outerjoin_from(kept, journal, kept.c.revision == journal.c.revision)
        .where(of_subject, journal.c.revision.is_(None))
        .limit(most)
    )
    return SubjectRows(
        connection.execute(count).scalar_one(),
        connection.execute(consumers).scalar_one() + connection.execute(trees).scalar_one(),
        [(subject, revision) for subject, revision in connection.execute(lost).all()],
    )


def _portions(segments: range) -> Iterator[range]:
    """Few segments at first, then more at a time: mostly the first ones have what is asked for."""
    size = FEW_SEGMENTS
    while segments:
        yield segments[:size]
        segments, size = segments[size:], min(size * FEW_SEGMENTS, MOST_SEGMENTS)


def _is_in(segments: range, subject: str) -> sa.ColumnElement[bool]:
    return sa.and_(kept.c.segment.in_(segments), kept.c.subject.in_((subject, EVERYTHING)))


def last_of(column: sa.Column[int], about: sa.ColumnElement[bool], end: int, most: int) -> sa.Select[Any]:
    """A part of a union: the last ``most`` revisions below ``end`` of rows about something."""
    # Not all databases order and cut the parts of a union themselves.
    part = sa.select(column).where(about, column < end).order_by(column.desc()).limit(most).subquery()
    return sa.select(part.c.revision)
