"""From a command to what it touches and to what it changes: the table of all rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from moorage.model import commands
from moorage.model.commands import Batch, Command
from moorage.rules import claims, copies, inventories, names, reshape, trees
from moorage.rules.state import Changes, State, Touch

ResultT = TypeVar("ResultT")


def _touch_batch(command: Batch) -> Touch:
    if any(map(must_stand_alone, command.commands)):
        raise TypeError("a class cannot be renamed within a batch")
    return Touch.union(map(touch, command.commands))


def _decide_batch(state: State, command: Batch) -> Changes[tuple[object, ...]]:
    scratch = state.scratch()
    results: list[object] = []
    changes_names = False
    for part in command.commands:
        changes = decide(scratch, part)
        scratch.apply(changes)
        results.append(changes.result)
        changes_names |= changes.changes_names
    return Changes.of_scratch(scratch, tuple(results), "batch", changes_names=changes_names)


_RULES: Mapping[type[Command[Any]], tuple[Callable[[Any], Touch], Callable[[State, Any], Changes[Any]]]] = {
    commands.CreateProvider: (trees.touch_create, trees.decide_create),
    commands.UpdateProvider: (trees.touch_update, trees.decide_update),
    commands.DeleteProvider: (trees.touch_delete, trees.decide_delete),
    commands.AddInventory: (inventories.touch_add, inventories.decide_add),
    commands.UpdateInventory: (inventories.touch_add, inventories.decide_update),
    commands.SetInventories: (inventories.touch_set, inventories.decide_set),
    commands.DeleteInventory: (inventories.touch_delete, inventories.decide_delete),
    commands.SetTraits: (names.touch_set_traits, names.decide_set_traits),
    commands.SetAggregates: (names.touch_set_aggregates, names.decide_set_aggregates),
    commands.CreateTrait: (names.touch_create_trait, names.decide_create_trait),
    commands.DeleteTrait: (names.touch_delete_trait, names.decide_delete_trait),
    commands.CreateResourceClass: (names.touch_create_class, names.decide_create_class),
    commands.RenameResourceClass: (names.touch_rename_class, names.decide_rename_class),
    commands.DeleteResourceClass: (names.touch_delete_class, names.decide_delete_class),
    commands.ReplaceAllocations: (claims.touch_replace, claims.decide_replace),
    commands.DeleteAllocations: (claims.touch_delete, claims.decide_delete),
    commands.Reshape: (reshape.touch_reshape, reshape.decide_reshape),
    commands.CopyProviders: (copies.touch_providers, copies.decide_providers),
    commands.CopyConsumers: (copies.touch_consumers, copies.decide_consumers),
    Batch: (_touch_batch, _decide_batch),
}


def touch(command: Command[Any]) -> Touch:
    """What must be read and locked before ``command`` can be decided."""
    return _RULES[type(command)][0](command)


def decide(state: State, command: Command[ResultT]) -> Changes[ResultT]:
    """What ``command`` changes and answers. ``state`` is left as it is.

    Raises a ``MoorageError`` if the command is refused.
    """
    return cast("Changes[ResultT]", _RULES[type(command)][1](state, command))


def must_stand_alone(command: Command[Any]) -> bool:
    """Whether a command cannot share a transaction: a renamed class is known by two names."""
    return isinstance(command, commands.RenameResourceClass)
