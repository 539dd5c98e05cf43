"""What explanations hide from clients without the rule for holders.

Two clouds have the same trees with the same amounts in use. They differ in all that must stay hidden: uuids
and names of providers, the order in which these were made, and which consumers, projects and users hold how
much. A client that may not see holders gets the same answers from both, whatever it asks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from moorage.api.http.settings import Limits
from moorage.api.native.application import create
from moorage.api.native.kept_explanations import KeptForms
from moorage.api.placement import application
from moorage.api.placement.query import newest_request
from moorage.auth.noauth import NoAuth
from moorage.model.values import SHARING_TRAIT
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from moorage.store.store import Store
from tests.databases.orders import add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenStore, Prepare
from tests.unit.api.fake import Client, Result, usual_policy
from tests.unit.api.native.client import NativeClient
from tests.unit.api.native.test_explanations import EXPLAIN, OnlyRules

SHOW = "moorage:explanations:show"
TREES = 12
ASKS = 60

TRAITS = (
    "HW_NIC_SRIOV",
    "HW_CPU_X86_AVX2",
    "HW_CPU_X86_SGX",
    "HW_NUMA_ROOT",
    "STORAGE_DISK_SSD",
    "COMPUTE_NODE",
    "COMPUTE_STATUS_DISABLED",
)
RARE = tuple(
    f"HW_CPU_X86_{name}" for name in ("SSE", "SSE2", "SSE3", "SSE41", "SSE42", "MMX", "FMA3", "F16C")
)
"""Each of these, and each aggregate of the same number, is of one tree only."""

AGGREGATES = tuple(f"a99a{number:04}-0000-4000-8000-000000000000" for number in range(TREES + 3))
CLASSES = ("VCPU", "MEMORY_MB", "PGPU", "SRIOV_NET_VF")


@dataclass
class Twin:
    """One of the clouds, a client that may not see holders, and what it must not learn."""

    service: Service
    word: str
    secrets: set[str] = field(default_factory=set)
    uuids: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.native = NativeClient(self.service)
        self.native.app = create(self.service, newest_request, Limits(), NoAuth(), OnlyRules(EXPLAIN, SHOW))
        self._placement = Client.__new__(Client)
        self._placement.app = application.create(self.service, policy=usual_policy())

    def add(self, shape: Shape, number: int, parent: str | None = None) -> None:
        """A provider, what it has, and its children; then those that hold something of it."""
        name = f"{self.word}-host-{number}-{len(self.uuids)}"
        uuid = add_provider(self.service, name, parent, shape.traits, shape.aggregates, **shape.totals)
        self.uuids.append(uuid)
        self.names.append(name)
        self.secrets |= {uuid, name}
        self._hold(uuid, {each: used for each, used in shape.used.items() if used})
        for child in shape.children:
            self.add(child, number, uuid)

    def _hold(self, uuid: str, used: Mapping[str, int]) -> None:
        """Have ``used`` held by one consumer in the first cloud, by one for each unit in the other."""
        parts = (
            [dict(used)] if self.word == "alpha" else [{name: 1} for name in used for _ in range(used[name])]
        )
        for number, part in enumerate(parts):
            consumer, project = new_uuid(), f"{self.word}-project-{number}"
            kind = f"{self.word.upper()}_TYPE"
            if part:
                order(self.service, claim(consumer, {uuid: part}, None, kind, project, f"{self.word}-user"))
                self.secrets |= {consumer, project, kind, f"{self.word}-user"}

    def answer(self, told: Result) -> tuple[int, Any]:
        """Status and body without what differs between all requests; neither has a secret in it."""
        text = told.body.decode() + json.dumps(dict(told.headers))
        assert [secret for secret in self.secrets if secret in text] == []
        body = json.loads(told.body)
        for name in ("request_id", "at", "revision"):
            body.pop(name, None)
        return told.status, body

    def explained(self, body: Mapping[str, object]) -> tuple[int, Any]:
        return self.answer(self.native.post("/moorage/v1/explanations", body))

    def searched(self, query: str) -> tuple[int, Any]:
        """Search with a query of Placement, then have it explained by the id of its request."""
        found = self._placement.ask("GET", f"/allocation_candidates?{query}", 39)
        self.service.settle_unmet()
        request_id = found.headers["x-openstack-request-id"]
        return self.answer(self.native.get(f"/moorage/v1/explanations/{request_id}"))


@dataclass
class Shape:
    """A provider as both clouds have it."""

    traits: tuple[str, ...]
    aggregates: tuple[str, ...]
    totals: dict[str, int]
    used: dict[str, int]
    children: list[Shape] = field(default_factory=list)


def shape(random: Random, number: int, depth: int = 0) -> Shape:
    totals = {name: random.randint(1, 5) for name in random.sample(CLASSES, random.randint(1, 3))}
    traits = set(random.sample(TRAITS, random.randint(0, 4)))
    aggregates = set(random.sample(AGGREGATES[TREES:], random.randint(0, 2)))
    if depth == 0:
        traits.add(RARE[number % len(RARE)])
        aggregates.add(AGGREGATES[number])
        traits |= {SHARING_TRAIT} if random.random() < 0.1 else set()
    return Shape(
        tuple(sorted(traits)),
        tuple(sorted(aggregates)),
        totals,
        {name: random.randint(0, total) for name, total in totals.items()},
        [shape(random, number, depth + 1) for _ in range(random.randint(0, 2) if depth < 2 else 0)],
    )


@pytest.fixture(params=range(3))
def twins(
    request: pytest.FixtureRequest, prepare: Prepare, open_store: OpenStore
) -> tuple[Random, Twin, Twin]:
    random = Random(request.param)
    shapes = [shape(random, number) for number in range(TREES)]

    def made(word: str) -> Twin:
        store: Store = open_store(prepare("sqlite"))
        return Twin(Service(store, ServiceSettings(unmet_kept=1000), unmet_forms=KeptForms()), word)

    alpha, beta = made("alpha"), made("beta")
    for number, each in enumerate(shapes):
        alpha.add(each, number)
    for number, each in reversed([*enumerate(shapes)]):
        beta.add(each, number)
    return random, alpha, beta


def some(random: Random, values: tuple[str, ...], most: int) -> list[str]:
    return random.sample(values, random.randint(0, most))


def choices(random: Random, values: tuple[str, ...]) -> list[object]:
    """Names, and lists of which any one will do."""
    found: list[object] = list(some(random, values, 2))
    if random.random() < 0.3:
        found.append({"any": random.sample(values, random.randint(1, 4))})
    return found


def group_of(random: Random) -> dict[str, object]:
    group: dict[str, object] = {
        "resources": {name: random.randint(1, 7) for name in random.sample(CLASSES, random.randint(0, 2))}
    }
    if random.random() < 0.5:
        group["required"] = choices(random, TRAITS + RARE)
    if random.random() < 0.2:
        group["forbidden"] = some(random, TRAITS, 2)
    if random.random() < 0.4:
        group["member_of"] = choices(random, AGGREGATES)
    if random.random() < 0.2:
        group["not_member_of"] = some(random, AGGREGATES, 3)
    return group


def ask_of(random: Random) -> dict[str, object]:
    suffixes = random.sample(["", "_A", "_B"], random.randint(1, 3))
    ask: dict[str, object] = {
        "groups": {suffix: group_of(random) for suffix in suffixes},
        "group_policy": random.choice(["none", "isolate"]),
    }
    if random.random() < 0.3:
        ask["root_required"] = some(random, TRAITS + RARE, 1)
    if {"_A", "_B"} <= {*suffixes} and random.random() < 0.5:
        ask["same_subtree"] = [["_A", "_B"]]
    return ask


def body_of(random: Random) -> dict[str, object]:
    more: dict[str, object] = {
        "count": random.choice([1, 2, 5, 1000]),
        "nearest": 20,
        "relaxations": random.randint(0, 20),
        "alternatives": 20,
        "holders": True,
        "project_id": "mine",
    }
    chosen = {name: value for name, value in more.items() if random.random() < 0.5}
    return {"ask": ask_of(random), **chosen}


Both = tuple[Random, Twin, Twin]


@pytest.mark.slow
def test_answers_of_clouds_that_differ_in_what_is_hidden_are_equal(twins: Both) -> None:
    random, alpha, beta = twins
    verdicts = set()
    for _ in range(ASKS):
        body = body_of(random)
        one, other = alpha.explained(body), beta.explained(body)
        assert one == other, body
        verdicts.add(one[1].get("verdict", one[0]))
    assert {"fits", "no_room", "never_fits"} <= verdicts


@pytest.mark.slow
def test_kept_answers_of_such_clouds_are_equal(twins: Both) -> None:
    random, alpha, beta = twins
    statuses = set()
    for _ in range(ASKS // 3):
        traits = ",".join(random.sample(TRAITS + RARE, random.randint(1, 2)))
        aggregate = random.choice(AGGREGATES)
        first, second = random.sample(CLASSES, 2)
        policy, suffix = random.choice(["none", "isolate"]), random.choice(["", "_A"])
        query = (
            f"resources={first}:{random.randint(2, 6)}&required={traits}&resources_A={second}:1"
            f"&member_of{suffix}={aggregate}&group_policy={policy}"
        )
        one, other = alpha.searched(query), beta.searched(query)
        assert one == other, query
        statuses.add(one[0])
    assert 200 in statuses


NAMED: Mapping[str, Callable[[str], dict[str, object]]] = {
    "at": lambda there: {"ask": {"query": "resources=VCPU:1"}, "at": there},
    "in_tree": lambda there: {
        "ask": {
            "groups": {"": {"resources": {"VCPU": 1}}, "_A": {"resources": {"PGPU": 9}, "in_tree": there}}
        }
    },
    "pasted": lambda there: {"ask": {"query": f"resources=VCPU:1&in_tree={there}&limit=5"}},
}
"""Requests that name a tree."""


@pytest.mark.slow
def test_no_answer_says_whether_a_tree_that_is_named_is_there(twins: Both) -> None:
    random, alpha, _ = twins
    for kind, request in NAMED.items():
        there = [random.choice(alpha.uuids), new_uuid()]
        there += [random.choice(alpha.names), "no-host", "\u200b", "0"] if kind == "at" else []
        answers = [alpha.explained(request(each)) for each in there]
        assert [status for status, _ in answers] == [403] * len(there)
        assert all(answer == answers[0] for answer in answers), kind
