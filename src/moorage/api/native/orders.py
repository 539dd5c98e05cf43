"""The Order of a request in JSON: which of its candidates come first."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from moorage.api.http import quoting
from moorage.api.http.validation import Schema, canonical
from moorage.api.native.names import nearest
from moorage.api.native.problems import UNKNOWN_NAME, refusal
from moorage.api.native.strict import MAX_QUOTE, fault, pointer_of
from moorage.model.orders import (
    FIRST,
    MOST_AMONG,
    MOST_CAPACITY,
    MOST_NAMED,
    MOST_RARE,
    MOST_SEED,
    MOST_WEIGHT,
    RANDOM,
    STRATEGIES,
    Order,
    Ranking,
    Wish,
)
from moorage.model.values import KnownNames

_NAME: Final[Schema] = {"type": "string", "pattern": "^[A-Z0-9_]+$", "maxLength": 255}
_WEIGHT: Final[Schema] = {"type": "number", "minimum": 0, "maximum": MOST_WEIGHT}
_CAPACITY: Final[Schema] = {"type": "number", "minimum": 0, "maximum": MOST_CAPACITY}


def _by_class(about: str, value: Schema) -> Schema:
    return {
        "description": about,
        "type": "object",
        "patternProperties": {"^[A-Z0-9_]{1,255}$": value},
        "additionalProperties": False,
    }


def _wishes(about: str) -> Schema:
    return {
        "description": about,
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "trait": {**_NAME, "description": "A trait that a provider of the tree has."},
                "provider": {"type": "string", "format": "uuid", "description": "A provider of the tree."},
                "weight": {**_WEIGHT, "description": "What it counts: 1 by default."},
            },
            "additionalProperties": False,
        },
    }


SCHEMA: Final[Schema] = {
    "type": "object",
    "properties": {
        "strategy": {
            "type": "string",
            "enum": list(STRATEGIES),
            "description": "`pack`: the fullest trees first. `spread`: the emptiest. `best_fit`: those that "
            "have least left. `random`, `first`: by chance, or by age. `first` is the default.",
        },
        "weights": _by_class("What each class counts for the strategy: 1 where it is not named.", _WEIGHT),
        "prefer": _wishes("What raises the score of a tree."),
        "avoid": _wishes("What lowers the score of a tree."),
        "spare_special": {
            **_WEIGHT,
            "description": "How much it lowers the score of a tree that it has rare traits and classes that "
            "are not asked for.",
        },
        "seed": {
            "type": "integer",
            "minimum": 0,
            "maximum": MOST_SEED,
            "description": "Decides between equal scores. Without one, the service draws one for each "
            "request where chance is asked for, and else takes 0.",
        },
        "among_best": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_AMONG,
            "description": "Puts so many of the best candidates into an order that the seed decides.",
        },
        "largest": _by_class(
            "Capacities that `best_fit` compares with: by default the largest of any tree.", _CAPACITY
        ),
        "rare": {
            "description": "Traits and classes that make a tree special: by default those of a tenth of all "
            "trees at most.",
            "type": "array",
            "items": _NAME,
        },
    },
    "additionalProperties": False,
}


def names_something(given: Mapping[str, Any]) -> bool:
    """Whether an Order names classes or traits, so that the known ones are needed to decode it."""
    return any(given.get(field) for field in NAMING)


NAMING: Final = ("prefer", "avoid", "weights", "largest", "rare")
"""The fields that name something."""


def decode(given: Mapping[str, Any], known: KnownNames, at: str = "order") -> Order:
    """Decode an Order that is valid by ``SCHEMA``. ``at`` is its place in the body.

    Raises WireError (400).
    """
    _check_sizes(given, at)
    for field in ("weights", "largest"):
        for name in given.get(field, ()):
            _check(name, known.resource_classes, "resource class", at, field, name)
    rare = given.get("rare")
    for number, name in enumerate(rare or ()):
        _check(name, known.resource_classes | known.traits, "trait or resource class", at, "rare", number)
    strategy, among_best = given.get("strategy", FIRST), given.get("among_best", 1)
    by_chance = strategy == RANDOM or among_best > 1
    return Order(
        strategy=strategy,
        weights=given.get("weights", {}),
        prefer=_wished(given.get("prefer", ()), known, at, "prefer"),
        avoid=_wished(given.get("avoid", ()), known, at, "avoid"),
        spare_special=given.get("spare_special", 0.0),
        seed=given.get("seed", secrets.randbelow(MOST_SEED) if by_chance else 0),
        among_best=among_best,
        largest=given.get("largest", {}),
        rare=None if rare is None else frozenset(rare),
    )


def _check_sizes(given: Mapping[str, Any], at: str) -> None:
    for field in NAMING:
        most = MOST_RARE if field == "rare" else MOST_NAMED
        if len(given.get(field, ())) > most:
            raise fault(f"{field} has more than {most} names, which is the limit.", at, field)


def _wished(wishes: Sequence[Mapping[str, Any]], known: KnownNames, at: str, field: str) -> tuple[Wish, ...]:
    for number, wish in enumerate(wishes):
        if ("trait" in wish) == ("provider" in wish):
            raise fault("Each entry names either a trait or a provider.", at, field, number)
        if "trait" in wish:
            _check(wish["trait"], known.traits, "trait", at, field, number, "trait")
    return tuple(
        [
            Wish(
                wish.get("weight", 1.0),
                wish.get("trait"),
                canonical(wish["provider"]) if "provider" in wish else None,
            )
            for wish in wishes
        ]
    )


def _check(name: str, known: Collection[str], kind: str, *place: object) -> None:
    if name not in known:
        raise refusal(
            UNKNOWN_NAME,
            f"There is no {kind} {quoting.quoted(name, MAX_QUOTE)}.",
            pointer=pointer_of(place),
            names=[{"name": name, "nearest": nearest(name, known)}],
        )


def shown(order: Order, found: Ranking) -> dict[str, object]:
    """The order that decided a ranking, with what was compared: it decides in the same way again."""
    told: dict[str, object] = {
        "strategy": order.strategy,
        "weights": dict(order.weights),
        "prefer": list(map(_wish, order.prefer)),
        "avoid": list(map(_wish, order.avoid)),
        "spare_special": order.spare_special,
        "seed": order.seed,
        "among_best": order.among_best,
    }
    if found.largest:
        told["largest"] = dict(found.largest)
    if found.rare is not None:
        told["rare"] = sorted(found.rare)
    return told


def _wish(wish: Wish) -> dict[str, object]:
    return {
        **({"provider": wish.provider} if wish.trait is None else {"trait": wish.trait}),
        "weight": wish.weight,
    }


EXAMPLE: Final[Mapping[str, object]] = {
    "strategy": "pack",
    "weights": {"VCPU": 1.0, "MEMORY_MB": 0.5},
    "prefer": [{"trait": "HW_CPU_X86_AVX2", "weight": 2}],
    "avoid": [{"trait": "COMPUTE_STATUS_DISABLED", "weight": 2}],
    "spare_special": 1.0,
    "seed": 42,
}
