"""Which records are about one consumer or one tree.

Most records have one of each, in columns of their own. An index of these columns would be written at a random
place for each claim. On SQLite that costs more than all else that a claim writes of the journal. So a segment
of revisions is indexed at once, when it is complete, in a range of the table that has only its rows. Records
after the last segment are read to find those about a subject: there are few, and the answer is the same.
Subjects of records that have several are written with the record (``journal_refs``).

Of a tree with many records in a segment, the index also has those that lead back as all of them do. A state
of the past then needs few records of it, however many there are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson
import sqlalchemy as sa

from moorage.model.valueclass import valueclass
from moorage.rules.journal import EVERYTHING
from moorage.rules.undo import Leading
from moorage.store.changes.news import CLAIM_KINDS
from moorage.store.sql.plans import by_indexes
from moorage.store.sql.statements import Insertion
from moorage.store.sql.texts import unpacked_text
from moorage.store.tables import journal, journal_refs, revisions
from moorage.store.tables import journal_subjects as kept

SEGMENT: Final = 4096
"""Revisions of a segment. The database has them by number, so this must never change."""

MARK: Final = ""
"""Stands for a subject in the row that each segment has."""

BLOCK: Final = 256
"""Revisions whose leading records are found together. A segment has a whole number of blocks. The database
has the rows by number, so this must never change."""

MANY: Final = 256
"""A tree with so many records in a segment has rows of its leading ones."""

LEADING: Final = "-"
"""Stands before the hexadecimal digits of a tree in rows of its leading records. No uuid begins with it."""

NEW_ROWS: Final = Insertion(kept, "segment", "subject", "revision")

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
    ends = sa.select(
        sa.select(sa.func.min(kept.c.segment)).scalar_subquery(),
        sa.select(sa.func.max(kept.c.segment)).scalar_subquery(),
    )
    first, last, *_ = connection.execute(by_indexes(connection, ends)).one()
    return IndexedSegments(range(0) if last is None else range(first, last + 1))


@valueclass(frozen=True, slots=True)
class DueSegment:
    """A complete segment that has not been indexed, and the subjects and revisions of its leading records."""

    segment: int
    leading: Sequence[tuple[str, int]]


def _due(connection: sa.Connection) -> int | None:
    """The next segment to be indexed, if all its revisions are there."""
    present, first = connection.execute(
        sa.select(revisions.c.revision, sa.select(sa.func.min(journal.c.revision)).scalar_subquery())
    ).one()
    if first is None:
        return None
    segment = int(max(indexed(connection).segments.stop, first // SEGMENT))
    return segment if present >= (segment + 1) * SEGMENT - 1 else None


def due(connection: sa.Connection) -> DueSegment | None:
    """The next segment to be indexed; None if none is complete. It takes longest, and needs no lock."""
    segment = _due(connection)
    return None if segment is None else DueSegment(segment, _leading(connection, segment))


def _leading(connection: sa.Connection, segment: int) -> list[tuple[str, int]]:
    begin = segment * SEGMENT
    inside = sa.and_(journal.c.revision >= begin, journal.c.revision < begin + SEGMENT)
    records = sa.func.count()
    counts = (
        sa.select(journal.c.tree)
        .where(inside, journal.c.tree.is_not(None))
        .group_by(journal.c.tree)
        .having(sa.or_(records >= MANY, journal.c.tree == EVERYTHING))
    )
    trees = {tree: subject for tree in connection.execute(counts).scalars() if (subject := _subject_of(tree))}
    if not trees or EVERYTHING in trees:
        # A class may have got another name, so that a record may speak of two classes by one name.
        return []
    query = sa.select(journal.c.revision, journal.c.tree, journal.c.kind, journal.c.body)
    rows = connection.execute(query.where(inside, journal.c.tree.in_(trees)).order_by(journal.c.revision))
    found = []
    blocks: dict[tuple[str, int], Leading] = {}
    for revision, tree, kind, body in rows:
        block = blocks.setdefault((tree, revision // BLOCK), Leading())
        if block.leads(orjson.loads(unpacked_text(body)), is_claim=kind in CLAIM_KINDS):
            found.append((trees[tree], revision))
    return sorted(found)


def _subject_of(tree: str) -> str | None:
    """What stands for a tree in rows of its leading records; None if it has none."""
    if tree == EVERYTHING:
        return tree
    digits = tree.replace("-", "")
    is_uuid = _UUID.fullmatch(tree) is not None
    return LEADING + digits if is_uuid else None


_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""How trees are written that have rows of their leading records: others might share digits with them."""


def index_some(connection: sa.Connection, due_: DueSegment) -> None:
    """Index a segment that is due. Of two processes that do so one fails."""
    segment = due_.segment
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
    NEW_ROWS.execute(connection, [(segment, *row) for row in due_.leading])


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
    known: IndexedSegments,
    columns: Sequence[sa.Column[Any]],
    column: sa.Column[Any],
    subject: str,
    after: int,
    chosen: sa.ColumnElement[bool] | None = None,
    without: Collection[int] = (),
) -> list[Any]:
    """``columns`` of all records about a subject after a revision, in no order, some of them twice.

    ``column`` of the journal has the subject if it is the only one. Records that concern everything, and
    records about another kind of subject with the same uuid, are among them. ``chosen``: a further condition.
    ``without``: segments of which records with several subjects suffice.
    """
    wanted = sa.select(*columns)
    # Databases check conditions in their order: what is dear comes last.
    last = () if chosen is None else (chosen,)
    later = journal.c.revision >= max(known.end, after + 1)
    of_several = wanted.join_from(journal_refs, journal, journal_refs.c.revision == journal.c.revision).where(
        journal_refs.c.subject == subject, journal_refs.c.revision > after, *last
    )
    query = sa.union_all(
        wanted.where(later, sa.or_(column == subject, journal.c.tree == EVERYTHING), *last),
        of_several,
    )
    found: list[Any] = list(connection.execute(query).all())
    in_segment = _in_segments(wanted)
    for segments in _portions([each for each in _asked(known, after) if each not in without]):
        found += connection.execute(
            in_segment.where(_is_in(segments, subject), kept.c.revision > after, *last)
        ).all()
    return found


def leading(
    connection: sa.Connection,
    known: IndexedSegments,
    columns: Sequence[sa.Column[Any]],
    root: str,
    after: int,
) -> tuple[list[Any], frozenset[int]]:
    """``columns`` of records about a tree that lead back to a revision, and the segments for which they do.

    That is as all records of the tree in these segments would, but for those with several subjects.
    """
    subject = _subject_of(root)
    asked = _asked(known, after)
    if subject is None or not asked:
        return [], frozenset()
    segments: set[int] = set()
    for portion in _portions(asked):
        rows = sa.select(kept.c.segment).where(kept.c.segment.in_(portion), kept.c.subject == subject)
        segments.update(connection.execute(rows.distinct()).scalars())
    # The block that the revision is in may have led back beyond it.
    next_block = -(-(after + 1) // BLOCK) * BLOCK
    in_segment = _in_segments(sa.select(*columns))
    found: list[Any] = []
    for portion in _portions(sorted(segments)):
        found += connection.execute(
            in_segment.where(
                kept.c.segment.in_(portion), kept.c.subject == subject, kept.c.revision >= next_block
            )
        ).all()
    if asked[0] in segments and next_block > after + 1:
        found += connection.execute(
            in_segment.where(_is_in(asked[:1], root), kept.c.revision > after, kept.c.revision < next_block)
        ).all()
    return found, frozenset(segments)


def _asked(known: IndexedSegments, after: int) -> range:
    """Segments that have records after a revision."""
    return range(max(known.segments.start, (after + 1) // SEGMENT), known.segments.stop)


def _in_segments(wanted: sa.Select[Any]) -> sa.Select[Any]:
    return wanted.join_from(kept, journal, kept.c.revision == journal.c.revision)


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
    count = (
        sa.select(sa.func.count()).select_from(kept).where(of_subject, kept.c.subject.not_like(f"{LEADING}%"))
    )
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


def _portions(segments: Sequence[int]) -> Iterator[Sequence[int]]:
    """Few segments at first, then more at a time: mostly the first ones have what is asked for."""
    size = FEW_SEGMENTS
    while segments:
        yield segments[:size]
        segments, size = segments[size:], min(size * FEW_SEGMENTS, MOST_SEGMENTS)


def _is_in(segments: Sequence[int], subject: str) -> sa.ColumnElement[bool]:
    return sa.and_(kept.c.segment.in_(segments), kept.c.subject.in_((subject, EVERYTHING)))


def last_of(column: sa.Column[int], about: sa.ColumnElement[bool], end: int, most: int) -> sa.Select[Any]:
    """A part of a union: the last ``most`` revisions below ``end`` of rows about something."""
    # Not all databases order and cut the parts of a union themselves.
    part = sa.select(column).where(about, column < end).order_by(column.desc()).limit(most).subquery()
    return sa.select(part.c.revision)
