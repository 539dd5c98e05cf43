"""A database goes from the reference to Moorage, back, and forth again; nobody sees a difference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.services import Moorage, Reference, Service
from moorage.store import tables
from tests.adoption.dump import Dump, differences, dump
from tests.adoption.world import CONSUMERS, ROOT, Cloud, work_at_random
from tests.databases.released_schemas import described
from tests.journeys.client import Client

pytestmark = pytest.mark.journey


@contextmanager
def serving(service: Service) -> Iterator[int]:
    """The service's port; it has ended, and let go of the database, afterwards."""
    service.start()
    try:
        yield service.port
    finally:
        service.stop()


class Keeper:
    """Both services on one database."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.reference = Reference(url, folder, workers=1)
        self.moorage = Moorage(url, folder, workers=1)
        # A defect of the reference (D3): on PostgreSQL it cannot tell usages by type.
        self._by_type = not url.startswith("postgresql")

    def dump(self, port: int) -> Dump:
        return dump(port, usages_by_type=self._by_type)

    def dump_of(self, service: Service) -> Dump:
        with serving(service) as port:
            return self.dump(port)

    def work(self, service: Service, round_: int, before: Dump | None = None) -> Dump:
        """Let clients work; what can be read afterwards. At the start, ``before`` is what can be read."""
        with serving(service) as port:
            if before is not None:
                assert_same(before, self.dump(port))
            cloud = Cloud(port)
            if round_ == 0:
                cloud.build()
            cloud.carry_on(round_)
            cloud.close()
            statuses = work_at_random(port, seed=round_)
            assert statuses[200] + statuses[201] + statuses[204] > 50, statuses
            assert not statuses[500], statuses
            return self.dump(port)


@pytest.fixture
def keeper(database_url: str, tmp_path: Path) -> Keeper:
    return Keeper(database_url, tmp_path)


def assert_same(before: Dump, after: Dump) -> None:
    lines = differences(before, after)
    if lines:
        pytest.fail("\n".join([f"{len(lines)} answers differ", *lines[:10]]), pytrace=False)


def rows(url: str, table: sa.Table) -> int:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def test_a_database_goes_to_moorage_and_back_and_reads_the_same_on_either_side(keeper: Keeper) -> None:
    keeper.reference.prepare()
    theirs = keeper.work(keeper.reference, round_=0)
    assert all(rows(keeper.url, table) for table in tables.PLACEMENT_TABLES)
    before = described(keeper.url)

    keeper.moorage.prepare()
    keeper.moorage.prepare()
    after = described(keeper.url)
    assert {name: after[name] for name in before} == before
    assert {name for name in after.keys() - before.keys() if not name.startswith("moorage_")} == set()

    ours = keeper.work(keeper.moorage, round_=1, before=theirs)
    assert len(differences(theirs, ours)) > 20

    theirs = keeper.work(keeper.reference, round_=2, before=ours)
    assert len(differences(theirs, ours)) > 20
    keeper.moorage.prepare()
    assert_same(theirs, keeper.dump_of(keeper.moorage))


def test_what_was_read_before_the_move_may_be_written_after_it(sqlite_url: str, tmp_path: Path) -> None:
    keeper = Keeper(sqlite_url, tmp_path)
    keeper.reference.prepare()
    with serving(keeper.reference) as port:
        cloud = Cloud(port)
        cloud.build()
        cloud.close()
        with Client(port) as client:
            provider = client.get(f"/resource_providers/{ROOT}")
            held = client.get(f"/allocations/{CONSUMERS[0]}")
            inventories = client.get(f"/resource_providers/{ROOT}/inventories")
    keeper.moorage.prepare()
    with serving(keeper.moorage) as port, Client(port) as client:
        stale = inventories | {"resource_provider_generation": provider["generation"] - 1}
        path = f"/resource_providers/{ROOT}/inventories"
        assert client.request("PUT", path, stale).status == 409
        client.must("PUT", path, inventories)
        held["allocations"] = {
            uuid: {"resources": share["resources"]} for uuid, share in held["allocations"].items()
        }
        client.must("PUT", f"/allocations/{CONSUMERS[0]}", held)
        assert client.request("PUT", f"/allocations/{CONSUMERS[0]}", held).status == 409


def test_watchers_are_told_that_the_reference_has_written(keeper: Keeper) -> None:
    keeper.reference.prepare()
    keeper.moorage.prepare()
    with serving(keeper.moorage) as port, Client(port) as client:
        cloud = Cloud(port)
        cloud.build()
        cloud.close()
        known = client.get("/moorage/v1/changes?after=now")
    with serving(keeper.reference) as port:
        cloud = Cloud(port)
        cloud.carry_on(1)
        cloud.close()
    keeper.moorage.prepare()
    with serving(keeper.moorage) as port, Client(port) as client:
        path = f"/moorage/v1/changes?after={known['next_after']}"
        gone = client.request("GET", f"{path}&epoch={known['epoch']}")
        assert (gone.status, gone.json["code"]) == (410, "different_history")
        page = client.get(path)
        assert page["epoch"] == gone.json["epoch"] != known["epoch"]
        [begun] = [each for each in page["changes"] if each["kind"] == "history.new"]
        assert begun["adopted"] == {
            "providers": rows(keeper.url, tables.resource_providers),
            "inventories": rows(keeper.url, tables.inventories),
            "consumers": rows(keeper.url, tables.consumers),
            "allocations": rows(keeper.url, tables.allocations),
        }
        past = client.request("GET", f"/moorage/v1/trees/{ROOT}?at={known['next_after']}")
        assert (past.status, past.json["code"]) == (410, "different_history")
