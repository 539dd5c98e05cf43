"""Query strings: parsing, validation by microversion, and the grammar of requests for candidates."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final
from urllib.parse import parse_qsl

from moorage.api.http import intake, validation
from moorage.api.http.settings import Limits
from moorage.api.http.validation import Validator
from moorage.api.http.wire_error import bad_request
from moorage.api.placement import versions
from moorage.api.placement.errors import BAD_VALUE, DUPLICATE_KEY, MISSING_VALUE
from moorage.api.placement.schemas import CANDIDATES_QUERY, group_key
from moorage.model.cache import MIB, Cache
from moorage.model.requests import ISOLATE, CandidateRequest, RequestGroup
from moorage.model.valueclass import valueclass
from moorage.model.values import MAX_INT

INVALID: Final = "Invalid query string parameters: "

IMPOSSIBLE_AMOUNT: Final = MAX_INT + 1
"""An amount that no inventory can hold, since MAX_INT is their limit. It replaces all larger amounts: the
answer is the same, and the search gets no number that does not fit its columns."""


KNOWN_BYTES: Final = 4 * MIB
"""Bytes of parsed queries that are cached. Clients ask for the same flavors again and again, and parsing a
query takes longer than its search."""

QUERY_BYTES: Final = 1_000
PAIR_BYTES: Final = 72
"""Bytes of a query besides its parameters, and of a parameter besides its name and value."""


@valueclass(frozen=True, slots=True)
class Query:
    """Parameters of a query string in order, names repeated as they were.

    ``counts`` says how many things the query names, by their names in ``intake``; empty if not counted.
    ``size`` is in bytes of memory, approximately; 0 if not counted.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict, compare=False)
    size: int = field(default=0, compare=False)

    def all(self, name: str) -> list[str]:
        """All values of ``name`` in order."""
        return [value for key, value in self.pairs if key == name]

    def last(self, name: str) -> str | None:
        """The last value of ``name``, which counts where only one can."""
        return next((value for key, value in reversed(self.pairs) if key == name), None)

    def first(self, name: str) -> str | None:
        """The first value of ``name``."""
        return next((value for key, value in self.pairs if key == name), None)


def parse(query_string: str) -> Query:
    """Parameters of a WSGI ``QUERY_STRING``.

    Raises WireError (400) for text that is not UTF-8.
    """
    # wire: a semicolon separates as well as an ampersand does.
    query_string = query_string.replace(";", "&")
    try:
        text = query_string.encode("latin-1").decode("utf-8")
        pairs = tuple(parse_qsl(text, keep_blank_values=True, errors="strict"))
    except UnicodeError as error:
        raise bad_request(f"{INVALID}{error}") from None
    return Query(pairs)


def read(query_string: str, validator: Validator) -> Query:
    """``parse`` and ``validate``, with the results of recent queries cached.

    Raises WireError (400), also for NUL, which no database stores in text.
    """
    return _KNOWN.of((query_string, validator), lambda: _read(query_string, validator))


def _read(query_string: str, validator: Validator) -> Query:
    query = parse(query_string)
    validate(query, validator)
    if any("\0" in name or "\0" in value for name, value in query.pairs):
        raise bad_request(f"{INVALID}NUL characters are not allowed")
    texts = sum([sys.getsizeof(name) + sys.getsizeof(value) for name, value in query.pairs])
    size = QUERY_BYTES + PAIR_BYTES * len(query.pairs) + texts
    return Query(query.pairs, counted(query.pairs), size)


_KNOWN: Final = Cache[tuple[str, Validator], Query](
    KNOWN_BYTES, lambda key, query: sys.getsizeof(key[0]) + query.size
)

_GROUP_KEY: Final = re.compile(group_key(versions.NEWEST))


def counted(pairs: tuple[tuple[str, str], ...]) -> dict[str, int]:
    """How many things of each limited kind the parameters name, repeated ones included."""
    suffixes: set[str] = set()
    names = {intake.SUBTREE_GROUPS: 0, intake.TRAITS: 0, intake.AGGREGATES: 0}
    for key, value in pairs:
        match = _GROUP_KEY.match(key)
        if match is not None:
            suffixes.add(match[2] or "")
        kind = match[1] if match is not None else key
        if kind in {"required", "root_required"}:
            names[intake.TRAITS] += value.count(",") + 1
        elif kind == "member_of":
            names[intake.AGGREGATES] += value.count(",") + 1
        elif kind == "same_subtree":
            names[intake.SUBTREE_GROUPS] += value.count(",") + 1
    return {intake.REQUEST_GROUPS: len(suffixes), **names}


def validate(query: Query, validator: Validator) -> None:
    """Validate ``query`` by the schema of its microversion. Raises WireError (400)."""
    # wire: the schema checks the last value of a repeated parameter. But the first "limit" is the one used,
    # so it is checked as well.
    checked = [dict(query.pairs)]
    limit = query.first("limit")
    if limit is not None and limit != checked[0]["limit"]:
        checked.append(checked[0] | {"limit": limit})
    for seen in checked:
        error = validator.error(seen)
        if error is not None:
            raise bad_request(f"{INVALID}{error}")


def resources(value: str) -> dict[str, int]:
    """Amounts by class of ``CLASS:AMOUNT,CLASS:AMOUNT``; the last amount of a repeated class counts.

    Raises WireError (400).
    """
    form = (
        "Badly formed resources parameter. Expected resources query string parameter in form: "
        "?resources=VCPU:2,MEMORY_MB:1024. Got: "
    )
    if not value.strip():
        raise bad_request(f"{form}empty string.")
    amounts: dict[str, int] = {}
    for item in value.split(","):
        resource_class, *rest = item.split(":")
        if len(rest) != 1:
            raise bad_request(f"{form}{item}.")
        try:
            # wire: anything that Python accepts as a whole number, such as "+1" or "1_0".
            amount = int(rest[0])
        except ValueError:
            raise bad_request(
                f"Requested resource {resource_class} expected positive integer amount. Got: {rest[0]}."
            ) from None
        if amount < 1:
            raise bad_request(f"Requested resource {resource_class} requires amount >= 1. Got: {amount}.")
        amounts[resource_class] = min(amount, IMPOSSIBLE_AMOUNT)
    return amounts


def traits(
    values: list[str], may_forbid: bool, may_choose: bool
) -> tuple[tuple[frozenset[str], ...], frozenset[str]]:
    """Required traits (an AND of ORs) and forbidden ones of all values of a ``required``.

    ``may_forbid`` allows ``!TRAIT``, ``may_choose`` allows ``in:A,B``. Raises WireError (400).
    """
    required: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for value in values:
        if value.startswith("in:"):
            required.append(_any_traits(value, may_choose))
            continue
        names = [name.strip() for name in value.split(",")]
        # wire: several exclamation marks count as one.
        unwanted = {name.lstrip("!") for name in names if name.startswith("!")}
        if not all(names) or not all(unwanted):
            form = "HW_CPU_X86_VMX,!CUSTOM_MAGIC" if may_forbid else "HW_CPU_X86_VMX,CUSTOM_MAGIC"
            raise bad_request(
                f"{INVALID}Expected 'required' parameter value of the form: {form}. "
                f"Got an empty trait in: {value}"
            )
        if unwanted and not may_forbid:
            raise bad_request(
                f"{INVALID}Expected 'required' parameter value of the form: "
                f"HW_CPU_X86_VMX,CUSTOM_MAGIC. Got: {value}"
            )
        wanted = dict.fromkeys(name for name in names if not name.startswith("!"))
        required.extend(frozenset({name}) for name in wanted)
        forbidden |= unwanted
    return tuple(required), frozenset(forbidden)


def _any_traits(value: str, may_choose: bool) -> frozenset[str]:
    if not may_choose:
        raise bad_request(
            f"{INVALID}The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' only supported since "
            f"microversion 1.39. Got: {value}"
        )
    names = frozenset(name.strip() for name in value[3:].split(","))
    if not all(names):
        raise bad_request(
            f"{INVALID}Expected 'required' parameter value of the form: "
            f"in:HW_CPU_X86_VMX,CUSTOM_MAGIC. Got an empty trait in: {value}"
        )
    if any(name.startswith("!") for name in names):
        raise bad_request(
            f"{INVALID}The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' does not support forbidden "
            f"traits. Got: {value}"
        )
    return names


def traits_at(query: Query, name: str, minor: int) -> tuple[tuple[frozenset[str], ...], frozenset[str]]:
    """``traits`` of the parameter ``name`` as ``minor`` understands it. Raises WireError (400)."""
    values = query.all(name)
    may_choose = minor >= versions.ANY_TRAITS
    if not may_choose:
        values = values[-1:]
    return traits(values, minor >= versions.FORBIDDEN_TRAITS, may_choose)


def member_of_at(query: Query, suffix: str, minor: int) -> tuple[tuple[frozenset[str], ...], frozenset[str]]:
    """Aggregates wanted (an AND of ORs) and unwanted ones of a group's ``member_of``.

    Raises WireError (400).
    """
    values = query.all(f"member_of{suffix}")
    if len(values) > 1 and minor < versions.REPEATED_MEMBER_OF:
        raise bad_request(f"Multiple member_of{suffix} parameters are not supported")
    wanted: list[frozenset[str]] = []
    unwanted: frozenset[str] = frozenset()
    for value in values:
        forbidden, aggregates = _member_of(value)
        if not forbidden:
            wanted.append(aggregates)
        elif minor < versions.FORBIDDEN_AGGREGATES:
            raise bad_request(
                f"Forbidden member_of{suffix} parameters are not supported in the specified microversion"
            )
        else:
            unwanted |= aggregates
    return tuple(wanted), unwanted


def _member_of(value: str) -> tuple[bool, frozenset[str]]:
    """Whether one ``member_of`` forbids, and its aggregates."""
    forbidden = value.startswith("!")
    listed = value.removeprefix("!")
    if listed.startswith("in:"):
        aggregates = frozenset(listed.removeprefix("in:").split(","))
    elif "," in value:
        raise bad_request(
            "Multiple values for 'member_of' must be prefixed with the 'in:' or '!in:' keyword "
            f"using the valid microversion. Got: {value}"
        )
    else:
        aggregates = frozenset({listed})
    for aggregate in sorted(aggregates):
        if not validation.is_uuid_like(aggregate):
            raise bad_request(
                f"{INVALID}Expected 'member_of' parameter to contain valid UUID(s). Got: {aggregate}"
            )
    return forbidden, aggregates


def in_tree(value: str) -> str:
    """The provider that an ``in_tree`` of a request group names. Raises WireError (400)."""
    uuid = value.strip()
    if not validation.is_uuid_like(uuid):
        raise bad_request(f"{INVALID}Expected 'in_tree' parameter to be a format of uuid. Got: {value}")
    return uuid


# Candidates. The texts and codes of refusals, and the order of checks, were observed on the reference.

_NUMBERED_GROUP: Final = re.compile(group_key(versions.CANDIDATES))
_NAMED_GROUP: Final = re.compile(group_key(versions.NAMED_GROUPS))
"""Parameters of request groups: all suffixes are numbers before ``NAMED_GROUPS``."""

_READ_TOGETHER: Final = frozenset({"required", "member_of"})
"""Kinds of which all values count: repeated parameters are read together."""


def candidate_request(asked: Query, minor: int) -> CandidateRequest:
    """The request of a query string that is valid by its schema.

    Raises WireError (400).
    """
    return _REQUESTS.of((asked, minor), lambda: _candidate_request(asked, minor))


def newest_request(text: str, limits: Limits) -> CandidateRequest:
    """The request that a query string, as Unicode text, means at the newest version.

    Raises WireError (400).
    """
    asked = read(text.encode().decode("latin-1"), CANDIDATES_QUERY.at(versions.NEWEST))
    intake.check_counts(asked.counts, limits)
    return candidate_request(asked, versions.NEWEST)


def _candidate_request(asked: Query, minor: int) -> CandidateRequest:
    limit = asked.first("limit")
    root_required, root_forbidden = _root_traits(asked)
    same_subtree = _same_subtree(asked)
    groups = _groups(asked, minor)
    if minor >= versions.SAME_SUBTREE:
        _check_subtrees(groups, same_subtree)
    else:
        _check_orphans(groups)
    if minor >= versions.FORBIDDEN_TRAITS:
        _check_contradictions(groups)
    group_policy = asked.first("group_policy")
    if group_policy is None and sum(1 for suffix in groups if suffix) > 1:
        raise bad_request(
            'The "group_policy" parameter is required when specifying more than one "resources{N}" parameter.'
        )
    return CandidateRequest.ordered(
        groups.values(),
        same_subtree,
        # wire: the schema checks the last value, the first one applies, and any value but "isolate" means
        # "none".
        group_policy=ISOLATE if group_policy == ISOLATE else None,
        root_required=root_required,
        root_forbidden=root_forbidden,
        # No answer has more candidates than this.
        limit=None if limit is None else _limit(limit),
        one_provider_per_tree=minor < versions.NESTED_CANDIDATES,
    )


_REQUESTS: Final = Cache[tuple[Query, int], CandidateRequest](
    KNOWN_BYTES, lambda key, found: key[0].size + found.size
)


def _limit(value: str) -> int:
    try:
        return min(int(value), MAX_INT)
    except ValueError:
        # The schema admits digits only; Python refuses to convert very long numbers.
        return MAX_INT


def _root_traits(asked: Query) -> tuple[frozenset[str], frozenset[str]]:
    values = asked.all("root_required")
    if len(values) > 1:
        raise bad_request("Query parameter 'root_required' may be specified only once.", DUPLICATE_KEY)
    # wire: "in:" is refused at every version.
    chosen, forbidden = traits(values, may_forbid=True, may_choose=False)
    required = frozenset().union(*chosen)
    if required & forbidden:
        raise bad_request(
            "Conflicting required and forbidden traits found in root_required: "
            + ", ".join(sorted(required & forbidden)),
            BAD_VALUE,
        )
    return required, forbidden


def _same_subtree(asked: Query) -> tuple[frozenset[str], ...]:
    subtrees = tuple(
        frozenset(suffix.strip() for suffix in value.split(",")) for value in asked.all("same_subtree")
    )
    if any("" in subtree for subtree in subtrees):
        raise bad_request(
            "Empty string (unsuffixed group) can not be specified in `same_subtree` ", BAD_VALUE
        )
    return subtrees


def _groups(asked: Query, minor: int) -> dict[str, RequestGroup]:
    """Groups by suffix, in the order in which the query string first names them."""
    groups: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    pattern = _NAMED_GROUP if minor >= versions.NAMED_GROUPS else _NUMBERED_GROUP
    by_key: dict[str, list[tuple[str, str]]] = {}
    for pair in asked.pairs:
        by_key.setdefault(pair[0], []).append(pair)
    for key, value in asked.pairs:
        match = pattern.match(key)
        if match is None:
            continue
        kind, suffix = match[1], match[2] or ""
        if kind in _READ_TOGETHER:
            if key in seen:
                continue
            seen.add(key)
        group = groups.setdefault(suffix, {})
        if kind == "resources":
            group["resources"] = resources(value)
        elif kind == "required":
            group["required"], group["forbidden"] = traits_at(Query(tuple(by_key[key])), key, minor)
        elif kind == "member_of":
            asked_of = Query(tuple(by_key[key]))
            group["member_of"], group["forbidden_aggregates"] = member_of_at(asked_of, suffix, minor)
        else:
            group["in_tree"] = in_tree(value)
    return {suffix: RequestGroup(suffix, **conditions) for suffix, conditions in groups.items()}


def _check_subtrees(groups: dict[str, RequestGroup], same_subtree: tuple[frozenset[str], ...]) -> None:
    """From 1.36 on, a group may have no resources if a ``same_subtree`` names it."""
    without = [suffix for suffix, group in groups.items() if not group.resources]
    if len(without) == len(groups):
        raise bad_request("There must be at least one resources or resources[$S] parameter.", MISSING_VALUE)
    named = frozenset().union(*same_subtree)
    unnamed = [suffix for suffix in without if suffix not in named]
    if unnamed:
        raise bad_request(
            "Resourceless suffixed group request should be specified in `same_subtree` query "
            f"param: bad group(s) - {unnamed}.",
            BAD_VALUE,
        )
    unknown = sorted(named - groups.keys())
    if unknown:
        raise bad_request(
            f"Real suffixes should be specified in `same_subtree`: {unknown} not found in {list(groups)}.",
            BAD_VALUE,
        )


def _check_orphans(groups: dict[str, RequestGroup]) -> None:
    """Before 1.36 every group has resources."""
    without = {suffix: group for suffix, group in groups.items() if not group.resources}
    traits = [f"required{suffix}" for suffix, group in without.items() if group.required]
    if traits:
        raise bad_request(
            "All traits parameters must be associated with resources.  Found the following "
            f"orphaned traits keys: {', '.join(traits)}"
        )
    aggregates = [
        f"member_of{suffix}"
        for suffix, group in without.items()
        if group.member_of or group.forbidden_aggregates
    ]
    if aggregates:
        raise bad_request(
            "All member_of parameters must be associated with resources. Found the following "
            f"orphaned member_of keys: {', '.join(aggregates)}"
        )
    if without:
        raise bad_request("All request groups must specify resources.")
    if not groups:
        raise bad_request("At least one request group (`resources` or `resources{$S}`) is required.")


def _check_contradictions(groups: dict[str, RequestGroup]) -> None:
    conflicts = [
        f"required{suffix}: ({', '.join(sorted(choice))})"
        for suffix, group in groups.items()
        for choice in group.required
        if choice <= group.forbidden
    ]
    if conflicts:
        raise bad_request(
            "Conflicting required and forbidden traits found in the following traits keys: "
            + ", ".join(sorted(conflicts))
        )
