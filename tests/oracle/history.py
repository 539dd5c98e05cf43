"""The state before a record of the journal, worked out from the state after it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from moorage.rules.journal import Body
from tests.oracle.account import Account
from tests.oracle.leased import LeasedTwin

View = dict[str, dict[str, Any]]
"""Providers and consumers by uuid, names of resource classes and traits as keys."""

INVENTORY_FIELDS = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")


def view_of(account: Account) -> View:
    """All that a record can tell of an account. A consumer without a lease has no part ``lease``."""
    if isinstance(account, LeasedTwin):
        attached = {uuid: lease for uuid, (lease, _) in account.attached.items()}
    else:
        attached = {
            uuid: holder.lease for uuid, holder in account.holders.items() if holder.lease is not None
        }
    return {
        "providers": {
            provider.uuid: {
                "generation": provider.generation,
                "name": provider.name,
                "parent": provider.parent_uuid,
                "root": provider.root_uuid,
                "inventories": {
                    name: {field: getattr(inventory, field) for field in INVENTORY_FIELDS}
                    for name, inventory in account.nodes[provider.uuid].inventories.items()
                },
                "traits": sorted(account.nodes[provider.uuid].traits),
                "aggregates": sorted(account.nodes[provider.uuid].aggregates),
                "used": {name: used for name, used in account.used(provider.uuid).items() if used},
            }
            for provider in account.providers()
        },
        "consumers": {
            uuid: {
                "generation": holder.generation,
                "project_id": holder.project_id,
                "user_id": holder.user_id,
                "consumer_type": holder.consumer_type,
                "held": dict(holder.held),
                **({"lease": attached[uuid]} if uuid in attached else {}),
            }
            for uuid, holder in account.holders.items()
        },
        "resource_classes": dict.fromkeys(account.class_names, True),
        "traits": dict.fromkeys(account.trait_names, True),
    }


def undone(view: View, body: Body) -> View:
    """The view before the write that a record is about."""
    before = deepcopy(view)
    for old, new in body.get("renamed", {}).items():
        _rename(before, new, old)
    for part in ("resource_classes", "traits"):
        for name, (was, _) in body.get(part, {}).items():
            before[part].pop(name, None)
            if was:
                before[part][name] = True
    for uuid, parts in body.get("providers", {}).items():
        provider = before["providers"].setdefault(uuid, {"used": {}})
        provider |= {name: pair[0] for name, pair in parts.items() if name not in ("used", "tree")}
        _put_back(provider["used"], parts.get("used", {}))
        if provider["generation"] is None:
            del before["providers"][uuid]
    for uuid, parts in body.get("consumers", {}).items():
        consumer = before["consumers"].setdefault(uuid, {"held": {}})
        consumer |= {name: pair[0] for name, pair in parts.items() if name != "held"}
        for of, amounts in parts.get("held", {}).items():
            _put_back(consumer["held"], {(of, name): pair for name, pair in amounts.items()})
        if consumer.get("lease", "") is None:
            del consumer["lease"]
        if consumer["generation"] is None:
            del before["consumers"][uuid]
    return before


def _rename(view: View, name: str, new_name: str) -> None:
    for provider in view["providers"].values():
        for part in ("inventories", "used"):
            if name in provider[part]:
                provider[part][new_name] = provider[part].pop(name)
    for consumer in view["consumers"].values():
        consumer["held"] = {
            (provider, new_name if held == name else held): amount
            for (provider, held), amount in consumer["held"].items()
        }


def _put_back(amounts: dict[Any, int], pairs: dict[Any, list[int]]) -> None:
    for key, (was, _) in pairs.items():
        amounts.pop(key, None)
        if was:
            amounts[key] = was


def assert_has(view: View, body: Body) -> None:
    """A view has what a record says is there afterwards."""
    for uuid, parts in body.get("providers", {}).items():
        provider = view["providers"].get(uuid, {"used": {}})
        assert parts["tree"] == provider.get("root", parts["tree"])
        assert_ends(provider["used"], parts.get("used", {}), 0)
        assert_ends(provider, {name: parts[name] for name in parts if name not in ("used", "tree")}, None)
    for uuid, parts in body.get("consumers", {}).items():
        consumer = view["consumers"].get(uuid, {"held": {}})
        for of, amounts in parts.get("held", {}).items():
            assert_ends(consumer["held"], {(of, name): pair for name, pair in amounts.items()}, 0)
        assert_ends(consumer, {name: parts[name] for name in parts if name != "held"}, None)


def assert_ends(values: dict[Any, Any], pairs: dict[Any, list[Any]], nothing: object) -> None:
    """Each pair ends with the value."""
    assert {name: values.get(name, nothing) for name in pairs} == {
        name: now for name, (_, now) in pairs.items()
    }
