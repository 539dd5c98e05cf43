"""The Ask: one question for room, as JSON or as a pasted query of Placement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any, Final

import orjson

from moorage.api.http import intake, quoting
from moorage.api.http.intake import BodyCounts, items, part, size
from moorage.api.http.settings import Limits
from moorage.api.http.validation import Schema
from moorage.api.http.wire_error import WireError
from moorage.api.native.endpoint import ReadQuery
from moorage.api.native.names import nearest
from moorage.api.native.strict import MAX_QUOTE, fault
from moorage.model.cache import MIB, Cache
from moorage.model.requests import ISOLATE, CandidateRequest, RequestGroup
from moorage.model.valueclass import valueclass
from moorage.model.values import MAX_INT

GROUP: Final = "^$|^[a-zA-Z0-9_-]{1,64}$"
"""Suffix of a group; "" is the unsuffixed one."""

_NAME: Final[Schema] = {"type": "string", "pattern": "^[A-Z0-9_]+$", "maxLength": 255}
_UUID: Final[Schema] = {"type": "string", "format": "uuid"}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _about(text: str, schema: Schema) -> Schema:
    return {**schema, "description": text}


def _choice(item: Schema) -> Schema:
    """One of these, or an object that lists several of which any will do."""
    any_of: Schema = {
        "type": "object",
        "properties": {"any": {"type": "array", "items": item, "minItems": 1}},
        "required": ["any"],
        "additionalProperties": False,
    }
    return {"anyOf": [item, any_of]}


_GROUP: Final[Schema] = {
    "type": "object",
    "properties": {
        "resources": {
            "description": "Amounts by resource class.",
            "type": "object",
            "patternProperties": {"^[A-Z0-9_]{1,255}$": {"type": "integer", "minimum": 1}},
            "additionalProperties": False,
        },
        "required": _about(
            "Traits that must be there. An object with `any` lists some of which one suffices.",
            _list(_choice(_NAME)),
        ),
        "forbidden": _about("Traits that must not be there.", _list(_NAME)),
        "member_of": _about(
            "Aggregates to be a member of. An object with `any` lists some of which one suffices.",
            _list(_choice(_UUID)),
        ),
        "not_member_of": _about("Aggregates not to be a member of.", _list(_UUID)),
        "in_tree": _about(
            "UUID of a provider: only its tree serves the group.", {"anyOf": [_UUID, {"type": "null"}]}
        ),
    },
    "additionalProperties": False,
}

SCHEMA: Final[Schema] = {
    "type": "object",
    "properties": {
        "query": _about(
            "A query of Placement instead of all else: a query string, a URL, or a line of a log with one. "
            "It is read at the newest microversion, and `limit` does not count.",
            {"type": "string", "minLength": 1},
        ),
        "groups": {
            "description": 'Request groups by suffix. The providers of a tree together serve the group `""`, '
            "one provider serves each other group.",
            "type": "object",
            "patternProperties": {GROUP: _GROUP},
            "additionalProperties": False,
            "minProperties": 1,
        },
        "group_policy": _about(
            "`isolate`: no provider serves two groups with suffixes. `none` is the default.",
            {"type": "string", "enum": ["none", ISOLATE]},
        ),
        "root_required": _about("Traits that the root of the tree must have.", _list(_NAME)),
        "root_forbidden": _about("Traits that the root must not have.", _list(_NAME)),
        "same_subtree": _about(
            "Lists of suffixes: one provider of these groups is above all others of the list, or is their "
            "only one.",
            _list({"type": "array", "items": {"type": "string"}, "minItems": 1}),
        ),
    },
    "additionalProperties": False,
}
"""Either ``query`` alone, or ``groups`` and the rest."""

EXAMPLES: Final[tuple[Mapping[str, object], ...]] = (
    {
        "groups": {
            "": {
                "resources": {"VCPU": 4, "MEMORY_MB": 8192},
                "required": ["HW_CPU_X86_AVX2", {"any": ["HW_NIC_SRIOV", "HW_NIC_ACCEL_SSL"]}],
                "forbidden": ["COMPUTE_STATUS_DISABLED"],
            },
            "_GPU": {"resources": {"PGPU": 1}},
            "_NIC": {"resources": {"SRIOV_NET_VF": 1}},
        },
        "group_policy": "none",
        "same_subtree": [["_GPU", "_NIC"]],
    },
    {"query": "resources=VCPU:4,MEMORY_MB:8192&required=HW_CPU_X86_AVX2&limit=1000"},
)


def _of_groups(key: str) -> Any:
    return lambda ask: sum(size(part(group, key)) for group in items(part(ask, "groups")))


def _traits(ask: object) -> int:
    named = sum(_choices(group, "required") for group in items(part(ask, "groups")))
    named += _of_groups("forbidden")(ask)
    return int(named) + size(part(ask, "root_required")) + size(part(ask, "root_forbidden"))


def _choices(group: object, key: str) -> int:
    return sum(size(part(choice, "any")) or 1 for choice in items(part(group, key)))


def _aggregates(ask: object) -> int:
    named = sum(_choices(group, "member_of") for group in items(part(ask, "groups")))
    return int(named + _of_groups("not_member_of")(ask))


COUNTS: Final[BodyCounts] = (
    (intake.REQUEST_GROUPS, lambda ask: size(part(ask, "groups"))),
    (intake.SUBTREE_GROUPS, lambda ask: sum(map(size, items(part(ask, "same_subtree"))))),
    (intake.TRAITS, _traits),
    (intake.AGGREGATES, _aggregates),
)
"""How to count what an Ask names."""


def counts_within(key: str) -> BodyCounts:
    """How to count what the Ask in the field ``key`` of a body names."""

    def inner(count: Any) -> Any:
        return lambda body: count(part(body, key))

    return tuple((what, inner(count)) for what, count in COUNTS)


@valueclass(frozen=True, slots=True)
class DecodedAsk:
    """An Ask as the search takes it. ``notes`` say what of the client's text did not count.

    ``single`` is the request for one candidate.
    """

    request: CandidateRequest
    notes: tuple[str, ...] = ()
    single: CandidateRequest = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "single", replace(self.request, limit=1))

    @property
    def size(self) -> int:
        """Bytes of memory at most."""
        return 2 * self.request.size


_KNOWN: Final = Cache[bytes, DecodedAsk](4 * MIB, lambda text, decoded: len(text) + decoded.size)
"""Asks that were decoded without a fault, by their text: clients ask for the same flavors again and again."""


Place = tuple[object, ...]
"""Where something stands in a body."""


def decode(ask: Mapping[str, Any], read_query: ReadQuery, limits: Limits, at: Place = ("ask",)) -> DecodedAsk:
    """Decode an Ask that is valid by ``SCHEMA``. ``at`` is its place in the body.

    Raises WireError (400).
    """
    if "query" not in ask:
        try:
            return _KNOWN.of(orjson.dumps(ask), lambda: DecodedAsk(of_groups(ask, at)))
        except orjson.JSONEncodeError:
            # Numbers beyond 64 bits, and halves of surrogate pairs, have no such text.
            return DecodedAsk(of_groups(ask, at))
    others = sorted(ask.keys() - {"query"})
    if others:
        raise fault(f"query is the whole Ask: {others[0]} must not stand beside it.", *at, others[0])
    return _pasted(ask["query"], read_query, limits, at)


# A pasted query

_ENDS: Final = re.compile(r"[\s\"'<>`|\\]")
"""Characters that no URL contains, so that they end it in a line of a log."""

_BEGINS: Final = re.compile(
    r"(?:^|[\s\"'(<\[{:=])"
    r"((?:resources|required|member_of|in_tree|root_required|same_subtree|group_policy|limit)[\w-]*=)"
)
"""The first parameter of a query that stands in a line without a path."""

LIMIT_IGNORED: Final = "limit in the query was ignored"
TRIMMED: Final = "the text around the query was left out"


def query_in(text: str) -> str:
    """The query string in ``text``: a whole URL, a path with a query, or a line of a log with one of them."""
    text = text.strip()
    _, has_path, after = text.partition("allocation_candidates?")
    if has_path:
        text = after
    elif "?" in text:
        text = text.partition("?")[2]
    else:
        found = _BEGINS.search(text)
        text = text[found.start(1) :] if found else text
    text = text.partition("#")[0]
    return _ENDS.split(text, maxsplit=1)[0].rstrip(",.;)]}")


def _pasted(text: str, read_query: ReadQuery, limits: Limits, at: Place) -> DecodedAsk:
    query = query_in(text)
    kept = [pair for pair in re.split("[&;]", query) if pair.partition("=")[0] != "limit"]
    notes = [LIMIT_IGNORED] if len(kept) < len(re.split("[&;]", query)) else []
    if query != text.strip().lstrip("?"):
        notes.append(TRIMMED)
    try:
        request = read_query("&".join(kept), limits)
    except WireError as error:
        # The first line says what is wrong; the rest is a schema.
        raise fault(error.message.partition("\n")[0], *at, "query") from None
    return DecodedAsk(request, tuple(notes))


# An Ask as JSON


def of_groups(ask: Mapping[str, Any], at: Place) -> CandidateRequest:
    """Decode an Ask that is valid by ``SCHEMA`` and has no query. Raises WireError (400)."""
    if "groups" not in ask:
        raise fault("An Ask has groups, or a query.", *at)
    groups = {suffix: _group(suffix, group, at) for suffix, group in ask["groups"].items()}
    subtrees = tuple(frozenset(subtree) for subtree in ask.get("same_subtree", ()))
    _check_groups(groups, subtrees, at)
    root_required = frozenset(ask.get("root_required", ()))
    root_forbidden = frozenset(ask.get("root_forbidden", ()))
    both = sorted(root_required & root_forbidden)
    if both:
        raise fault(f"root_required and root_forbidden both name {both[0]}.", *at, "root_forbidden")
    found = CandidateRequest(
        groups=tuple(groups.values()),
        group_policy=ISOLATE if ask.get("group_policy") == ISOLATE else None,
        root_required=root_required,
        root_forbidden=root_forbidden,
        same_subtree=subtrees,
    )
    return found.in_order()


def _group(suffix: str, group: Mapping[str, Any], at: Place) -> RequestGroup:
    required = tuple(_chosen(choice) for choice in group.get("required", ()))
    forbidden = frozenset(group.get("forbidden", ()))
    for number, choice in enumerate(required):
        if choice <= forbidden:
            names = quoting.bounded(" or ".join(sorted(choice)), MAX_QUOTE)
            raise fault(f"The group requires and forbids {names}.", *at, "groups", suffix, "required", number)
    return RequestGroup(
        suffix=suffix,
        resources={name: min(amount, MAX_INT + 1) for name, amount in group.get("resources", {}).items()},
        required=required,
        forbidden=forbidden,
        member_of=tuple(_chosen(choice) for choice in group.get("member_of", ())),
        forbidden_aggregates=frozenset(group.get("not_member_of", ())),
        in_tree=group.get("in_tree"),
    )


def _chosen(choice: str | Mapping[str, list[str]]) -> frozenset[str]:
    return frozenset({choice} if isinstance(choice, str) else choice["any"])


def _check_groups(
    groups: Mapping[str, RequestGroup], subtrees: tuple[frozenset[str], ...], at: Place
) -> None:
    for number, subtree in enumerate(subtrees):
        for suffix in sorted(subtree):
            if suffix == "":
                detail = "same_subtree names groups that one provider serves: the unsuffixed group is none."
                raise fault(detail, *at, "same_subtree", number)
            if suffix not in groups:
                near = nearest(suffix, groups)
                said = quoting.quoted(suffix, MAX_QUOTE)
                raise fault(f"There is no group {said}.", *at, "same_subtree", number, nearest=near)
    if not any(group.resources for group in groups.values()):
        raise fault("At least one group must have resources.", *at, "groups")
    named = frozenset[str]().union(*subtrees)
    for suffix, group in groups.items():
        if not group.resources and suffix not in named:
            detail = "A group without resources must stand in same_subtree."
            raise fault(detail, *at, "groups", suffix)


# A request as an Ask


def shown(request: CandidateRequest) -> dict[str, object]:
    """The Ask of a request, in JSON. It says all but a limit, and what only clients of old versions ask."""
    found: dict[str, object] = {"groups": {group.suffix: _shown_group(group) for group in request.groups}}
    if request.group_policy is not None:
        found["group_policy"] = request.group_policy
    if request.root_required:
        found["root_required"] = sorted(request.root_required)
    if request.root_forbidden:
        found["root_forbidden"] = sorted(request.root_forbidden)
    if request.same_subtree:
        found["same_subtree"] = sorted(sorted(subtree) for subtree in request.same_subtree)
    return found


def _shown_group(group: RequestGroup) -> dict[str, object]:
    parts: dict[str, object] = {
        "resources": dict(sorted(group.resources.items())),
        "required": [_shown_choice(choice) for choice in group.required],
        "forbidden": sorted(group.forbidden),
        "member_of": [_shown_choice(choice) for choice in group.member_of],
        "not_member_of": sorted(group.forbidden_aggregates),
        "in_tree": group.in_tree,
    }
    return {name: part for name, part in parts.items() if part}


def _shown_choice(choice: frozenset[str]) -> str | dict[str, list[str]]:
    names = sorted(choice)
    return names[0] if len(names) == 1 else {"any": names}
