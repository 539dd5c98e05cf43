"""Everything that a client can read of a service, over HTTP, in a form in which order means nothing."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from tests.adoption.world import ROOT
from tests.journeys.client import Answer, Client

Dump = dict[str, Any]

NEWEST = 39

OLDER = (0, 12)
"""Further microversions, in whose forms the shapes differ."""

UNDATED = ("/aggregates", "/usages", "/allocations", "/allocation_candidates")
"""Where the reference has nothing to date and says "now"."""

SEARCHES = (
    "resources=VCPU:1",
    "resources=VCPU:2,MEMORY_MB:512&required=CUSTOM_RED",
    "resources=CUSTOM_GOLD:1",
    "resources1=VCPU:1&resources2=CUSTOM_GOLD:1&group_policy=isolate",
)
"""What is searched for within the tree that is the same in every run."""


def dump(port: int, *, usages_by_type: bool) -> Dump:
    """Answers by request. ``usages_by_type`` is False where the reference cannot tell them."""
    with Client(port) as client:
        return Reader(client, usages_by_type).all()


class Reader:
    """Asks, and remembers what was answered."""

    def __init__(self, client: Client, usages_by_type: bool) -> None:
        self._client = client
        self._usages_by_type = usages_by_type
        self._found: Dump = {}

    def all(self) -> Dump:
        self._names()
        providers = [provider["uuid"] for provider in self._get("/resource_providers")["resource_providers"]]
        consumers: set[str] = set()
        for uuid in providers:
            consumers |= self._provider(uuid)
        owners = set()
        for consumer in sorted(consumers):
            held = self._get(f"/allocations/{consumer}")
            owners.add((held["project_id"], held["user_id"]))
            for minor in OLDER:
                self._get(f"/allocations/{consumer}", minor)
        for project, user in sorted(owners):
            self._usages(project, user)
        for search in SEARCHES:
            self._get(f"/allocation_candidates?{search}&in_tree{'1' if '1' in search[:10] else ''}={ROOT}")
        for minor in OLDER:
            self._get("/resource_providers", minor)
        return self._found

    def _names(self) -> None:
        for listed in self._get("/resource_classes")["resource_classes"]:
            if listed["name"].startswith("CUSTOM_"):
                self._get(f"/resource_classes/{listed['name']}")
        for name in self._get("/traits")["traits"]:
            if name.startswith("CUSTOM_"):
                self._get(f"/traits/{name}")
        self._get("/traits?associated=true")

    def _provider(self, uuid: str) -> set[str]:
        """Ask for all of a provider; returns its consumers."""
        path = f"/resource_providers/{uuid}"
        for name in self._get(f"{path}/inventories")["inventories"]:
            self._get(f"{path}/inventories/{name}")
        for rest in ("", "/usages", "/aggregates", "/traits"):
            self._get(path + rest)
        for minor in OLDER:
            self._get(path, minor)
            self._get(f"{path}/allocations", minor)
        self._get(f"/resource_providers?in_tree={uuid}")
        return set(self._get(f"{path}/allocations")["allocations"])

    def _usages(self, project: str, user: str) -> None:
        for owner in ({"project_id": project}, {"project_id": project, "user_id": user}):
            self._get(f"/usages?{urlencode(owner)}", 37)
            for consumer_type in ("all", "unknown"):
                self._get(f"/usages?{urlencode(owner | {'consumer_type': consumer_type})}")
            if self._usages_by_type:
                self._get(f"/usages?{urlencode(owner)}")

    def _get(self, path: str, minor: int = NEWEST) -> Any:
        answer = self._client.request("GET", path, headers={"OpenStack-API-Version": f"placement 1.{minor}"})
        assert answer.status < 500, (path, minor, answer)
        self._found[f"1.{minor} GET {path}"] = meaning(path, answer)
        return answer.json if answer.body else None


def meaning(path: str, answer: Answer) -> Any:
    """What an answer says; errors differ in their request ids."""
    if answer.status >= 400:
        return answer.status, answer.detail
    body = answer.json if answer.body else None
    dated = body != {} and not path.partition("?")[0].endswith(UNDATED) and not _empty(body)
    return answer.status, unordered(body), answer.headers.get("last-modified") if dated else None


def _empty(body: Any) -> bool:
    """An inventory or a list without anything in it has no date of its own."""
    return isinstance(body, dict) and any(value in ([], {}) for value in body.values())


def unordered(value: Any) -> Any:
    """``value`` with every list in one order."""
    if isinstance(value, dict):
        return {key: unordered(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted(
            (unordered(inner) for inner in value), key=lambda inner: json.dumps(inner, sort_keys=True)
        )
    return value


def differences(before: Dump, after: Dump) -> list[str]:
    """A line for each request that is answered otherwise."""
    return [
        f"{request}:\n  {before.get(request)}\n  {after.get(request)}"
        for request in sorted(before.keys() | after.keys())
        if before.get(request) != after.get(request)
    ]
