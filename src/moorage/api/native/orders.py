"""The Order of a request in JSON: which of its candidates come first."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from moorage.api.http import quoting
from moorage.api.http.validation import Schema, canonical
from moorage.api.http.wire_error import WireError
from moorage.api.native import ask
from moorage.api.native.endpoint import NativeCall
from moorage.api.native.names import nearest
from moorage.api.native.problems import UNKNOWN_NAME, refusal
from moorage.api.native.strict import MAX_QUOTE, fault, pointer_of
from moorage.model.cache import MIB, Cache
from moorage.model.mixes import Mix
from moorage.model.orders import (
    MOST_AMONG,
    MOST_CAPACITY,
    MOST_NAMED,
    MOST_RARE,
    MOST_SEED,
    MOST_WEIGHT,
    SLOTS,
    STRATEGIES,
    Order,
    Ranking,
    Wish,
)
from moorage.model.requests import CandidateRequest
from moorage.model.valueclass import valueclass
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


MOST_ASKS: Final = 4_096
"""The most asks of a mix. The heaviest shapes count."""

PROFILE_NAME: Final[Schema] = {"type": "string", "pattern": "^[a-zA-Z0-9_.-]{1,64}$"}

_PROPERTIES: Final[Schema] = {
    "strategy": {
        "type": "string",
        "enum": list(STRATEGIES),
        "description": "`pack`: the fullest trees first. `spread`: the emptiest. `best_fit`: those that "
        "have least left. `slots`: those that lose least of what the usual requests need. `random`, "
        "`first`: by chance, or by age. `first` is the default.",
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
    "scored": {
        **_NAME,
        "description": "The class of the devices that `slots` counts. Without it the service chooses: of the "
        "classes that providers below a root have, or else of all, the one that is asked for most.",
    },
}

_MIX: Final[Schema] = {
    "description": "The requests that usually come, for `slots`.",
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "ask": {**ask.SCHEMA, "description": "A request, as groups."},
            "share": {"type": "number", "exclusiveMinimum": 0, "maximum": MOST_WEIGHT},
        },
        "required": ["ask"],
        "additionalProperties": False,
    },
    "minItems": 1,
    "maxItems": MOST_ASKS,
}

PROFILE_SCHEMA: Final[Schema] = {
    "type": "object",
    "properties": {
        **_PROPERTIES,
        "mix": _MIX,
        "learn": {
            "type": "boolean",
            "description": "Whether `slots` learns the mix from arrivals. It does if no `mix` is given.",
        },
    },
    "additionalProperties": False,
}
"""An Order as a file has it."""

SCHEMA: Final[Schema] = {
    "type": "object",
    "properties": {
        "profile": {
            **PROFILE_NAME,
            "description": "An order that the service knows by name. Other fields take the place of its own.",
        },
        **_PROPERTIES,
    },
    "additionalProperties": False,
}


NAMING: Final = ("prefer", "avoid", "weights", "largest", "rare", "scored")
"""The fields that name something."""

LISTED: Final = ("prefer", "avoid", "weights", "largest", "rare")
"""Those that may name many things."""

Place = Sequence[object]
"""Where an Order is in a body."""

ORDER: Final = "order"
"""The usual field."""

INLINE: Final = "moorage:order:inline"
"""Rule of saying in a request what is better. Without it, a request names a profile and a seed."""

NO_PROFILE: Final = Order()
"""What an order without a profile begins with."""

NOTHING_KNOWN: Final = KnownNames(frozenset(), frozenset())


@valueclass(frozen=True, slots=True)
class ChosenOrder:
    """The order of a request, with a seed, and the profile that it began with."""

    order: Order
    profile: str | None = None


def chosen(call: NativeCall, given: Mapping[str, Any] | None, at: Place = (ORDER,)) -> ChosenOrder:
    """The order that a request asks for by ``given``, which is valid by ``SCHEMA``; None if it has none.

    Fields of the request take the place of the profile's. Raises WireError (400, 403).
    """
    given = given or {}
    inline = sorted(given.keys() - {"profile", "seed"})
    if inline and not call.may(INLINE):
        raise WireError(403, f"Policy does not allow {INLINE}, which {inline[0]} needs.")
    profiles = call.service.profiles()
    name = given.get("profile", None if "strategy" in given else profiles.default)
    base = NO_PROFILE if name is None else profiles.orders.get(name)
    if base is None:
        raise fault(
            f"There is no profile {quoting.quoted(str(name), MAX_QUOTE)}.",
            *at,
            "profile",
            nearest=nearest(str(name), profiles.orders),
        )
    names_something = any(given.get(field) for field in NAMING)
    known = call.service.known_names()[1] if names_something else NOTHING_KNOWN
    if names_something:
        order = decode(given, known, base, at)
    else:
        order = _KNOWN.of((orjson.dumps(given), base), lambda: _settled(decode(given, known, base, at)))
    return ChosenOrder(order.seeded(lambda: secrets.randbelow(MOST_SEED)), name)


def _settled(order: Order) -> Order:
    """The order with its seed, unless that is drawn for each request."""
    return order if order.by_chance else order.seeded(int)


_KNOWN: Final = Cache[tuple[bytes, Order], Order](
    MIB, lambda key, order: len(key[0]) + key[1].size + order.size
)
"""Orders that were decoded without a fault and name nothing, by their text and what they began with."""


def decode(
    given: Mapping[str, Any], known: KnownNames | None, base: Order | None = None, at: Place = (ORDER,)
) -> Order:
    """Decode an Order that is valid by ``SCHEMA``; what it leaves out is as in ``base``.

    ``known``: the names that may be used, None for any. ``at`` is its place in the body. Raises WireError
    (400).
    """
    _check_sizes(given, at)
    fields: dict[str, Any] = {name: given[name] for name in COPIED if name in given}
    for field in ("prefer", "avoid"):
        if field in given:
            fields[field] = _wished(given[field], at, field)
    if "rare" in given:
        fields["rare"] = frozenset(given["rare"])
    if known is not None:
        _check_names(given, known, at)
    return replace(base or Order(), **fields)


def decode_profile(given: Mapping[str, Any], name: str, at: Place) -> Order:
    """Decode the profile ``name``, which is valid by ``PROFILE_SCHEMA``. Raises WireError (400)."""
    found = decode(given, None, at=at)
    if found.strategy != SLOTS and not given.keys() & {"mix", "learn"}:
        return found
    mix = None
    if "mix" in given:
        asks: list[tuple[CandidateRequest, float]] = []
        for number, each in enumerate(given["mix"]):
            place = (*at, "mix", number, "ask")
            if "query" in each["ask"]:
                raise fault("An Ask of a mix has groups and no query.", *place, "query")
            asks.append((ask.of_groups(each["ask"], place), each.get("share", 1.0)))
        mix = Mix.of(asks)
    learns = given.get("learn", mix is None)
    if mix is None and not learns and found.strategy == SLOTS:
        raise fault("slots needs a mix, or learns one.", *at, "learn")
    return replace(found, mix=mix, learned=name if learns else None)


COPIED: Final = ("strategy", "weights", "spare_special", "seed", "among_best", "largest", "scored")
"""Fields that an Order has in the same form."""


def _check_names(given: Mapping[str, Any], known: KnownNames, at: Place) -> None:
    for field in ("weights", "largest"):
        for name in given.get(field, ()):
            _check(name, known.resource_classes, "resource class", *at, field, name)
    if "scored" in given:
        _check(given["scored"], known.resource_classes, "resource class", *at, "scored")
    either = known.resource_classes | known.traits if given.get("rare") else frozenset()
    for number, name in enumerate(given.get("rare", ())):
        _check(name, either, "trait or resource class", *at, "rare", number)
    for field in ("prefer", "avoid"):
        for number, wish in enumerate(given.get(field, ())):
            if "trait" in wish:
                _check(wish["trait"], known.traits, "trait", *at, field, number, "trait")


def _check_sizes(given: Mapping[str, Any], at: Place) -> None:
    for field in LISTED:
        most = MOST_RARE if field == "rare" else MOST_NAMED
        if len(given.get(field, ())) > most:
            raise fault(f"{field} has more than {most} names, which is the limit.", *at, field)


def _wished(wishes: Sequence[Mapping[str, Any]], at: Place, field: str) -> tuple[Wish, ...]:
    for number, wish in enumerate(wishes):
        if ("trait" in wish) == ("provider" in wish):
            raise fault("Each entry names either a trait or a provider.", *at, field, number)
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


def named(chosen: ChosenOrder) -> dict[str, object]:
    """The order that decided a ranking, by its name: it decides in the same way again."""
    return {
        **({} if chosen.profile is None else {"profile": chosen.profile}),
        "seed": chosen.order.seed,
    }


def shown(chosen: ChosenOrder, found: Ranking) -> dict[str, object]:
    """The order that decided a ranking, with what was compared: it decides in the same way again."""
    order = chosen.order
    told: dict[str, object] = {
        **({} if chosen.profile is None else {"profile": chosen.profile}),
        "strategy": order.strategy,
        "weights": dict(order.weights),
        "prefer": list(map(_wish, order.prefer)),
        "avoid": list(map(_wish, order.avoid)),
        "spare_special": order.spare_special,
        "seed": order.seed,
        "among_best": order.among_best,
    }
    if order.scored is not None:
        told["scored"] = order.scored
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
