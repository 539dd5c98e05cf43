"""Provider trees: who may be whose parent, and what goes with a provider that moves or leaves."""

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
    ProviderNotFoundError,
    ReparentRefusedError,
    TreeLoopError,
    UnparentRefusedError,
)
from moorage.model.values import Provider
from moorage.rules.state import Changes, ProviderRow, State, Touch


def existing(state: State, uuid: str) -> ProviderRow:
    """The provider's row. Raises ProviderNotFoundError."""
    row = state.providers[uuid]
    if row is None:
        raise ProviderNotFoundError(uuid)
    return row


def bumped(row: ProviderRow) -> ProviderRow:
    """The row with the next generation."""
    # Every claim does this, and ``replace`` takes some times as long as the rest of its decision.
    return ProviderRow(
        row.uuid,
        row.name,
        row.generation + 1,
        row.parent_uuid,
        row.root_uuid,
        row.id,
        row.created_at,
        row.updated_at,
    )


def subtree(state: State, uuid: str) -> list[ProviderRow]:
    """The provider and all below it, parents first; its whole tree must have been read."""
    children: dict[str | None, list[ProviderRow]] = defaultdict(list)
    for row in state.rows():
        children[row.parent_uuid].append(row)
    found = [existing(state, uuid)]
    for row in found:  # grows while it is walked
        found.extend(children[row.uuid])
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
    root_uuid = command.uuid
    if command.parent_uuid is not None:
        if command.parent_uuid == command.uuid:
            raise ParentIsSelfError(command.uuid)
        root_uuid = _parent(state, command.parent_uuid).root_uuid
    uuid_taken = state.providers[command.uuid] is not None
    name_taken = state.provider_names[command.name] is not None
    if uuid_taken or name_taken:
        raise ProviderExistsError(command.uuid if uuid_taken else None, command.name if name_taken else None)
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


def _parent(state: State, uuid: str) -> ProviderRow:
    row = state.providers[uuid]
    if row is None:
        raise ParentNotFoundError(uuid)
    return row


def touch_update(command: UpdateProvider) -> Touch:
    """The provider and its new name; where a parent is named, that one and the provider's tree."""
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
    owner = state.provider_names[command.name]
    if owner not in (None, row.uuid):
        raise ProviderExistsError(None, command.name)
    new_row = replace(moved[0], name=command.name)
    changed = {new.uuid: new for new in (new_row, *moved[1:]) if new != state.providers[new.uuid]}
    names = {row.name: None, command.name: row.uuid} if row.name != command.name else {}
    return Changes(new_row.value(), "provider.update", providers=dict(changed), provider_names=dict(names))


def _moved(state: State, row: ProviderRow, command: UpdateProvider) -> list[ProviderRow]:
    """The provider first, then all whose root changes with it."""
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
    """The provider, what is used of it, and its tree for its children."""
    one = frozenset((command.uuid,))
    return Touch(providers=one, used=one, trees=one)


def decide_delete(state: State, command: DeleteProvider) -> Changes[None]:
    """Raises ProviderNotFoundError, ProviderHasChildrenError, ProviderInUseError."""
    row = existing(state, command.uuid)
    if any(other.parent_uuid == row.uuid for other in state.rows()):
        raise ProviderHasChildrenError(row.uuid)
    if any(state.used[row.uuid].values()):
        raise ProviderInUseError(row.uuid)
    return Changes(None, "provider.delete", providers={row.uuid: None}, provider_names={row.name: None})
