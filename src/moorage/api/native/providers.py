"""``/moorage/v1/providers``: providers in bulk, at one revision for the whole page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from moorage.api.http.exchange import Answer
from moorage.api.native import pages
from moorage.api.native.endpoint import Endpoint, NativeCall, at_revision
from moorage.api.native.parameters import Parameter
from moorage.api.native.problems import VERSION
from moorage.api.native.shapes import array, record, reference
from moorage.model.values import Inventory, ListedProvider, ProviderPage, ProviderSelection

MOST_IDS: Final = 100
"""UUIDs of one request. Each is looked up by itself."""

GENERATION: Final = "generation"


def _inventories(provider: ListedProvider, _page: ProviderPage) -> object:
    return {name: _inventory(inventory) for name, inventory in provider.inventories.items()}


def _inventory(inventory: Inventory) -> dict[str, object]:
    return {
        "total": inventory.total,
        "reserved": inventory.reserved,
        "min_unit": inventory.min_unit,
        "max_unit": inventory.max_unit,
        "step_size": inventory.step_size,
        "allocation_ratio": inventory.allocation_ratio,
    }


FIELDS: Final[Mapping[str, Callable[[ListedProvider, ProviderPage], object]]] = {
    "inventories": _inventories,
    "used": lambda provider, _page: dict(provider.used),
    "traits": lambda provider, _page: list(provider.traits),
    "aggregates": lambda provider, _page: list(provider.aggregates),
    GENERATION: lambda provider, page: page.generations[provider.uuid],
    "parent": lambda provider, _page: provider.parent_uuid,
}
"""What ``fields`` may ask for, and how it is shown."""


def list_(call: NativeCall) -> Answer:
    """List providers."""
    asked: Mapping[str, Any] = call.query
    ids = asked.get("ids")
    fields = [name for name in FIELDS if name in asked.get("fields", ())]
    wanted = ProviderSelection(
        limit=asked.get(pages.LIMIT.name, pages.USUAL),
        after=asked.get(pages.AFTER.name, ""),
        uuids=None if ids is None else frozenset(ids),
        in_tree=asked.get("in_tree"),
        name=asked.get("name"),
    )
    revision, page = call.service.provider_page(wanted, generations=GENERATION in fields)
    shown = [
        {
            "uuid": provider.uuid,
            "name": provider.name,
            "root": provider.root_uuid,
            **{name: FIELDS[name](provider, page) for name in fields},
        }
        for provider in page.providers
    ]
    last = page.providers[-1].uuid if page.has_more else None
    return at_revision(revision, {"providers": shown, pages.NEXT: last})


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        f"{VERSION}/providers",
        list_,
        summary="List providers with what they have",
        rule="moorage:providers:list",
        about=(
            "All given parameters must hold. The whole page is true at its revision. Each provider has "
            "`uuid`, `name`, `root` and what `fields` asks for."
        ),
        parameters=(
            Parameter(
                "ids",
                "Providers with these UUIDs, separated by commas. Unknown ones are left out.",
                {"type": "array", "items": pages.UUID, "minItems": 1, "maxItems": MOST_IDS},
            ),
            Parameter("in_tree", "Providers of the tree that the provider with this UUID is in.", pages.UUID),
            Parameter(
                "name", "The provider of this name.", {"type": "string", "minLength": 1, "maxLength": 200}
            ),
            Parameter(
                "fields",
                "What to show besides, separated by commas. `generation` costs a read of the database.",
                {"type": "array", "items": {"type": "string", "enum": list(FIELDS)}, "uniqueItems": True},
            ),
            pages.LIMIT,
            pages.AFTER,
        ),
        answer=record(
            {
                "revision": {"type": "integer"},
                "providers": array(reference("Provider")),
                pages.NEXT: pages.NEXT_SCHEMA,
            }
        ),
        examples=(
            "fields=inventories,used,parent&limit=100",
            "name=host-1&fields=traits,aggregates,generation",
        ),
    ),
)
