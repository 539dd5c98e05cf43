"""Provider trees: which parents are allowed, and what goes along when a provider moves or leaves."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from moorage.model.commands import KEEP, CreateProvider, DeleteProvider, UpdateProvider
from moorage.model.errors import (
    NameMissingError,
    ParentIsSelfError,
    ParentNotFoundError,
    ProviderExistsError,
    ProviderHasChildrenError,
    ProviderInUseError,
    ReparentRefusedError,
    TreeLoopError,
    UnparentRefusedError,
)
from moorage.model.values import Provider
from moorage.rules.state import Changes, ProviderRow, State, Touch, existing


def subtree(state: State, uuid: str) -> list[ProviderRow]:
    """The provider and all below it, parents first; its whole tree must have been read.

    Each is there once, even where another program has put a provider among its own ancestors.
    """
    children: dict[str | None, list[ProviderRow]] = defaultdict(list)
    for row in state.rows():
        children[row.parent_uuid].append(row)
    found = [existing(state, uuid)]
    for row in found:  # grows while it is walked
        found.extend(child for child in children.pop(row.uuid, ()) if child.uuid != uuid)
    return found


def touch_create(command: CreateProvider) -> Touch:
    """The uuid and the name that must be free, and the parent."""
    parent = frozenset(() if command.parent_uuid is None else (command.parent_uuid,))
    return Touch(providers=parent | {command.uuid}, provider_names=frozenset((command.name,)))


def decide_create(state: State, command: CreateProvider) -> Changes[Provider]:
    """A new provider has generation 0 and its parent's root.

    Raises NameMissingError, ParentIsSelfError, ParentNotFoundError, ProviderExistsError.
    """
    if not command.name:
        raise NameMissingError(command.uuid)
    if command.parent_uuid == command.uuid:
        raise ParentIsSelfError(command.uuid)
    root_uuid = root_of_new(state, command.uuid, command.parent_uuid)
    check_free(state, command.uuid, command.name, state.owner_of(command.name))
    row = ProviderRow(command.uuid, command.name, 0, command.parent_uuid, root_uuid)
    return Changes(
        row.value(),
        "provider.create",
        providers={row.uuid: row},
        provider_names={row.name: row.uuid},
        inventories={row.uuid: {}},
        used={row.uuid: {}},
        traits={row.uuid: frozenset()},
        aggregates={row.uuid: ()},
    )


def root_of_new(state: State, uuid: str, parent_uuid: str | None) -> str:
    """The root of a new provider with this parent. Raises ParentNotFoundError."""
    return uuid if parent_uuid is None else _parent(state, parent_uuid).root_uuid


def check_free(state: State, uuid: str, name: str, owner: str | None) -> None:
    """Raises ProviderExistsError if a provider has ``uuid``, or ``owner`` has ``name``."""
    uuid_taken, name_taken = state.providers[uuid] is not None, owner is not None
    if uuid_taken or name_taken:
        raise ProviderExistsError(uuid if uuid_taken else None, name if name_taken else None)


def _parent(state: State, uuid: str) -> ProviderRow:
    row = state.providers[uuid]
    if row is None:
        raise ParentNotFoundError(uuid)
    return row


def touch_update(command: UpdateProvider) -> Touch:
    """The provider and its new name. If the command names a parent: also it and the provider's tree."""
    providers = {command.uuid}
    trees: frozenset[str] = frozenset()
    if command.parent_uuid is not KEEP:
        trees = frozenset((command.uuid,))
        if command.parent_uuid is not None:
            providers.add(command.parent_uuid)
    return Touch(providers=frozenset(providers), provider_names=frozenset((command.name,)), trees=trees)


def decide_update(state: State, command: UpdateProvider) -> Changes[Provider]:
    """Rename and move a provider; its subtree comes along. Generations stay.

    Raises ProviderNotFoundError, ParentNotFoundError, ReparentRefusedError,
    UnparentRefusedError, TreeLoopError, ProviderExistsError.
    """
    row = existing(state, command.uuid)
    moved = _moved(state, row, command)
    owner = state.owner_of(command.name)
    if owner not in (None, row.uuid):
        raise ProviderExistsError(None, command.name)
    new_row = replace(moved[0], name=command.name)
    changed = {new.uuid: new for new in (new_row, *moved[1:]) if new != state.providers[new.uuid]}
    names = {row.name: None, command.name: row.uuid} if row.name != command.name else {}
    return Changes(new_row.value(), "provider.update", providers=dict(changed), provider_names=dict(names))


def _moved(state: State, row: ProviderRow, command: UpdateProvider) -> list[ProviderRow]:
    """The provider first, then all providers whose root changes with it."""
    parent_uuid = command.parent_uuid
    if parent_uuid is KEEP or (parent_uuid is None and row.parent_uuid is None):
        return [row]
    if parent_uuid is None:
        if not command.may_reparent:
            raise UnparentRefusedError(row.uuid)
        root_uuid = row.uuid
    else:
        root_uuid = _parent(state, parent_uuid).root_uuid
        if row.parent_uuid not in (None, parent_uuid) and not command.may_reparent:
            raise ReparentRefusedError(row.uuid)
    below = subtree(state, row.uuid)
    if any(item.uuid == parent_uuid for item in below):
        raise TreeLoopError(row.uuid)
    top = replace(row, parent_uuid=parent_uuid, root_uuid=root_uuid)
    return [top, *(replace(item, root_uuid=root_uuid) for item in below[1:])]


def touch_delete(command: DeleteProvider) -> Touch:
    """The provider, what is used of it, its tree for its children, and what goes with it for the journal."""
    one = frozenset((command.uuid,))
    return Touch(providers=one, used=one, trees=one, inventories=one, traits=one, aggregates=one)


def decide_delete(state: State, command: DeleteProvider) -> Changes[None]:
    """Raises ProviderNotFoundError, ProviderHasChildrenError, ProviderInUseError."""
    row = existing(state, command.uuid)
    if any(other.parent_uuid == row.uuid for other in state.rows()):
        raise ProviderHasChildrenError(row.uuid)
    if any(state.used[row.uuid].values()):
        raise ProviderInUseError(row.uuid)
    return Changes(None, "provider.delete", providers={row.uuid: None}, provider_names={row.name: None})
