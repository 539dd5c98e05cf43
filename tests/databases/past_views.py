"""Compares what a service says of a revision of the past with a view of the slow twin."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from moorage.model.values import ListedProvider
from moorage.rules.journal import inventory_told
from moorage.service.facade import Service
from tests.oracle.history import View


def assert_past(service: Service, view: View, at: int, asked: View) -> None:
    """The service has exactly this view at a revision. It is asked for all that is in ``asked``."""
    providers = view["providers"]
    for uuid in asked["providers"].keys() | providers.keys():
        expected = providers.get(uuid)
        root = None if expected is None else expected["root"]
        revision, found = service.past.provider(uuid, at, None, root)
        assert revision == at
        assert (None if found is None else shown(*found)) == expected
        if uuid == root:
            _, page = service.past.tree(uuid, at, None, None)
            assert page is not None
            assert {each.uuid: shown(page.generations[each.uuid], each) for each in page.providers} == {
                other: parts for other, parts in providers.items() if parts["root"] == root
            }
    for uuid in asked["consumers"].keys() | view["consumers"].keys():
        _, claim = service.past.claim(uuid, at, None)
        expected = view["consumers"].get(uuid)
        assert (claim is None) == (expected is None)
        if claim is not None and expected is not None:
            held: dict[str, dict[str, int]] = defaultdict(dict)
            for (provider, resource_class), amount in expected["held"].items():
                held[provider][resource_class] = amount
            assert (claim.generation, claim.held) == (expected["generation"], held)
            assert claim.lease == expected.get("lease")
            for name in ("project_id", "user_id", "consumer_type"):
                assert getattr(claim, name) == expected[name]


def shown(generation: int, provider: ListedProvider) -> dict[str, Any]:
    """A provider as views have it."""
    return {
        "generation": generation,
        "name": provider.name,
        "parent": provider.parent_uuid,
        "root": provider.root_uuid,
        "inventories": {name: inventory_told(each) for name, each in provider.inventories.items()},
        "traits": sorted(provider.traits),
        "aggregates": sorted(provider.aggregates),
        "used": {name: used for name, used in provider.used.items() if used},
    }
