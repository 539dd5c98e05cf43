"""The few names that a sequence of requests is about, so that requests meet each other's effects."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.peer.exchange import ADMIN, Answer, Request

NEWEST_MINOR = 39

Peek = Callable[[Request], Answer]
"""Asks the reference alone, for what a request has to name: generations, candidates."""

Build = Callable[[Peek], Request]
"""A request as soon as it can be looked up what it has to name.

It decides everything random when it is made and nothing when it is called, so that it makes sense
whichever of the requests before it were sent.
"""

STANDARD_CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB", "SRIOV_NET_VF")
CUSTOM_CLASSES = ("CUSTOM_GOLD", "CUSTOM_SILVER")
CLASSES = STANDARD_CLASSES + CUSTOM_CLASSES
SHARING = "MISC_SHARES_VIA_AGGREGATE"
STANDARD_TRAITS = ("HW_CPU_X86_AVX", "HW_CPU_X86_SSE", "COMPUTE_NODE")
CUSTOM_TRAITS = ("CUSTOM_RED", "CUSTOM_BLUE", "CUSTOM_RAID_1")
TRAITS = STANDARD_TRAITS + CUSTOM_TRAITS
PROJECTS = ("project-a", "project-b")
USERS = ("user-a", "user-b")
TYPES = ("INSTANCE", "MIGRATION", "VOLUME_2")


@dataclass
class World:
    """Names in use, and the source of all that is random."""

    random: random.Random
    size: int
    providers: list[str] = field(init=False)
    aggregates: list[str] = field(init=False)
    consumers: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.providers = [self.uuid() for _ in range(self.size)]
        self.aggregates = [self.uuid() for _ in range(3)]
        self.consumers = [self.uuid() for _ in range(6)]

    def uuid(self) -> str:
        """A new UUID."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def some(self, items: tuple[str, ...] | list[str], most: int, least: int = 0) -> list[str]:
        """Between ``least`` and ``most`` different items in any order."""
        return self.random.sample(items, min(len(items), self.random.randint(least, most)))

    def provider(self) -> str:
        """A provider of the world, rarely one that never is."""
        return self.uuid() if self.chance(0.02) else self.random.choice(self.providers)

    def consumer(self) -> str:
        return self.random.choice(self.consumers)

    def aggregate(self) -> str:
        return self.uuid() if self.chance(0.05) else self.random.choice(self.aggregates)

    def resource_class(self) -> str:
        """A class of the world, rarely one that is not there."""
        return "CUSTOM_NEVER" if self.chance(0.01) else self.random.choice(CLASSES)

    def trait(self) -> str:
        """A trait of the world, rarely one that is not there."""
        return "CUSTOM_NEVER" if self.chance(0.01) else self.random.choice((*TRAITS, SHARING))

    def amount(self) -> int:
        """What a claim or a search asks for: mostly little, sometimes too much."""
        return self.random.choice((1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 8, 40))

    def minor(self, least: int = 0) -> int:
        """A minor version, the newest ones more often."""
        if self.chance(0.3):
            return NEWEST_MINOR
        return self.random.randint(0 if self.chance(0.1) else least, NEWEST_MINOR)


def request(
    method: str, path: str, minor: int, body: Any = None, query: str = "", *, raw: bytes | None = None
) -> Request:
    """A request of an administrator, with ``body`` as JSON or with ``raw``."""
    headers = ADMIN | {"OpenStack-API-Version": f"placement 1.{minor}"}
    content = raw if body is None else json.dumps(body).encode()
    if content is not None:
        headers["Content-Type"] = "application/json"
    return Request(method, path, query, headers, content)


def fixed(made: Request) -> Build:
    """A request that needs no looking up."""
    return lambda _: made


def provider_generation(peek: Peek, provider: str) -> int:
    """What the reference has; 0 for a provider that is not there."""
    body = peek(request("GET", f"/resource_providers/{provider}", NEWEST_MINOR)).json
    return int(body.get("generation", 0))


def held(peek: Peek, consumer: str) -> dict[str, Any]:
    """What a consumer has, as the newest version says it."""
    body = peek(request("GET", f"/allocations/{consumer}", NEWEST_MINOR)).json
    assert isinstance(body, dict)
    return body
