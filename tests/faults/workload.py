"""Clients that claim, move, free, shrink, grow, reshape, create and delete, all on the same few things.

What each does next is drawn from its seed; few providers and consumers make them meet.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from moorage.model import commands
from moorage.model.commands import Claim, Command, NewInventories
from moorage.model.orders import PACK, Order
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import Inventory
from tests.faults.clients import PATIENCE_SECONDS, Recorder
from tests.faults.history import History, Operation, Outcome
from tests.faults.lease_holder import LeaseHolder, Renewer

CLIENTS = 8

RENEWERS = ("renewer-0", "renewer-1")
"""Clients that renew what others hold."""

HOSTS = tuple(str(UUID(int=0xA000 + number)) for number in range(6))
"""Roots that stay, unless somebody deletes one while it is empty."""

CHILDREN = tuple(str(UUID(int=0xB000 + number)) for number in range(6))
"""The child of the host of the same number, at first."""

TRANSIENT = tuple(str(UUID(int=0xC000 + number)) for number in range(6))
"""Providers that come and go."""

PROVIDERS = HOSTS + CHILDREN + TRANSIENT

CONSUMERS = tuple(str(UUID(int=0xD000 + number)) for number in range(40))

HOT_CONSUMERS = CONSUMERS[:3]
"""All clients write to these all the time."""

CLASSES = ("VCPU", "MEMORY_MB", "CUSTOM_FAULT")
OTHER_CLASSES = ("CUSTOM_COMES", "CUSTOM_GOES")
TRAITS = ("CUSTOM_RED", "CUSTOM_BLUE", "CUSTOM_GREEN")
OTHER_TRAITS = ("CUSTOM_COMES", "CUSTOM_GOES")
AGGREGATES = tuple(str(UUID(int=0xE000 + number)) for number in range(3))
TYPES = ("INSTANCE", "MIGRATION")

LONGEST_PAUSE_SECONDS = 0.08
"""Between two requests of a client: enough load to meet, little enough to audit quickly."""

AFTER_NO_CONNECTION_SECONDS = 0.3
"""A client that finds nobody at the port waits so long."""

IMPATIENT = 0.02
"""Part of the writes whose client hangs up early."""

STORM = 8
"""Connections by which a client sends one request with one key at once: all clients together have 64."""

STALE = 0.1
"""Part of the writes that come with a generation of yesterday."""


def setup_commands() -> list[Command[Any]]:
    """What the clients find: hosts with a child each, names, and inventories."""
    orders: list[Command[Any]] = [
        commands.CreateResourceClass("CUSTOM_FAULT", may_exist=True),
        *(commands.CreateTrait(name) for name in TRAITS),
    ]
    for number, (host, child) in enumerate(zip(HOSTS, CHILDREN, strict=True)):
        orders += [
            commands.CreateProvider(host, f"host-{number}"),
            commands.CreateProvider(child, f"child-{number}", host),
            commands.SetInventories(
                host, 0, {"VCPU": Inventory(16), "MEMORY_MB": Inventory(64, reserved=4, step_size=2)}
            ),
            commands.SetInventories(child, 0, {"CUSTOM_FAULT": Inventory(8)}),
        ]
    return orders


def question_paths() -> list[tuple[tuple[Any, ...], str]]:
    """Searches that clients ask, and the auditor answers: question and path."""
    requests = [
        CandidateRequest((RequestGroup(resources={"VCPU": 2}),)),
        CandidateRequest((RequestGroup(resources={"VCPU": 1, "MEMORY_MB": 4}),)),
        CandidateRequest((RequestGroup(resources={"VCPU": 1, "CUSTOM_FAULT": 1}),)),
        CandidateRequest((RequestGroup(resources={"VCPU": 1}, required=(frozenset({"CUSTOM_RED"}),)),)),
        CandidateRequest(
            (RequestGroup(resources={"MEMORY_MB": 2}, member_of=(frozenset({AGGREGATES[0]}),)),)
        ),
        *(CandidateRequest((RequestGroup(resources={"VCPU": 1}, in_tree=host),)) for host in HOSTS),
    ]
    return [(("candidates", request), candidates_path(request)) for request in requests]


def candidates_path(request: CandidateRequest) -> str:
    """The query of a request with one unsuffixed group."""
    (group,) = request.groups
    query = [("resources", ",".join(f"{name}:{amount}" for name, amount in group.resources.items()))]
    query += [("required", name) for names in group.required for name in names]
    query += [("member_of", uuid) for uuids in group.member_of for uuid in uuids]
    if group.in_tree is not None:
        query.append(("in_tree", group.in_tree))
    return f"/allocation_candidates?{urlencode(query)}"


@dataclass
class Workload:
    """Runs clients in threads until it is told to stop."""

    history: History
    port: int
    seed: int
    clients: int = CLIENTS
    address: str = "127.0.0.1"
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def prepare(self) -> None:
        """Order what the clients need to find; all of it must succeed."""
        recorder = Recorder(self.history, self.port, "setup", self.address)
        for command in setup_commands():
            operation = recorder.order(command)
            assert operation.outcome is Outcome.ACKNOWLEDGED, str(operation)
        recorder.close()

    def start(self) -> None:
        """Let the clients run."""
        clients = [
            Client(self.history, self.port, f"client-{number}", f"{self.seed}-{number}", self.address)
            for number in range(self.clients)
        ]
        holders = [client.holder for client in clients]
        renewers = [
            Renewer(
                Recorder(self.history, self.port, name, self.address),
                random.Random(f"{self.seed}-{name}"),
                holders,
            )
            for name in RENEWERS
        ]
        for each in (*clients, *renewers):
            thread = threading.Thread(target=self._run, args=(each,))
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let every client finish its request. Raises what a client failed with."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _run(self, client: Client | Renewer) -> None:
        try:
            while not self._stop.is_set():
                client.act()
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            client.recorder.close()


class Client:
    """Draws actions from its seed, one after the other."""

    def __init__(self, history: History, port: int, name: str, seed: str, address: str) -> None:
        self.recorder = Recorder(history, port, name, address)
        self.dice = random.Random(seed)
        self.name = name
        self._searches = question_paths()
        self.holder = LeaseHolder(name, self.dice, self.recorder, self.order, CONSUMERS)
        self._actions: Sequence[tuple[Callable[[], None], int]] = (
            (self.claim, 30),
            (self.place, 16),
            (self.place_gang, 8),
            (self.move_placed, 6),
            (self.release, 6),
            (self.claim_hot, 14),
            (self.move, 12),
            (self.free, 9),
            (self.resize, 10),
            (self.change_one_inventory, 8),
            (self.reshape, 6),
            (self.create, 6),
            (self.delete, 5),
            (self.rename, 3),
            (self.set_traits, 5),
            (self.set_aggregates, 4),
            (self.names, 3),
            (self.search, 14),
            *self.holder.actions,
        )

    def act(self) -> None:
        """One action: a read or two, and most often a write."""
        actions, weights = zip(*self._actions, strict=True)
        self.dice.choices(actions, weights)[0]()
        time.sleep(self.dice.uniform(0, LONGEST_PAUSE_SECONDS))

    def order(self, command: Command[Any], at_once: int = 1) -> Operation:
        """Send it; now and then hang up before the answer is there."""
        patience = PATIENCE_SECONDS
        if self.dice.random() < IMPATIENT:
            patience = self.dice.uniform(0.001, 0.3)
        operation = self.recorder.order(command, patience, at_once)
        if operation.outcome is Outcome.UNSENT:
            time.sleep(AFTER_NO_CONNECTION_SECONDS)
        return operation

    # What is there

    def held(self, consumer: str) -> Mapping[str, Any] | None:
        body: Mapping[str, Any] | None = self.recorder.read(
            ("consumer", consumer), f"/allocations/{consumer}"
        )
        return body

    def inventories(self, provider: str) -> tuple[int, dict[str, Inventory]] | None:
        body = self.recorder.read(("inventories", provider), f"/resource_providers/{provider}/inventories")
        if body is None:
            return None
        found = {name: Inventory(**fields) for name, fields in body["inventories"].items()}
        return self.aged(body["resource_provider_generation"]), found

    def aged(self, generation: int) -> int:
        """Mostly what it is; sometimes what it was."""
        stale = self.dice.random() < STALE
        return max(0, generation - self.dice.randint(1, 3)) if stale else generation

    def claim_of(self, consumer: str, allocations: Mapping[str, Mapping[str, int]]) -> Claim | None:
        """A claim with the generation that the consumer has, or had."""
        body = self.held(consumer)
        if body is None:
            return None
        generation: int | None = body.get("consumer_generation")
        if self.dice.random() < STALE:
            generation = self.dice.choice((None, 1, 2, (generation or 1) - 1))
        return Claim(
            consumer,
            allocations,
            self.dice.choice(("red", "blue")),
            self.dice.choice(("ann", "bob")),
            generation,
            self.dice.choice(TYPES),
        )

    def wish(self) -> dict[str, dict[str, int]]:
        """Something of one provider or two."""
        wished: dict[str, dict[str, int]] = {}
        for provider in self.dice.sample(PROVIDERS[:14], self.dice.choice((1, 1, 2))):
            names = ("CUSTOM_FAULT",) if provider in CHILDREN else CLASSES[: self.dice.randint(1, 2)]
            wished[provider] = {name: self.dice.choice((1, 2, 2, 4)) for name in names}
            if "MEMORY_MB" in wished[provider]:
                wished[provider]["MEMORY_MB"] = self.dice.choice((2, 4, 8, 3))
        return wished

    # What is done

    def claim(self) -> None:
        self._claim(self.dice.choice(CONSUMERS))

    def claim_hot(self) -> None:
        """All clients at once, for the same consumers."""
        self._claim(self.dice.choice(HOT_CONSUMERS))

    def _claim(self, consumer: str) -> None:
        claim = self.claim_of(consumer, self.wish() if self.dice.random() < 0.9 else {})
        if claim is not None:
            self.order(commands.ReplaceAllocations((claim,)))

    def move(self) -> None:
        """Two consumers at once: they change places, or go elsewhere."""
        first, second = self.dice.sample(CONSUMERS, 2)
        claims = [self.claim_of(first, self.wish()), self.claim_of(second, self.wish())]
        if self.dice.random() < 0.3:
            claims[1] = self.claim_of(second, {})
        found = tuple(claim for claim in claims if claim is not None)
        if len(found) == 2:
            self.order(commands.ReplaceAllocations(found))

    def place(self) -> None:
        """A claim for which the service finds the place; often all connections of the client send it."""
        resources = {"VCPU": self.dice.choice((1, 2, 4))}
        if self.dice.random() < 0.3:
            resources["CUSTOM_FAULT"] = 1
        self._place([self.dice.choice(CONSUMERS)], [resources])

    def place_gang(self) -> None:
        """Several at once: all of them, or some."""
        consumers = self.dice.sample(CONSUMERS, self.dice.choice((2, 2, 3)))
        self._place(consumers, [{"VCPU": self.dice.choice((1, 2, 2, 8))} for _ in consumers])

    def move_placed(self) -> None:
        """What a consumer holds goes elsewhere, or becomes another amount."""
        consumer = self.dice.choice(CONSUMERS)
        body = self.held(consumer)
        if not body or not body["allocations"]:
            return
        claim = Claim(
            consumer,
            {},
            body["project_id"],
            body["user_id"],
            self.aged(body["consumer_generation"]),
            body["consumer_type"],
        )
        self._send([claim], [{"VCPU": self.dice.choice((1, 2, 4))}])

    def _place(self, consumers: Sequence[str], asks: Sequence[Mapping[str, int]]) -> None:
        project, user = self.dice.choice(("red", "blue")), self.dice.choice(("ann", "bob"))
        claims = [Claim(consumer, {}, project, user, None, "INSTANCE") for consumer in consumers]
        self._send(claims, asks)

    def _send(self, claims: Sequence[Claim], asks: Sequence[Mapping[str, int]]) -> None:
        least = len(claims) if self.dice.random() < 0.7 else 1
        orders = self.dice.choice(((), tuple(Order(PACK) for _ in claims)))
        requests = tuple(CandidateRequest((RequestGroup(resources=ask),)) for ask in asks)
        command = commands.PlaceClaims(tuple(claims), requests, least, orders=orders)
        self.order(command, self.dice.choice((1, 1, 1, STORM)))

    def release(self) -> None:
        consumers = tuple(self.dice.sample(CONSUMERS, self.dice.randint(1, 3)))
        self.order(commands.ReleaseClaims(consumers), self.dice.choice((1, 1, STORM)))

    def free(self) -> None:
        self.order(commands.DeleteAllocations(self.dice.choice(CONSUMERS)))

    def resize(self) -> None:
        """Shrink and grow, also below what is used."""
        provider = self.dice.choice(PROVIDERS)
        known = self.inventories(provider)
        if known is None:
            return
        generation, inventories = known
        for name in self.dice.sample(CLASSES, self.dice.randint(1, 2)):
            if name in inventories and self.dice.random() < 0.15:
                del inventories[name]
            else:
                inventories[name] = self.inventory(name)
        self.order(commands.SetInventories(provider, generation, inventories))

    def inventory(self, name: str) -> Inventory:
        return Inventory(
            self.dice.choice((2, 8, 16, 32)),
            reserved=self.dice.choice((0, 0, 1)),
            step_size=2 if name == "MEMORY_MB" else 1,
            allocation_ratio=self.dice.choice((1.0, 1.0, 2.0, 1.5)),
        )

    def change_one_inventory(self) -> None:
        provider, name = self.dice.choice(PROVIDERS), self.dice.choice(CLASSES)
        known = self.inventories(provider)
        if known is None:
            return
        generation, inventories = known
        if name not in inventories:
            self.order(commands.AddInventory(provider, name, self.inventory(name)))
        elif self.dice.random() < 0.15:
            self.order(commands.DeleteInventory(provider, name))
        else:
            self.order(commands.UpdateInventory(provider, generation, name, self.inventory(name)))

    def reshape(self) -> None:
        """Move a class from one provider to another, with all that is held of it."""
        source, target = self.dice.sample(HOSTS + CHILDREN, 2)
        here, there = self.inventories(source), self.inventories(target)
        if here is None or there is None or not here[1]:
            return
        name = self.dice.choice(sorted(here[1]))
        moved = here[1].pop(name)
        there[1][name] = Inventory(moved.total + 16, step_size=moved.step_size, allocation_ratio=2.0)
        users = self.recorder.read(("allocations", source), f"/resource_providers/{source}/allocations")
        if users is None:
            return
        claims = []
        for consumer in sorted(users["allocations"]):
            claim = self._moved(consumer, source, target, name)
            if claim is not None:
                claims.append(claim)
        self.order(
            commands.Reshape(
                {source: NewInventories(*here), target: NewInventories(*there)},
                tuple(claims),
            )
        )

    def _moved(self, consumer: str, source: str, target: str, name: str) -> Claim | None:
        body = self.held(consumer)
        if not body or not body["allocations"]:
            return None
        allocations: dict[str, dict[str, int]] = {
            uuid: dict(item["resources"]) for uuid, item in body["allocations"].items()
        }
        amount = allocations.get(source, {}).pop(name, 0)
        if not allocations.get(source, {"": 1}):
            del allocations[source]
        if amount:
            held = allocations.setdefault(target, {})
            held[name] = held.get(name, 0) + amount
        return Claim(
            consumer,
            allocations,
            body["project_id"],
            body["user_id"],
            body["consumer_generation"],
            body["consumer_type"],
        )

    def create(self) -> None:
        uuid = self.dice.choice(TRANSIENT if self.dice.random() < 0.8 else HOSTS + CHILDREN)
        parent = self.dice.choice((None, None, *HOSTS, *TRANSIENT))
        name = f"provider-{self.dice.randrange(12)}"
        if self.order(commands.CreateProvider(uuid, name, parent)).outcome is Outcome.ACKNOWLEDGED:
            inventories = {name: self.inventory(name) for name in CLASSES[: self.dice.randint(1, 3)]}
            self.order(commands.SetInventories(uuid, 0, inventories))

    def delete(self) -> None:
        self.order(commands.DeleteProvider(self.dice.choice(TRANSIENT + TRANSIENT + CHILDREN)))

    def rename(self) -> None:
        """And sometimes to another parent."""
        uuid = self.dice.choice(PROVIDERS)
        name = f"provider-{self.dice.randrange(12)}"
        if self.dice.random() < 0.5:
            self.order(commands.UpdateProvider(uuid, name))
        else:
            parent = self.dice.choice((None, *HOSTS, *TRANSIENT))
            self.order(commands.UpdateProvider(uuid, name, parent))

    def set_traits(self) -> None:
        provider = self.dice.choice(PROVIDERS)
        known = self.inventories(provider)
        if known is not None:
            names = frozenset(self.dice.sample(TRAITS + OTHER_TRAITS, self.dice.randint(0, 3)))
            self.order(commands.SetTraits(provider, known[0], names))

    def set_aggregates(self) -> None:
        provider = self.dice.choice(PROVIDERS)
        known = self.inventories(provider)
        if known is not None:
            uuids = tuple(self.dice.sample(AGGREGATES, self.dice.randint(0, 2)))
            self.order(commands.SetAggregates(provider, known[0], uuids))

    def names(self) -> None:
        """Traits and classes come and go."""
        name = self.dice.choice(OTHER_TRAITS)
        self.order(
            self.dice.choice(
                (
                    commands.CreateTrait(name),
                    commands.DeleteTrait(name),
                    commands.CreateResourceClass(name, may_exist=True),
                    commands.DeleteResourceClass(name),
                )
            )
        )

    def search(self) -> None:
        self.recorder.read(*self.dice.choice(self._searches))
