"""``moorage status``."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from moorage.api.front import Dispatcher
from moorage.cli.main import main
from moorage.cli.status import address
from moorage.model.leases import LeaseCounts
from moorage.store import tables
from moorage.telemetry.instruments import Instruments
from moorage.telemetry.listener import listening
from moorage.telemetry.scrape import Scrape
from moorage.telemetry.sources import Sources
from tests.databases.prepared import prepare_schema
from tests.servers.ports import free_port
from tests.unit.telemetry.test_health import inner


@pytest.fixture
def filled_url(sqlite_url: str) -> str:
    """A database with two hosts, of whose cores more than half are taken."""
    prepare_schema(sqlite_url)
    engine = sa.create_engine(sqlite_url)
    inventory = {
        "resource_class_id": 0,
        "total": 8,
        "reserved": 0,
        "min_unit": 1,
        "max_unit": 8,
        "step_size": 1,
    }
    with engine.begin() as connection:
        for number in (1, 2):
            provider = {
                "id": number,
                "uuid": str(number) * 36,
                "name": f"host-{number}",
                "root_provider_id": number,
            }
            connection.execute(tables.resource_providers.insert().values(provider))
            row = inventory | {"resource_provider_id": number, "allocation_ratio": 1.5}
            connection.execute(tables.inventories.insert().values(row))
        taken = {"resource_provider_id": 1, "resource_class_id": 0, "consumer_id": "c" * 36, "used": 15}
        connection.execute(tables.allocations.insert().values(taken))
        connection.execute(tables.revisions.update().values(revision=9))
    engine.dispose()
    return sqlite_url


@pytest.fixture
def metrics_url() -> Iterator[str]:
    """A service that is at revision 7, and tells so."""
    registry = CollectorRegistry()
    Instruments(registry).index_changed(7, 2)
    sources = Sources(lambda: 9, list, list, lambda: LeaseCounts({}, 0, 0, None))
    app = Dispatcher(inner, {"/metrics": Scrape(sources, registry)})
    server = listening(app, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join()


def told(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["status", *arguments])
    return result.exit_code, result.stdout or result.stderr


def test_what_there_is_is_shown_without_a_service(filled_url: str) -> None:
    status, text = told("--database", filled_url)
    assert status == 0
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert ["Revision", "9"] in lines
    assert ["Providers", "2"] in lines
    assert "Workers    unknown: set metrics_listen in [moorage]" in text
    (row,) = [line for line in text.splitlines() if line.startswith("VCPU")]
    assert row.split()[1] == "2"
    assert row.split()[-2:] == ["15", "24"]
    status, text = told("--database", filled_url, "--json")
    assert status == 0
    found = json.loads(text)
    assert found["classes"] == [{"name": "VCPU", "providers": 2, "capacity": 24, "used": 15}]
    assert found["workers"] is None


def test_the_newest_changes_are_counted_by_kind(filled_url: str) -> None:
    engine = sa.create_engine(filled_url)
    begin = datetime(2026, 11, 29, 9, 0, 0)  # noqa: DTZ001 - times of the database are naive
    with engine.begin() as connection:
        connection.execute(tables.journal.delete())
        for revision, kind in ((7, "claim.a"), (8, "claim.b"), (9, "claim.b")):
            texts = dict.fromkeys(("path", "user_id", "project_id", "request_id", "global_request_id"), "")
            at = begin + timedelta(seconds=60 * (revision - 7))
            row = tables.journal.insert().values(revision=revision, kind=kind, body="{}", created_at=at)
            connection.execute(row.values(texts))
    engine.dispose()
    _, text = told("--database", filled_url)
    lines = [line.split() for line in text.splitlines()]
    assert ["THE", "LAST", "3", "CHANGES", "COUNT", "PER", "MINUTE"] in lines
    assert ["claim.b", "2", "1.0"] in lines
    assert ["claim.a", "1", "0.5"] in lines
    _, text = told("--database", filled_url, "--json")
    assert json.loads(text)["changes"] == {"seconds": 120.0, "kinds": {"claim.b": 2, "claim.a": 1}}


def test_workers_are_asked_how_far_they_are(filled_url: str, metrics_url: str) -> None:
    status, text = told("--database", filled_url, "--metrics", metrics_url, "--json")
    assert status == 0
    (worker,) = json.loads(text)["workers"]
    assert worker["resident_bytes"] > 1_000_000
    assert worker | {"resident_bytes": 0} == {
        "pid": str(os.getpid()),
        "providers": 2,
        "revision": 7,
        "behind": 2,
        "resident_bytes": 0,
    }
    status, text = told("--database", filled_url, "--metrics", metrics_url)
    (row,) = [line for line in text.splitlines() if line.startswith(str(os.getpid()))]
    assert row.split()[1:4] == ["2", "7", "2"]


def test_a_service_that_does_not_answer_is_told_of(filled_url: str, metrics_url: str) -> None:
    wrong = metrics_url.replace("/metrics", "/elsewhere")
    status, text = told("--database", filled_url, "--metrics", wrong)
    assert status == 1
    told_of = f"unknown: the service does not answer at {wrong}: status 418"
    assert told_of.replace(" ", "") in "".join(text.split())
    assert "VCPU" in text
    status, text = told("--database", filled_url, "--metrics", "ftp://127.0.0.1/metrics")
    assert status == 1
    assert "is not an address" in text


def test_a_database_without_a_schema_is_told_of(sqlite_url: str, tmp_path: Path) -> None:
    status, text = told("--database", f"sqlite:///{tmp_path / 'new.sqlite'}")
    assert status == 1
    assert "'moorage db sync --database sqlite:///" in text
    assert not (tmp_path / "new.sqlite").exists()


def silent(*_: object, **__: object) -> None:
    raise requests.Timeout


@pytest.mark.parametrize(("get", "reason"), [(requests.get, "cannot be reached"), (silent, "10 seconds")])
def test_a_service_that_is_not_there_is_told_of(
    get: object, reason: str, filled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "get", get)
    status, text = told("--database", filled_url, "--metrics", f"http://127.0.0.1:{free_port()}/metrics")
    assert status == 1
    assert reason in " ".join(text.split())


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        (None, None),
        (("127.0.0.1", 9778), "http://127.0.0.1:9778/metrics"),
        (("0.0.0.0", 1), "http://127.0.0.1:1/metrics"),
        (("::1", 1), "http://[::1]:1/metrics"),
    ],
)
def test_the_address_is_that_of_the_options(listen: tuple[str, int] | None, url: str | None) -> None:
    assert address(listen) == url
