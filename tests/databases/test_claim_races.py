from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import pytest

from moorage.model.errors import CapacityExceededError, MoorageError
from moorage.service.facade import Service
from tests.databases.orders import VCPU, add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenService

THREADS = 32
CLAIMS_PER_THREAD = 3
AMOUNT = 3
CAPACITY = 200
"""No multiple of the amount: the last bit stays free. Less than all threads together ask for."""


def race(services: Sequence[Service], provider: str) -> tuple[list[str], Counter[type[MoorageError]]]:
    """All threads claim at once; the consumers that succeeded, and the refusals."""
    ready = threading.Barrier(THREADS)
    granted: list[str] = []
    refusals: Counter[type[MoorageError]] = Counter()

    def run(service: Service) -> None:
        ready.wait()
        for _ in range(CLAIMS_PER_THREAD):
            consumer = new_uuid()
            try:
                order(service, claim(consumer, {provider: {VCPU: AMOUNT}}, None))
            except MoorageError as refusal:
                refusals[type(refusal)] += 1
            else:
                granted.append(consumer)

    threads = [
        threading.Thread(target=run, args=(services[number % len(services)],)) for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return granted, refusals


@pytest.mark.parametrize("processes", [1, 2])
def test_claims_of_many_threads_fill_a_provider_exactly(
    prepared_url: str, processes: int, open_service: OpenService
) -> None:
    services = [open_service(prepared_url) for _ in range(processes)]
    provider = add_provider(services[0], VCPU=CAPACITY)
    granted, refusals = race(services, provider)

    fitting = CAPACITY // AMOUNT
    assert len(granted) == fitting
    assert refusals == {CapacityExceededError: THREADS * CLAIMS_PER_THREAD - fitting}
    for service in services:
        assert service.provider_usages(provider).usages == {VCPU: fitting * AMOUNT}
        found = service.provider_allocations(provider)
        assert found.consumers.keys() == set(granted)
        assert all(held.resources == {VCPU: AMOUNT} for held in found.consumers.values())
        # One by its inventory, and one by each claim: no write got lost.
        assert found.generation == 1 + fitting


@pytest.mark.parametrize("processes", [1, 2])
def test_moves_in_both_directions_lose_nothing(
    prepared_url: str, processes: int, open_service: OpenService
) -> None:
    """Consumers that move to and fro between the same providers: the classical deadlock."""
    services = [open_service(prepared_url) for _ in range(processes)]
    places = [add_provider(services[0], VCPU=100) for _ in range(3)]
    movers = [new_uuid() for _ in range(8)]
    for number, mover in enumerate(movers):
        order(services[0], claim(mover, {places[number % 3]: {VCPU: 2}}))
    ready = threading.Barrier(len(movers))
    faults: list[MoorageError] = []

    def run(number: int, mover: str) -> None:
        ready.wait()
        for step in range(1, 4):
            here, there = places[(number + step) % 3], places[(number - step) % 3]
            try:
                order(
                    services[number % processes],
                    claim(
                        mover,
                        {here: {VCPU: 1}, there: {VCPU: 1}} if here != there else {here: {VCPU: 2}},
                        step,
                    ),
                )
            except MoorageError as fault:
                faults.append(fault)

    threads = [threading.Thread(target=run, args=item) for item in enumerate(movers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sum(services[0].provider_usages(place).usages[VCPU] for place in places) == 2 * len(movers)
    for mover in movers:
        held = services[0].consumer_allocations(mover)
        assert held.generation == 4
        assert sum(amount[VCPU] for amount in (item.resources for item in held.providers.values())) == 2
