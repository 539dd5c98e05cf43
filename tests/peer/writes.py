"""Random writes: providers, inventories, traits, aggregates, classes, allocations, reshapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.peer.exchange import Request
from tests.peer.world import (
    CLASSES,
    CUSTOM_CLASSES,
    CUSTOM_TRAITS,
    NEWEST_MINOR,
    PROJECTS,
    SHARING,
    TRAITS,
    TYPES,
    USERS,
    Build,
    Peek,
    World,
    fixed,
    held,
    provider_generation,
    request,
)

STALE = 0.06
"""How often a generation is wrong on purpose."""


def create_provider(world: World, *, minor: int | None = None, index: int | None = None) -> Build:
    """A provider of the world under one of few names, so that names and UUIDs collide."""
    chosen = world.random.randrange(world.size) if index is None else index
    name = (
        f"p{chosen}" if index is not None or world.chance(0.7) else f"p{world.random.randrange(world.size)}"
    )
    body: dict[str, Any] = {"name": name, "uuid": world.providers[chosen]}
    minor = world.minor() if minor is None else minor
    if minor >= 14 and world.chance(0.6):
        earlier = world.providers[:chosen] if index is not None else world.providers
        body["parent_provider_uuid"] = world.random.choice([*earlier, None]) if earlier else None
    elif world.chance(0.03):
        body["parent_provider_uuid"] = world.provider()
    return fixed(request("POST", "/resource_providers", minor, body))


def update_provider(world: World) -> Build:
    """Rename, re-parent, or both."""
    provider = world.provider()
    body: dict[str, Any] = {"name": f"p{world.random.randrange(world.size + 3)}"}
    if world.providers.count(provider) and world.chance(0.6):
        body["name"] = f"p{world.providers.index(provider)}"
    minor = world.minor(14)
    if world.chance(0.7):
        body["parent_provider_uuid"] = None if world.chance(0.25) else world.provider()
    return fixed(request("PUT", f"/resource_providers/{provider}", minor, body))


def delete_provider(world: World) -> Build:
    return fixed(request("DELETE", f"/resource_providers/{world.provider()}", world.minor()))


RATIOS = (
    *(0, 0.1, 0.33, 0.5, 1, 1.0, 1.1, 1.5, 2.9, 16.0, 16.0, 1.5, -1.0),
    *(2, 16, 1e-05, 2.5e-07, 1e16, 3.25e20, 10**19, 0.0),
)
"""Ratios, and ways to spell them."""


def inventory(world: World) -> dict[str, Any]:
    """Fields of an inventory; any but ``total`` may be left to its default."""
    pick = world.random.choice
    record: dict[str, Any] = {"total": pick((1, 2, 4, 8, 10, 16, 24, 24, 100, 100, 24.0, 100.0))}
    if world.chance(0.3):
        record["reserved"] = pick((0, 1, 1, 2, 4, 16, 1.0))
    if world.chance(0.3):
        record["allocation_ratio"] = pick(RATIOS)
    if world.chance(0.15):
        record["min_unit"] = pick((1, 2, 3))
    if world.chance(0.2):
        record["max_unit"] = pick((1, 2, 4, 8, 8.0, 2147483647))
    if world.chance(0.15):
        record["step_size"] = pick((1, 2, 3))
    return record


def _generation(world: World) -> int:
    """What to add to the present generation."""
    return world.random.choice((-1, 1, 5)) if world.chance(STALE) else 0


def set_inventories(world: World, *, provider: str | None = None, minor: int | None = None) -> Build:
    """PUT of all inventories of a provider."""
    of = provider or world.provider()
    off = 0 if provider else _generation(world)
    classes = [world.resource_class() for _ in range(world.random.randint(0 if provider is None else 2, 6))]
    if provider is None:
        records = {name: inventory(world) for name in classes}
    else:
        records = {
            name: {"total": world.random.choice((4, 8, 24, 100))} for name in classes if name in CLASSES
        }
    at = world.minor() if minor is None else minor

    def build(peek: Peek) -> Request:
        body = {"resource_provider_generation": provider_generation(peek, of) + off, "inventories": records}
        return request("PUT", f"/resource_providers/{of}/inventories", at, body)

    return build


def add_inventory(world: World) -> Build:
    body = inventory(world) | {"resource_class": world.resource_class()}
    if world.chance(0.3):
        body["resource_provider_generation"] = world.random.randrange(4)
    return fixed(request("POST", f"/resource_providers/{world.provider()}/inventories", world.minor(), body))


def set_inventory(world: World) -> Build:
    """PUT of one inventory."""
    of, name, at = world.provider(), world.resource_class(), world.minor()
    off, record = _generation(world), inventory(world)

    def build(peek: Peek) -> Request:
        body = record | {"resource_provider_generation": provider_generation(peek, of) + off}
        return request("PUT", f"/resource_providers/{of}/inventories/{name}", at, body)

    return build


def delete_inventory(world: World) -> Build:
    path = f"/resource_providers/{world.provider()}/inventories"
    if world.chance(0.6):
        path += f"/{world.resource_class()}"
    return fixed(request("DELETE", path, world.minor()))


def set_traits(world: World, *, provider: str | None = None, minor: int | None = None) -> Build:
    """PUT of all traits of a provider, sharing or not."""
    of = provider or world.provider()
    off = _generation(world)
    traits = [*world.some(TRAITS, 4, 1), *([SHARING] if world.chance(0.25) else [])]
    if world.chance(0.03):
        traits.append("CUSTOM_NEVER")
    if world.chance(0.05):
        traits += traits[:1]
    at = world.minor(6) if minor is None else minor

    def build(peek: Peek) -> Request:
        body = {"resource_provider_generation": provider_generation(peek, of) + off, "traits": traits}
        return request("PUT", f"/resource_providers/{of}/traits", at, body)

    return build


def clear_traits(world: World) -> Build:
    return fixed(request("DELETE", f"/resource_providers/{world.provider()}/traits", world.minor(6)))


def set_aggregates(world: World, *, provider: str | None = None, minor: int | None = None) -> Build:
    """PUT of all aggregates of a provider."""
    of = provider or world.provider()
    off = _generation(world)
    aggregates = world.some(world.aggregates, 3, 0 if provider is None else 1)
    at = world.minor(1) if minor is None else minor

    def build(peek: Peek) -> Request:
        body: Any = aggregates
        if at >= 19:
            generation = provider_generation(peek, of) + off
            body = {"aggregates": aggregates, "resource_provider_generation": generation}
        return request("PUT", f"/resource_providers/{of}/aggregates", at, body)

    return build


def change_names(world: World) -> Build:
    """Traits and resource classes come and go."""
    minor = world.minor(7)
    if world.chance(0.5):
        method = world.random.choice(("PUT", "PUT", "DELETE"))
        name = world.random.choice((*CUSTOM_TRAITS, "CUSTOM_NEW", "COMPUTE_NODE", "CUSTOM_", "custom_x"))
        return fixed(request(method, f"/traits/{name}", minor))
    name = world.random.choice((*CUSTOM_CLASSES, "CUSTOM_NEW", "VCPU", "CUSTOM_", "custom_x"))
    method = world.random.choice(("PUT", "PUT", "POST", "DELETE"))
    if method == "POST":
        return fixed(request(method, "/resource_classes", world.minor(2), {"name": name}))
    if method == "PUT" and world.chance(0.4):
        body = {"name": world.random.choice((*CUSTOM_CLASSES, "CUSTOM_NEW"))}
        return fixed(request(method, f"/resource_classes/{name}", world.random.randint(2, 9), body))
    return fixed(request(method, f"/resource_classes/{name}", minor))


def _resources(world: World) -> dict[str, dict[str, int]]:
    """Amounts by class, by provider."""
    return {
        world.provider(): {
            world.resource_class(): world.amount() for _ in range(world.random.choice((1, 1, 2, 3)))
        }
        for _ in range(world.random.choice((1, 1, 1, 2, 3)))
    }


def _owner(world: World) -> dict[str, Any]:
    """Who a consumer belongs to, with everything that some version wants."""
    return {
        "project_id": world.random.choice(PROJECTS),
        "user_id": world.random.choice(USERS),
        "consumer_type": world.random.choice(TYPES),
    }


def _consumer_body(owner: dict[str, Any], minor: int, generation: int | None) -> dict[str, Any]:
    """``owner`` and generation as ``minor`` takes them."""
    body: dict[str, Any] = {}
    if minor >= 8:
        body |= {key: owner[key] for key in ("project_id", "user_id")}
    if minor >= 28:
        body["consumer_generation"] = generation
    if minor >= 38:
        body["consumer_type"] = owner["consumer_type"]
    return body


def _consumer_generation(peek: Peek, consumer: str, spoiled: str | None) -> int | None:
    generation: int | None = held(peek, consumer).get("consumer_generation")
    match spoiled:
        case "null":
            return None
        case "more":
            return (generation or 0) + 1
    return generation


def _spoiled(world: World) -> str | None:
    return world.random.choice(("null", "more")) if world.chance(STALE) else None


def _shaped(amounts: dict[str, dict[str, int]], minor: int) -> Any:
    if minor >= 12:
        return {provider: {"resources": resources} for provider, resources in amounts.items()}
    return [
        {"resource_provider": {"uuid": provider}, "resources": resources}
        for provider, resources in amounts.items()
    ]


def claim(world: World) -> Build:
    """PUT of a consumer's allocations, made up or emptied."""
    consumer, at, owner, spoiled = world.consumer(), world.minor(), _owner(world), _spoiled(world)
    amounts = {} if world.chance(0.07) else _resources(world)

    def build(peek: Peek) -> Request:
        body = _consumer_body(owner, at, _consumer_generation(peek, consumer, spoiled))
        return request("PUT", f"/allocations/{consumer}", at, body | {"allocations": _shaped(amounts, at)})

    return build


def claim_candidate(world: World) -> Build:
    """PUT of what the reference proposes for a search, as a scheduler does it."""
    consumer, at, owner, spoiled = world.consumer(), world.minor(12), _owner(world), _spoiled(world)
    query = f"resources={world.resource_class()}:{world.random.randint(1, 4)}"
    if world.chance(0.4):
        query += f"&resources1={world.resource_class()}:{world.random.randint(1, 4)}"
    index = world.random.randrange(100)

    def build(peek: Peek) -> Request:
        found = peek(request("GET", "/allocation_candidates", NEWEST_MINOR, query=query)).json
        proposals = sorted(
            found.get("allocation_requests", []), key=lambda one: json.dumps(one, sort_keys=True)
        )
        proposal = proposals[index % len(proposals)]["allocations"] if proposals else {}
        amounts = {provider: share["resources"] for provider, share in proposal.items()}
        body = _consumer_body(owner, at, _consumer_generation(peek, consumer, spoiled))
        return request("PUT", f"/allocations/{consumer}", at, body | {"allocations": _shaped(amounts, at)})

    return build


def drop_claim(world: World) -> Build:
    return fixed(request("DELETE", f"/allocations/{world.consumer()}", world.minor()))


def _present_amounts(peek: Peek, consumer: str) -> dict[str, dict[str, int]]:
    allocations = held(peek, consumer)["allocations"]
    return {provider: share["resources"] for provider, share in allocations.items()}


def claim_many(world: World) -> Build:
    """POST of several consumers' allocations: new ones, swaps, moves, emptied ones."""
    consumers = world.some(world.consumers, 3, 1)
    at, owner = world.minor(13), _owner(world)
    spoiled = {consumer: _spoiled(world) for consumer in consumers}
    kind = world.random.choice(("new", "swap", "move", "new"))
    amounts = {consumer: {} if world.chance(0.2) else _resources(world) for consumer in consumers}

    def build(peek: Peek) -> Request:
        wanted = dict(amounts)
        if kind != "new":
            present = [_present_amounts(peek, consumer) for consumer in consumers]
            turned = present[1:] + present[:1] if kind == "swap" else [{}, *present[:-1]]
            wanted = dict(zip(consumers, turned, strict=True))
        body = {
            consumer: {"allocations": _shaped(wanted[consumer], 12)}
            | _consumer_body(owner, at, _consumer_generation(peek, consumer, spoiled[consumer]))
            for consumer in consumers
        }
        return request("POST", "/allocations", at, body)

    return build


def reshape(world: World) -> Build:
    """Move inventory of one class to another provider, and what is held of it with it."""
    at, name = world.minor(30), world.resource_class()
    source, target = world.provider(), world.provider()
    off, record, honest = _generation(world), inventory(world), world.chance(0.7)
    owner, moved = _owner(world), world.chance(0.8)

    def build(peek: Peek) -> Request:
        inventories = {}
        for provider in (source, target):
            body = peek(request("GET", f"/resource_providers/{provider}/inventories", NEWEST_MINOR)).json
            records = body.get("inventories", {})
            if provider == source and honest:
                records.pop(name, None)
            if provider == target:
                records[name] = record
            inventories[provider] = {
                "resource_provider_generation": body.get("resource_provider_generation", 0) + off,
                "inventories": records,
            }
        body = peek(request("GET", f"/resource_providers/{source}/allocations", NEWEST_MINOR)).json
        allocations = {}
        for consumer in body.get("allocations", {}) if moved else ():
            present = held(peek, consumer)
            amounts = _present_amounts(peek, consumer)
            amount = amounts.get(source, {}).pop(name, None)
            if amount is not None:
                amounts.setdefault(target, {})[name] = amount
            amounts = {provider: share for provider, share in amounts.items() if share}
            allocations[consumer] = {"allocations": _shaped(amounts, 12)} | _consumer_body(
                owner, at, present.get("consumer_generation")
            )
        return request("POST", "/reshaper", at, {"inventories": inventories, "allocations": allocations})

    return build


WRITES: tuple[tuple[int, Callable[[World], Build]], ...] = (
    (5, create_provider),
    (5, update_provider),
    (2, delete_provider),
    (3, set_inventories),
    (6, add_inventory),
    (6, set_inventory),
    (3, delete_inventory),
    (6, set_traits),
    (1, clear_traits),
    (5, set_aggregates),
    (4, change_names),
    (7, claim),
    (14, claim_candidate),
    (4, drop_claim),
    (9, claim_many),
    (5, reshape),
)
"""How often each is sent, relative to each other."""


def prepare(world: World) -> list[Build]:
    """A forest to begin with: most providers have something of everything."""
    steps = [fixed(request("PUT", f"/traits/{name}", NEWEST_MINOR)) for name in CUSTOM_TRAITS]
    steps += [fixed(request("PUT", f"/resource_classes/{name}", NEWEST_MINOR)) for name in CUSTOM_CLASSES]
    for index, provider in enumerate(world.providers):
        if world.chance(0.1):
            continue
        steps.append(create_provider(world, minor=NEWEST_MINOR, index=index))
        if world.chance(0.85):
            steps.append(set_inventories(world, provider=provider, minor=NEWEST_MINOR))
        if world.chance(0.6):
            steps.append(set_traits(world, provider=provider, minor=NEWEST_MINOR))
        if world.chance(0.6):
            steps.append(set_aggregates(world, provider=provider, minor=NEWEST_MINOR))
    return steps
