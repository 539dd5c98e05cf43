"""No command is refused for a reason that the reference does not list for its operations."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.api.placement.routes import BY_NAME
from moorage.model import commands
from moorage.model.commands import Command
from tests.oracle.account import Account
from tests.oracle.compare import outcome
from tests.property import strategies_account

STEPS = 30
"""Commands per account."""

_INVENTORIES: Final = "/resource_providers/{uuid}/inventories"
_TRAITS: Final = "/resource_providers/{uuid}/traits"

OPERATIONS: Final[dict[type[Command[Any]], tuple[str, ...]]] = {
    commands.CreateProvider: ("POST /resource_providers",),
    commands.UpdateProvider: ("PUT /resource_providers/{uuid}",),
    commands.DeleteProvider: ("DELETE /resource_providers/{uuid}",),
    commands.AddInventory: (f"POST {_INVENTORIES}",),
    commands.UpdateInventory: (f"PUT {_INVENTORIES}/{{resource_class}}",),
    commands.SetInventories: (f"PUT {_INVENTORIES}",),
    commands.DeleteInventory: (f"DELETE {_INVENTORIES}/{{resource_class}}",),
    commands.SetTraits: (f"PUT {_TRAITS}",),
    commands.SetAggregates: ("PUT /resource_providers/{uuid}/aggregates",),
    commands.CreateTrait: ("PUT /traits/{name}",),
    commands.DeleteTrait: ("DELETE /traits/{name}",),
    commands.RenameResourceClass: ("PUT /resource_classes/{name}",),
    commands.DeleteResourceClass: ("DELETE /resource_classes/{name}",),
    commands.ReplaceAllocations: ("PUT /allocations/{consumer_uuid}", "POST /allocations"),
    commands.DeleteAllocations: ("DELETE /allocations/{consumer_uuid}",),
    commands.Reshape: ("POST /reshaper",),
}


def operations(command: Command[Any]) -> tuple[str, ...]:
    """Operations of the wire that give such a command."""
    match command:
        case commands.SetInventories(generation=None, inventories=inventories) if not inventories:
            return (f"DELETE {_INVENTORIES}",)
        case commands.SetTraits(generation=None, traits=traits) if not traits:
            return (f"DELETE {_TRAITS}",)
        case commands.CreateResourceClass(may_exist=may_exist):
            return ("PUT /resource_classes/{name}" if may_exist else "POST /resource_classes",)
    return OPERATIONS[type(command)]


@pytest.mark.slow
@given(st.data())
def test_what_refuses_a_command_is_foreseen_for_its_operations(data: st.DataObject) -> None:
    account = Account()
    for command in strategies_account.BEGINNING:
        account.execute(command)
    for _ in range(STEPS):
        command = data.draw(strategies_account.commands(account, strategies_account.OF_PLACEMENT))
        ended, reason, _text = outcome(account.execute, command)
        if ended == "refused":
            for operation in operations(command):
                assert reason in {foreseen.error for foreseen in BY_NAME[operation].foreseen}, operation


def test_every_command_belongs_to_operations_of_the_table() -> None:
    kinds = set(strategies_account.OF_PLACEMENT)
    assert kinds == {*OPERATIONS, commands.CreateResourceClass}
    assert {operation for found in OPERATIONS.values() for operation in found} <= set(BY_NAME)
