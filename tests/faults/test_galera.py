"""What one writer's fail-over must not lose or double, made to happen in the worst order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from moorage.model import commands
from moorage.model.commands import Claim
from moorage.model.values import Inventory, Requester
from moorage.rules.decide import decide, touch
from moorage.service.facade import Service
from moorage.store.settings import StoreSettings
from moorage.store.sql.errors import WriteConflictError
from moorage.store.store import Store
from moorage.store.transaction import Write, WriteTransaction
from tests.faults.galera import GaleraNode, GaleraTarget
from tests.faults.opening import GALERA, opened
from tests.faults.proxy import Cut
from tests.servers.plugin import skip_or_fail
from tests.servers.session import MissingServerError
from tests.servers.throwaway import ServerError

pytestmark = [pytest.mark.slow, pytest.mark.databases, pytest.mark.journey]

ASKER = Requester("asker")


@pytest.fixture(scope="module")
def cluster() -> Iterator[GaleraTarget]:
    try:
        with opened(GALERA) as target:
            assert isinstance(target, GaleraTarget)
            yield target
    except MissingServerError as missing:
        skip_or_fail(missing)


@contextmanager
def opened_store(url: str) -> Iterator[Store]:
    store = Store(StoreSettings(url))
    try:
        store.migrate()
        store.synchronise_names()
        yield store
    finally:
        store.close()


def busy_follower(cluster: GaleraTarget) -> GaleraNode:
    """A node that will be some tenths of a second behind the writer."""
    follower = next(node for node in cluster.nodes if node is not cluster.writer)
    follower.wait_until_synced()
    cluster.burden()
    return follower


def test_what_the_old_writer_acknowledged_is_seen_on_a_new_one_that_lags(cluster: GaleraTarget) -> None:
    with opened_store(cluster.url) as store:
        service = Service(store)
        for number in range(3):
            follower = busy_follower(cluster)
            service.execute(commands.CreateTrait(f"CUSTOM_{number}"), ASKER)
            cluster.lead_to(follower)
            assert service.trait(f"CUSTOM_{number}").name == f"CUSTOM_{number}"


def test_a_claim_whose_commit_got_lost_with_its_writer_is_granted_once(cluster: GaleraTarget) -> None:
    with opened_store(cluster.url) as store:
        service = Service(store)
        provider = str(uuid4())
        service.execute(commands.CreateProvider(provider, provider), ASKER)
        service.execute(commands.SetInventories(provider, 0, {"VCPU": Inventory(8)}), ASKER)
        for _ in range(3):
            consumer = str(uuid4())
            claim = Claim(consumer, {provider: {"VCPU": 1}}, "project", "user", None, "INSTANCE")
            follower = busy_follower(cluster)
            cluster.proxy.arm(Cut.AFTER)
            switch = threading.Thread(target=cluster.lead_to, args=(follower,))
            done = sum(cluster.proxy.done.values())
            claiming = threading.Thread(
                target=service.execute, args=(commands.ReplaceAllocations((claim,)), ASKER)
            )
            claiming.start()
            while sum(cluster.proxy.done.values()) == done:
                claiming.join(0.001)
            switch.start()
            claiming.join()
            switch.join()
            assert service.consumer_allocations(consumer).generation == 1
        assert service.provider_usages(provider).usages == {"VCPU": 3}
        assert service.provider(provider).generation == 4


def test_a_transaction_that_was_told_not_to_have_happened_can_no_longer_happen(cluster: GaleraTarget) -> None:
    """It is still under way on the old writer while the new one is asked about it."""
    follower = next(node for node in cluster.nodes if node is not cluster.writer)
    old, new = cluster.copies[cluster.writer.name], cluster.copies[follower.name]
    with opened_store(old) as left, opened_store(new) as right:
        before = right.revision()
        command, transaction_id = commands.CreateTrait("CUSTOM_LATE"), uuid4().hex
        with WriteTransaction(left) as transaction:
            state = transaction.read(touch(command))
            changes = decide(state, command)
            state.apply(changes)
            writer = transaction.write(state, [Write(changes.kind, frozenset(), True, ASKER)], transaction_id)
            assert not right.was_committed(transaction_id)
            with pytest.raises(WriteConflictError):
                transaction.commit(writer)
        assert right.revision() == before + 1
        assert not right.was_committed(transaction_id)


def test_a_node_whose_ports_were_taken_joins_on_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = GaleraNode(tmp_path / "node", "node")
    tried: list[tuple[int, int]] = []

    def start(node: GaleraNode) -> None:
        tried.append((node.increment_port, node.transfer_port))
        if len(tried) == 1:
            raise ServerError("Failed to open IST listener: Address already in use")

    monkeypatch.setattr(GaleraNode, "start", start)
    monkeypatch.setattr(GaleraNode, "wait_until_synced", lambda _: None)
    node.join()
    first, second = tried
    assert not set(first) & set(second)
