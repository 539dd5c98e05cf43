"""Mixes that were learnt, on each kind of database."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from moorage.model.commands import PlaceClaims
from moorage.model.errors import UnavailableError
from moorage.model.mixes import Shape
from moorage.model.orders import Order
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.service.facade import Service
from moorage.store import mixes as of_store
from moorage.store.mixes import MixTable
from moorage.store.sql.errors import ConstraintError
from moorage.store.store import Store
from moorage.store.tables import mixes
from tests.databases.orders import ASKER, VCPU, add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenService, OpenStore
from tests.databases.test_placing import place

SMALL, LARGE = (Shape.of(CandidateRequest((RequestGroup("", {VCPU: amount}),))) for amount in (1, 4))


def ordered(order: Order, *amounts: int) -> PlaceClaims:
    command = place(*amounts)
    return replace(command, orders=(order,) * len(amounts))


def test_arrivals_of_all_processes_are_added(store: Store, open_store: OpenStore, prepared_url: str) -> None:
    here, there = MixTable(store), MixTable(open_store(prepared_url))
    assert here.learnt("m") == {}
    assert here.add("m", {SMALL: 2.0}) == {SMALL: 2.0}
    assert there.add("m", {SMALL: 1.0, LARGE: 0.5}) == {SMALL: 3.0, LARGE: 0.5}
    assert here.learnt("m") == {SMALL: 3.0, LARGE: 0.5}
    assert here.learnt("other") == {}


def test_a_mix_that_is_new_begins_with_the_claims_of_the_journal(
    service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = add_provider(service, VCPU=100)
    for amount in (4, 1, 1):
        order(service, claim(new_uuid(), {host: {VCPU: amount}}, None))
    table = MixTable(store)
    assert table.learnt("m") == {SMALL: 2.0, LARGE: 1.0}
    assert table.add("m", {SMALL: 1.0}) == {SMALL: 3.0, LARGE: 1.0}
    order(service, claim(new_uuid(), {host: {VCPU: 1}}, None))
    # What is kept counts from now on.
    assert table.learnt("m") == {SMALL: 3.0, LARGE: 1.0}
    monkeypatch.setattr(of_store, "JOURNALLED", 1)
    assert table.learnt("other") == {SMALL: 1.0}


def test_the_latest_mixes_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_store, "MOST_KEPT", 2)
    times = iter(range(1, 9))
    table = MixTable(store, lambda: next(times))
    for market in ("a", "b", "a", "c"):
        table.add(market, {SMALL: 1.0})
    assert [bool(table.learnt(market)) for market in "abc"] == [True, False, True]


def test_a_mix_that_cannot_be_read_is_learnt_anew(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with store.engines.write.begin() as connection:
        for market, body in ("no JSON", "{"), ("another form", "[7]"), ("other values", '[[[1,2,3,4],"x"]]'):
            connection.execute(mixes.insert().values(market=market, body=body, at=1))
    table = MixTable(store)
    with caplog.at_level(logging.WARNING):
        assert table.learnt("no JSON") == {}
        assert table.learnt("another form") == {}
        assert table.add("other values", {SMALL: 1.0}) == {SMALL: 1.0}
    assert len(caplog.records) == 3
    assert table.learnt("other values") == {SMALL: 1.0}


def test_arrivals_are_added_anew_after_another_process_has_won(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [ConstraintError(())] * 2
    real = MixTable._added

    def added(*given: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*given)

    monkeypatch.setattr(MixTable, "_added", added)
    assert MixTable(sqlite_store).add("m", {SMALL: 1.0}) == {SMALL: 1.0}
    failures += [ConstraintError(())] * 3
    with pytest.raises(UnavailableError):
        MixTable(sqlite_store).add("m", {SMALL: 1.0})


def test_a_service_goes_on_with_what_an_earlier_one_has_learnt(
    store: Store, open_service: OpenService
) -> None:
    order = Order("slots")
    first = open_service(store)
    add_provider(first, VCPU=80)
    first._markets.start()
    first.place(ordered(order, *[1] * 60), ASKER)
    first._markets.stop()
    second = open_service(store)
    assert second._markets.prices(order) is None
    second.place(ordered(order, 4), ASKER)
    prices = second._markets.prices(order)
    assert prices is not None
    assert list(prices.terms.shapes) == [SMALL]
