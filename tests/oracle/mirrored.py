"""The slow twin as the client library shows it: what a mirror must hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from moorage_client import Claim, Inventory, Provider

from moorage.rules.journal import inventory_told
from tests.oracle.account import Account
from tests.oracle.leased import LeasedTwin


def providers_of(account: Account) -> dict[str, Provider]:
    """All providers, by uuid."""
    return {
        uuid: Provider(
            uuid,
            node.name,
            account.lineage(uuid)[-1],
            {name: Inventory.of(inventory_told(each)) for name, each in node.inventories.items()},
            {name: account.used(uuid).get(name, 0) for name in node.inventories},
            tuple(sorted(node.traits)),
            tuple(sorted(node.aggregates)),
            node.generation,
            node.parent,
        )
        for uuid, node in account.nodes.items()
    }


def claims_of(account: Account) -> dict[str, Claim]:
    """All claims, by consumer; when they were made is not known."""
    found = {}
    attached = account.attached if isinstance(account, LeasedTwin) else {}
    for uuid, holder in account.holders.items():
        providers: dict[str, dict[str, int]] = {}
        resources: Counter[str] = Counter()
        for (provider, name), amount in holder.held.items():
            providers.setdefault(provider, {})[name] = amount
            resources[name] += amount
        found[uuid] = Claim(
            uuid,
            holder.project_id,
            holder.user_id,
            holder.consumer_type,
            holder.generation,
            None,
            resources,
            providers,
            lease=attached[uuid][0] if uuid in attached else None,
        )
    return found


def comparable_providers(providers: Iterable[Provider]) -> dict[str, Provider]:
    """By uuid, without the order of what has none."""
    return {
        each.uuid: replace(
            each, traits=tuple(sorted(each.traits or ())), aggregates=tuple(sorted(each.aggregates or ()))
        )
        for each in providers
    }


def comparable_claims(claims: Iterable[Claim]) -> dict[str, Claim]:
    """By consumer, without what the twin does not know."""
    return {each.consumer: replace(each, since=None) for each in claims}
