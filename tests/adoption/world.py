"""Clients at work: a tree with one of everything, and random writes around it."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any
from urllib.parse import quote

from tests.journeys.client import Client
from tests.peer.exchange import Answer, Request
from tests.peer.world import NEWEST_MINOR, SHARING, World
from tests.peer.writes import WRITES, prepare

ROOT, NUMA, CARD, SHARED, GONE = (f"{digit}0000000-2222-4222-8222-222222222222" for digit in "abcde")
RACK = "f0000000-2222-4222-8222-222222222222"
CONSUMERS = [f"0000000{number}-3333-4333-8333-333333333333" for number in range(8)]

WORLD_SIZE = 6
RANDOM_WRITES = 80


def send(client: Client, request: Request) -> Answer:
    """A request of the comparison's kind, over HTTP."""
    target = quote(request.path) + (f"?{request.query}" if request.query else "")
    answer = client.request(request.method, target, request.body, request.headers)
    return Answer(answer.status, dict(answer.headers), answer.body)


def work_at_random(port: int, seed: int) -> Counter[int]:
    """Random writes on providers and consumers that are the same for every seed; statuses by number."""
    world = World(random.Random(1), size=WORLD_SIZE)
    world.random.seed(seed)
    statuses: Counter[int] = Counter()
    kinds, weights = [kind for _, kind in WRITES], [weight for weight, _ in WRITES]
    # A server may close a connection whose request was refused before its body was read.
    with Client(port, keep_alive=False) as client:
        builds = prepare(world)
        builds += [world.random.choices(kinds, weights)[0](world) for _ in range(RANDOM_WRITES)]
        for build in builds:
            request = build(lambda asked: send(client, asked))
            statuses[send(client, request).status] += 1
    return statuses


class Cloud:
    """The tree with one of everything."""

    def __init__(self, port: int) -> None:
        self._client = Client(port)

    def close(self) -> None:
        self._client.close()

    def __call__(self, method: str, path: str, body: Any = None, minor: int = NEWEST_MINOR) -> None:
        """A request that must succeed."""
        headers = {"OpenStack-API-Version": f"placement 1.{minor}"}
        answer = self._client.request(method, path, body, headers)
        assert answer.status < 300, (method, path, answer)

    def generation(self, provider: str) -> int:
        found: int = self._client.get(f"/resource_providers/{provider}")["generation"]
        return found

    def set(self, provider: str, what: str, **body: Any) -> None:
        """PUT inventories, traits or aggregates of a provider."""
        body["resource_provider_generation"] = self.generation(provider)
        self("PUT", f"/resource_providers/{provider}/{what}", body)

    def claim(self, consumer: str, allocations: dict[str, dict[str, int]], **more: Any) -> None:
        """Set what a consumer holds."""
        held = self._client.get(f"/allocations/{consumer}")
        body = {
            "allocations": {uuid: {"resources": share} for uuid, share in allocations.items()},
            "project_id": "project-1",
            "user_id": "user-1",
            "consumer_type": "INSTANCE",
            "consumer_generation": held.get("consumer_generation"),
        }
        self("PUT", f"/allocations/{consumer}", body | more)

    def build(self) -> None:
        """Of every table at least one row, and of most columns a value that is no default."""
        self("PUT", "/traits/CUSTOM_RED")
        self("PUT", "/resource_classes/CUSTOM_GOLD")
        for uuid, name, parent in (
            (ROOT, "host-1 \u2603", None),
            (NUMA, "host-1-numa", ROOT),
            (CARD, "card", None),
            (SHARED, "shared", None),
            (GONE, "gone", None),
        ):
            self("POST", "/resource_providers", {"uuid": uuid, "name": name, "parent_provider_uuid": parent})
        self("DELETE", f"/resource_providers/{GONE}")
        self("PUT", f"/resource_providers/{CARD}", {"name": "host-1-card", "parent_provider_uuid": NUMA})
        memory = {"total": 8192, "reserved": 512, "min_unit": 64, "max_unit": 4096, "step_size": 64}
        self.set(
            ROOT,
            "inventories",
            inventories={"VCPU": {"total": 8, "allocation_ratio": 1.5}, "MEMORY_MB": memory},
        )
        self.set(NUMA, "inventories", inventories={"VCPU": {"total": 4}, "PCPU": {"total": 2, "reserved": 2}})
        self.set(CARD, "inventories", inventories={"CUSTOM_GOLD": {"total": 3}})
        self.set(SHARED, "inventories", inventories={"DISK_GB": {"total": 1000}})
        self.set(ROOT, "traits", traits=["CUSTOM_RED", "HW_CPU_X86_AVX"])
        self.set(SHARED, "traits", traits=[SHARING])
        self.set(ROOT, "aggregates", aggregates=[RACK])
        self.set(SHARED, "aggregates", aggregates=[RACK])
        self.claim(CONSUMERS[0], {ROOT: {"VCPU": 2, "MEMORY_MB": 1024}, SHARED: {"DISK_GB": 10}})
        self.claim(CONSUMERS[0], {ROOT: {"VCPU": 3, "MEMORY_MB": 1024}, SHARED: {"DISK_GB": 10}})
        self.claim(CONSUMERS[1], {CARD: {"CUSTOM_GOLD": 2}}, consumer_type="MIGRATION", user_id="user-2")
        self.claim(CONSUMERS[2], {NUMA: {"VCPU": 1}}, project_id="project-2")
        # Consumers of clients that knew of neither types nor generations, nor of owners.
        self._old_claim(CONSUMERS[3], {"project_id": "project-2", "user_id": "user-2"}, 12)
        self._old_claim(CONSUMERS[4], {}, 7)
        self.claim(CONSUMERS[5], {NUMA: {"VCPU": 1}})
        self("DELETE", f"/allocations/{CONSUMERS[5]}")
        # More is used than there is: an inventory may shrink.
        self.set(NUMA, "inventories", inventories={"VCPU": {"total": 1}, "PCPU": {"total": 2, "reserved": 2}})

    def _old_claim(self, consumer: str, owner: dict[str, str], minor: int) -> None:
        share: Any = {"resources": {"VCPU": 1}}
        share = {ROOT: share} if minor >= 12 else [share | {"resource_provider": {"uuid": ROOT}}]
        self("PUT", f"/allocations/{consumer}", owner | {"allocations": share}, minor)

    def carry_on(self, round_: int) -> None:
        """What goes on, whoever serves: each round changes, takes, gives back and creates."""
        name = f"CUSTOM_ROUND_{round_}"
        self("PUT", f"/traits/{name}")
        self("PUT", f"/resource_classes/{name}")
        new = f"{round_:08d}-2222-4222-8222-222222222222"
        body = {"uuid": new, "name": f"new-{round_}", "parent_provider_uuid": ROOT}
        self("POST", "/resource_providers", body)
        self.set(new, "inventories", inventories={name: {"total": 5}, "VCPU": {"total": 2 + round_}})
        self.set(new, "traits", traits=[name, "HW_CPU_X86_AVX2"])
        self.set(new, "aggregates", aggregates=[RACK])
        # A consumer that the other one wrote last, one that is new, and one that ends.
        self.claim(CONSUMERS[0], {ROOT: {"VCPU": 1}, new: {name: 1}})
        self.claim(CONSUMERS[6], {new: {"VCPU": 1 + round_}}, project_id=f"project-of-{round_}")
        self.claim(CONSUMERS[1], {} if round_ == 1 else {CARD: {"CUSTOM_GOLD": 1}})
        self.set(ROOT, "traits", traits=["CUSTOM_RED", name])
        self("PUT", f"/resource_providers/{CARD}", {"name": f"card-{round_}", "parent_provider_uuid": NUMA})
