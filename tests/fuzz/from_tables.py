"""Requests for every operation of both APIs, made of the tables that these run on.

Bodies and queries come from the schemas of the operations, or from their examples. Names in them come from
pools: what one project has, what another one has, and what belongs to the whole cloud.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any
from urllib.parse import quote, urlencode

from moorage.api.native.endpoint import Endpoint
from moorage.api.native.openapi import EVERYTHING
from moorage.api.placement import versions
from moorage.api.placement.openapi import OPERATION
from moorage.api.placement.operation import Operation
from moorage.api.placement.routes import OPERATIONS

Route = Operation | Endpoint

ROUTES: tuple[Route, ...] = (*OPERATIONS, OPERATION, *EVERYTHING)
"""All operations of both APIs."""

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

HELD_FOR = frozenset({"wait"})
"""Parameters that would let an answer come late."""

SUFFIXES = ("", "_A", "_B", "1")

AMOUNTS = ("1", "5m")


@dataclass(frozen=True)
class Pools:
    """Names that may be in a request, by where they may be. ``texts`` are for places that have no pool."""

    uuids: Sequence[str]
    texts: Sequence[str]
    projects: Sequence[str]
    keys: Sequence[str]
    request_ids: Sequence[str]
    classes: Sequence[str]
    traits: Sequence[str]


@dataclass(frozen=True)
class Made:
    """A request. Every name in ``path``, ``body`` and ``headers`` stands there as it is in the pools."""

    name: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def text(self) -> str:
        """All that is sent."""
        return self.path + " " + json.dumps(dict(self.headers)) + (self.body or b"").decode()


class Maker:
    """Makes requests; ``random`` is its only source of chance."""

    def __init__(self, dice: random.Random, pools: Pools) -> None:
        self.random = dice
        self.pools = pools

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def any(self, choices: Sequence[Any]) -> Any:
        return choices[self.random.randrange(len(choices))]

    def request(self, route: Route) -> Made:
        """One for this operation."""
        fields = [name for _, name, _, _ in Formatter().parse(route.path) if name]
        path = route.path.format_map({name: quote(self.field(name), safe="") for name in fields})
        headers = {"OpenStack-API-Version": "placement 1.39"}
        if isinstance(route, Operation):
            minor = self.any([versions.NEWEST] * 5 + [self.random.randint(0, versions.NEWEST)])
            headers["OpenStack-API-Version"] = f"placement 1.{minor}"
            minor = max(minor, route.since)
            query = None if route.query is None else self.of(route.query.at(minor).schema)
            validator = None if route.body is None else route.body.at(minor)
            body = None if validator is None else self.of(validator.schema)
        else:
            query = {
                each.name: self.named(each.name, each.schema)
                for each in route.parameters
                if each.name not in HELD_FOR and (each.required or self.often(0.3))
            }
            body = None if route.body is None else self.native_body(route)
            if route.writes and self.often(0.4):
                headers["Idempotency-Key"] = self.any(self.pools.keys)
            if self.often(0.1):
                headers["X-OpenStack-Request-Id"] = self.any(self.pools.request_ids)
        if query:
            path += "?" + urlencode(
                {
                    name: ",".join(map(str, each)) if isinstance(each, list) else each
                    for name, each in query.items()
                },
                safe=":,",
            )
        content = None if body is None else json.dumps(body).encode()
        return Made(route.name, route.method, path, headers, content)

    def native_body(self, route: Endpoint) -> Any:
        """A body by the schema, or an example of the endpoint with other names in it."""
        examples = [each for each in route.examples if isinstance(each, dict)]
        assert route.body is not None
        return (
            self.renamed(self.any(examples)) if examples and self.often(0.6) else self.of(route.body.schema)
        )

    def renamed(self, value: Any, field: str = "") -> Any:
        """A value with other names in place of its own."""
        if isinstance(value, dict):
            found = {
                self.any(self.pools.uuids) if UUID.fullmatch(key) else key: self.renamed(each, key)
                for key, each in value.items()
                if each is not None and self.often(0.95)
            }
            if "ask" in found and self.often(0.7):
                amount = self.any([1, 1, 2, 3, 50])
                found["ask"] = {"groups": {"": {"resources": {"VCPU": amount}}}}
                for name in ("order", "summaries"):
                    if self.often(0.7):
                        found.pop(name, None)
            if field == "claims":
                if self.often(0.5):
                    found = {"ask": {"groups": {"": {"resources": {"VCPU": 1}}}}}
                found |= self.owner() if self.often(0.7) else {}
            return found
        if isinstance(value, list):
            return [self.renamed(each, field) for each in value]
        if isinstance(value, str) and UUID.fullmatch(value):
            return self.any(self.pools.uuids)
        if isinstance(value, str) and field.endswith("_id"):
            return self.any(self.pools.projects)
        return value

    def owner(self) -> dict[str, Any]:
        """Fields of an entry that say whose it is, or which consumer it moves."""
        found: dict[str, Any] = {}
        if self.often(0.2):
            found["project_id"] = self.any(self.pools.projects)
        if self.often(0.3):
            found |= {"consumer": self.any(self.pools.uuids), "generation": self.random.randint(1, 2)}
            if self.often(0.3):
                found["keep_old_as"] = self.any(self.pools.uuids)
        elif self.often(0.4):
            found["consumers"] = [self.any(self.pools.uuids)]
        return found

    def field(self, name: str) -> str:
        """Something for a field of a path."""
        if name in {"uuid", "consumer", "consumer_uuid", "lease"}:
            return str(self.any(self.pools.uuids))
        if name in {"name", "resource_class"}:
            return str(self.any([*self.pools.classes, *self.pools.traits, *self.pools.texts]))
        if name == "request_id":
            return str(self.any([*self.pools.request_ids, *self.pools.uuids, *self.pools.texts]))
        return str(self.any([*self.pools.texts, *self.pools.uuids, "no-room"]))

    def of(self, schema: Any, depth: int = 0) -> Any:
        """Something that a JSON schema describes; perhaps not in each of its parts."""
        if "enum" in schema:
            return self.any(schema["enum"])
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self.of(self.any(schema[choice]), depth)
        if "allOf" in schema:
            return self.of(schema["allOf"][0], depth)
        kind = schema.get("type", "string")
        match self.any(kind) if isinstance(kind, list) else kind:
            case "object":
                return self.object(schema, depth)
            case "array":
                count = self.random.randint(
                    max(1, schema.get("minItems", 0)), max(2, schema.get("minItems", 0))
                )
                return [self.of(schema.get("items", {}), depth + 1) for _ in range(count)]
            case "integer" | "number":
                least = int(schema.get("minimum", 0))
                return self.random.randint(least, least + 3)
            case "boolean":
                return self.often(0.5)
            case "null":
                return None
        return self.string(schema)

    def named(self, name: str, schema: Any, depth: int = 0) -> Any:
        """Something for a parameter or a field of this name."""
        return self.any(self.pools.projects) if name == "project_id" else self.of(schema, depth)

    def object(self, schema: Any, depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        found = {
            name: self.named(name, inner, depth + 1)
            for name, inner in schema.get("properties", {}).items()
            if name in required or self.often(0.3)
        }
        for pattern, inner in schema.get("patternProperties", {}).items():
            if self.often(0.8):
                found[self.matching(pattern)] = self.of(inner, depth + 1)
        free = schema.get("additionalProperties")
        if isinstance(free, dict):
            found[self.matching("")] = self.of(free, depth + 1)
        return found

    def string(self, schema: Any) -> str:
        if schema.get("format") == "uuid":
            return str(self.any(self.pools.uuids))
        found = self.matching(schema.get("pattern", ""))
        return found[: schema["maxLength"]] if "maxLength" in schema else found

    def matching(self, pattern: str) -> str:
        """A name that matches a pattern, if the pools have one. UUIDs are for patterns of these only."""
        pools: list[Sequence[str]] = [
            self.pools.texts,
            self.pools.classes,
            self.pools.traits,
            SUFFIXES,
            AMOUNTS,
        ]
        if "0-9a-f" in pattern:
            pools = [self.pools.uuids]
        for _ in range(20):
            found = str(self.any(self.any(pools)))
            if re.search(pattern, found):
                return found
        return "x"
