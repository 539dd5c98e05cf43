"""Traits and resource classes as names, and traits and aggregates of providers."""

from __future__ import annotations

from moorage.model.commands import (
    CreateResourceClass,
    CreateTrait,
    DeleteResourceClass,
    DeleteTrait,
    RenameResourceClass,
    SetAggregates,
    SetTraits,
)
from moorage.model.errors import (
    ResourceClassExistsError,
    ResourceClassInUseError,
    ResourceClassNotFoundError,
    StandardResourceClassError,
    StandardTraitError,
    TraitInUseError,
    TraitNotFoundError,
)
from moorage.model.values import CUSTOM_PREFIX, ProviderAggregates, ProviderTraits
from moorage.rules.state import Changes, NameRow, State, Touch, bumped, check_generation, existing

NEW = NameRow(exists=True)
GONE = NameRow(exists=False)


def touch_set_traits(command: SetTraits) -> Touch:
    """The provider with its traits, and all traits named."""
    one = frozenset((command.provider,))
    return Touch(providers=one, traits=one, trait_names=command.traits)


def decide_set_traits(state: State, command: SetTraits) -> Changes[ProviderTraits]:
    """The generation goes up only if the set changes.

    Raises ProviderNotFoundError, StaleGenerationError, TraitNotFoundError.
    """
    row = existing(state, command.provider)
    check_generation(row, command.generation)
    unknown = sorted(name for name in command.traits if not state.trait_names[name].exists)
    if unknown:
        raise TraitNotFoundError(", ".join(unknown))
    present = state.traits[row.uuid]
    traits = tuple(sorted(command.traits))
    if command.traits == present:
        return Changes(ProviderTraits(row.generation, traits), "traits.set")
    new_row = bumped(row)
    return Changes(
        ProviderTraits(new_row.generation, traits),
        "traits.set",
        providers={row.uuid: new_row},
        traits={row.uuid: command.traits},
        trait_names={name: NameRow(True, True) for name in command.traits - present},
    )


def touch_set_aggregates(command: SetAggregates) -> Touch:
    """The provider with its aggregates."""
    one = frozenset((command.provider,))
    return Touch(providers=one, aggregates=one)


def decide_set_aggregates(state: State, command: SetAggregates) -> Changes[ProviderAggregates]:
    """A client that gives a generation (1.19) bumps it, even if nothing changes.

    Raises ProviderNotFoundError, StaleGenerationError.
    """
    row = existing(state, command.provider)
    check_generation(row, command.generation)
    new_row = row if command.generation is None else bumped(row)
    changes = Changes(ProviderAggregates(new_row.generation, command.aggregates), "aggregates.set")
    if new_row != row:
        changes.providers[row.uuid] = new_row
    if set(command.aggregates) != set(state.aggregates[row.uuid]):
        changes.aggregates[row.uuid] = command.aggregates
    return changes


def touch_create_trait(command: CreateTrait) -> Touch:
    """The name."""
    return Touch(trait_names=frozenset((command.name,)))


def decide_create_trait(state: State, command: CreateTrait) -> Changes[bool]:
    """Creating what is there is no error."""
    if state.trait_names[command.name].exists:
        return Changes(False, "trait.create")
    return Changes(True, "trait.create", True, trait_names={command.name: NEW})


def touch_delete_trait(command: DeleteTrait) -> Touch:
    """The name, and whether a provider has it."""
    one = frozenset((command.name,))
    return Touch(trait_names=one, trait_use=one)


def decide_delete_trait(state: State, command: DeleteTrait) -> Changes[None]:
    """Raises TraitNotFoundError, StandardTraitError, TraitInUseError."""
    found = state.trait_names[command.name]
    if not found.exists:
        raise TraitNotFoundError(command.name)
    if not command.name.startswith(CUSTOM_PREFIX):
        raise StandardTraitError(command.name)
    if found.in_use:
        raise TraitInUseError(command.name)
    return Changes(None, "trait.delete", True, trait_names={command.name: GONE})


def touch_create_class(command: CreateResourceClass) -> Touch:
    """The name."""
    return Touch(resource_classes=frozenset((command.name,)))


def decide_create_class(state: State, command: CreateResourceClass) -> Changes[bool]:
    """Raises ResourceClassExistsError unless ``may_exist``."""
    if state.resource_classes[command.name].exists:
        if not command.may_exist:
            raise ResourceClassExistsError(command.name)
        return Changes(False, "resource_class.create")
    return Changes(True, "resource_class.create", True, resource_classes={command.name: NEW})


def _custom_class(state: State, name: str, action: str) -> NameRow:
    found = state.resource_classes[name]
    if not found.exists:
        raise ResourceClassNotFoundError(name)
    if not name.startswith(CUSTOM_PREFIX):
        raise StandardResourceClassError(name, action)
    return found


def touch_rename_class(command: RenameResourceClass) -> Touch:
    """Both names."""
    return Touch(resource_classes=frozenset((command.name, command.new_name)))


def decide_rename_class(state: State, command: RenameResourceClass) -> Changes[None]:
    """Inventories and allocations keep to the class under its new name.

    Raises ResourceClassNotFoundError, StandardResourceClassError, ResourceClassExistsError.
    """
    found = _custom_class(state, command.name, "update")
    if command.new_name == command.name:
        return Changes(None, "resource_class.rename")
    if state.resource_classes[command.new_name].exists:
        raise ResourceClassExistsError(command.new_name)
    return Changes(
        None,
        "resource_class.rename",
        True,
        resource_classes={
            command.name: NameRow(exists=False, renamed_to=command.new_name),
            command.new_name: found,
        },
    )


def touch_delete_class(command: DeleteResourceClass) -> Touch:
    """The name, and whether a provider has inventory of it."""
    one = frozenset((command.name,))
    return Touch(resource_classes=one, resource_class_use=one)


def decide_delete_class(state: State, command: DeleteResourceClass) -> Changes[None]:
    """Raises ResourceClassNotFoundError, StandardResourceClassError, ResourceClassInUseError."""
    if _custom_class(state, command.name, "delete").in_use:
        raise ResourceClassInUseError(command.name)
    return Changes(None, "resource_class.delete", True, resource_classes={command.name: GONE})
