"""The table of searches that found nothing, on each kind of database."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from moorage.model.unmet import UnmetGroup, UnmetRecord
from moorage.store.store import Store
from moorage.store.tables import unmet
from moorage.store.unmet import MOST_BYTES, TRIMMED_TOGETHER, UnmetTable
from tests.databases.prepared import OpenStore
from tests.databases.sql_watch import watching

NOW = 1_800_000_000


def record(number: int = 1, **fields: object) -> UnmetRecord:
    usual = UnmetRecord(
        ask_hash="a" * 64,
        ask='{"groups": {}}',
        verdict="no_room",
        explanation=b"\x00\xffexplained",
        revision=7,
        request_id=f"req-{number}",
        global_request_id=None,
        at=NOW + number,
        project_id="mine",
    )
    return replace(usual, **fields)  # type: ignore[arg-type]


def rows_in(store: Store) -> list[str]:
    ids = sa.select(unmet.c.request_id).order_by(unmet.c.id)
    return store.read(lambda connection: list(connection.execute(ids).scalars()))


def test_a_search_is_found_by_both_ids_from_every_process(
    store: Store, open_store: OpenStore, prepared_url: str
) -> None:
    kept = record(ask="x" * MOST_BYTES, explanation=bytes(range(256)) * 234, global_request_id="req-nova")
    assert len(kept.explanation) <= MOST_BYTES
    UnmetTable(store).add([record(9), kept], {})
    there = UnmetTable(open_store(prepared_url))
    for request_id in ("req-1", "req-nova"):
        found = there.find(request_id)
        assert found is not None
        assert (found.record, found.others) == (kept, ())
    assert there.find("req-2") is None
    assert there.find("'; DROP TABLE moorage_unmet; --") is None


def test_a_client_of_one_project_finds_the_searches_of_this_project_only(store: Store) -> None:
    own, another = (record(number, global_request_id="req-nova") for number in (1, 2))
    UnmetTable(store).add([own, replace(another, project_id="theirs"), record(3, project_id=None)], {})
    there = UnmetTable(store)
    found = there.find("req-nova", "mine")
    assert found is not None
    assert (found.record, found.others) == (own, ())
    assert [there.find(f"req-{number}", "mine") is None for number in (1, 2, 3)] == [False, True, True]


def test_of_several_searches_with_one_id_of_a_client_the_newest_is_shown_and_the_others_are_named(
    store: Store,
) -> None:
    table = UnmetTable(store)
    table.add([record(number, global_request_id="req-nova") for number in (1, 2)], {})
    table.add([record(3, global_request_id="req-nova"), record(4)], {})
    found = table.find("req-nova")
    assert found is not None
    assert (found.record.request_id, found.others) == ("req-3", ("req-2", "req-1"))


def test_groups_are_by_ask_and_verdict_with_the_most_frequent_first(store: Store) -> None:
    table = UnmetTable(store)
    other = {"ask": '{"other": 1}', "ask_hash": "b" * 64}
    table.add([record(1), record(2, verdict="never_fits"), record(3), record(4, **other)], {})
    table.add([record(5, searches=3, global_request_id="req-nova")], {"req-4": 1, "req-unknown": 5})
    assert table.groups(0, 10) == [
        UnmetGroup(record().ask, "no_room", 5, NOW + 1, NOW + 5, "req-5", "req-nova"),
        UnmetGroup('{"other": 1}', "no_room", 2, NOW + 4, NOW + 4, "req-4", None),
        UnmetGroup(record().ask, "never_fits", 1, NOW + 2, NOW + 2, "req-2", None),
    ]
    assert [group.searches for group in table.groups(NOW + 3, 10)] == [4, 2]
    assert len(table.groups(0, 1)) == 1
    assert table.groups(NOW + 6, 10) == []


def test_the_oldest_go_a_few_at_a_time_and_the_newest_stay(store: Store) -> None:
    table = UnmetTable(store)
    assert not table.trim(0)
    table.add([record(number) for number in range(TRIMMED_TOGETHER + 10)], {})
    assert not table.trim(TRIMMED_TOGETHER + 10)
    assert table.trim(5)
    assert len(rows_in(store)) == 10
    assert not table.trim(5)
    assert rows_in(store) == [f"req-{TRIMMED_TOGETHER + number}" for number in range(5, 10)]
    assert not table.trim(5)


def test_without_too_many_nothing_is_written(sqlite_store: Store) -> None:
    table = UnmetTable(sqlite_store)
    table.add([record()], {})
    with watching(sqlite_store) as watched:
        table.trim(1)
    assert watched.commits == 0


def test_records_raise_no_revision_and_go_in_one_transaction(store: Store) -> None:
    before = store.revision()
    with watching(store) as watched:
        UnmetTable(store).add([record(1), record(2)], {"req-1": 4})
    assert watched.commits == 1
    writing = [each.split()[0] for each in watched.statements if "moorage_unmet" in each]
    assert writing == ["INSERT", "UPDATE"]
    assert store.revision() == before
