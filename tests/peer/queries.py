"""Random reads: candidates in their whole grammar, providers, usages, names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

from tests.peer.world import (
    CLASSES,
    PROJECTS,
    TRAITS,
    TYPES,
    USERS,
    Build,
    World,
    fixed,
    request,
)

EARLY = 0.04
"""How often a query has what its version does not know yet."""

Pairs = list[tuple[str, str]]


def _resources(world: World) -> str:
    amounts = {world.resource_class(): world.amount() for _ in range(world.random.choice((1, 1, 1, 2, 2, 3)))}
    return ",".join(f"{name}:{amount}" for name, amount in amounts.items())


def _has(world: World, minor: int, since: int, probability: float) -> bool:
    """Whether to use what came with ``since``."""
    return world.chance(probability if minor >= since else EARLY * probability)


def _required(world: World, minor: int) -> list[str]:
    """Values of ``required``: several from 1.39 on."""
    values = []
    for _ in range(world.random.choice((1, 1, 2)) if minor >= 39 else 1):
        if _has(world, minor, 39, 0.4):
            values.append("in:" + ",".join(world.some(TRAITS, 3, 1)))
        else:
            forbids = _has(world, minor, 22, 0.35)
            values.append(
                ",".join(
                    ("!" if forbids and world.chance(0.7) else "") + world.trait()
                    for _ in range(world.random.choice((1, 1, 2)))
                )
            )
    return values


def _member_of(world: World, minor: int) -> list[str]:
    """Values of ``member_of``: several from 1.24 on, forbidden ones from 1.32 on."""
    values = []
    for _ in range(2 if _has(world, minor, 24, 0.25) else 1):
        mark = "!" if _has(world, minor, 32, 0.3) else ""
        if world.chance(0.5):
            values.append(f"{mark}in:" + ",".join(world.some(world.aggregates, 3, 1)))
        else:
            values.append(mark + world.aggregate())
    return values


def _group(world: World, minor: int, suffix: str, *, with_resources: bool) -> Pairs:
    pairs: Pairs = []
    if with_resources:
        pairs.append((f"resources{suffix}", _resources(world)))
    if _has(world, minor, 17, 0.25):
        pairs += [(f"required{suffix}", value) for value in _required(world, minor)]
    if _has(world, minor, 21, 0.15):
        pairs += [(f"member_of{suffix}", value) for value in _member_of(world, minor)]
    if _has(world, minor, 31, 0.1):
        pairs.append((f"in_tree{suffix}", world.provider()))
    return pairs


def candidates(world: World) -> Build:
    """GET of allocation candidates."""
    minor = world.minor(10)
    names: tuple[str, ...] = ("1", "2", "3") if minor < 33 else ("1", "_A", "b-2", "3")
    suffixes = world.some(names, 3) if _has(world, minor, 25, 0.6) else []
    without = [name for name in suffixes if _has(world, minor, 36, 0.2)]
    pairs: Pairs = []
    if world.chance(0.7) or not suffixes:
        pairs += _group(world, minor, "", with_resources=not world.chance(0.03))
    for name in suffixes:
        pairs += _group(world, minor, name, with_resources=name not in without)
    has_policy = len(suffixes) > 1 or world.chance(0.1 if minor >= 25 else EARLY)
    if has_policy and not world.chance(0.04):
        pairs.append(("group_policy", world.random.choice(("none", "none", "isolate"))))
    if suffixes and (without or _has(world, minor, 36, 0.25)):
        together = {*without, *world.some(suffixes, len(suffixes), 1)}
        pairs.append(("same_subtree", ",".join(sorted(together))))
        if world.chance(0.2):
            pairs.append(("same_subtree", ",".join(world.some(suffixes, len(suffixes), 1))))
    if _has(world, minor, 35, 0.2):
        mark = "!" if world.chance(0.3) else ""
        pairs.append(("root_required", mark + ",".join(world.some(TRAITS, 2, 1))))
    if _has(world, minor, 16, 0.25):
        pairs.append(("limit", str(world.random.choice((1, 2, 3, 10, 1000)))))
    if world.chance(0.3):
        world.random.shuffle(pairs)
    made = request("GET", "/allocation_candidates", minor, query=urlencode(pairs, safe=":,!"))
    if world.chance(0.05):
        made = replace(made, max_candidates=world.random.choice((0, 1, 2, 5, 20)))
    return fixed(made)


def providers(world: World) -> Build:
    """GET of providers with filters."""
    minor = world.minor()
    pairs: Pairs = []
    if world.chance(0.15):
        pairs.append(("name", world.random.choice(("", *(f"p{index}" for index in range(world.size))))))
    if world.chance(0.15):
        pairs.append(("uuid", world.provider()))
    if _has(world, minor, 3, 0.3):
        pairs += [("member_of", value) for value in _member_of(world, minor)]
    if _has(world, minor, 4, 0.4):
        pairs.append(("resources", _resources(world)))
    if _has(world, minor, 14, 0.2):
        pairs.append(("in_tree", world.provider()))
    if _has(world, minor, 18, 0.4):
        pairs += [("required", value) for value in _required(world, minor)]
    return fixed(request("GET", "/resource_providers", minor, query=urlencode(pairs, safe=":,!")))


def of_provider(world: World) -> Build:
    """GET of a provider or of one of its collections."""
    tail = world.random.choice(
        ("", "/inventories", "/inventories/{}", "/usages", "/aggregates", "/traits", "/allocations")
    ).format(world.resource_class())
    return fixed(request("GET", f"/resource_providers/{world.provider()}{tail}", world.minor()))


def allocations(world: World) -> Build:
    """GET of what a consumer holds."""
    return fixed(request("GET", f"/allocations/{world.consumer()}", world.minor()))


def usages(world: World) -> Build:
    """GET of usages of a project, by user and consumer type."""
    minor = world.minor(9)
    pairs: Pairs = []
    if not world.chance(0.04):
        pairs.append(("project_id", world.random.choice(PROJECTS)))
    if world.chance(0.4):
        pairs.append(("user_id", world.random.choice((*USERS, "nobody"))))
    if _has(world, minor, 38, 0.6):
        pairs.append(("consumer_type", world.random.choice((*TYPES, "all", "unknown", "NOBODY", "allX"))))
    return fixed(request("GET", "/usages", minor, query=urlencode(pairs)))


def names(world: World) -> Build:
    """GET of traits and resource classes."""
    minor = world.minor(6)
    pick = world.random.choice
    kind = pick(("/traits", "/traits", "/traits/{}", "/resource_classes", "/resource_classes/{}"))
    if kind != "/traits":
        name = pick((*TRAITS, *CLASSES, "CUSTOM_NEVER", "x"))
        return fixed(request("GET", kind.format(name), minor))
    pairs: Pairs = []
    if world.chance(0.7):
        listed = ",".join(world.some((*TRAITS, "CUSTOM_NEVER"), 3, 1))
        starts = pick(("CUSTOM", "HW_CPU", "custom_r", "CUSTOM%R", "_", ""))
        value = pick((f"in:{listed}", f"startswith:{starts}", listed, "not:X", "in:"))
        pairs.append(("name", value))
    if world.chance(0.5):
        pairs.append(("associated", pick(("true", "false", "True", "FALSE", "1", ""))))
    return fixed(request("GET", "/traits", minor, query=urlencode(pairs, safe=":,")))


READS: tuple[tuple[int, Callable[[World], Build]], ...] = (
    (40, candidates),
    (15, providers),
    (10, of_provider),
    (4, allocations),
    (5, usages),
    (5, names),
)
"""How often each is sent, relative to each other."""
