"""What memories say that they take is what they take, and it does not grow for ever."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from random import Random

import pytest

from moorage.api.http.validation import Validator
from moorage.api.placement import allocation_candidates as candidate_body
from moorage.api.placement import query, routes
from moorage.model.cache import KIB, MIB, Cache
from moorage.model.requests import CandidateRequest, SearchSettings
from moorage.model.values import ProviderRecord
from moorage.search.index.index import Index, Snapshot
from moorage.search.match.answers import KeptAnswers
from moorage.search.match.candidates import find
from moorage.search.match.outcomes import Memory
from tests.copies import in_a_copy
from tests.unit.search.builders import group, index_of, provider

pytestmark = pytest.mark.unmeasured
"""What coverage notes down of a line that runs for the first time would count as the memory's."""

NEWEST = 39


def cloud(trees: int, providers: int) -> Index:
    """Trees of a host and so many devices, each tree with another amount of memory."""
    records: list[ProviderRecord] = []
    for tree in range(trees):
        first = 1 + tree * providers
        root = provider(first, {"VCPU": 64, "MEMORY_MB": 1_000 + tree}, traits=["RED"])
        devices = [
            provider(first + place, {"VF": 8 + tree % 5, "DISK_GB": 100}, below=root)
            for place in range(1, providers)
        ]
        records += [root, *devices]
    return index_of(*map(with_uuid, records))


def with_uuid(record: ProviderRecord) -> ProviderRecord:
    return ProviderRecord(
        record.id,
        f"00000000-0000-4000-8000-{record.id:012}",
        record.parent_id,
        record.root_id,
        record.inventories,
        record.traits,
        record.aggregates,
    )


class Worker:
    """What a worker remembers of searches."""

    def __init__(self, most: int) -> None:
        self.answers = KeptAnswers(most)
        self.memory = Memory(most)

    @property
    def size(self) -> int:
        return self.answers.size + self.memory.size

    def ask(self, snapshot: Snapshot, request: CandidateRequest) -> bytes:
        found = self.answers.of(
            snapshot,
            request,
            lambda: find(snapshot, request, SearchSettings(), Random(0), memory=self.memory),
        )
        requested = frozenset(name for group in request.groups for name in group.resources)
        return found.memo.of(NEWEST, lambda: candidate_body.encoded(found, requested, NEWEST))


def taken() -> int:
    """Bytes that this process has taken since the first call. What other threads take or give back would
    count as well, so there should be none."""
    gc.collect()
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    return tracemalloc.get_traced_memory()[0]


def of_a_host(number: int) -> CandidateRequest:
    return CandidateRequest((group("", {"VCPU": 1, "MEMORY_MB": 1 + number}),), limit=3)


def of_devices(number: int) -> CandidateRequest:
    wanted = (group("_1", {"VF": 1}), group("_2", {"VF": 1, "DISK_GB": 1 + number}))
    return CandidateRequest(wanted, group_policy="none", limit=60)


def of_many_groups(number: int) -> CandidateRequest:
    wanted = tuple(group(f"_g{place}", {"DISK_GB": 1 + number}) for place in range(25))
    return CandidateRequest(wanted, group_policy="isolate", limit=40)


def of_many_patterns(number: int) -> CandidateRequest:
    wanted = tuple(group(f"_g{place}", {"DISK_GB": 1 + number % 20}) for place in range(5))
    return CandidateRequest(wanted, group_policy="none", limit=60)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [of_a_host, of_devices, of_many_groups, of_many_patterns])
@pytest.mark.parametrize("shape", [(1, 30), (20, 5), (60, 1)])
@in_a_copy
def test_answers_and_what_is_known_of_requests_take_no_more_than_they_say(
    asked: Callable[[int], CandidateRequest], shape: tuple[int, int]
) -> None:
    taken()
    snapshot, worker = cloud(*shape).snapshot(), Worker(1_000 * MIB)
    worker.ask(snapshot, asked(99))
    before, said = taken(), worker.size
    for number in range(4):
        worker.ask(snapshot, asked(number))
    really, told = taken() - before, worker.size - said
    assert really <= 1.02 * told
    assert told <= 4 * really, "what both hold is counted twice, but nothing more often"


@in_a_copy
def test_distinct_searches_end_to_fill_memory() -> None:
    """What allocators and the dictionaries themselves take varies by some 20 kB; 120 answers are 1 MB."""
    taken()
    snapshot, worker = cloud(2, 20).snapshot(), Worker(192 * KIB)
    for number in range(30):
        worker.ask(snapshot, of_a_host(number))
    full, size = taken(), worker.size
    assert size > 256 * KIB
    for number in range(30, 150):
        worker.ask(snapshot, of_a_host(number))
        assert worker.answers.size <= 192 * KIB
        assert worker.memory.size <= 192 * KIB
    assert taken() - full < 128 * KIB


@in_a_copy
def test_queries_that_are_read_take_no_more_than_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    queries: Cache[tuple[str, Validator], query.Query] = Cache(100 * MIB, query._KNOWN._size_of)
    requests: Cache[tuple[query.Query, int], CandidateRequest] = Cache(100 * MIB, query._REQUESTS._size_of)
    monkeypatch.setattr(query, "_KNOWN", queries)
    monkeypatch.setattr(query, "_REQUESTS", requests)
    schemas = routes.ROUTES["/allocation_candidates"]["GET"].query
    assert schemas is not None
    validator = schemas.at(NEWEST)
    before = taken()
    for number in range(1, 30):
        text = f"resources=VCPU:1,MEMORY_MB:{number}&limit=5&resources_A=CUSTOM_{number}:2&required_A=X,Y"
        query.candidate_request(query.read(f"{text}&group_policy=none", validator), NEWEST)
    assert taken() - before <= 1.02 * (queries.size + requests.size) <= 3 * (taken() - before)
