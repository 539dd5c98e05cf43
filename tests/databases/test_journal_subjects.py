"""Records about a subject are found alike whether they are indexed, not yet indexed, or partly compacted."""

from __future__ import annotations

from random import Random

import pytest
import sqlalchemy as sa

from moorage.model.commands import CreateTrait
from moorage.rules.journal import EVERYTHING, record_of
from moorage.service.facade import Service
from moorage.service.verification import verify
from moorage.store.changes import journal as kept
from moorage.store.changes import subjects
from moorage.store.sql.errors import WriteConflictError
from moorage.store.store import Store
from moorage.store.tables import journal, journal_subjects
from tests.databases.orders import VCPU, add_provider, claim, new_uuid, order
from tests.databases.records import rows
from tests.databases.test_verification import damage, told

SEGMENT = 4


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few revisions in a segment, and few segments in a statement."""
    monkeypatch.setattr(subjects, "SEGMENT", SEGMENT)
    monkeypatch.setattr(subjects, "FEW_SEGMENTS", 2)
    monkeypatch.setattr(subjects, "MOST_SEGMENTS", 3)


def written(service: Service, count: int) -> set[str]:
    """Claims on one tree and on several, names, and a change that concerns everything; all subjects."""
    chance = Random(5)
    trees = [add_provider(service, VCPU=100) for _ in range(3)]
    consumers = [new_uuid() for _ in range(4)]
    for number in range(count):
        if number % 10 == 9:
            order(service, CreateTrait(f"CUSTOM_{number}"))
            continue
        consumer = chance.choice(consumers)
        held = {tree: {VCPU: chance.randint(1, 3)} for tree in chance.sample(trees, chance.choice((1, 1, 2)))}
        order(service, claim(consumer, held))
    return {*trees, *consumers, "nobody"}


def about(store: Store, subject: str) -> list[int]:
    """The slow way: revisions of records about a subject, the oldest first."""
    found = []
    for row in rows(store):
        record = record_of(row["body"])
        if subject in (*record.consumers, *record.trees) or EVERYTHING in record.trees:
            found.append(row["revision"])
    return found


def check(store: Store, all_subjects: set[str]) -> None:
    """Each way to ask gives what the slow way gives."""
    present = store.revision()
    for subject in all_subjects:
        wanted = about(store, subject)
        for most in (1, 3, 100):
            for before in (None, present - 2, present // 2):
                page = store.history(subject, before, most)
                below = [each for each in wanted if before is None or each < before]
                assert [change.revision for change in page.changes] == below[::-1][:most]
        for after in (0, present // 2, present - 1):
            found = set()
            with store.engines.snapshot.connect() as connection:
                of_tree = kept.AboutTree(connection, subject, after)
                for each in (
                    kept.about_consumer(connection, subject, after),
                    of_tree.first(present // 2),
                    of_tree.later(max(after, present // 2), None),
                ):
                    found |= {revision for revision, *_ in each}
            assert found == {each for each in wanted if each > after}


def test_every_record_about_a_subject_is_found_however_far_the_index_is(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.new_history()
    all_subjects = written(service, 25)
    check(store, all_subjects)
    assert store.index_journal()
    check(store, all_subjects)
    segments = 1
    while store.index_journal():
        segments += 1
    assert segments == (store.revision() + 1) // SEGMENT - rows(store)[0]["revision"] // SEGMENT
    check(store, all_subjects)
    assert told(verify(store)) == {}
    monkeypatch.setattr(kept, "COMPACTED_TOGETHER", 3)
    for _ in range(4):
        store.compact_journal(1, 1e9, 0)
        check(store, all_subjects)
        assert told(verify(store)) == {}
    while store.compact_journal(1, 1e9, 0):
        pass
    with store.engines.single.connect() as connection:
        left = set(connection.execute(sa.select(journal_subjects.c.segment)).scalars())
    assert left <= {store.revision() // SEGMENT}
    all_subjects |= written(service, 8)
    while store.index_journal():
        pass
    check(store, all_subjects)


def test_one_of_two_processes_indexes_a_segment(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(service, 2 * SEGMENT)
    due = store.read(subjects.due)
    while store.index_journal():
        pass
    monkeypatch.setattr(store, "read", lambda _ask: due)
    with pytest.raises(WriteConflictError):
        store.index_journal()


def test_rows_that_are_missing_are_told_and_written_anew(store: Store, service: Service) -> None:
    store.new_history()
    all_subjects = written(service, 2 * SEGMENT)
    assert told(verify(store)) == {}
    while store.index_journal():
        pass
    damage(store, journal_subjects.delete().where(journal_subjects.c.subject != subjects.MARK))
    [finding] = told(verify(store))["journal"]
    assert "the journal has 0 rows in moorage_journal_subjects, but should have" in finding
    damage(store, journal_subjects.delete())
    while store.index_journal():
        pass
    check(store, all_subjects)
    assert told(verify(store)) == {}
    damage(store, journal_subjects.insert().values(segment=0, subject="nobody", revision=10**6))
    assert "record 1000000 about nobody is referred to" in told(verify(store))["journal"][0]


def test_nothing_is_indexed_without_records(sqlite_store: Store) -> None:
    damage(sqlite_store, journal.delete())
    assert not sqlite_store.index_journal()
