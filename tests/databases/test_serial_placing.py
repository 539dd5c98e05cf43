"""Placed claims come out as if each had been placed alone, one after the other: the twin's first choice."""

from __future__ import annotations

import threading
from random import Random

import pytest
import sqlalchemy as sa

from moorage.model.commands import PlaceClaims, ReleaseClaims
from moorage.model.placing import Granted, GrantedEntry
from moorage.service.facade import Service
from moorage.store.store import Store
from moorage.store.tables import allocations, changes
from tests.databases.orders import ASKER, VCPU, add_provider
from tests.databases.prepared import OpenService
from tests.databases.test_placing import place

TOTALS = (8, 3, 12, 5)


class Twin:
    """Free amounts by provider at each revision, from what was done. It shares nothing with the service."""

    def __init__(self, providers: list[str], begun: int) -> None:
        self._providers = providers
        self._free = dict(zip(providers, TOTALS, strict=True))
        self._begun = begun
        self.steps: dict[int, list[tuple[str, int]]] = {}
        """By revision, what was taken of a provider; less than 0 for what was given back."""

    def free(self, revision: int, also: list[int]) -> dict[str, int]:
        """Free amounts at a revision, with the writes at further revisions."""
        left = dict(self._free)
        for number, taken in self.steps.items():
            if number <= revision or number in also:
                for provider, amount in taken:
                    left[provider] -= amount
        return left

    def choices(self, amounts: list[int], revision: int, also: list[int]) -> list[str]:
        """Where claims go that are placed one after the other: to the first provider that has room."""
        left = self.free(revision, also)
        found = []
        for amount in amounts:
            provider = next(each for each in self._providers if left[each] >= amount)
            left[provider] -= amount
            found.append(provider)
        return found


def groups(store: Store) -> dict[int, str]:
    """The transaction of each revision."""
    with store.engines.single.connect() as connection:
        rows = connection.execute(sa.select(changes.c.revision, changes.c.transaction_id))
        return {row.revision: row.transaction_id for row in rows}


@pytest.mark.parametrize("processes", [1, 2])
def test_each_claim_is_the_first_choice_of_the_twin(
    store: Store, service: Service, open_service: OpenService, processes: int
) -> None:
    providers = [add_provider(service, VCPU=total) for total in TOTALS]
    begun = service.revision()
    services = [service, open_service(store)][:processes]
    placed: list[tuple[int, PlaceClaims, Granted]] = []
    released: list[tuple[int, list[tuple[str, int]]]] = []
    refused: list[int] = []

    def run(number: int) -> None:
        chance, mine = Random(number), list[tuple[str, str, int]]()
        own = services[number % processes]
        for _ in range(12):
            if mine and chance.random() < 0.4:
                consumer, provider, amount = mine.pop()
                outcome = own.outcome(ReleaseClaims((consumer,)), ASKER)
                assert outcome.result is not None
                released.append((outcome.revision, [(provider, -amount)]))
                continue
            # Of equal amounts, so that the order within a request is that of its claims.
            amount = chance.choice((1, 2, 3, 5))
            command = place(*[amount] * chance.choice((1, 1, 2)))
            claimed = own.place(command, ASKER)
            if claimed.result is None:
                refused.append(claimed.revision)
                continue
            placed.append((claimed.revision, command, claimed.result))
            for entry in claimed.result.entries:
                assert isinstance(entry, GrantedEntry)
                [(provider, held)] = entry.allocations.items()
                mine.append((entry.consumer, provider, held[VCPU]))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    twin = Twin(providers, begun)
    for revision, given in released:
        twin.steps[revision] = given
    for revision, _, granted in placed:
        twin.steps[revision] = [
            (provider, amounts[VCPU])
            for entry in granted.entries
            if isinstance(entry, GrantedEntry)
            for provider, amounts in entry.allocations.items()
        ]
    assert len(twin.steps) == len(placed) + len(released) == service.revision() - begun
    transactions = groups(store)
    assert len(set(transactions.values())) < len(transactions), "some writes shared a transaction"
    for revision, command, granted in sorted(placed, key=lambda each: each[0]):
        chosen_on = granted.decision
        assert chosen_on is not None
        assert begun <= chosen_on.revision < revision
        own = transactions[revision]
        before = [each for each in range(chosen_on.revision + 1, revision) if transactions.get(each) == own]
        assert len(before) == chosen_on.after
        if processes == 1:
            assert chosen_on.revision + chosen_on.after == revision - 1
        amounts = [sum(request.groups[0].resources.values()) for request in command.requests if request]
        wanted = twin.choices(amounts, chosen_on.revision, before)
        assert wanted == [provider for provider, _ in twin.steps[revision]]
    # Nothing is over its capacity at any revision, and a refusal has left no row.
    assert all(min(twin.free(revision, []).values()) >= 0 for revision in twin.steps)
    with store.engines.single.connect() as connection:
        rows = connection.execute(sa.select(sa.func.count()).select_from(allocations)).scalar_one()
    assert rows == sum(len(taken) for taken in twin.steps.values()) - 2 * len(released)
    assert refused
