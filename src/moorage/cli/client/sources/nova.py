"""What Nova knows to run: its servers and migrations, as a report.

Source: Compute API, microversion 2.69: servers with their flavor (since 2.47), hypervisors that are called as
their resource providers (2.53), migrations with a uuid (2.59), servers of cells that do not answer (2.69).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from moorage.cli.client.sources.document import ReportDocument, Resources
from moorage.model.errors import MoorageError

MICROVERSION: Final = "2.69"

PAGE: Final = 1_000
"""Items of a page, Nova's own limit by default. A region may have set a lower one, which pages show."""

MOST_PAGES: Final = 10_000

Ask = Callable[[str, Mapping[str, str]], Mapping[str, Any]]
"""GET of a path with a query: the decoded answer. Raises NovaError."""

CONSUMER_TYPES: Final = ("INSTANCE", "MIGRATION", "unknown")
"""Types of Nova's consumers. Nova itself names none."""

_ENDED: Final = frozenset(("completed", "confirmed", "reverted", "failed", "cancelled", "error", "done"))
"""States of a migration that holds nothing any more."""

_HOST: Final = "OS-EXT-SRV-ATTR:host"
_NODE: Final = "OS-EXT-SRV-ATTR:hypervisor_hostname"
_STATE: Final = "OS-EXT-STS:vm_state"

_OVERRIDE: Final = re.compile(r"resources:([A-Z0-9_]+)")

_OTHER_PLACES: Final = (
    re.compile(r"resources[^:]{1,64}:"),
    re.compile(r"(hw:(cpu_policy|mem_encryption|pmem|cpu_dedicated_mask|numa_)|pci_passthrough:|accel:)"),
)
"""Extra specs of servers that hold something of other providers than their host, or other classes."""


@dataclass(eq=False)
class NovaError(MoorageError):
    """Nova cannot be asked, or its answer is no list."""

    reason: str
    template = "Nova: {reason}"


def report(ask: Ask, *, amounts: bool) -> tuple[ReportDocument, list[str]]:
    """All servers and migrations of the hypervisors that there are, and notes on what is missing.

    ``amounts``: say what servers hold, where that follows from their flavor alone. Raises NovaError.
    """
    first = _hypervisors(ask)
    document = ReportDocument(consumer_types=list(CONSUMER_TYPES))
    unknown = 0
    servers: dict[str, Mapping[str, Any]] = {}
    for server in _pages(ask, "/servers/detail", "servers", "id", {"all_tenants": "true"}):
        servers[server["id"]] = server
    moving: dict[str, str | None] = {}
    for migration in _pages(ask, "/os-migrations", "migrations", "uuid", {}):
        if migration["status"] not in _ENDED:
            moving[migration["instance_uuid"]] = migration.get("dest_node")
            source = first.get(str(migration.get("source_node")))
            if source is not None:
                document.add(migration["uuid"], source, None)
    # A hypervisor whose cell came or went meanwhile may have servers that were not listed.
    document.trees = sorted(set(first.values()) & set(_hypervisors(ask).values()))
    for uuid, server in servers.items():
        if server.get("status") == "UNKNOWN" or _NODE not in server:
            unknown += 1
            continue
        node = moving.get(uuid) or server[_NODE]
        place = first.get(str(node))
        if place not in document.trees or server.get(_STATE) == "shelved_offloaded":
            continue
        held = _amounts(server) if amounts and uuid not in moving else None
        document.add(uuid, place, held)
        document.owners[uuid] = {
            "project_id": server["tenant_id"],
            "user_id": server["user_id"],
            "consumer_type": "INSTANCE",
        }
    notes = []
    if unknown:
        document.complete = False
        notes.append(
            f"Nova cannot say where {unknown} servers are, since a cell does not answer or the token may not "
            "see hosts. The report is not complete."
        )
    document.consumers = {
        name: has for name, has in document.consumers.items() if has.keys() & {*document.trees}
    }
    return document, notes


def _hypervisors(ask: Ask) -> dict[str, str]:
    """The UUID of each hypervisor, which is that of its resource provider, by its name."""
    listed = _pages(ask, "/os-hypervisors/detail", "hypervisors", "id", {})
    return {each["hypervisor_hostname"]: str(each["id"]) for each in listed}


def _pages(
    ask: Ask, path: str, key: str, id_of: str, query: Mapping[str, str]
) -> Iterator[Mapping[str, Any]]:
    """All items of a list. A list that ends too early would make everything after it look leaked."""
    marker: str | None = None
    for _ in range(MOST_PAGES):
        asked = {**query, "limit": str(PAGE), **({} if marker is None else {"marker": marker})}
        answer = ask(path, asked)
        try:
            items = answer[key]
            yield from items
            if not any(link["rel"] == "next" for link in answer.get(f"{key}_links", ())):
                return
            last = str(items[-1][id_of])
        except (LookupError, TypeError) as error:
            raise NovaError(f"the answer to {path} is no list of {key}") from error
        if last == marker:
            break
        marker = last
    raise NovaError(f"the list of {path} does not end")


def _amounts(server: Mapping[str, Any]) -> Resources | None:
    """What a server holds of its host; None if its flavor alone does not say.

    Root disk, ephemeral disk and swap count as disk. A server that boots from a volume has no root disk.
    """
    flavor = server.get("flavor") or {}
    specs = flavor.get("extra_specs")
    if specs is None or "vcpus" not in flavor:
        return None
    if any(pattern.match(name) for name in specs for pattern in _OTHER_PLACES):
        return None
    root = flavor["disk"] if server.get("image") else 0
    # Nova takes a swap disk in MiB, and holds whole GiB.
    disk = root + flavor.get("ephemeral", 0) + -(-int(flavor.get("swap") or 0) // 1024)
    held = {"VCPU": int(flavor["vcpus"]), "MEMORY_MB": int(flavor["ram"]), "DISK_GB": int(disk)}
    for name, amount in specs.items():
        override = _OVERRIDE.fullmatch(name)
        if override is not None:
            held[override[1]] = int(amount)
    return {name: amount for name, amount in held.items() if amount}
