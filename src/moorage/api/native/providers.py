"""``/moorage/v1/providers`` and ``/trees``: providers in bulk or one by one, each answer at one revision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from moorage.api.http import quoting
from moorage.api.http.exchange import Answer
from moorage.api.http.wire_error import WireError
from moorage.api.native import pages, past, problems
from moorage.api.native.endpoint import Endpoint, NativeCall, at_revision
from moorage.api.native.parameters import Parameter
from moorage.api.native.problems import NOT_FOUND, REVISION, VERSION
from moorage.api.native.shapes import INTEGER, TEXT, array, record, reference
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
    last = page.providers[-1].uuid if page.has_more else None
    return at_revision(revision, {"providers": _shown(page, fields), pages.NEXT: last})


def _shown(page: ProviderPage, fields: Iterable[str]) -> list[dict[str, object]]:
    return [
        {
            "uuid": provider.uuid,
            "name": provider.name,
            "root": provider.root_uuid,
            **{name: FIELDS[name](provider, page) for name in fields},
        }
        for provider in page.providers
    ]


def show(call: NativeCall) -> Answer:
    """Show one provider."""
    uuid = call.path["uuid"]
    revision, found = call.service.past.provider(uuid, *past.asked(call), call.query.get(_TREE.name))
    if found is None:
        raise _not_there(uuid, revision)
    generation, provider = found
    page = ProviderPage((provider,), has_more=False, generations={uuid: generation})
    return at_revision(revision, _shown(page, FIELDS)[0])


OF_OWN_TREES: Final = ("inventories", "traits", "parent")
"""Fields that do not depend on what other projects hold."""


def show_tree(call: NativeCall) -> Answer:
    """Show the tree of a provider."""
    uuid, own = call.path["uuid"], call.own_project
    if own is not None and call.query:
        raise WireError(403, "A client that is confined to its project sees trees as they are now.")
    if own is None:
        revision, page = call.service.past.tree(uuid, *past.asked(call), call.query.get(_TREE.name))
    else:
        revision, page = call.service.past.own_tree(uuid, own)
    if page is None:
        raise _not_there(uuid, revision)
    shown = _shown(page, FIELDS if own is None else OF_OWN_TREES)
    return at_revision(revision, {"root": page.providers[0].root_uuid, "providers": shown})


def _not_there(uuid: str, revision: int) -> WireError:
    told = f"There is no provider {quoting.quoted(uuid)} at revision {revision}."
    return problems.refusal(NOT_FOUND, told, revision=revision)


_TREE: Final = Parameter(
    "tree", "With `at`: UUID of the root of the tree that the provider was in, if it is gone.", pages.UUID
)
"""As the history of a provider has it: no index leads from a provider that is gone to its records."""

_ABOUT: Final = (
    f"{past.ABOUT} A provider that is gone is found by its UUID if it was a root, and otherwise with `tree`."
)


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
    Endpoint(
        "GET",
        f"{VERSION}/providers/{{uuid}}",
        show,
        summary="Show a provider with all that it has",
        rule="moorage:providers:show",
        about=f"As one item of the list with all `fields`. {_ABOUT}",
        parameters=(*past.PARAMETERS, _TREE),
        answer={"allOf": [record({REVISION: INTEGER}), reference("Provider")]},
        problems=past.PROBLEMS,
        examples=("",),
    ),
    Endpoint(
        "GET",
        f"{VERSION}/trees/{{uuid}}",
        show_tree,
        summary="Show all providers of a tree",
        rule="moorage:trees:show",
        about=(
            "The tree that the provider with this UUID is in. Its providers have all `fields` of the list, "
            "and `root` names the one on top. A client that is confined to its project sees the trees that "
            "its project holds something of, as they are now: providers with their inventories and traits, "
            f"without what is used. {_ABOUT}"
        ),
        owned=True,
        parameters=(*past.PARAMETERS, _TREE),
        answer=record({REVISION: INTEGER, "root": TEXT, "providers": array(reference("Provider"))}),
        problems=past.PROBLEMS,
        examples=("",),
    ),
)
