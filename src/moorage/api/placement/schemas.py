"""JSON schemas of bodies and query strings, by microversion.

Source: the API reference, and what the reference accepts and refuses. Clients look for python-jsonschema's
own texts in refusals, so python-jsonschema validates. Validators are built once, when this module is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from moorage.api.http.validation import BODY_FORMATS, QUERY_FORMATS, Schema, Validator
from moorage.api.placement import versions
from moorage.api.placement.versions import Since
from moorage.model.values import MAX_INT

MAX_RATIO: Final = 3.40282e38
"""Largest allocation ratio: the largest single-precision float of the databases."""

MAX_PROVIDER_NAME: Final = 200
"""Characters; the width of the column."""

MAX_NAME: Final = 255
"""Characters of a trait, class, project, user or consumer type; the width of the columns."""

MAX_UUID: Final = 36
"""Characters of a UUID that is stored as the client wrote it; the width of the column."""

UUID_KEY: Final = "^[0-9a-fA-F-]{36}$"
NAME: Final = "^[A-Z0-9_]+$"
CUSTOM_NAME: Final = "^CUSTOM_[A-Z0-9_]+$"
GROUP_NUMBER: Final = "[1-9][0-9]*"
GROUP_NAME: Final = "[a-zA-Z0-9_-]{1,64}"

# Of equally relevant errors the first is reported, so the order of keywords is visible on the wire.


def _record(properties: Schema, required: tuple[str, ...] = (), patterns: Schema | None = None) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    schema["additionalProperties"] = False
    if patterns:
        schema["patternProperties"] = patterns
    return schema


def _map(pattern: str, value: Schema, at_least: int = 0) -> Schema:
    schema: Schema = {"type": "object"}
    if at_least:
        schema["minProperties"] = at_least
    schema |= {"patternProperties": {pattern: value}, "additionalProperties": False}
    return schema


def _text(at_least: int = 0, at_most: int | None = None, pattern: str | None = None) -> Schema:
    schema: Schema = {"type": "string"}
    if pattern is not None:
        schema["pattern"] = pattern
    if at_least:
        schema["minLength"] = at_least
    if at_most is not None:
        schema["maxLength"] = at_most
    return schema


def _bodies(steps: Mapping[int, Schema]) -> Since[Validator | None]:
    return Since({minor: Validator(schema, BODY_FORMATS) for minor, schema in steps.items()})


def _queries(steps: Mapping[int, Schema]) -> Since[Validator]:
    return Since({minor: Validator(schema, QUERY_FORMATS) for minor, schema in steps.items()})


_UUID: Final[Schema] = {"type": "string", "format": "uuid"}
_INTEGER: Final[Schema] = {"type": "integer"}
_OWNER: Final = _text(1, MAX_NAME)
_GENERATION: Final = "resource_provider_generation"


# Providers

_NEW_PROVIDER: Final = {"name": _text(at_most=MAX_PROVIDER_NAME), "uuid": _UUID}
_PROVIDER: Final = {"name": _text(at_most=MAX_PROVIDER_NAME)}
_PARENT: Final = {"parent_provider_uuid": {"anyOf": [_UUID, {"type": "null"}]}}

PROVIDER_CREATE = _bodies(
    {
        versions.OLDEST: _record(_NEW_PROVIDER, ("name",)),
        versions.NESTED_PROVIDERS: _record(_NEW_PROVIDER | _PARENT, ("name",)),
    }
)
PROVIDER_UPDATE = _bodies(
    {
        versions.OLDEST: _record(_PROVIDER, ("name",)),
        versions.NESTED_PROVIDERS: _record(_PROVIDER | _PARENT, ("name",)),
    }
)


# Inventories


def _amount(minimum: int) -> Schema:
    return {"type": "integer", "maximum": MAX_INT, "minimum": minimum}


_INVENTORY: Final[Schema] = {
    _GENERATION: _INTEGER,
    "total": _amount(1),
    "reserved": _amount(0),
    "min_unit": _amount(1),
    "max_unit": _amount(1),
    "step_size": _amount(1),
    # The lower limit is Moorage's own: a number that does not fit the column must not reach the database.
    "allocation_ratio": {"type": "number", "maximum": MAX_RATIO, "minimum": -MAX_RATIO},
}
_INVENTORY_RECORD: Final = _record(_INVENTORY, ("total",))
# Any name may be a key, and each must have a valid inventory; the service checks whether the class exists.
# (The reference fails with an internal error for records of names in lower case.)
_INVENTORIES: Final = _record(
    {
        _GENERATION: _INTEGER,
        "inventories": {"type": "object", "additionalProperties": _INVENTORY_RECORD},
    },
    (_GENERATION, "inventories"),
)

INVENTORY_CREATE = _bodies(
    {
        versions.OLDEST: _record(
            _INVENTORY | {"resource_class": _text(pattern=NAME)}, ("total", "resource_class")
        )
    }
)
INVENTORY_UPDATE = _bodies({versions.OLDEST: _record(_INVENTORY, ("total", _GENERATION))})
INVENTORIES_SET = _bodies({versions.OLDEST: _INVENTORIES})


# Aggregates, traits, resource classes

# Aggregates are stored as the client wrote them, so they must fit the column.
_AGGREGATE_LIST: Final[Schema] = {
    "type": "array",
    "items": _UUID | {"maxLength": MAX_UUID},
    "uniqueItems": True,
}

AGGREGATES_SET = _bodies(
    {
        versions.AGGREGATES: _AGGREGATE_LIST,
        versions.AGGREGATE_GENERATION: _record(
            {"aggregates": _AGGREGATE_LIST, _GENERATION: _INTEGER}, ("aggregates", _GENERATION)
        ),
    }
)
TRAITS_SET = _bodies(
    {
        versions.TRAITS: _record(
            {
                "traits": {"type": "array", "items": _text(1, MAX_NAME)},
                _GENERATION: _INTEGER,
            },
            ("traits", _GENERATION),
        )
    }
)
TRAIT_NAME = Validator(_text(1, MAX_NAME, CUSTOM_NAME), BODY_FORMATS)

_RESOURCE_CLASS: Final = _record({"name": _text(at_most=MAX_NAME, pattern=CUSTOM_NAME)}, ("name",))
RESOURCE_CLASS_NAME = Validator(_RESOURCE_CLASS, BODY_FORMATS)
RESOURCE_CLASS_CREATE = _bodies({versions.RESOURCE_CLASSES: _RESOURCE_CLASS})
RESOURCE_CLASS_UPDATE: Since[Validator | None] = Since(
    {
        versions.RESOURCE_CLASSES: RESOURCE_CLASS_NAME,
        versions.RESOURCE_CLASS_WITHOUT_BODY: None,
    }
)


# Allocations

_RESOURCES: Final = _map(NAME, {"type": "integer", "minimum": 1}, at_least=1)
# wire: only here, the schema reports additional properties before missing ones.
_PROVIDER_OF_ALLOCATION: Final[Schema] = {
    "type": "object",
    "properties": {"uuid": _UUID},
    "additionalProperties": False,
    "required": ["uuid"],
}
_ALLOCATION_LIST: Final[Schema] = {
    "allocations": {
        "type": "array",
        "minItems": 1,
        "items": _record(
            {"resource_provider": _PROVIDER_OF_ALLOCATION, "resources": _RESOURCES},
            ("resource_provider", "resources"),
        ),
    }
}
_ALLOCATION: Final = _record({"generation": _INTEGER, "resources": _RESOURCES}, ("resources",))
_OWNERS: Final = {"project_id": _OWNER, "user_id": _OWNER}
_NEW_GENERATION: Final[Schema] = {"consumer_generation": {"type": ["integer", "null"]}}
# wire: the pattern is not anchored, and a key that it does not match may have any value.
_MAPPINGS: Final[Schema] = {
    "mappings": {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {GROUP_NAME: {"type": "array", "minItems": 1, "items": _UUID}},
    }
}
_CONSUMER_TYPE: Final = {"consumer_type": _text(1, MAX_NAME, NAME)}


def _claim(minor: int, may_be_empty: bool = True) -> Schema:
    """The schema of a claim, in the form since 1.12."""
    properties: Schema = {"allocations": _map(UUID_KEY, _ALLOCATION, 0 if may_be_empty else 1)}
    properties |= _OWNERS
    required = ["allocations", "project_id", "user_id"]
    if minor >= versions.CONSUMER_GENERATION:
        properties |= _NEW_GENERATION
        required.append("consumer_generation")
    if minor >= versions.MAPPINGS:
        properties |= _MAPPINGS
    if minor >= versions.CONSUMER_TYPES:
        properties |= _CONSUMER_TYPE
        required.append("consumer_type")
    return _record(properties) | {"required": required}


_CLAIM_CHANGES: Final = (versions.CONSUMER_GENERATION, versions.MAPPINGS, versions.CONSUMER_TYPES)

ALLOCATIONS_SET = _bodies(
    {
        versions.OLDEST: _record(_ALLOCATION_LIST, ("allocations",)),
        versions.CONSUMER_OWNER: _record(
            _ALLOCATION_LIST | _OWNERS, ("allocations", "project_id", "user_id")
        ),
        versions.ALLOCATIONS_BY_PROVIDER: _claim(versions.ALLOCATIONS_BY_PROVIDER, may_be_empty=False),
    }
    | {minor: _claim(minor) for minor in _CLAIM_CHANGES}
)
ALLOCATIONS_POST = _bodies(
    {
        minor: _map(UUID_KEY, _claim(minor), at_least=1)
        for minor in (versions.POST_ALLOCATIONS, *_CLAIM_CHANGES)
    }
)
RESHAPE = _bodies(
    {
        minor: _record(
            {
                "inventories": _map(UUID_KEY, _INVENTORIES, at_least=1),
                "allocations": _map(UUID_KEY, _claim(minor)),
            },
            ("inventories", "allocations"),
        )
        for minor in (versions.RESHAPER, versions.MAPPINGS, versions.CONSUMER_TYPES)
    }
)


# Query strings

_TEXT: Final = _text()


def _provider_filters(minor: int) -> Schema:
    filters: Schema = {"name": _TEXT, "uuid": _UUID}
    for since, name, schema in (
        (versions.FILTER_BY_AGGREGATE, "member_of", _TEXT),
        (versions.FILTER_BY_RESOURCES, "resources", _TEXT),
        (versions.NESTED_PROVIDERS, "in_tree", _UUID),
        (versions.FILTER_BY_TRAITS, "required", _TEXT),
    ):
        if minor >= since:
            filters[name] = schema
    return _record(filters)


PROVIDERS_QUERY = _queries(
    {
        minor: _provider_filters(minor)
        for minor in (
            versions.OLDEST,
            versions.FILTER_BY_AGGREGATE,
            versions.FILTER_BY_RESOURCES,
            versions.NESTED_PROVIDERS,
            versions.FILTER_BY_TRAITS,
        )
    }
)


def group_key(minor: int) -> str:
    """Pattern of the keys of request groups; its groups are the kind and the suffix."""
    suffix = GROUP_NAME if minor >= versions.NAMED_GROUPS else GROUP_NUMBER
    return f"^(resources|required|member_of|in_tree)({suffix})?$"


def _candidate_parameters(minor: int) -> Schema:
    single: Schema = {}
    if minor >= versions.CANDIDATE_LIMIT:
        single["limit"] = _text(1, pattern="^[1-9][0-9]*$")
    if minor >= versions.NUMBERED_GROUPS:
        single["group_policy"] = {"type": "string", "enum": ["none", "isolate"]}
    if minor >= versions.ROOT_REQUIRED:
        single["root_required"] = _TEXT
    if minor >= versions.SAME_SUBTREE:
        single["same_subtree"] = _TEXT
    kinds: tuple[tuple[int, str], ...] = (
        (versions.CANDIDATES, "resources"),
        (versions.CANDIDATE_TRAITS, "required"),
        (versions.CANDIDATE_AGGREGATES, "member_of"),
        (versions.CANDIDATE_IN_TREE, "in_tree"),
    )
    present = [kind for since, kind in kinds if minor >= since]
    if minor < versions.NUMBERED_GROUPS:
        return _record(single | dict.fromkeys(present, _TEXT), ("resources",))
    suffix = GROUP_NAME if minor >= versions.NAMED_GROUPS else GROUP_NUMBER
    return _record(single, patterns={f"^{kind}({suffix})?$": _TEXT for kind in present})


CANDIDATES_QUERY = _queries(
    {
        minor: _candidate_parameters(minor)
        for minor in (
            versions.CANDIDATES,
            versions.CANDIDATE_LIMIT,
            versions.CANDIDATE_TRAITS,
            versions.CANDIDATE_AGGREGATES,
            versions.NUMBERED_GROUPS,
            versions.CANDIDATE_IN_TREE,
            versions.NAMED_GROUPS,
            versions.ROOT_REQUIRED,
            versions.SAME_SUBTREE,
        )
    }
)
TRAITS_QUERY = _queries({versions.TRAITS: _record({"name": _TEXT, "associated": _TEXT})})

# wire: "all" is not anchored at its end, so that "allX" passes and finds nothing.
_CONSUMER_TYPES_ASKED: Final = f"{NAME}|^all|^unknown$"

USAGES_QUERY = _queries(
    {
        versions.TOTAL_USAGES: _record({"project_id": _OWNER, "user_id": _OWNER}, ("project_id",)),
        versions.CONSUMER_TYPES: _record(
            {
                "project_id": _OWNER,
                "user_id": _OWNER,
                "consumer_type": _text(1, MAX_NAME, _CONSUMER_TYPES_ASKED),
            },
            ("project_id",),
        ),
    }
)
