"""One good request for every operation, at every microversion that has it.

Written from the API reference, not from the table of routes: it is what the table is held against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.unit.api.fake import CONSUMER, OTHER, UUID

PROVIDER = f"/resource_providers/{UUID}"


def no_body(minor: int) -> None:
    """Nothing to send."""


@dataclass(frozen=True)
class Good:
    """``path`` is what is asked, ``template`` the route; ``since`` the first minor."""

    method: str
    path: str
    template: str
    since: int
    rule: str | None
    body: Callable[[int], Any] = no_body
    status_before: int = 404
    takes_any_accept: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def claim(minor: int) -> dict[str, Any]:
    """A consumer's allocations in the form of a minor."""
    held: Any = {UUID: {"resources": {"VCPU": 1}}}
    if minor < 12:
        held = [{"resource_provider": {"uuid": UUID}, "resources": {"VCPU": 1}}]
    body: dict[str, Any] = {"allocations": held}
    if minor >= 8:
        body |= {"project_id": "project", "user_id": "user"}
    if minor >= 28:
        body["consumer_generation"] = None
    if minor >= 34:
        body["mappings"] = {"a": [UUID]}
    if minor >= 38:
        body["consumer_type"] = "INSTANCE"
    return body


def aggregates(minor: int) -> Any:
    """Aggregates in the form of a minor."""
    if minor < 19:
        return [OTHER]
    return {"aggregates": [OTHER], "resource_provider_generation": 3}


def resource_class_body(minor: int) -> Any:
    """A new name, while classes are renamed."""
    return {"name": "CUSTOM_NEW"} if minor < 7 else None


INVENTORIES = {"resource_provider_generation": 3, "inventories": {"VCPU": {"total": 8}}}

_P = "placement:resource_providers"
GOOD = [
    Good("GET", "/", "/", 0, None, takes_any_accept=True),
    Good("GET", "/resource_classes", "/resource_classes", 2, "placement:resource_classes:list"),
    Good(
        "POST",
        "/resource_classes",
        "/resource_classes",
        2,
        "placement:resource_classes:create",
        lambda minor: {"name": "CUSTOM_A"},
    ),
    Good(
        "GET",
        "/resource_classes/CUSTOM_A",
        "/resource_classes/{name}",
        2,
        "placement:resource_classes:show",
    ),
    Good(
        "PUT",
        "/resource_classes/CUSTOM_A",
        "/resource_classes/{name}",
        2,
        "placement:resource_classes:update",
        resource_class_body,
    ),
    Good(
        "DELETE",
        "/resource_classes/CUSTOM_A",
        "/resource_classes/{name}",
        2,
        "placement:resource_classes:delete",
        takes_any_accept=True,
    ),
    Good("GET", "/resource_providers", "/resource_providers", 0, f"{_P}:list"),
    Good(
        "POST",
        "/resource_providers",
        "/resource_providers",
        0,
        f"{_P}:create",
        lambda minor: {"name": "one", "uuid": UUID},
    ),
    Good("GET", PROVIDER, "/resource_providers/{uuid}", 0, f"{_P}:show"),
    Good("DELETE", PROVIDER, "/resource_providers/{uuid}", 0, f"{_P}:delete"),
    Good(
        "PUT",
        PROVIDER,
        "/resource_providers/{uuid}",
        0,
        f"{_P}:update",
        lambda minor: {"name": "two"},
    ),
    Good(
        "GET",
        f"{PROVIDER}/inventories",
        "/resource_providers/{uuid}/inventories",
        0,
        f"{_P}:inventories:list",
    ),
    Good(
        "POST",
        f"{PROVIDER}/inventories",
        "/resource_providers/{uuid}/inventories",
        0,
        f"{_P}:inventories:create",
        lambda minor: {"resource_class": "VCPU", "total": 8},
    ),
    Good(
        "PUT",
        f"{PROVIDER}/inventories",
        "/resource_providers/{uuid}/inventories",
        0,
        f"{_P}:inventories:update",
        lambda minor: INVENTORIES,
    ),
    Good(
        "DELETE",
        f"{PROVIDER}/inventories",
        "/resource_providers/{uuid}/inventories",
        5,
        f"{_P}:inventories:delete",
        status_before=405,
    ),
    Good(
        "GET",
        f"{PROVIDER}/inventories/VCPU",
        "/resource_providers/{uuid}/inventories/{resource_class}",
        0,
        f"{_P}:inventories:show",
    ),
    Good(
        "PUT",
        f"{PROVIDER}/inventories/VCPU",
        "/resource_providers/{uuid}/inventories/{resource_class}",
        0,
        f"{_P}:inventories:update",
        lambda minor: {"resource_provider_generation": 3, "total": 8},
    ),
    Good(
        "DELETE",
        f"{PROVIDER}/inventories/VCPU",
        "/resource_providers/{uuid}/inventories/{resource_class}",
        0,
        f"{_P}:inventories:delete",
    ),
    Good("GET", f"{PROVIDER}/usages", "/resource_providers/{uuid}/usages", 0, f"{_P}:usages"),
    Good(
        "GET",
        f"{PROVIDER}/aggregates",
        "/resource_providers/{uuid}/aggregates",
        1,
        f"{_P}:aggregates:list",
    ),
    Good(
        "PUT",
        f"{PROVIDER}/aggregates",
        "/resource_providers/{uuid}/aggregates",
        1,
        f"{_P}:aggregates:update",
        aggregates,
    ),
    Good(
        "GET",
        f"{PROVIDER}/allocations",
        "/resource_providers/{uuid}/allocations",
        0,
        f"{_P}:allocations:list",
    ),
    Good(
        "POST",
        "/allocations",
        "/allocations",
        13,
        "placement:allocations:manage",
        lambda minor: {CONSUMER: claim(minor)},
    ),
    Good(
        "GET",
        f"/allocations/{CONSUMER}",
        "/allocations/{consumer_uuid}",
        0,
        "placement:allocations:list",
    ),
    Good(
        "PUT",
        f"/allocations/{CONSUMER}",
        "/allocations/{consumer_uuid}",
        0,
        "placement:allocations:update",
        claim,
    ),
    Good(
        "DELETE",
        f"/allocations/{CONSUMER}",
        "/allocations/{consumer_uuid}",
        0,
        "placement:allocations:delete",
    ),
    Good(
        "GET",
        "/allocation_candidates?resources=VCPU:1",
        "/allocation_candidates",
        10,
        "placement:allocation_candidates:list",
    ),
    Good("GET", "/traits", "/traits", 6, "placement:traits:list"),
    Good(
        "GET",
        "/traits/CUSTOM_A",
        "/traits/{name}",
        6,
        "placement:traits:show",
        takes_any_accept=True,
    ),
    Good("PUT", "/traits/CUSTOM_A", "/traits/{name}", 6, "placement:traits:update"),
    Good("DELETE", "/traits/CUSTOM_A", "/traits/{name}", 6, "placement:traits:delete"),
    Good("GET", f"{PROVIDER}/traits", "/resource_providers/{uuid}/traits", 6, f"{_P}:traits:list"),
    Good(
        "PUT",
        f"{PROVIDER}/traits",
        "/resource_providers/{uuid}/traits",
        6,
        f"{_P}:traits:update",
        lambda minor: {"traits": ["CUSTOM_A"], "resource_provider_generation": 3},
    ),
    Good(
        "DELETE",
        f"{PROVIDER}/traits",
        "/resource_providers/{uuid}/traits",
        6,
        f"{_P}:traits:delete",
    ),
    Good("GET", "/usages?project_id=project", "/usages", 9, "placement:usages"),
    Good(
        "POST",
        "/reshaper",
        "/reshaper",
        30,
        "placement:reshaper:reshape",
        lambda minor: {"inventories": {UUID: INVENTORIES}, "allocations": {CONSUMER: claim(minor)}},
    ),
]

WITH_BODY = [good for good in GOOD if good.body(good.since) is not None]
"""Operations that judge a body (the class's PUT at its first version)."""
