"""Commands as requests, the other way round than ``api/`` has them: written from the API's reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

from moorage.model import commands
from moorage.model.commands import KEEP, Claim, Command
from moorage.model.values import Inventory
from tests.faults.placed import place_body


@dataclass(frozen=True, slots=True)
class Request:
    """``operation`` and ``facts`` are what the table of errors goes by."""

    method: str
    path: str
    operation: str
    body: object = None
    facts: Mapping[str, str] = field(default_factory=dict)


@singledispatch
def request_of(command: Command[Any]) -> Request:
    """The request by which a client orders ``command``, at microversion 1.39."""
    raise TypeError(f"not an order of the workload: {command!r}")


@request_of.register
def _(command: commands.CreateProvider) -> Request:
    body = {"uuid": command.uuid, "name": command.name, "parent_provider_uuid": command.parent_uuid}
    facts = {"uuid": command.uuid, "name": command.name}
    return Request("POST", "/resource_providers", "POST /resource_providers", body, facts)


@request_of.register
def _(command: commands.UpdateProvider) -> Request:
    body: dict[str, Any] = {"name": command.name}
    if command.parent_uuid is not KEEP:
        body["parent_provider_uuid"] = command.parent_uuid
    return _of_provider("PUT", command.uuid, "", body, name=command.name)


@request_of.register
def _(command: commands.DeleteProvider) -> Request:
    return _of_provider("DELETE", command.uuid, "")


@request_of.register
def _(command: commands.AddInventory) -> Request:
    body = {"resource_class": command.resource_class, **inventory_body(command.inventory)}
    return _of_provider("POST", command.provider, "/inventories", body)


@request_of.register
def _(command: commands.UpdateInventory) -> Request:
    body = {"resource_provider_generation": command.generation, **inventory_body(command.inventory)}
    return _of_class("PUT", command.provider, command.resource_class, body)


@request_of.register
def _(command: commands.DeleteInventory) -> Request:
    return _of_class("DELETE", command.provider, command.resource_class)


@request_of.register
def _(command: commands.SetInventories) -> Request:
    body = {
        "resource_provider_generation": command.generation,
        "inventories": {name: inventory_body(item) for name, item in command.inventories.items()},
    }
    return _of_provider("PUT", command.provider, "/inventories", body)


@request_of.register
def _(command: commands.SetTraits) -> Request:
    body = {"resource_provider_generation": command.generation, "traits": sorted(command.traits)}
    return _of_provider("PUT", command.provider, "/traits", body)


@request_of.register
def _(command: commands.SetAggregates) -> Request:
    body = {"resource_provider_generation": command.generation, "aggregates": list(command.aggregates)}
    return _of_provider("PUT", command.provider, "/aggregates", body)


@request_of.register
def _(command: commands.CreateTrait) -> Request:
    return _of_name("PUT", "traits", command.name)


@request_of.register
def _(command: commands.DeleteTrait) -> Request:
    return _of_name("DELETE", "traits", command.name)


@request_of.register
def _(command: commands.CreateResourceClass) -> Request:
    assert command.may_exist
    return _of_name("PUT", "resource_classes", command.name)


@request_of.register
def _(command: commands.DeleteResourceClass) -> Request:
    return _of_name("DELETE", "resource_classes", command.name)


@request_of.register
def _(command: commands.ReplaceAllocations) -> Request:
    if len(command.claims) > 1:
        body = {claim.consumer: claim_body(claim) for claim in command.claims}
        return Request("POST", "/allocations", "POST /allocations", body)
    (claim,) = command.claims
    return Request(
        "PUT",
        f"/allocations/{claim.consumer}",
        "PUT /allocations/{consumer_uuid}",
        claim_body(claim),
        {"consumer_uuid": claim.consumer},
    )


@request_of.register
def _(command: commands.DeleteAllocations) -> Request:
    return Request(
        "DELETE",
        f"/allocations/{command.consumer}",
        "DELETE /allocations/{consumer_uuid}",
        facts={"consumer_uuid": command.consumer},
    )


@request_of.register
def _(command: commands.PlaceClaims) -> Request:
    return Request("POST", "/moorage/v1/claims", "POST /moorage/v1/claims", place_body(command))


@request_of.register
def _(command: commands.ReleaseClaims) -> Request:
    body = {"consumers": list(command.consumers)}
    return Request("POST", "/moorage/v1/releases", "POST /moorage/v1/releases", body)


@request_of.register
def _(command: commands.GrantLease) -> Request:
    body = {
        "owner": command.owner,
        "ttl": f"{command.ttl_ms // 1000}s",
        "grace": f"{command.grace_ms // 1000}s",
        "on_expiry": command.on_expiry.value,
        "max_life": None if command.max_life_ms is None else f"{command.max_life_ms // 1000}s",
    }
    return Request("POST", "/moorage/v1/leases", "POST /moorage/v1/leases", body)


@request_of.register
def _(command: commands.AttachClaim) -> Request:
    return _of_lease("PUT", command.lease, f"/claims/{command.consumer}")


@request_of.register
def _(command: commands.DetachClaim) -> Request:
    return _of_lease("DELETE", command.lease, f"/claims/{command.consumer}")


@request_of.register
def _(command: commands.EndLease) -> Request:
    return _of_lease("DELETE", command.uuid, f"?claims={'keep' if command.keeps_claims else 'release'}")


@request_of.register
def _(command: commands.ResolveLease) -> Request:
    return _of_lease("POST", command.uuid, "/resolution", {"action": command.resolution.value})


@request_of.register
def _(command: commands.Reshape) -> Request:
    body = {
        "inventories": {
            uuid: {
                "resource_provider_generation": new.generation,
                "inventories": {name: inventory_body(item) for name, item in new.inventories.items()},
            }
            for uuid, new in command.inventories.items()
        },
        "allocations": {claim.consumer: claim_body(claim) for claim in command.claims},
    }
    return Request("POST", "/reshaper", "POST /reshaper", body)


def inventory_body(inventory: Inventory) -> dict[str, Any]:
    """An inventory with all its fields."""
    return {
        "total": inventory.total,
        "reserved": inventory.reserved,
        "min_unit": inventory.min_unit,
        "max_unit": inventory.max_unit,
        "step_size": inventory.step_size,
        "allocation_ratio": inventory.allocation_ratio,
    }


def claim_body(claim: Claim) -> dict[str, Any]:
    """All that one consumer shall hold."""
    return {
        "allocations": {uuid: {"resources": dict(items)} for uuid, items in claim.allocations.items()},
        "project_id": claim.project_id,
        "user_id": claim.user_id,
        "consumer_generation": claim.generation,
        "consumer_type": claim.consumer_type,
    }


def _of_provider(method: str, uuid: str, rest: str, body: object = None, name: str | None = None) -> Request:
    facts = {"uuid": uuid} | ({} if name is None else {"name": name})
    path = "/resource_providers/{uuid}" + rest
    return Request(method, f"/resource_providers/{uuid}{rest}", f"{method} {path}", body, facts)


def _of_class(method: str, uuid: str, name: str, body: object = None) -> Request:
    return Request(
        method,
        f"/resource_providers/{uuid}/inventories/{name}",
        f"{method} /resource_providers/{{uuid}}/inventories/{{resource_class}}",
        body,
        {"uuid": uuid, "resource_class": name},
    )


def _of_lease(method: str, uuid: str, rest: str, body: object = None) -> Request:
    path = f"/moorage/v1/leases/{uuid}{rest}"
    return Request(method, path, f"{method} /moorage/v1/leases/{{lease}}", body)


def _of_name(method: str, kind: str, name: str) -> Request:
    return Request(method, f"/{kind}/{name}", f"{method} /{kind}/{{name}}", facts={"name": name})
