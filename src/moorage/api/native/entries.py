"""The entries of ``POST /moorage/v1/claims``: their schema, and claims made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from moorage.api.http import intake
from moorage.api.http.intake import items, part, size
from moorage.api.http.settings import Limits
from moorage.api.http.validation import Schema, canonical
from moorage.api.http.wire_error import WireError
from moorage.api.native import ask, orders
from moorage.api.native.ask import DecodedAsk
from moorage.api.native.endpoint import ReadQuery
from moorage.api.native.problems import GENERATION_CONFLICT, refusal
from moorage.api.native.strict import fault
from moorage.model.commands import Claim
from moorage.model.errors import ConsumerGenerationError
from moorage.model.placing import ClaimOrigin
from moorage.model.uuids import new_uuid
from moorage.model.valueclass import valueclass
from moorage.model.values import ListedClaim, Requester

MOST_CLAIMS: Final = 1000
"""Claims of one request at most."""

AUTO: Final = "auto"
NEVER: Final = "never"
ALWAYS: Final = "always"
"""When to explain: only a refusal, nothing, or also why a place was chosen."""

CONSUMER: Final[Schema] = {"type": "string", "format": "uuid"}
"""UUID of a consumer. It is kept in its canonical form, the one that no other text is equal to."""

OWNER: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 255}

ALLOCATIONS: Final[Schema] = {
    "type": "object",
    "minProperties": 1,
    "patternProperties": {
        "^[0-9a-fA-F-]{32,36}$": {
            "type": "object",
            "properties": {
                "resources": {
                    "type": "object",
                    "minProperties": 1,
                    "patternProperties": {
                        "^[A-Z0-9_]{1,255}$": {"type": "integer", "minimum": 1, "maximum": 0x7FFF_FFFF}
                    },
                    "additionalProperties": False,
                }
            },
            "required": ["resources"],
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}


MOST_LABELS: Final = 32

LABELS: Final[Schema] = {
    "type": "object",
    "maxProperties": MOST_LABELS,
    "patternProperties": {"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$": {"type": "string", "maxLength": 255}},
    "additionalProperties": False,
}
"""Texts by names."""


def _about(text: str, schema: Schema) -> Schema:
    return {**schema, "description": text}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


ENTRY: Final[Schema] = {
    "type": "object",
    "properties": {
        "name": _about("Comes back with each claim of the entry.", OWNER),
        "count": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_CLAIMS,
            "description": "How many claims the entry makes; 1 by default.",
        },
        "consumers": _about(
            "UUIDs of the new consumers, as many as `count`. The service makes them if they are missing.",
            _nullable({"type": "array", "items": CONSUMER, "minItems": 1}),
        ),
        "consumer": _about(
            "UUID of a consumer that holds something. Instead of a new claim, what it holds is replaced.",
            CONSUMER,
        ),
        "generation": {
            "type": "integer",
            "minimum": 0,
            "description": "Generation of `consumer`, as it was shown.",
        },
        "keep_old_as": _about(
            "UUID of a new consumer that takes over what `consumer` held, in the same commit. Otherwise that "
            "is freed, and counts as free for the new place.",
            _nullable(CONSUMER),
        ),
        "consumer_type": _about(
            "Type of the consumers; null by default.",
            _nullable({"type": "string", "pattern": "^[A-Z0-9_]+$", "maxLength": 255}),
        ),
        "project_id": _about("Owner of the claims; the requester's project by default.", OWNER),
        "user_id": _about("User of the claims; the requester by default.", OWNER),
        "ask": {
            **ask.SCHEMA,
            "description": "What each claim of the entry needs: see [the Ask](#the-ask). The service chooses "
            "its place.",
        },
        "order": {
            **orders.SCHEMA,
            "description": "What makes one place better than another. Without it the first place is taken.",
        },
        "lease": _about(
            "UUID of an active lease that each claim of the entry hangs on from now on. A move without "
            "`lease` keeps the one that there is.",
            _nullable(CONSUMER),
        ),
        "labels": _about(
            "Notes of the client, which are kept with each claim of the entry and shown with it. A move "
            "without `labels` keeps them.",
            LABELS,
        ),
        "allocations": _about(
            "What each claim of the entry holds, in place of `ask`: amounts by class, by the UUID of the "
            "provider.",
            ALLOCATIONS,
        ),
    },
    "additionalProperties": False,
}

SCHEMA: Final[Schema] = {
    "type": "object",
    "properties": {
        "claims": {
            "type": "array",
            "items": ENTRY,
            "minItems": 1,
            "description": "What to claim. Each entry is for one claim or several equal ones.",
        },
        "mode": _about(
            "`all`: all claims or none, the default. `each`: those that fit, at least one. An object says "
            "how many must fit at least.",
            {
                "anyOf": [
                    {"type": "string", "enum": ["all", "each"]},
                    {
                        "type": "object",
                        "properties": {"at_least": {"type": "integer", "minimum": 1}},
                        "required": ["at_least"],
                        "additionalProperties": False,
                    },
                ]
            },
        ),
        "explain": _about(
            "Whether to explain: `auto`, the default, says why an ask finds no place. `always` also says why "
            "a place was chosen. `never` says neither.",
            {"type": "string", "enum": [AUTO, NEVER, ALWAYS]},
        ),
    },
    "required": ["claims"],
    "additionalProperties": False,
}


def _of_asks(count: Callable[[object], int]) -> Callable[[object], int]:
    return lambda body: sum(count(part(entry, "ask")) for entry in items(part(body, "claims")))


COUNTS: Final[intake.BodyCounts] = (
    (
        intake.ALLOCATIONS,
        lambda body: sum(size(part(entry, "allocations")) or 1 for entry in items(part(body, "claims"))),
    ),
    *((what, _of_asks(count)) for what, count in ask.COUNTS),
)


@valueclass(frozen=True, slots=True)
class WantedClaim:
    """One claim of a request: the number and the name of its entry, its ``index`` there, and its consumer."""

    entry: int
    name: str | None
    index: int
    consumer: str
    body: Mapping[str, Any]

    def shown(self) -> dict[str, object]:
        """How an answer names it."""
        return {"entry": self.entry, "name": self.name, "index": self.index}


def wanted(body: Mapping[str, Any]) -> tuple[WantedClaim, ...]:
    """All claims of a body that is valid by ``SCHEMA``. Raises WireError (400)."""
    found: list[WantedClaim] = []
    seen: set[str] = set()
    for number, entry in enumerate(body["claims"]):
        count = entry.get("count", 1)
        moved = moved_by(entry, number)
        named = moved or entry.get("consumers")
        consumers = [canonical(each) for each in named] if named else [new_uuid() for _ in range(count)]
        if len(consumers) != count:
            detail = f"There are {len(consumers)} consumers for {count} claims."
            raise fault(detail, "claims", number, "consumers")
        for index, consumer in enumerate(consumers):
            if consumer in seen:
                raise fault(f"The consumer {consumer} is there twice.", "claims", number, "consumers", index)
            seen.add(consumer)
            found.append(WantedClaim(number, entry.get("name"), index, consumer, entry))
        if len(found) > MOST_CLAIMS:
            raise fault(f"One request may make {MOST_CLAIMS} claims at most.", "claims", number)
    return tuple(found)


Stale = tuple[WantedClaim, ConsumerGenerationError]
"""A move of a consumer that has changed since the client read it."""


def moved_by(entry: Mapping[str, Any], number: int) -> list[str]:
    """The consumer that an entry moves, if it moves one. Raises WireError (400, 409)."""
    if "consumer" not in entry:
        for field in ("generation", "keep_old_as"):
            if field in entry:
                raise fault("Only an entry with a consumer has this.", "claims", number, field)
        return []
    for field in ("consumers", "count"):
        if field in entry:
            raise fault("An entry with a consumer is for this one.", "claims", number, field)
    if "generation" not in entry:
        raise refusal(GENERATION_CONFLICT, "A consumer that holds something comes with its generation.")
    return [entry["consumer"]]


Holders = Mapping[str, ListedClaim]
"""What the consumers hold that a request moves."""


def holders(
    wanted: Sequence[WantedClaim],
    read: Callable[[str], tuple[int, ListedClaim | None]],
    reaches: Callable[[str], bool],
) -> tuple[Holders, Stale | None]:
    """What the consumers hold that entries move, and the first one that is not as its entry says.

    Consumers of projects that the client does not reach hold nothing.
    """
    found: dict[str, ListedClaim] = {}
    stale: Stale | None = None
    for each in wanted:
        if "consumer" in each.body:
            _, held = read(each.consumer)
            if held is not None and not reaches(held.project_id):
                held = None
            actual, given = None if held is None else held.generation, each.body["generation"]
            if held is not None:
                found[each.consumer] = held
            if actual != given and stale is None:
                stale = each, ConsumerGenerationError(each.consumer, actual, given)
    return found, stale


def passed_on(wanted: WantedClaim, held: Holders, *, only_own: bool) -> Claim | None:
    """The claim of the consumer that takes over what a moved one held. ``only_own``: see ``Claim``."""
    kept_as = wanted.body.get("keep_old_as")
    if kept_as is None:
        return None
    old = held[wanted.consumer]
    return Claim(
        canonical(kept_as),
        old.held,
        old.project_id,
        old.user_id,
        None,
        old.consumer_type,
        only_own=only_own,
    )


def freed(wanted: WantedClaim, held: Holders) -> Mapping[str, Mapping[str, int]] | None:
    """What a move frees for its new place."""
    moved = held.get(wanted.consumer)
    return None if moved is None or wanted.body.get("keep_old_as") is not None else moved.held


def least_of(body: Mapping[str, Any], count: int) -> int:
    """How many of ``count`` claims must succeed. Raises WireError (400)."""
    mode = body.get("mode", "all")
    if isinstance(mode, str):
        return count if mode == "all" else 1
    least: int = mode["at_least"]
    if least > count:
        raise fault(f"There are only {count} claims.", "mode", "at_least")
    return least


def owners(body: Mapping[str, Any], own: str | None) -> Iterator[str | None]:
    """The projects of all entries. ``own`` is the requester's."""
    yield from dict.fromkeys([entry.get("project_id", own) for entry in body["claims"]])


Asked = Mapping[int, DecodedAsk]
"""The decoded asks of a body, by the number of their entry."""


def asked(body: Mapping[str, Any], read_query: ReadQuery, limits: Limits) -> Asked:
    """All asks of a body. Raises WireError (400), also for an entry that does not have one thing to claim."""
    found: dict[int, DecodedAsk] = {}
    for number, entry in enumerate(body["claims"]):
        if ("ask" in entry) == ("allocations" in entry):
            raise fault("An entry has either an ask or allocations.", "claims", number)
        if "order" in entry and "ask" not in entry:
            raise fault("Only an entry with an ask has an order.", "claims", number, "order")
        if len({provider.lower() for provider in entry.get("allocations", ())}) < size(
            part(entry, "allocations")
        ):
            raise fault("A provider is there twice.", "claims", number, "allocations")
        if "ask" in entry:
            found[number] = ask.decode(entry["ask"], read_query, limits, ("claims", number, "ask"))
    return found


Origins = Mapping[int, ClaimOrigin]
"""What entries ask for, and their labels, by the number of the entry."""


def origins(body: Mapping[str, Any], profiles: Mapping[int, str | None]) -> Origins:
    """The origins of entries that ask, or have labels. ``profiles`` of their orders by number."""
    return {
        number: ClaimOrigin(
            orjson.dumps(entry["ask"], option=orjson.OPT_SORT_KEYS).decode() if "ask" in entry else None,
            profiles.get(number),
            entry.get("labels", {}),
        )
        for number, entry in enumerate(body["claims"])
        if "ask" in entry or entry.get("labels")
    }


def claims_of(
    wanted: Sequence[WantedClaim], requester: Requester, held: Holders, origins: Origins, *, only_own: bool
) -> tuple[Claim, ...]:
    """The claims of entries; without allocations where they ask. ``only_own``: see ``Claim``.

    Raises WireError (400, 403).
    """
    return tuple(
        [
            _claim(each, requester, held.get(each.consumer), origins.get(each.entry), only_own=only_own)
            for each in wanted
        ]
    )


def _claim(
    wanted: WantedClaim,
    requester: Requester,
    moved: ListedClaim | None,
    origin: ClaimOrigin | None,
    *,
    only_own: bool,
) -> Claim:
    entry = wanted.body
    if moved is not None and moved.origin is not None:
        kept = entry.get("labels", moved.origin.labels)
        origin = replace(origin or ClaimOrigin(), labels=kept)
    project_id = entry.get("project_id", requester.project_id)
    if not project_id:
        raise fault("The token has no project, so the entry needs one.", "claims", wanted.entry, "project_id")
    if moved is not None and moved.project_id != project_id:
        raise WireError(403, "The consumer belongs to another project: name that in project_id.")
    usual_user, usual_type = requester.user_id, None
    if moved is not None:
        usual_user, usual_type = moved.user_id, moved.consumer_type
    return Claim(
        wanted.consumer,
        {provider.lower(): given["resources"] for provider, given in entry.get("allocations", {}).items()},
        project_id,
        entry.get("user_id", usual_user),
        entry.get("generation"),
        entry.get("consumer_type", usual_type),
        origin,
        only_own,
        None if entry.get("lease") is None else canonical(entry["lease"]),
    )
