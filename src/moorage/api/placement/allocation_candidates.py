"""``/allocation_candidates``, and the body of its answer for thousands of candidates.

Candidates of one pattern differ only in uuids, so a pattern is encoded once, and the uuids are filled in. A
provider's summary is the same in every answer until the provider changes, so the index keeps its text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import orjson

from moorage.api.http.exchange import Answer
from moorage.api.placement import query, schemas, versions
from moorage.api.placement.answers import reference
from moorage.api.placement.call import Call
from moorage.api.placement.encode import Json
from moorage.api.placement.errors import (
    BAD,
    BAD_VALUE,
    DUPLICATE_KEY,
    MISSING_VALUE,
    UNKNOWN_CLASS_ASKED,
    Reply,
)
from moorage.api.placement.operation import TOO_MANY, UNKNOWN_NAMES, Operation, Refusal, can_raise
from moorage.model import errors as model
from moorage.model.requests import (
    Candidate,
    KeptSummaries,
    Part,
    Pattern,
    PatternedCandidates,
    ProviderSummary,
    SearchResult,
    Template,
)


def list_(call: Call) -> Answer:
    """List the candidates for a request."""
    request = query.candidate_request(call.query, call.minor)
    result = call.service.candidates(request, call.requester)
    requested = frozenset([name for group in request.groups for name in group.resources])
    text = result.memo.of(call.minor, lambda: encoded(result, requested, call.minor))
    return Answer(body=text, dated=True)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/allocation_candidates",
        list_,
        summary="Find providers that can serve a request",
        rule="placement:allocation_candidates:list",
        since=versions.CANDIDATES,
        query=schemas.CANDIDATES_QUERY,
        sends_json=True,
        asks_text=False,
        answers={200: reference("Candidates")},
        foreseen=(*UNKNOWN_NAMES, *can_raise(model.SearchLimitError)),
        grammar=(
            Refusal(400, DUPLICATE_KEY, "Query parameter 'root_required' may be specified only once."),
            Refusal(400, BAD_VALUE, "Conflicting required and forbidden traits found in …"),
            Refusal(400, BAD_VALUE, "… should be specified in `same_subtree` …"),
            Refusal(400, MISSING_VALUE, "There must be at least one resources or resources[$S] parameter."),
            TOO_MANY,
        ),
        replies={
            model.ResourceClassNotFoundError: UNKNOWN_CLASS_ASKED,
            model.TraitNotFoundError: Reply(BAD),
        },
    ),
)


# The body

KEPT_SINCE: Final = versions.NESTED_CANDIDATES
"""From this version on, a summary does not depend on the request. Older versions get theirs encoded each
time."""

KEPT_FORM: Final = "json"

Sort = tuple[tuple[str, ...], tuple[str, ...], bool]
"""Classes and traits of a provider, and whether it is a root: all that its text depends on besides uuids and
amounts. (A capacity times an allocation ratio may be larger than what orjson takes.)"""

_UUID_HOLE: Final = "@uuid@"
_AMOUNT_HOLE: Final[Any] = "@amount@"

_HOLE: Final = re.compile(rb"@([0-9]+)@")
"""Placeholder for the provider at a place; it cannot occur in the name of a class or in a group's suffix."""


def encoded(result: SearchResult, requested: frozenset[str], minor: int) -> bytes:
    """Candidates and the state of their providers; ``requested`` are the classes asked for."""
    parts: list[Part] = [b'{"allocation_requests":[']
    parts += _without_last_comma(_ways(result.candidates, minor))
    parts.append(b'],"provider_summaries":{')
    parts += _without_last_comma(_states(result.summaries, requested, minor))
    parts.append(b"}}")
    # An answer may have megabytes, so its parts are joined only once.
    return b"".join(parts)


def _without_last_comma(parts: list[Part]) -> list[Part]:
    if parts:
        parts[-1] = parts[-1][:-1]
    return parts


def _ways(candidates: Sequence[Candidate], minor: int) -> list[Part]:
    """Candidates, each with a comma after it."""
    if isinstance(candidates, PatternedCandidates):
        return candidates.rendered(f"{KEPT_FORM} {minor}", partial(_template, minor=minor))
    return [b"%b," % orjson.dumps(_candidate(item, minor)) for item in candidates]


def _states(summaries: Sequence[ProviderSummary], requested: frozenset[str], minor: int) -> list[Part]:
    """Summaries, each with a comma after it."""

    nested = minor >= versions.NESTED_CANDIDATES
    formats: dict[Sort, tuple[str, list[str]]] = {}

    def summary(item: ProviderSummary) -> bytes:
        sort = (tuple(item.resources), item.traits, item.parent_uuid is None)
        known = formats.get(sort)
        if known is None:
            known = formats[sort] = _format(sort, requested, minor)
        form, names = known
        values: list[object] = [item.uuid]
        for name in names:
            values += item.resources[name]
        if nested:
            values += [item.root_uuid] if item.parent_uuid is None else [item.parent_uuid, item.root_uuid]
        return (form % tuple(values)).encode()

    if isinstance(summaries, KeptSummaries) and minor >= KEPT_SINCE:
        return [*summaries.rendered(KEPT_FORM, summary)]
    return [summary(item) for item in summaries]


def _format(sort: Sort, requested: frozenset[str], minor: int) -> tuple[str, list[str]]:
    """The summary of providers of a sort, with a comma after it and a hole for each uuid and amount.

    Also returns the classes whose capacity and used amount it shows.
    """
    names, traits, is_root = sort
    holes = ProviderSummary(
        _UUID_HOLE,
        None if is_root else _UUID_HOLE,
        _UUID_HOLE,
        dict.fromkeys(names, (_AMOUNT_HOLE, _AMOUNT_HOLE)),
        traits,
    )
    shown = _summary(holes, requested, minor)
    text = orjson.dumps({_UUID_HOLE: shown})[1:-1].decode() + ","
    text = text.replace("%", "%%").replace(f'"{_AMOUNT_HOLE}"', "%d").replace(_UUID_HOLE, "%s")
    return text, list(shown["resources"])


def _template(pattern: Pattern, minor: int) -> Template:
    """A candidate with a hole for each uuid, and a comma after it.

    Uuids need no escaping: they are hexadecimal digits and dashes.
    """
    holes = Candidate(
        {f"@{place}@": amounts for place, amounts in pattern.allocations.items()},
        {suffix: tuple([f"@{place}@" for place in places]) for suffix, places in pattern.mappings.items()},
    )
    pieces = _HOLE.split(b"%b," % orjson.dumps(_candidate(holes, minor)))
    # Splitting by the pattern of holes leaves the captured places between the pieces.
    return Template(tuple(pieces[::2]), tuple(map(int, pieces[1::2])))


def _candidate(item: Candidate, minor: int) -> Json:
    if minor < versions.ALLOCATIONS_BY_PROVIDER:
        return {
            "allocations": [
                {"resource_provider": {"uuid": uuid}, "resources": dict(amounts)}
                for uuid, amounts in item.allocations.items()
            ]
        }
    shown: Json = {
        "allocations": {uuid: {"resources": dict(amounts)} for uuid, amounts in item.allocations.items()}
    }
    if minor >= versions.MAPPINGS:
        shown["mappings"] = dict(item.mappings)
    return shown


def _summary(item: ProviderSummary, requested: frozenset[str], minor: int) -> Json:
    all_classes = minor >= versions.SUMMARY_OF_ALL_CLASSES
    shown: Json = {
        "resources": {
            name: {"capacity": capacity, "used": used}
            for name, (capacity, used) in item.resources.items()
            if all_classes or name in requested
        }
    }
    if minor >= versions.CANDIDATE_TRAITS:
        shown["traits"] = item.traits
    if minor >= versions.NESTED_CANDIDATES:
        shown["parent_provider_uuid"] = item.parent_uuid
        shown["root_provider_uuid"] = item.root_uuid
    return shown
