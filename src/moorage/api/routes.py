"""The one table of what can be asked: paths, methods, and what each of them wants.

Source: API reference; policies and the order of checks are the reference's, observed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from moorage.api import (
    aggregates,
    allocation_candidates,
    allocations,
    inventories,
    reshaper,
    resource_classes,
    resource_providers,
    root,
    schemas,
    traits,
    usages,
    versions,
)
from moorage.api.exchange import Handler
from moorage.api.schemas import Validator
from moorage.api.versions import Since
from moorage.model.valueclass import valueclass


@valueclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    ``rule``: the policy rule that is asked, None for what is open to all. ``since``: the minor
    that brought it; ``status_before`` is what older ones answer. ``body``: the schema of its
    JSON; None for one that ignores bodies. ``query``: the schema of its query string; None for
    one that ignores it. ``sends_json``: the client has to take JSON. ``provider_first``: the
    provider in the path is looked for before the body is judged. ``of_project``: the rule looks
    at the ``project_id`` of the query string. ``check_path`` judges the path before the body.
    """

    handler: Handler
    rule: str | None
    since: int = versions.OLDEST
    status_before: int = 404
    body: Since[Validator | None] | None = None
    query: Since[Validator] | None = None
    sends_json: bool = False
    provider_first: bool = False
    of_project: bool = False
    check_path: Callable[[Mapping[str, str]], None] | None = None


Methods = Mapping[str, Operation]

_PROVIDERS: Final = "placement:resource_providers"
_INVENTORIES: Final = "placement:resource_providers:inventories"
_AGGREGATES: Final = "placement:resource_providers:aggregates"
_PROVIDER_TRAITS: Final = "placement:resource_providers:traits"
_CLASSES: Final = "placement:resource_classes"
_TRAITS: Final = "placement:traits"
_ALLOCATIONS: Final = "placement:allocations"

ROUTES: Final[Mapping[str, Methods]] = {
    "/": {"GET": Operation(root.show, None)},
    "/resource_classes": {
        "GET": Operation(
            resource_classes.list_,
            f"{_CLASSES}:list",
            versions.RESOURCE_CLASSES,
            sends_json=True,
        ),
        "POST": Operation(
            resource_classes.create,
            f"{_CLASSES}:create",
            versions.RESOURCE_CLASSES,
            body=schemas.RESOURCE_CLASS_CREATE,
        ),
    },
    "/resource_classes/{name}": {
        "GET": Operation(
            resource_classes.show,
            f"{_CLASSES}:show",
            versions.RESOURCE_CLASSES,
            sends_json=True,
        ),
        "PUT": Operation(
            resource_classes.update,
            f"{_CLASSES}:update",
            versions.RESOURCE_CLASSES,
            body=schemas.RESOURCE_CLASS_UPDATE,
        ),
        "DELETE": Operation(resource_classes.delete, f"{_CLASSES}:delete", versions.RESOURCE_CLASSES),
    },
    "/resource_providers": {
        "GET": Operation(
            resource_providers.list_,
            f"{_PROVIDERS}:list",
            query=schemas.PROVIDERS_QUERY,
            sends_json=True,
        ),
        "POST": Operation(resource_providers.create, f"{_PROVIDERS}:create", body=schemas.PROVIDER_CREATE),
    },
    "/resource_providers/{uuid}": {
        "GET": Operation(resource_providers.show, f"{_PROVIDERS}:show", sends_json=True),
        "DELETE": Operation(resource_providers.delete, f"{_PROVIDERS}:delete"),
        "PUT": Operation(
            resource_providers.update,
            f"{_PROVIDERS}:update",
            body=schemas.PROVIDER_UPDATE,
            provider_first=True,
        ),
    },
    "/resource_providers/{uuid}/inventories": {
        "GET": Operation(inventories.list_, f"{_INVENTORIES}:list", sends_json=True),
        "POST": Operation(
            inventories.create,
            f"{_INVENTORIES}:create",
            body=schemas.INVENTORY_CREATE,
            provider_first=True,
        ),
        "PUT": Operation(
            inventories.set_,
            f"{_INVENTORIES}:update",
            body=schemas.INVENTORIES_SET,
            provider_first=True,
        ),
        "DELETE": Operation(
            inventories.clear,
            f"{_INVENTORIES}:delete",
            versions.DELETE_INVENTORIES,
            status_before=405,
        ),
    },
    "/resource_providers/{uuid}/inventories/{resource_class}": {
        "GET": Operation(inventories.show, f"{_INVENTORIES}:show", sends_json=True),
        "PUT": Operation(
            inventories.update,
            f"{_INVENTORIES}:update",
            body=schemas.INVENTORY_UPDATE,
            provider_first=True,
        ),
        "DELETE": Operation(inventories.delete, f"{_INVENTORIES}:delete"),
    },
    "/resource_providers/{uuid}/usages": {
        "GET": Operation(usages.of_provider, f"{_PROVIDERS}:usages", sends_json=True),
    },
    "/resource_providers/{uuid}/aggregates": {
        "GET": Operation(aggregates.list_, f"{_AGGREGATES}:list", versions.AGGREGATES, sends_json=True),
        "PUT": Operation(
            aggregates.set_,
            f"{_AGGREGATES}:update",
            versions.AGGREGATES,
            body=schemas.AGGREGATES_SET,
            provider_first=True,
        ),
    },
    "/resource_providers/{uuid}/allocations": {
        "GET": Operation(allocations.of_provider, f"{_PROVIDERS}:allocations:list", sends_json=True),
    },
    "/allocations": {
        "POST": Operation(
            allocations.replace,
            f"{_ALLOCATIONS}:manage",
            versions.POST_ALLOCATIONS,
            body=schemas.ALLOCATIONS_POST,
        ),
    },
    "/allocations/{consumer_uuid}": {
        "GET": Operation(allocations.show, f"{_ALLOCATIONS}:list", sends_json=True),
        "PUT": Operation(
            allocations.set_,
            f"{_ALLOCATIONS}:update",
            body=schemas.ALLOCATIONS_SET,
            check_path=allocations.check_consumer,
        ),
        "DELETE": Operation(allocations.delete, f"{_ALLOCATIONS}:delete"),
    },
    "/allocation_candidates": {
        "GET": Operation(
            allocation_candidates.list_,
            "placement:allocation_candidates:list",
            versions.CANDIDATES,
            query=schemas.CANDIDATES_QUERY,
            sends_json=True,
        ),
    },
    "/traits": {
        "GET": Operation(
            traits.list_,
            f"{_TRAITS}:list",
            versions.TRAITS,
            query=schemas.TRAITS_QUERY,
            sends_json=True,
        ),
    },
    "/traits/{name}": {
        "GET": Operation(traits.show, f"{_TRAITS}:show", versions.TRAITS),
        "PUT": Operation(traits.create, f"{_TRAITS}:update", versions.TRAITS),
        "DELETE": Operation(traits.delete, f"{_TRAITS}:delete", versions.TRAITS),
    },
    "/resource_providers/{uuid}/traits": {
        "GET": Operation(
            traits.list_of_provider, f"{_PROVIDER_TRAITS}:list", versions.TRAITS, sends_json=True
        ),
        "PUT": Operation(
            traits.set_of_provider,
            f"{_PROVIDER_TRAITS}:update",
            versions.TRAITS,
            body=schemas.TRAITS_SET,
        ),
        "DELETE": Operation(traits.clear_of_provider, f"{_PROVIDER_TRAITS}:delete", versions.TRAITS),
    },
    "/usages": {
        "GET": Operation(
            usages.of_project,
            "placement:usages",
            versions.TOTAL_USAGES,
            query=schemas.USAGES_QUERY,
            sends_json=True,
            of_project=True,
        ),
    },
    "/reshaper": {
        "POST": Operation(
            reshaper.reshape, "placement:reshaper:reshape", versions.RESHAPER, body=schemas.RESHAPE
        ),
    },
}
