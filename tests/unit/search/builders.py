"""Short ways to say what a cloud looks like and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random

from moorage.model.requests import CandidateRequest, RequestGroup, SearchResult, SearchSettings
from moorage.model.values import SHARING_TRAIT, Inventory, ProviderRecord
from moorage.search.index.index import Index
from moorage.search.match.candidates import Work, find

CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB", "VF")
TRAITS = ("RED", "BLUE", "FAST", SHARING_TRAIT)


def provider(
    identifier: int,
    offers: Mapping[str, int | Inventory] | None = None,
    *,
    below: ProviderRecord | None = None,
    traits: Iterable[str] = (),
    aggregates: Iterable[str] = (),
    used: Mapping[str, int] | None = None,
) -> ProviderRecord:
    """Provider ``p<identifier>``; ``offers`` are totals or whole inventories by class."""
    taken = used or {}
    return ProviderRecord(
        id=identifier,
        uuid=f"p{identifier}",
        parent_id=None if below is None else below.id,
        root_id=identifier if below is None else below.root_id,
        inventories=tuple(
            (name, Inventory(offer) if isinstance(offer, int) else offer, taken.get(name, 0))
            for name, offer in (offers or {}).items()
        ),
        traits=tuple(traits),
        aggregates=tuple(aggregates),
    )


def index_of(*records: ProviderRecord) -> Index:
    index = Index()
    index.set_names(CLASSES, TRAITS)
    index.replace_trees({record.root_id for record in records}, records)
    return index


def group(
    suffix: str = "",
    resources: Mapping[str, int] | None = None,
    *,
    required: Iterable[Iterable[str]] = (),
    forbidden: Iterable[str] = (),
    member_of: Iterable[Iterable[str]] = (),
    forbidden_aggregates: Iterable[str] = (),
    in_tree: str | None = None,
) -> RequestGroup:
    return RequestGroup(
        suffix=suffix,
        resources=resources or {},
        required=tuple(frozenset(names) for names in required),
        forbidden=frozenset(forbidden),
        member_of=tuple(frozenset(uuids) for uuids in member_of),
        forbidden_aggregates=frozenset(forbidden_aggregates),
        in_tree=in_tree,
    )


def search(
    index: Index,
    request: CandidateRequest,
    settings: SearchSettings | None = None,
    *,
    seed: int = 0,
    work: Work | None = None,
) -> SearchResult:
    return find(index.snapshot(), request, settings or SearchSettings(), Random(seed), work)


def amounts(result: SearchResult) -> list[dict[str, dict[str, int]]]:
    """Allocations of all candidates, sorted."""
    found = [
        {uuid: dict(sorted(given.items())) for uuid, given in sorted(candidate.allocations.items())}
        for candidate in result.candidates
    ]
    return sorted(found, key=repr)


def ask(index: Index, *groups: RequestGroup, policy: str | None = None) -> list[dict[str, dict[str, int]]]:
    """Allocations of all candidates for some groups, sorted."""
    return amounts(search(index, CandidateRequest(groups, group_policy=policy)))


def shown(result: SearchResult) -> list[str]:
    """Uuids of all summaries, in their order."""
    return [summary.uuid for summary in result.summaries]
