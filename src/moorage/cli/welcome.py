"""The guide that ``moorage serve`` prints at start: commands to copy that work with this service.

Each line that begins with two blanks is a command. They run in order, in one shell, from any folder.
"""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from moorage.model.errors import NotFoundError
from moorage.model.requests import Candidate, CandidateRequest, RequestGroup, SearchResult
from moorage.model.valueclass import valueclass
from moorage.wiring.options import KEYSTONE, NOAUTH

NEWEST_VERSION: Final = "placement 1.39"

CONSOLE: Final = "/moorage/console/"

KEPT_TOKEN: Final = "X-Auth-Token: $TOKEN"  # noqa: S105 - a variable of the shell
"""The header with a token that an earlier command has put into a variable."""

PROJECT: Final = "astronomy"
USER: Final = "vera"
"""The owner in the example claim."""

OWN_CERTIFICATE: Final = "Clients need a certificate: add --cert FILE and --key FILE to each command."

SHOWN_CANDIDATES: Final = 2
"""Candidates of the example search: enough to show a choice, few enough to read."""

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
"""Four cores and memory of one NUMA node, an A100 of the same node, and disk from any provider."""

EXAMPLES: Final[Sequence[CandidateRequest]] = (
    GPU_NEXT_TO_CORES,
    CandidateRequest(groups=(RequestGroup(resources={"VCPU": 1, "MEMORY_MB": 512}),), limit=SHOWN_CANDIDATES),
    CandidateRequest(groups=(RequestGroup(resources={"VCPU": 1}),), limit=SHOWN_CANDIDATES),
    CandidateRequest(groups=(RequestGroup(resources={"DISK_GB": 1}),), limit=SHOWN_CANDIDATES),
)
"""Example requests, the best first; the guide uses the first one that has candidates."""


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
            # This database does not know the trait or class.
            continue
        if candidates:
            return request, candidates[0]
    return None


@valueclass(frozen=True, slots=True)
class Served:
    """The service that the commands are for.

    ``program`` are the words that call ``moorage`` here. ``database`` are the options that name the
    service's database; None if they would show a password. ``certificate`` is the file by which clients
    trust an HTTPS service, and ``asks_for_certificate`` says that they need one of their own.
    ``has_console`` says that the service has pages for browsers. ``changes_url``: where many clients may wait
    for changes.
    """

    url: str
    strategy: str = NOAUTH
    program: Sequence[str] = ("moorage",)
    database: Sequence[str] | None = ()
    certificate: str | None = None
    asks_for_certificate: bool = False
    has_console: bool = True
    changes_url: str | None = None

    def curl(self, *headers: str) -> str:
        """The beginning of a request with these headers."""
        words = ["curl", "-sS", *(["--cacert", self.certificate] if self.certificate else [])]
        for header in (*headers, f"OpenStack-API-Version: {NEWEST_VERSION}"):
            words += ["-H", header]
        # Double quotes, so that the shell inserts the token.
        return shlex.join(words).replace(f"'{KEPT_TOKEN}'", f'"{KEPT_TOKEN}"')


def authentication(served: Served) -> list[str]:
    """Lines about authentication."""
    if served.strategy == KEYSTONE:
        return ["Keystone issues the tokens. Get one:", "  TOKEN=$(openstack token issue -f value -c id)"]
    if served.strategy == NOAUTH:
        reader = served.curl(f"X-Auth-Token: {USER}:{PROJECT}", "X-Roles: reader")
        return [
            "Authentication is noauth2: the service trusts every client. The token admin may do all.",
            "A token USER:PROJECT has the roles that the header X-Roles names, and none without it.",
            "A reader, for example, may see only the usage of its own project:",
            f"  {reader} '{served.url}/usages?project_id={PROJECT}'",
        ]
    create = shlex.join([*served.program, "token", "create", "--role", "service", *(served.database or ())])
    if served.database is None:
        return [
            "The service accepts the tokens that moorage token issues. Put one into $TOKEN:",
            f"what {create} prints, with --database or",
            "--config-file for the database of this service.",
        ]
    return [
        "The service accepts the tokens that moorage token issues. Create one that may do all:",
        f"  TOKEN=$({create})",
    ]


def claim_body(candidate: Candidate) -> Mapping[str, object]:
    """Body of ``PUT /allocations/{uuid}`` by which a new consumer takes ``candidate``."""
    return {
        "allocations": {
            provider: {"resources": dict(resources)} for provider, resources in candidate.allocations.items()
        },
        "mappings": {suffix: list(providers) for suffix, providers in candidate.mappings.items()},
        "project_id": PROJECT,
        "user_id": USER,
        "consumer_type": "INSTANCE",
        "consumer_generation": None,
    }


def guide(
    served: Served,
    found: tuple[CandidateRequest, Candidate] | None,
    consumer: str | None = None,
    *,
    empty: bool = False,
) -> str:
    """The text of the guide: address, authentication, commands. ``consumer`` defaults to a new uuid."""
    url = served.url
    curl = served.curl("X-Auth-Token: admin" if served.strategy == NOAUTH else KEPT_TOKEN)
    lines = [
        *([f"Console: open {url}{CONSOLE} in a browser", ""] if served.has_console else []),
        f"Moorage answers at {url}",
        *([f"Many clients may wait for changes at {served.changes_url}"] if served.changes_url else []),
        *(["", OWN_CERTIFICATE] if served.asks_for_certificate else []),
        "",
        *authentication(served),
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
        "Claim the first of them for a new consumer (204 means success), then show it:",
        f"  {curl} -i -H 'Content-Type: application/json' -X PUT -d '{body}' {url}/allocations/{{consumer}}",
        f"  {curl} {url}/allocations/{{consumer}}",
    ]
    return "\n".join(lines).replace("{consumer}", consumer or str(uuid.uuid4()))
