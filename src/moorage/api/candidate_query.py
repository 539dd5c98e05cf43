"""The grammar of ``GET /allocation_candidates``: request groups and what binds them.

Source: API reference, "List allocation candidates"; the words and codes of the refusals, and
the order of the checks, are the reference's, observed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final

from moorage.api import query, versions
from moorage.api.query import Query
from moorage.api.schemas import group_key
from moorage.api.versions import Since
from moorage.api.wire_error import BAD_VALUE, DUPLICATE_KEY, MISSING_VALUE, bad_request
from moorage.model.requests import ISOLATE, CandidateRequest, RequestGroup
from moorage.model.values import MAX_INT

_GROUP_KEYS: Final = Since(
    {minor: re.compile(group_key(minor)) for minor in (versions.CANDIDATES, versions.NAMED_GROUPS)}
)

_READ_TOGETHER: Final = frozenset({"required", "member_of"})
"""Kinds of which all values count: they are read once, however often they are given."""


def request(asked: Query, minor: int) -> CandidateRequest:
    """The request that a query string, valid by its schema, stands for.

    Raises WireError (400).
    """
    if sum(len(key) + len(value) for key, value in asked.pairs) > query.LONGEST_KNOWN:
        return _request(asked, minor)
    return _known(asked, minor)


def _request(asked: Query, minor: int) -> CandidateRequest:
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
    return CandidateRequest(
        groups=tuple(groups.values()),
        # wire: the first is used, the last is judged, and what is not "isolate" is "none".
        group_policy=ISOLATE if group_policy == ISOLATE else None,
        root_required=root_required,
        root_forbidden=root_forbidden,
        same_subtree=same_subtree,
        # No answer has more candidates than this anyway.
        limit=None if limit is None else _limit(limit),
        one_provider_per_tree=minor < versions.NESTED_CANDIDATES,
    )


_known: Final = lru_cache(maxsize=query.KNOWN)(_request)


def _limit(value: str) -> int:
    try:
        return min(int(value), MAX_INT)
    except ValueError:
        # The schema has seen that it is a number: Python reads no more than some digits.
        return MAX_INT


def _root_traits(asked: Query) -> tuple[frozenset[str], frozenset[str]]:
    values = asked.all("root_required")
    if len(values) > 1:
        raise bad_request("Query parameter 'root_required' may be specified only once.", DUPLICATE_KEY)
    # wire: "in:" is refused at every version.
    chosen, forbidden = query.traits(values, may_forbid=True, may_choose=False)
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
    groups: dict[str, RequestGroup] = {}
    seen: set[str] = set()
    pattern = _GROUP_KEYS.at(minor)
    for key, value in asked.pairs:
        match = pattern.match(key)
        if match is None:
            continue
        kind, suffix = match[1], match[2] or ""
        if kind in _READ_TOGETHER:
            if key in seen:
                continue
            seen.add(key)
        group = groups.get(suffix, RequestGroup(suffix))
        if kind == "resources":
            group = replace(group, resources=query.resources(value))
        elif kind == "required":
            required, forbidden = query.traits_at(asked, key, minor)
            group = replace(group, required=required, forbidden=forbidden)
        elif kind == "member_of":
            wanted, unwanted = query.member_of_at(asked, suffix, minor)
            group = replace(group, member_of=wanted, forbidden_aggregates=unwanted)
        else:
            group = replace(group, in_tree=query.in_tree(value))
        groups[suffix] = group
    return groups


def _check_subtrees(groups: dict[str, RequestGroup], same_subtree: tuple[frozenset[str], ...]) -> None:
    """From 1.36 on a group may do without resources if a ``same_subtree`` names it."""
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
