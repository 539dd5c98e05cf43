"""JSON schemas of answers, and those that several endpoints share.

Clients must ignore fields of an answer that they do not know, so objects are open here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from moorage.api.http.validation import Schema
from moorage.api.native.problems import PROBLEMS, REVISION, Again, Effect
from moorage.model.explanations import CUT_SHORT, FITS, NEVER_FITS, NO_ROOM, NOBODY_OFFERS
from moorage.model.leases import LeaseState, OnExpiry
from moorage.model.reports import KINDS, STATES

COMPONENTS_PATH: Final = "#/components/schemas/"

TEXT: Final[Schema] = {"type": "string"}
INTEGER: Final[Schema] = {"type": "integer"}
NULL: Final[Schema] = {"type": "null"}
AMOUNT: Final[Schema] = {"type": "integer", "minimum": 0}
UUID: Final[Schema] = {"type": "string", "format": "uuid"}


def reference(name: str) -> Schema:
    """A reference to the schema ``name`` in ``COMPONENTS``."""
    return {"$ref": f"{COMPONENTS_PATH}{name}"}


def record(properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    """An object with at least these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def written(
    properties: Schema,
    *,
    optional: tuple[str, ...] = (),
    now: Sequence[str] = ("held", "changed", "released"),
) -> Schema:
    """As ``record``, of the answer to a write. ``now``: what has become of it once it is repeated."""
    more = {"replayed": {"type": "boolean"}, "state_now": {"enum": list(now)}}
    return record({**properties, **more}, optional=(*optional, "state_now"))


def array(item: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": item}


def mapping(value: Schema) -> Schema:
    """An object whose keys are names."""
    return {"type": "object", "additionalProperties": value}


def nullable(schema: Schema) -> Schema:
    """This, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


LEASE_STATES: Final = [each.value for each in LeaseState if each is not LeaseState.RELEASING]
"""States of leases as clients see them."""

VERDICTS: Final = (FITS, NOBODY_OFFERS, NEVER_FITS, NO_ROOM, CUT_SHORT)

COMPONENTS: Final[Mapping[str, Schema]] = {
    "Version": record(
        {
            "id": TEXT,
            "status": {"type": "string", "enum": ["CURRENT"]},
            "href": TEXT,
            "openapi": TEXT,
            "problems": TEXT,
            "features": array(TEXT),
        }
    ),
    "Provider": record(
        {
            "uuid": TEXT,
            "name": TEXT,
            "root": TEXT,
            "inventories": mapping(
                record(
                    {
                        "total": INTEGER,
                        "reserved": INTEGER,
                        "min_unit": INTEGER,
                        "max_unit": INTEGER,
                        "step_size": INTEGER,
                        "allocation_ratio": {"type": "number"},
                    }
                )
            ),
            "used": mapping(AMOUNT),
            "traits": array(TEXT),
            "aggregates": array(TEXT),
            "generation": INTEGER,
            "parent": nullable(TEXT),
        },
        optional=("inventories", "used", "traits", "aggregates", "generation", "parent"),
    ),
    "Change": record(
        {
            REVISION: INTEGER,
            "kind": TEXT,
            "at": {"type": "string", "format": "date-time"},
            "path": {"enum": ["placement", "native", "command", "service"]},
            "by": nullable(
                record(
                    {
                        "user_id": nullable(TEXT),
                        "project_id": nullable(TEXT),
                        "request_id": nullable(TEXT),
                        "global_request_id": nullable(TEXT),
                    }
                )
            ),
            "providers": mapping({"type": "object"}),
            "consumers": mapping({"type": "object"}),
            "resource_classes": mapping(array({"type": "boolean"})),
            "leases": mapping({"type": "object"}),
            "traits": mapping(array({"type": "boolean"})),
            "renamed": mapping(TEXT),
            "adopted": mapping(AMOUNT),
            "reason": mapping({}),
        },
        optional=(
            "providers",
            "consumers",
            "leases",
            "resource_classes",
            "traits",
            "renamed",
            "adopted",
            "reason",
        ),
    ),
    "Lease": record(
        {
            "lease": TEXT,
            "owner": TEXT,
            "project_id": TEXT,
            "user_id": TEXT,
            "state": {"enum": LEASE_STATES},
            "remaining": TEXT,
            "ttl": TEXT,
            "grace": TEXT,
            "on_expiry": {"enum": [each.value for each in OnExpiry]},
            "ends_in": nullable(TEXT),
        }
    ),
    "Claim": record(
        {
            "consumer": TEXT,
            "consumer_type": nullable(TEXT),
            "project_id": TEXT,
            "user_id": TEXT,
            "generation": INTEGER,
            "since": nullable({"type": "string", "format": "date-time"}),
            "resources": mapping(AMOUNT),
            "providers": mapping(mapping(AMOUNT)),
            "lease": nullable(TEXT),
        }
    ),
    "NoClaim": record(
        {
            "consumer": TEXT,
            "consumer_type": NULL,
            "project_id": NULL,
            "user_id": NULL,
            "generation": NULL,
            "since": NULL,
            "resources": mapping(AMOUNT),
            "providers": mapping(mapping(AMOUNT)),
            "lease": NULL,
        }
    ),
    "NewClaim": record(
        {
            "entry": AMOUNT,
            "name": nullable(TEXT),
            "index": AMOUNT,
            "consumer": TEXT,
            "generation": INTEGER,
            "allocations": mapping(record({"resources": mapping(AMOUNT)})),
            "mappings": mapping(array(TEXT)),
            "score": {"type": "number"},
            "parts": mapping({"type": "number"}),
            "ranked_of": AMOUNT,
            "explanation": {"type": "object"},
        },
        optional=("mappings", "score", "parts", "ranked_of", "explanation"),
    ),
    "Unplaced": record(
        {
            "entry": AMOUNT,
            "name": nullable(TEXT),
            "index": AMOUNT,
            "code": TEXT,
            "detail": TEXT,
            "explanation": {"type": "object"},
        },
        optional=("explanation",),
    ),
    "Explanation": record(
        {
            "revision": INTEGER,
            "verdict": {"type": "string", "enum": list(VERDICTS)},
            "also": array({"type": "string", "enum": list(VERDICTS)}),
            "summary": TEXT,
            "exact": {"type": "boolean"},
            "feasible": AMOUNT,
            "trees": AMOUNT,
            "empty_cloud": AMOUNT,
            "constraints": array(reference("Constraint")),
            "funnel": array(record({"after": TEXT, "left": AMOUNT})),
            "relaxations": array(
                record(
                    {
                        "changes": array(
                            record(
                                {
                                    "op": {"type": "string", "enum": ["drop", "amount"]},
                                    "constraint": TEXT,
                                    "from": INTEGER,
                                    "to": INTEGER,
                                },
                                optional=("from", "to"),
                            )
                        ),
                        "feasible": AMOUNT,
                        "cost": {"type": "number"},
                    }
                )
            ),
            "nearest": array(reference("NearMiss")),
            "unlocked_by": array(
                array(
                    record(
                        {
                            "event": TEXT,
                            "provider": TEXT,
                            "name": TEXT,
                            "resource_class": TEXT,
                            "amount": INTEGER,
                            "trait": TEXT,
                            "aggregate": TEXT,
                        },
                        optional=("name", "resource_class", "amount", "trait", "aggregate"),
                    )
                )
            ),
            "chosen": reference("Candidate"),
            "alternatives": array(reference("Candidate")),
            "holders_revision": INTEGER,
            "notes": array(TEXT),
            "request_id": TEXT,
        },
        optional=("empty_cloud", "nearest", "unlocked_by", "chosen", "alternatives", "holders_revision"),
    ),
    "Constraint": record(
        {
            "id": TEXT,
            "kind": TEXT,
            "group": TEXT,
            "resource_class": TEXT,
            "amount": INTEGER,
            "traits": array(TEXT),
            "aggregates": array(TEXT),
            "in_tree": TEXT,
            "rule": TEXT,
            "groups": array(TEXT),
            "alone": AMOUNT,
            "without": AMOUNT,
            "empty_cloud": AMOUNT,
        },
        optional=(
            "group",
            "resource_class",
            "amount",
            "traits",
            "aggregates",
            "in_tree",
            "rule",
            "groups",
            "alone",
            "without",
            "empty_cloud",
        ),
    ),
    "NearMiss": record(
        {
            "root": TEXT,
            "name": TEXT,
            "distance": {"type": "number"},
            "satisfies": array(TEXT),
            "fails": array(TEXT),
            "missing": array(
                record(
                    {
                        "constraint": TEXT,
                        "provider": TEXT,
                        "name": TEXT,
                        "resource_class": TEXT,
                        "need": INTEGER,
                        "room": INTEGER,
                        "short": INTEGER,
                        "units": array(TEXT),
                        "traits": array(TEXT),
                        "aggregates": array(TEXT),
                    },
                    optional=(
                        "name",
                        "resource_class",
                        "need",
                        "room",
                        "short",
                        "units",
                        "traits",
                        "aggregates",
                    ),
                )
            ),
            "held_by": array(
                record(
                    {
                        "consumer": TEXT,
                        "consumer_type": nullable(TEXT),
                        "project_id": TEXT,
                        "resources": mapping(AMOUNT),
                        "since": nullable({"type": "string", "format": "date-time"}),
                    }
                )
            ),
            "held_by_more": {"type": "boolean"},
        },
        optional=("name", "held_by", "held_by_more"),
    ),
    "Candidate": record(
        {
            "allocations": mapping(mapping(AMOUNT)),
            "mappings": mapping(array(TEXT)),
            "names": mapping(TEXT),
        },
        optional=("names",),
    ),
    "RankedCandidate": record(
        {
            "allocations": mapping(mapping(AMOUNT)),
            "mappings": mapping(array(TEXT)),
            "root": TEXT,
            "score": {"type": "number"},
            "parts": mapping({"type": "number"}),
            "tie": AMOUNT,
        },
        optional=("score", "parts", "tie"),
    ),
    "ProviderSummary": record(
        {
            "root": TEXT,
            "parent": nullable(TEXT),
            "resources": mapping(record({"capacity": INTEGER, "used": INTEGER})),
            "traits": array(TEXT),
        }
    ),
    "Finding": record(
        {
            "id": TEXT,
            "source": TEXT,
            "kind": {"enum": list(KINDS)},
            "state": {"enum": list(STATES)},
            "consumer": TEXT,
            "tree": TEXT,
            "held": mapping(mapping(AMOUNT)),
            "reported": nullable(mapping(mapping(AMOUNT))),
            "rest": mapping(mapping(AMOUNT)),
            "project_id": nullable(TEXT),
            "consumer_type": nullable(TEXT),
            "since": {"type": "string", "format": "date-time"},
            "age_seconds": AMOUNT,
            "compared_at": INTEGER,
            "action": nullable(TEXT),
            "due_in_seconds": nullable(AMOUNT),
            "trouble": nullable(TEXT),
        }
    ),
    "Problem": record(
        {
            "type": TEXT,
            "title": TEXT,
            "status": INTEGER,
            "code": {"type": "string", "enum": [problem.code for problem in PROBLEMS]},
            "detail": TEXT,
            "request_id": TEXT,
            "outcome": {"type": "string", "enum": [effect.value for effect in Effect]},
            "retry": record(
                {
                    "when": {"type": "string", "enum": [again.value for again in Again]},
                    "after_seconds": INTEGER,
                },
                optional=("after_seconds",),
            ),
            "revision": INTEGER,
            "pointer": TEXT,
            "parameter": TEXT,
            "nearest": array(TEXT),
            "names": array(record({"name": TEXT, "nearest": array(TEXT)})),
            "steps": INTEGER,
        },
        optional=("revision", "pointer", "parameter", "nearest", "names", "steps"),
    ),
}
