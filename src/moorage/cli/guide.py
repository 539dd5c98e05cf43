"""What ``moorage serve`` shows at start: commands to copy that work against this very database."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from moorage.cli.options import KEYSTONE, NOAUTH, TOKEN
from moorage.model.errors import NotFoundError
from moorage.model.requests import Candidate, CandidateRequest, RequestGroup, SearchResult

NEWEST_VERSION: Final = "placement 1.39"
AUTHENTICATION: Final[Mapping[str, Sequence[str]]] = {
    NOAUTH: (
        "Authentication is noauth2: any client is believed. Send the header X-Auth-Token: admin,",
        "or X-Auth-Token: USER:PROJECT for somebody who may only look at their own usage.",
    ),
    TOKEN: (
        "Tokens are those that moorage token create gives out. Take one with the role service:",
        "  TOKEN=$(moorage token create --role service)",
    ),
    KEYSTONE: (
        "Keystone vouches for tokens. Get one first:",
        "  TOKEN=$(openstack token issue -f value -c id)",
    ),
}
"""How to get in, by the way to authenticate."""

SHOWN_CANDIDATES: Final = 2
"""Candidates the shown search asks for: enough to see that there is a choice, few enough to read."""

GPU_NEXT_TO_CORES: Final = CandidateRequest(
    groups=(
        RequestGroup(resources={"DISK_GB": 40}),
        RequestGroup(suffix="_NUMA", resources={"PCPU": 4, "MEMORY_MB": 16384}),
        RequestGroup(suffix="_GPU", resources={"PGPU": 1}, required=(frozenset({"CUSTOM_GPU_A100"}),)),
    ),
    group_policy="none",
    same_subtree=(frozenset({"_NUMA", "_GPU"}),),
    limit=SHOWN_CANDIDATES,
)
"""Four cores and memory of one NUMA node, an A100 of the same node, and disk from wherever it is."""

EXAMPLES: Final[Sequence[CandidateRequest]] = (
    GPU_NEXT_TO_CORES,
    CandidateRequest(groups=(RequestGroup(resources={"VCPU": 1, "MEMORY_MB": 512}),), limit=SHOWN_CANDIDATES),
    CandidateRequest(groups=(RequestGroup(resources={"VCPU": 1}),), limit=SHOWN_CANDIDATES),
    CandidateRequest(groups=(RequestGroup(resources={"DISK_GB": 1}),), limit=SHOWN_CANDIDATES),
)
"""Requests to show, the best first; the first for which there is room is taken."""


def query_string(request: CandidateRequest) -> str:
    """The query of ``GET /allocation_candidates`` for the fields that EXAMPLES use."""
    pairs: list[tuple[str, str]] = []
    for group in request.groups:
        amounts = ",".join(f"{name}:{amount}" for name, amount in group.resources.items())
        pairs.append((f"resources{group.suffix}", amounts))
        for alternatives in group.required:
            names = ",".join(sorted(alternatives))
            pairs.append((f"required{group.suffix}", names if len(alternatives) == 1 else f"in:{names}"))
    if request.group_policy is not None:
        pairs.append(("group_policy", request.group_policy))
    pairs.extend(("same_subtree", ",".join(sorted(suffixes))) for suffixes in request.same_subtree)
    if request.limit is not None:
        pairs.append(("limit", str(request.limit)))
    return "&".join(f"{key}={quote(value, safe=':,')}" for key, value in pairs)


def example(search: Callable[[CandidateRequest], SearchResult]) -> tuple[CandidateRequest, Candidate] | None:
    """The first of EXAMPLES that finds room, with its first candidate; None if none does."""
    for request in EXAMPLES:
        try:
            candidates = search(request).candidates
        except NotFoundError:
            # This database does not have the trait or class at all.
            continue
        if candidates:
            return request, candidates[0]
    return None


def claim_body(candidate: Candidate) -> Mapping[str, object]:
    """Body of ``PUT /allocations/{uuid}`` by which a new consumer takes ``candidate``."""
    return {
        "allocations": {
            provider: {"resources": dict(resources)} for provider, resources in candidate.allocations.items()
        },
        "mappings": {suffix: list(providers) for suffix, providers in candidate.mappings.items()},
        "project_id": "astronomy",
        "user_id": "vera",
        "consumer_type": "INSTANCE",
        "consumer_generation": None,
    }


def guide(
    url: str,
    found: tuple[CandidateRequest, Candidate] | None,
    consumer: str | None = None,
    *,
    empty: bool = False,
    strategy: str = NOAUTH,
) -> str:
    """The text to show: address, authentication, commands. ``consumer`` defaults to a new uuid."""
    token = "'X-Auth-Token: admin'" if strategy == NOAUTH else '"X-Auth-Token: $TOKEN"'
    curl = f"curl -sS -H {token} -H 'OpenStack-API-Version: {NEWEST_VERSION}'"
    lines = [
        f"Moorage answers at {url}",
        *AUTHENTICATION[strategy],
        "",
        "List the resource providers:",
        f"  {curl} {url}/resource_providers",
    ]
    if empty:
        body = json.dumps({"name": "my-first-host"})
        lines += [
            "",
            "There is nothing to claim yet. Create a provider (or stop, and start with --demo in an",
            "empty data directory, or load a file with moorage load):",
            f"  {curl} -H 'Content-Type: application/json' -X POST -d '{body}' {url}/resource_providers",
        ]
    if found is None:
        return "\n".join(lines)
    request, candidate = found
    if request is GPU_NEXT_TO_CORES:
        lines += ["", "Find room for cores and memory of a NUMA node with a GPU of the same node, and disk:"]
    else:
        lines += ["", "Find room:"]
    body = json.dumps(claim_body(candidate))
    lines += [
        f"  {curl} '{url}/allocation_candidates?{query_string(request)}'",
        "",
        "Claim the first of them for a new consumer (204 is a yes), then look at it:",
        f"  {curl} -i -H 'Content-Type: application/json' -X PUT -d '{body}' {url}/allocations/{{consumer}}",
        f"  {curl} {url}/allocations/{{consumer}}",
    ]
    return "\n".join(lines).replace("{consumer}", consumer or str(uuid.uuid4()))
