"""Many clients, several processes, one account: over HTTP, on every database."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import uuid4

import pytest

from tests.databases.prepared import KINDS
from tests.journeys.client import Answer, Client, running_service
from tests.servers.databases import fresh_database
from tests.servers.plugin import skip_or_fail
from tests.servers.session import MissingServerError

pytestmark = pytest.mark.journey

SEVERAL = 4
"""Worker processes of a service that has more than one."""

CLIENTS = 32
CAPACITY = 200
ATTEMPTS_EACH = 10


def _in_threads(count: int, work: Callable[[int], list[Answer]]) -> list[Answer]:
    with ThreadPoolExecutor(count) as pool:
        return [answer for answers in pool.map(work, range(count)) for answer in answers]


@pytest.fixture(scope="module", params=KINDS)
def service_of(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int], int]]:
    """Call it with a number of workers for the port of a service; all share one database.

    A service with so many workers is started once for the file: its tests use names of their own.
    """
    folder = tmp_path_factory.mktemp("claims")
    ports: dict[int, int] = {}
    with ExitStack() as stack:
        try:
            url = stack.enter_context(fresh_database(str(request.param), folder))
        except MissingServerError as missing:
            skip_or_fail(missing)

        def started(workers: int) -> int:
            if workers not in ports:
                ports[workers] = stack.enter_context(running_service(url, folder, workers=workers))
            return ports[workers]

        yield started


@pytest.mark.parametrize("workers", [1, SEVERAL])
def test_clients_that_claim_until_nothing_is_left_get_exactly_the_capacity(
    service_of: Callable[[int], int], workers: int
) -> None:
    provider = str(uuid4())
    granted: list[str] = []
    lock = threading.Lock()
    port = service_of(workers)
    with Client(port) as client:
        client.add_provider(provider, provider, {"VCPU": {"total": CAPACITY}})

        def claims(_number: int) -> list[Answer]:
            answers = []
            with Client(port) as own:
                for _ in range(ATTEMPTS_EACH):
                    consumer = str(uuid4())
                    answer = own.claim(consumer, provider, {"VCPU": 1})
                    if answer.status == 204:
                        with lock:
                            granted.append(consumer)
                    answers.append(answer)
            return answers

        answers = _in_threads(CLIENTS, claims)
        refused = [answer for answer in answers if answer.status != 204]

        assert len(granted) == CAPACITY
        assert len(refused) == CLIENTS * ATTEMPTS_EACH - CAPACITY
        assert {answer.status for answer in refused} == {409}
        assert all("would exceed the capacity" in answer.detail for answer in refused)
        assert all(answer.json["errors"][0]["code"] == "placement.undefined_code" for answer in refused)
        assert client.get(f"/resource_providers/{provider}/usages")["usages"] == {"VCPU": CAPACITY}
        found = client.get(f"/resource_providers/{provider}/allocations")["allocations"]
        assert sorted(found) == sorted(granted)
        assert all(item["resources"] == {"VCPU": 1} for item in found.values())
        generation = client.get(f"/resource_providers/{provider}")["generation"]
        assert generation == 1 + CAPACITY


def test_what_one_worker_has_answered_the_next_answer_of_any_worker_shows(
    service_of: Callable[[int], int],
) -> None:
    """Every request has a connection of its own, so that the kernel deals them to all workers."""
    rounds, writers = 20, 6
    port = service_of(SEVERAL)

    def write_and_look(number: int) -> list[Answer]:
        client = Client(port, keep_alive=False)
        dice = random.Random(number)
        provider = str(uuid4())
        client.add_provider(provider, f"host-{number}", {"VCPU": {"total": 1000}})
        used = 0
        answers = []
        for _ in range(rounds):
            amount = dice.randint(1, 9)
            answers.append(client.claim(str(uuid4()), provider, {"VCPU": amount}))
            used += amount
            found = client.get(f"/allocation_candidates?resources=VCPU:1&in_tree={provider}")
            summary = found["provider_summaries"][provider]["resources"]["VCPU"]
            assert summary == {"capacity": 1000, "used": used}
            usages = client.get(f"/resource_providers/{provider}/usages")
            assert usages["usages"] == {"VCPU": used}
            listed = client.get(f"/resource_providers?resources=VCPU:{1000 - used}&in_tree={provider}")
            assert [item["uuid"] for item in listed["resource_providers"]] == [provider]
            full = client.get(f"/resource_providers?resources=VCPU:{1001 - used}&in_tree={provider}")
            assert full == {"resource_providers": []}
        return answers

    answers = _in_threads(writers, write_and_look)

    assert {answer.status for answer in answers} == {204}


def test_a_name_that_one_worker_learned_is_known_to_the_others_at_once(
    service_of: Callable[[int], int],
) -> None:
    with Client(service_of(SEVERAL), keep_alive=False) as client:
        for number in range(10):
            name = f"CUSTOM_NAME_{number}"
            unknown = client.request("GET", f"/allocation_candidates?resources={name}:1")
            assert unknown.status == 400
            client.must("PUT", f"/resource_classes/{name}")
            client.must("PUT", f"/traits/{name}")
            for _ in range(4):
                found = client.get(f"/allocation_candidates?resources={name}:1&required={name}")
                assert found == {"allocation_requests": [], "provider_summaries": {}}


def test_swaps_between_two_full_providers_never_lose_or_double_anything(
    service_of: Callable[[int], int],
) -> None:
    """Two consumers change places, again and again, while others try to get in between."""
    left, right = str(uuid4()), str(uuid4())
    consumers = sorted(str(uuid4()) for _ in range(2))
    stop = threading.Event()
    intruders: list[Answer] = []

    def body(consumer: str, provider: str, generation: int | None) -> dict[str, object]:
        return {
            "allocations": {provider: {"resources": {"VCPU": 4}}},
            "project_id": "project",
            "user_id": "user",
            "consumer_type": "INSTANCE",
            "consumer_generation": generation,
        }

    port = service_of(SEVERAL)
    with Client(port) as client:
        for provider in (left, right):
            client.add_provider(provider, provider, {"VCPU": {"total": 4}})
        for consumer, provider in zip(consumers, (left, right), strict=True):
            client.must("PUT", f"/allocations/{consumer}", body(consumer, provider, None))

        def intrude() -> None:
            with Client(port) as other:
                while not stop.is_set():
                    intruders.append(other.claim(str(uuid4()), left, {"VCPU": 1}))

        thread = threading.Thread(target=intrude)
        thread.start()
        try:
            for generation in range(1, 21):
                homes = (right, left) if generation % 2 else (left, right)
                swap = {
                    consumer: body(consumer, home, generation)
                    for consumer, home in zip(consumers, homes, strict=True)
                }
                client.must("POST", "/allocations", swap)
        finally:
            stop.set()
            thread.join()

        assert {answer.status for answer in intruders} == {409}
        for provider in (left, right):
            assert client.get(f"/resource_providers/{provider}/usages")["usages"] == {"VCPU": 4}
