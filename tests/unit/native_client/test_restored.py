"""An older backup is put back: who follows the changes gets 410, and never goes on over the gap."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from moorage_client import DifferentHistoryError, Mirror, Moorage
from moorage_client import mirror as mirrors

from moorage.service.facade import Service
from tests.databases.orders import VCPU, add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenService, OpenStore, Prepare
from tests.servers.databases import SQLITE
from tests.unit.api.native.client import NativeClient
from tests.unit.cli.client.conftest import answering
from tests.unit.native_client.test_mirror import assert_equal

SECONDS = 60.0
"""Nothing takes so long."""


class Host:
    """Serves a database's file at one address, from one service after the other."""

    def __init__(self, url: str, open_store: OpenStore, open_service: OpenService) -> None:
        self.file = Path(url.removeprefix("sqlite:///"))
        self._url = url
        self._open_store, self._open_service = open_store, open_service
        self.application: Callable[..., Iterable[bytes]] = unavailable
        self.start()

    def start(self) -> None:
        """Serve the file as it is now."""
        self.store = self._open_store(self._url)
        self.service: Service = self._open_service(self.store)
        self.application = NativeClient(self.service).app

    def stop(self) -> None:
        """End the streams and close the file."""
        self.application = unavailable
        self.service._watch._hub._ending.set()
        self.service.close()
        self.store.close()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self.application(environ, start_response)

    def write(self, provider: str, times: int) -> None:
        """Claims of a provider."""
        for _ in range(times):
            order(self.service, claim(new_uuid(), {provider: {VCPU: 1}}))


@contextmanager
def served(host: Host) -> Iterator[Moorage]:
    """A client of a host, which asks once."""
    with answering(host) as url, Moorage(url, attempts=1) as moorage:
        yield moorage


def copied(source: Path, target: Path) -> None:
    """Make a database's file one with another."""
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)


def unavailable(_: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
    return [b"stopped"]


@pytest.fixture
def host(prepare: Prepare, open_store: OpenStore, open_service: OpenService) -> Iterator[Host]:
    """A service on a file of its own."""
    host = Host(prepare(SQLITE), open_store, open_service)
    yield host
    host.stop()


@pytest.mark.slow
@pytest.mark.parametrize("beyond", [False, True])
def test_who_knew_what_a_restored_backup_lacks_gets_410(
    beyond: bool, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the services stopped, as the guide says. ``beyond``: writes have gone on past what was known."""
    monkeypatch.setattr(mirrors, "LONGEST_PAUSE_SECONDS", 0.05)
    provider, backup, rebuilt = add_provider(host.service, VCPU=64), tmp_path / "backup", threading.Event()
    host.write(provider, 2)
    with served(host) as moorage, Mirror(moorage, on_rebuild=lambda _: rebuilt.set()) as mirror:
        copied(host.file, backup)
        kept = host.service.revision()
        host.write(provider, 3)
        known, epoch = host.service.revision(), mirror.epoch
        assert mirror.wait_for(known, SECONDS)
        host.stop()
        copied(backup, host.file)
        if beyond:
            # As ``moorage db new-history`` does: nothing else can tell the revisions apart any more.
            restored = host._open_store(host._url)
            restored.new_history()
            restored.close()
        application, host.application = host.application, unavailable
        host.start()
        started, host.application = host.application, application
        if beyond:
            host.write(provider, 5)
            assert host.service.revision() > known
        host.application = started
        for after in range(kept + 1, known + 1):
            with pytest.raises(DifferentHistoryError):
                moorage.change_page(after=after, epoch=epoch)
        if not beyond:
            with pytest.raises(DifferentHistoryError):
                moorage.change_page(after=known)
        assert rebuilt.wait(SECONDS)
        assert mirror.rebuilds == {"different_history": 1}
        host.write(provider, 1)
        assert_equal(mirror, moorage, host.service)


@pytest.mark.slow
def test_a_backup_that_is_put_back_under_a_running_service_begins_a_new_history(
    host: Host, tmp_path: Path
) -> None:
    provider, backup, rebuilt = add_provider(host.service, VCPU=64), tmp_path / "backup", threading.Event()
    with served(host) as moorage, Mirror(moorage, on_rebuild=lambda _: rebuilt.set()) as mirror:
        copied(host.file, backup)
        host.write(provider, 3)
        assert mirror.wait_for(host.service.revision(), SECONDS)
        # What the service notices is that its index is ahead of the database.
        list(moorage.providers())
        epoch = mirror.epoch
        copied(backup, host.file)
        assert rebuilt.wait(SECONDS)
        host.write(provider, 1)
        assert_equal(mirror, moorage, host.service)
        assert "different_history" in mirror.rebuilds
        assert mirror.epoch == host.store.epoch() != epoch
