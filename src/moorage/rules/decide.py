"""From a command to what it touches and to what it changes: the table of all rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from moorage.model import commands
from moorage.model.commands import Batch, Command
from moorage.rules import claims, copies, healing, inventories, leases, names, reshape, trees
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


class Rule(NamedTuple):
    """How commands of one type are decided.

    ``touches``: what must be read and locked first. ``decide``: what such a command changes and answers; it
    leaves the state as it is, and raises a ``MoorageError`` that refuses the command.
    """

    touches: Callable[[Any], Touch]
    decide: Callable[[State, Any], Changes[Any]]


RULES: dict[type[Command[Any]], Rule] = {
    commands.CreateProvider: Rule(trees.touch_create, trees.decide_create),
    commands.UpdateProvider: Rule(trees.touch_update, trees.decide_update),
    commands.DeleteProvider: Rule(trees.touch_delete, trees.decide_delete),
    commands.AddInventory: Rule(inventories.touch_add, inventories.decide_add),
    commands.UpdateInventory: Rule(inventories.touch_add, inventories.decide_update),
    commands.SetInventories: Rule(inventories.touch_set, inventories.decide_set),
    commands.DeleteInventory: Rule(inventories.touch_delete, inventories.decide_delete),
    commands.SetTraits: Rule(names.touch_set_traits, names.decide_set_traits),
    commands.SetAggregates: Rule(names.touch_set_aggregates, names.decide_set_aggregates),
    commands.CreateTrait: Rule(names.touch_create_trait, names.decide_create_trait),
    commands.DeleteTrait: Rule(names.touch_delete_trait, names.decide_delete_trait),
    commands.CreateResourceClass: Rule(names.touch_create_class, names.decide_create_class),
    commands.RenameResourceClass: Rule(names.touch_rename_class, names.decide_rename_class),
    commands.DeleteResourceClass: Rule(names.touch_delete_class, names.decide_delete_class),
    commands.ReplaceAllocations: Rule(claims.touch_replace, claims.decide_replace),
    commands.GrantClaims: Rule(claims.touch_grant, claims.decide_grant),
    commands.PlaceClaims: Rule(claims.touch_place, claims.decide_place),
    commands.DeleteAllocations: Rule(claims.touch_delete, claims.decide_delete),
    commands.ReleaseClaims: Rule(claims.touch_release, claims.decide_release),
    commands.HealClaim: Rule(healing.touch_heal, healing.decide_heal),
    commands.GrantLease: Rule(leases.touch_grant, leases.decide_grant),
    commands.AttachClaim: Rule(leases.touch_attach, leases.decide_attach),
    commands.DetachClaim: Rule(leases.touch_attach, leases.decide_detach),
    commands.EndLease: Rule(leases.touch_end, leases.decide_end),
    commands.ResolveLease: Rule(leases.touch_end, leases.decide_resolve),
    commands.ExpireLeases: Rule(leases.touch_expire, leases.decide_expire),
    commands.ReleaseOfLease: Rule(claims.touch_release_of_lease, claims.decide_release_of_lease),
    commands.QuarantineClaims: Rule(leases.touch_quarantine, leases.decide_quarantine),
    commands.Reshape: Rule(reshape.touch_reshape, reshape.decide_reshape),
    commands.CopyProviders: Rule(copies.touch_providers, copies.decide_providers),
    commands.CopyConsumers: Rule(copies.touch_consumers, copies.decide_consumers),
    Batch: Rule(_touch_batch, _decide_batch),
}


def touch(command: Command[Any]) -> Touch:
    """See ``Rule``."""
    return RULES[type(command)].touches(command)


def decide(state: State, command: Command[ResultT]) -> Changes[ResultT]:
    """See ``Rule``."""
    return cast("Changes[ResultT]", RULES[type(command)].decide(state, command))


def must_stand_alone(command: Command[Any]) -> bool:
    """Whether a command cannot share a transaction: a renamed class is known by two names."""
    return command.stands_alone
