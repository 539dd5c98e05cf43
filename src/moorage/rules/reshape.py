"""Reshape: inventories change and allocations move in one step, or nothing happens."""

from __future__ import annotations

from dataclasses import replace

from moorage.model.commands import Reshape
from moorage.model.errors import ReshapeProviderNotFoundError
from moorage.rules.claims import check_claims, granted, touch_claims
from moorage.rules.inventories import check_removal
from moorage.rules.state import Changes, State, Touch, check_classes_exist, check_generation, existing, in_use


def touch_reshape(command: Reshape) -> Touch:
    """Everything that its inventories and its claims touch."""
    providers = frozenset(command.inventories)
    classes = frozenset(name for new in command.inventories.values() for name in new.inventories)
    return touch_claims(command.claims) | Touch(
        providers=providers,
        inventories=providers,
        used=providers,
        resource_classes=classes,
        kept_classes=classes,
    )


def decide_reshape(state: State, command: Reshape) -> Changes[None]:
    """Decide claims against old and new inventories together; then remove the old ones.

    Each named provider is bumped once, once more if it gets inventories, and once more if the claims name
    it. Nothing compares reserved with total here (wire).

    Raises ReshapeProviderNotFoundError, StaleGenerationError, what claims raise, and InventoryInUseError if
    a consumer still holds some of a class that goes.
    """
    for uuid, new in command.inventories.items():
        row = state.providers[uuid]
        if row is None:
            raise ReshapeProviderNotFoundError(uuid)
        check_generation(row, new.generation)
    check_claims(state, command.claims)
    check_classes_exist(state, sorted(touch_reshape(command).resource_classes))

    scratch = state.scratch()
    for uuid, new in command.inventories.items():
        if new.inventories:
            scratch.inventories[uuid] = {**state.inventories[uuid], **new.inventories}
    scratch.apply(granted(scratch, command.claims))
    for uuid, new in command.inventories.items():
        check_removal(scratch, uuid, scratch.inventories[uuid], new.inventories)
        row = existing(scratch, uuid)
        steps = 2 if new.inventories else 1
        scratch.providers[uuid] = replace(row, generation=row.generation + steps)
        scratch.inventories[uuid] = dict(new.inventories)
        scratch.resource_classes.update(in_use(new.inventories))
    return Changes.of_scratch(scratch, None, "reshape", changes_names=False)
