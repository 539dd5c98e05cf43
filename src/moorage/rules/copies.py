"""Copies of another service's account: taken over as they are, generations included.

The other service has decided on its account. Capacity and units are not checked again, for an inventory may
have been reduced below its use. A copy that contradicts itself or the account here is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from moorage.model.commands import ConsumerCopy, CopyConsumers, CopyProviders, ProviderCopy
from moorage.model.errors import (
    AllocationProviderNotFoundError,
    ConsumerGenerationError,
    NoInventoryError,
    TraitNotFoundError,
)
from moorage.rules.claims import unbind
from moorage.rules.state import (
    Changes,
    ConsumerRow,
    NameRow,
    ProviderRow,
    State,
    Touch,
    check_classes_exist,
    in_use,
)
from moorage.rules.trees import check_free, root_of_new


def touch_providers(command: CopyProviders) -> Touch:
    """The uuids and names that must be free, parents, and the names that they have."""
    copies = command.providers
    classes = frozenset(name for copy in copies for name in copy.inventories)
    return Touch(
        providers=frozenset(copy.uuid for copy in copies)
        | {copy.parent_uuid for copy in copies if copy.parent_uuid is not None},
        provider_names=frozenset(copy.name for copy in copies),
        resource_classes=classes,
        kept_classes=classes,
        trait_names=frozenset(name for copy in copies for name in copy.traits),
    )


def decide_providers(state: State, command: CopyProviders) -> Changes[None]:
    """Raises ProviderExistsError, ParentNotFoundError, ResourceClassNotFoundError, TraitNotFoundError."""
    touched = touch_providers(command)
    check_classes_exist(state, sorted(touched.resource_classes))
    unknown = sorted(name for name in touched.trait_names if not state.trait_names[name].exists)
    if unknown:
        raise TraitNotFoundError(", ".join(unknown))
    scratch = state.scratch()
    changes: Changes[None] = Changes(
        None,
        "providers.copy",
        resource_classes=in_use(touched.resource_classes),
        trait_names={name: NameRow(exists=True, in_use=True) for name in touched.trait_names},
    )
    for copy in command.providers:
        row = _row(scratch, copy)
        scratch.providers[row.uuid] = changes.providers[row.uuid] = row
        scratch.provider_names[row.name] = changes.provider_names[row.name] = row.uuid
        changes.inventories[row.uuid] = copy.inventories
        changes.used[row.uuid] = {}
        changes.traits[row.uuid] = copy.traits
        changes.aggregates[row.uuid] = copy.aggregates
    return changes


def _row(state: State, copy: ProviderCopy) -> ProviderRow:
    check_free(state, copy.uuid, copy.name, state.provider_names[copy.name])
    root_uuid = root_of_new(state, copy.uuid, copy.parent_uuid)
    return ProviderRow(copy.uuid, copy.name, copy.generation, copy.parent_uuid, root_uuid)


def touch_consumers(command: CopyConsumers) -> Touch:
    """Consumers, and the providers that they hold allocations of, with inventories and use."""
    providers = frozenset(provider for copy in command.consumers for provider in copy.allocations)
    return Touch(
        providers=providers,
        inventories=providers,
        used=providers,
        consumers=frozenset(copy.uuid for copy in command.consumers),
        resource_classes=frozenset(
            name for copy in command.consumers for amounts in copy.allocations.values() for name in amounts
        ),
    )


def decide_consumers(state: State, command: CopyConsumers) -> Changes[None]:
    """Raises ConsumerGenerationError for a consumer that holds something already,
    AllocationProviderNotFoundError, NoInventoryError."""
    changes: Changes[None] = Changes(None, "consumers.copy")
    used: dict[str, dict[str, int]] = {}
    for copy in command.consumers:
        row = state.consumers[copy.uuid]
        if state.held[copy.uuid]:
            raise ConsumerGenerationError(copy.uuid, None if row is None else row.generation, None)
        for provider, name, amount in _held(state, copy):
            of_provider = used.setdefault(provider, dict(state.used[provider]))
            of_provider[name] = of_provider.get(name, 0) + amount
        changes.held[copy.uuid] = {
            (provider, name): amount
            for provider, amounts in copy.allocations.items()
            for name, amount in amounts.items()
        }
        # A row that was left behind without allocations makes way for the new one.
        changes.consumers[copy.uuid] = replace(
            row or ConsumerRow(copy.uuid, copy.project_id, copy.user_id, copy.consumer_type, copy.generation),
            project_id=copy.project_id,
            user_id=copy.user_id,
            consumer_type=copy.consumer_type,
            generation=copy.generation,
        )
        unbind(state, changes, copy.uuid, changes.consumers[copy.uuid])
    changes.used.update(used)
    return changes


def _held(state: State, copy: ConsumerCopy) -> Iterable[tuple[str, str, int]]:
    for provider, amounts in copy.allocations.items():
        if state.providers[provider] is None:
            raise AllocationProviderNotFoundError(provider)
        for name, amount in amounts.items():
            if name not in state.inventories[provider]:
                raise NoInventoryError(provider, name)
            yield provider, name, amount
