"""The body of ``GET /allocation_candidates``, written by the thousand.

Candidates of one pattern differ in uuids only, and a provider's summary is the same in every
answer until the provider changes: so a pattern is encoded once and the uuids are put in, and
summaries are left with the index.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final

import orjson

from moorage.api import versions
from moorage.api.encode import Json
from moorage.model.answers import KeptSummaries, Pattern, PatternedCandidates, Row
from moorage.model.requests import Candidate, ProviderSummary, SearchResult

KEPT_SINCE: Final = versions.NESTED_CANDIDATES
"""From here on a summary is the same whatever was asked. Older clients' answers are made each time."""

KEPT_FORM: Final = "json"

_HOLE: Final = re.compile(rb"@([0-9]+)@")
"""Stands for the provider at a place: neither class nor suffix of a group can have it in its name."""

Pick = Callable[[Row], Any]


def encoded(result: SearchResult, requested: frozenset[str], minor: int) -> bytes:
    """Candidates and the state of their providers; ``requested`` are the classes asked for."""
    candidates, summaries = result.candidates, result.summaries

    def summary(item: ProviderSummary) -> bytes:
        return b"%b:%b" % (orjson.dumps(item.uuid), orjson.dumps(_summary(item, requested, minor)))

    if isinstance(summaries, KeptSummaries) and minor >= KEPT_SINCE:
        states = summaries.rendered(KEPT_FORM, summary)
    else:
        states = [summary(item) for item in summaries]
    if isinstance(candidates, PatternedCandidates):
        ways = _patterned(candidates, minor)
    else:
        ways = [orjson.dumps(_candidate(item, minor)) for item in candidates]
    return b'{"allocation_requests":[%b],"provider_summaries":{%b}}' % (b",".join(ways), b",".join(states))


def _patterned(candidates: PatternedCandidates, minor: int) -> list[bytes]:
    templates = [_template(pattern, minor) for pattern in candidates.patterns]
    ways: list[bytes] = []
    for number, rows in candidates.runs:
        template, pick = templates[number]
        ways += [template % pick(row) for row in rows]
    return ways


def _template(pattern: Pattern, minor: int) -> tuple[bytes, Pick]:
    """A candidate with a hole for each uuid, and what fills the holes from a row.

    Uuids need no escaping: they are hexadecimal digits and dashes.
    """
    holes = Candidate(
        {f"@{place}@": amounts for place, amounts in pattern.allocations.items()},
        {suffix: tuple([f"@{place}@" for place in places]) for suffix, places in pattern.mappings.items()},
    )
    text = orjson.dumps(_candidate(holes, minor))
    places = [int(place) for place in _HOLE.findall(text)]
    template = _HOLE.sub(b"%b", text.replace(b"%", b"%%"))
    return template, itemgetter(*places) if places else lambda row: ()


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
