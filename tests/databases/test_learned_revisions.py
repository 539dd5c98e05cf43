"""Who searches while a group of writes is on its way learns the revision from it, never an older one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.errors import CapacityExceededError
from moorage.service import live_index
from moorage.service.facade import Service
from moorage.store.sql.errors import ConnectionLostError
from moorage.store.store import Store
from moorage.store.transaction import WriteTransaction
from tests.databases.orders import VCPU, add_provider, claim, new_uuid, order, uuids_with_room
from tests.databases.prepared import OpenService
from tests.databases.sql_watch import CommitMethod, before_statement, instead_of_commit, watching

PATIENCE_SECONDS = 30.0
COUNTING = "UPDATE moorage_revision"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine shall not make anybody ask who need not."""
    monkeypatch.setattr(live_index, "PATIENCE_SECONDS", PATIENCE_SECONDS)


class Search:
    """Who has room for a VCPU, asked by a thread of its own."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._found: set[str] = set()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._found = uuids_with_room(self._service, VCPU, 1)

    def begin(self, *_: object) -> None:
        """Ask, and return once it waits for a group."""
        self._thread.start()
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._waits():
            assert time.monotonic() < until
            time.sleep(0.001)

    def _waits(self) -> bool:
        coming = self._service._index._poll._next
        return coming is not None and bool(coming.turns)

    def found(self) -> set[str]:
        """Once it is answered."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        return self._found


@contextmanager
def reading(store: Store, action: Callable[[sa.Connection], object]) -> Iterator[list[str]]:
    """Act when a group begins to read."""
    with before_statement(store.engines.write, "SELECT", action) as met:
        yield met


@pytest.fixture
def providers(service: Service) -> tuple[str, str]:
    """Two with 8 VCPU, of an index that is up to date. No name has to be written any more."""
    one, two = (add_provider(service, VCPU=8) for _ in range(2))
    order(service, claim(new_uuid(), {one: {VCPU: 1}}))
    service.warm_up()
    uuids_with_room(service, VCPU, 1)
    return one, two


def test_who_comes_while_a_group_reads_is_told_what_it_counts_from(
    store: Store, service: Service, providers: tuple[str, str]
) -> None:
    one, two = providers
    search = Search(service)
    with watching(store) as watched, reading(store, search.begin) as met:
        order(service, claim(new_uuid(), {one: {VCPU: 7}}))
        found = search.found()
    assert met
    assert watched.direct == []
    # Before or after the claim: it was not committed when the search came.
    assert found in ({one, two}, {two})


def test_who_comes_while_a_group_writes_is_told_what_it_commits(
    store: Store, service: Service, providers: tuple[str, str]
) -> None:
    one, two = providers
    search = Search(service)
    with watching(store) as watched, before_statement(store.engines.write, COUNTING, search.begin) as met:
        order(service, claim(new_uuid(), {one: {VCPU: 7}}))
        assert search.found() == {two}
    assert met
    assert watched.direct == []


def test_who_comes_while_another_group_is_certain_to_follow_waits_for_that(
    store: Store,
    service: Service,
    providers: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, two = providers
    search = Search(service)
    follower = threading.Thread(target=order, args=(service, claim(new_uuid(), {two: {VCPU: 8}})))

    def follow(*_: object) -> None:
        follower.start()
        until = time.monotonic() + PATIENCE_SECONDS
        while not service._committer.waiting:
            assert time.monotonic() < until

    def commit(real: CommitMethod, transaction: WriteTransaction, writer: Any) -> None:
        search.begin()
        real(transaction, writer)

    instead_of_commit(monkeypatch, commit)
    with watching(store) as watched, before_statement(store.engines.write, COUNTING, follow):
        order(service, claim(new_uuid(), {one: {VCPU: 7}}))
        # The first claim was committed after the search had come, the second may have been.
        assert search.found() in ({two}, set())
        follower.join()
    assert watched.direct == []
    # Nor was it told something from before it came, as if the database had been put back.
    assert caplog.messages == []


def test_who_waits_for_a_group_that_is_refused_asks(
    store: Store, service: Service, providers: tuple[str, str]
) -> None:
    one, two = providers
    search = Search(service)
    with watching(store) as watched, reading(store, search.begin):
        with pytest.raises(CapacityExceededError):
            order(service, claim(new_uuid(), {one: {VCPU: 8}}))
        assert search.found() == {one, two}
    assert len(watched.direct) == 1


def test_who_waits_for_a_commit_that_got_lost_asks(
    store: Store, service: Service, providers: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = providers
    search = Search(service)

    def lose(real: CommitMethod, transaction: WriteTransaction, writer: Any) -> None:
        real(transaction, writer)
        raise ConnectionLostError

    instead_of_commit(monkeypatch, lose)
    with watching(store) as watched, before_statement(store.engines.write, COUNTING, search.begin):
        order(service, claim(new_uuid(), {one: {VCPU: 7}}))
        assert search.found() == {two}
    assert watched.direct


@pytest.mark.parametrize("beginning", ["SELECT", COUNTING])
def test_what_others_have_committed_before_is_always_seen(
    server_store: Store, server_service: Service, open_service: OpenService, beginning: str
) -> None:
    """Also by who does not ask for himself."""
    other = open_service(server_store)
    mine, theirs = (add_provider(server_service, VCPU=8) for _ in range(2))
    order(other, claim(new_uuid(), {theirs: {VCPU: 1}}))
    order(server_service, claim(new_uuid(), {mine: {VCPU: 1}}))
    server_service.warm_up()
    search = Search(server_service)

    def write(_connection: sa.Connection) -> None:
        order(other, claim(new_uuid(), {theirs: {VCPU: 7}}))
        search.begin()

    with before_statement(server_store.engines.write, beginning, write) as met:
        order(server_service, claim(new_uuid(), {mine: {VCPU: 6}}))
        assert search.found() == {mine}
    assert met
