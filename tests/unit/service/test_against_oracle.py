"""The real service on SQLite against the account's slow twin, and the index against the truth."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.model.commands import CreateResourceClass, CreateTrait
from moorage.model.errors import MoorageError
from moorage.model.requests import ProviderFilter
from moorage.model.values import CUSTOM_PREFIX, NamedItem, Requester
from moorage.service.facade import Service
from moorage.service.live_index import LiveIndex
from moorage.store.store import Store
from tests.databases.index_contents import contents
from tests.databases.past_views import assert_past
from tests.databases.prepared import store_on
from tests.databases.records import rows
from tests.databases.together import led
from tests.oracle.account import Account
from tests.oracle.compare import comparable, outcome
from tests.oracle.history import View, undone, view_of
from tests.oracle.leased import LeasedTwin
from tests.property.strategies_account import BEGINNING, CONSUMERS, batches, commands, groups
from tests.property.strategies_leases import lease_commands

EXAMPLES = 10 if os.environ.get("MOORAGE_TEST_PROFILE", "check") != "check" else 3
"""Sequences per test: each costs some hundred milliseconds of SQL."""

AccountT = TypeVar("AccountT", bound=Account)

STEPS = 12
"""Orders per sequence."""

ASKER = Requester("asker")


@contextmanager
def begun(template: Path, twin: AccountT) -> Iterator[tuple[AccountT, Service, Store]]:
    """The twin and a service with a new database, both where sequences begin."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "account.sqlite"
        shutil.copy(template, path)
        store = store_on(f"sqlite:///{path}")
        service = Service(store)
        for command in BEGINNING:
            assert outcome(twin.execute, command) == outcome(lambda it: service.execute(it, ASKER), command)
        try:
            yield twin, service, store
        finally:
            store.close()


def assert_equal(account: Account, service: Service, store: Store) -> None:
    """Every read gives the same on both sides, and the index is what a new one would be."""
    assert {found["uuid"]: found for found in map(comparable, service.providers(ProviderFilter()))} == {
        found["uuid"]: found for found in map(comparable, account.providers())
    }
    for uuid in account.nodes:
        for read in (
            "provider_inventories",
            "provider_traits",
            "provider_aggregates",
            "provider_usages",
            "provider_allocations",
        ):
            assert comparable(getattr(service, read)(uuid)) == comparable(getattr(account, read)(uuid))
    for consumer in CONSUMERS:
        assert comparable(service.consumer_allocations(consumer)) == comparable(
            account.consumer_allocations(consumer)
        )
    for project in ("red", "blue"):
        for user in (None, "ann"):
            assert service.usages(project, user) == account.usages(project, user)
            for kind in (None, "INSTANCE", "unknown", "all"):
                assert groups_of(service, project, user, kind) == groups_of(account, project, user, kind)
    for names in ("resource_classes", "traits"):
        assert custom(getattr(service, names)()) == custom(getattr(account, names)())
    assert service._index.ask(contents) == LiveIndex(store).ask(contents)


def assert_remembered(account: Account, service: Service, store: Store, views: Mapping[int, View]) -> None:
    """The journal is dense, and undoing it from the present leads through all earlier views.

    The service gives these views too.
    """
    first, present = min(views), view_of(account)
    records = rows(store, first)
    assert [row["revision"] for row in records] == list(range(first + 1, store.revision() + 1))
    for row in reversed(records):
        assert views.get(row["revision"], present) == present
        present = undone(present, row["body"])
    assert views[first] == present
    ever = View()
    for part in ("providers", "consumers"):
        ever[part] = {uuid: None for view in views.values() for uuid in view[part]}
    for revision, view in views.items():
        assert_past(service, view, revision, ever)


def custom(items: Sequence[NamedItem]) -> set[str]:
    """The twin knows few of the standard names."""
    return {item.name for item in items if item.name.startswith(CUSTOM_PREFIX)}


def groups_of(side: Service | Account, project: str, user: str | None, kind: str | None) -> set[Any]:
    return {
        (group.consumer_type, group.consumer_count, frozenset(group.usages.items()))
        for group in side.usages_by_type(project, user, kind)
    }


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(st.data())
def test_the_service_does_what_its_twin_does_step_by_step(sqlite_template: Path, data: st.DataObject) -> None:
    views: dict[int, View] = {}
    with begun(sqlite_template, Account()) as (account, service, store):
        for _ in range(STEPS):
            command = data.draw(st.one_of(commands(account), commands(account), batches(account)))
            revision = store.revision()
            views[revision] = view_of(account)
            answer = outcome(lambda it: service.execute(it, ASKER), command)
            assert answer == outcome(account.execute, command)
            assert store.revision() - revision in ((0, 1) if answer[0] == "done" else (0,))
            assert service._index.ask(contents) == LiveIndex(store).ask(contents)
        assert_equal(account, service, store)
        assert_remembered(account, service, store, views)


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(st.data())
def test_claims_of_the_past_hang_on_the_leases_that_they_hung_on(
    sqlite_template: Path, data: st.DataObject
) -> None:
    views: dict[int, View] = {}
    with begun(sqlite_template, LeasedTwin()) as (account, service, store):
        for _ in range(2 * STEPS):
            command = data.draw(st.one_of(commands(account), lease_commands(account)))
            views[store.revision()] = view_of(account)
            answer = outcome(lambda it: service.execute(it, ASKER), command)
            assert answer[0] == outcome(account.execute, command)[0]
        assert_equal(account, service, store)
        assert_remembered(account, service, store, views)


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_group_of_orders_is_carried_out_in_its_order(sqlite_template: Path, data: st.DataObject) -> None:
    views: dict[int, View] = {}
    with begun(sqlite_template, Account()) as (account, service, store):
        for _ in range(STEPS // 2):
            views[store.revision()] = view_of(account)
            group = data.draw(groups(account, most=6))
            for command, ticket in zip(
                group, led(service, [(command, ASKER) for command in group]), strict=True
            ):
                if ticket.error is None:
                    assert ("done", comparable(ticket.result), "") == outcome(account.execute, command)
                else:
                    assert isinstance(ticket.error, MoorageError)
                    refusal = ("refused", type(ticket.error), str(ticket.error))
                    assert refusal == outcome(account.execute, command)
            assert service._index.ask(contents) == LiveIndex(store).ask(contents)
        assert_equal(account, service, store)
        assert_remembered(account, service, store, views)


def test_every_read_holds_while_others_write(sqlite_service: Service) -> None:
    """Names appear whole: nobody sees a class without the trait of the same order."""
    done = threading.Event()
    seen: list[bool] = []

    def read() -> None:
        while not done.is_set():
            traits = {item.name for item in sqlite_service.traits(prefix="CUSTOM_")}
            classes = {item.name for item in sqlite_service.resource_classes()}
            # Classes are asked for later, so they may know more and never less.
            seen.append(all(name in classes for name in traits))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20):
        sqlite_service.execute(CreateResourceClass(f"CUSTOM_{number}"), ASKER)
        sqlite_service.execute(CreateTrait(f"CUSTOM_{number}"), ASKER)
    done.set()
    reader.join()
    assert seen
    assert all(seen)
