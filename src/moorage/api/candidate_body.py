"""The body of ``GET /allocation_candidates``, written by the thousand.

Candidates of one pattern differ in uuids only, and a provider's summary is the same in every
answer until the provider changes: so a pattern is encoded once and the uuids are put in, and
summaries are left with the index.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import Final

import orjson

from moorage.api import versions
from moorage.api.encode import Json
from moorage.model.answers import KeptSummaries, Part, Pattern, PatternedCandidates, Template
from moorage.model.requests import Candidate, ProviderSummary, SearchResult

KEPT_SINCE: Final = versions.NESTED_CANDIDATES
"""From here on a summary is the same whatever was asked. Older clients' answers are made each time."""

KEPT_FORM: Final = "json"

_HOLE: Final = re.compile(rb"@([0-9]+)@")
"""Stands for the provider at a place: neither class nor suffix of a group can have it in its name."""


def encoded(result: SearchResult, requested: frozenset[str], minor: int) -> bytes:
    """Candidates and the state of their providers; ``requested`` are the classes asked for."""
    parts: list[Part] = [b'{"allocation_requests":[']
    parts += _without_last_comma(_ways(result.candidates, minor))
    parts.append(b'],"provider_summaries":{')
    parts += _without_last_comma(_states(result.summaries, requested, minor))
    parts.append(b"}}")
    # An answer may have megabytes: they are brought together once.
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

    def summary(item: ProviderSummary) -> bytes:
        return b"%b:%b," % (orjson.dumps(item.uuid), _dumped(_summary(item, requested, minor)))

    if isinstance(summaries, KeptSummaries) and minor >= KEPT_SINCE:
        return [*summaries.rendered(KEPT_FORM, summary)]
    return [summary(item) for item in summaries]


def _dumped(shown: Json) -> bytes:
    try:
        return orjson.dumps(shown)
    except TypeError:
        # A capacity times an allocation ratio may be larger than what orjson takes.
        return json.dumps(shown, separators=(",", ":")).encode()


def _template(pattern: Pattern, minor: int) -> Template:
    """A candidate with a hole for each uuid, and a comma after it.

    Uuids need no escaping: they are hexadecimal digits and dashes.
    """
    holes = Candidate(
        {f"@{place}@": amounts for place, amounts in pattern.allocations.items()},
        {suffix: tuple([f"@{place}@" for place in places]) for suffix, places in pattern.mappings.items()},
    )
    pieces = _HOLE.split(b"%b," % orjson.dumps(_candidate(holes, minor)))
    # What the hole's expression captures stands between the pieces.
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
