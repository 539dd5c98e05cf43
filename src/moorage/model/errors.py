"""Why something cannot be done: facts, not sentences for the wire.

``api/`` turns them into statuses, codes and texts; ``str()`` of an error is for logs and the
command line.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar


@dataclass(eq=False)
class MoorageError(Exception):
    """Base of all errors that this package raises on purpose."""

    template: ClassVar[str] = "Something went wrong."

    def __str__(self) -> str:
        return self.template.format(**{item.name: getattr(self, item.name) for item in fields(self)})


# What was named is not there.


@dataclass(eq=False)
class NotFoundError(MoorageError):
    """What a request names is not there."""


@dataclass(eq=False)
class ProviderNotFoundError(NotFoundError):
    uuid: str
    template = "No resource provider with uuid {uuid} found."


@dataclass(eq=False)
class ResourceClassNotFoundError(NotFoundError):
    name: str
    template = "No such resource class {name}."


@dataclass(eq=False)
class TraitNotFoundError(NotFoundError):
    """``names`` are all that are unknown, joined by ", "."""

    names: str
    template = "No such trait(s): {names}."


@dataclass(eq=False)
class InventoryNotFoundError(NotFoundError):
    provider: str
    resource_class: str
    template = "No inventory of class {resource_class} for {provider}."


@dataclass(eq=False)
class AllocationsNotFoundError(NotFoundError):
    consumer: str
    template = "No allocations for consumer '{consumer}'."


# The request cannot be carried out whatever the state is, or names what it may not.


@dataclass(eq=False)
class InvalidError(MoorageError):
    """A request that is wrong in itself."""


@dataclass(eq=False)
class AllocationProviderNotFoundError(InvalidError):
    """A claim names a provider that is not there."""

    uuid: str
    template = "Allocation for resource provider '{uuid}' that does not exist."


@dataclass(eq=False)
class ReshapeProviderNotFoundError(InvalidError):
    """A reshape names inventories of a provider that is not there."""

    uuid: str
    template = "Resource provider {uuid} in inventories not found."


@dataclass(eq=False)
class ParentNotFoundError(InvalidError):
    parent_uuid: str
    template = "parent provider UUID does not exist."


@dataclass(eq=False)
class ParentIsSelfError(InvalidError):
    """A new provider names itself as its parent."""

    uuid: str
    template = (
        "parent provider UUID cannot be same as UUID. "
        "Please set parent provider UUID to None if there is no parent."
    )


@dataclass(eq=False)
class TreeLoopError(InvalidError):
    """The new parent lies within the provider's own subtree."""

    uuid: str
    template = "creating loop in the provider tree is not allowed."


@dataclass(eq=False)
class ReparentRefusedError(InvalidError):
    """The client's version may not move a provider from one parent to another."""

    uuid: str
    template = "re-parenting a provider is not currently allowed."


@dataclass(eq=False)
class UnparentRefusedError(InvalidError):
    """The client's version may not take a provider's parent away."""

    uuid: str
    template = "un-parenting a provider is not currently allowed."


@dataclass(eq=False)
class SearchLimitError(InvalidError):
    """A request for candidates is combinatorial by nature; ``limit`` is the steps that one may take."""

    limit: int
    template = (
        "The search needs more than {limit} steps. Ask for fewer candidates with limit, or for fewer or "
        "narrower groups; or let the operator raise search_step_limit, or set search_limit_action to "
        "truncate, in [moorage]."
    )


@dataclass(eq=False)
class NameMissingError(InvalidError):
    """A new provider has an empty name."""

    uuid: str
    template = "name is required"


@dataclass(eq=False)
class InvalidCapacityError(InvalidError):
    """``reserved`` leaves nothing (or less, with ``may_reserve_all``)."""

    provider: str
    resource_class: str
    may_reserve_all: bool
    template = "Invalid inventory for '{resource_class}' on resource provider '{provider}'."


@dataclass(eq=False)
class StandardResourceClassError(InvalidError):
    """Standard resource classes can be neither renamed nor deleted. ``action`` says which."""

    name: str
    action: str
    template = "Cannot {action} standard resource class {name}."


@dataclass(eq=False)
class StandardTraitError(InvalidError):
    name: str
    template = "Cannot delete standard trait {name}."


# The state is against it.


@dataclass(eq=False)
class ConflictError(MoorageError):
    """The present state does not allow it."""


@dataclass(eq=False)
class StaleGenerationError(ConflictError):
    """The client's view of a provider's generation is not the present one."""

    provider: str
    actual: int
    given: int
    template = (
        "resource provider generation conflict for provider {provider}: actual: {actual}, given: {given}"
    )


@dataclass(eq=False)
class ConsumerGenerationError(ConflictError):
    """The client's view of a consumer's generation is not the present one.

    ``actual`` None: the consumer does not exist. ``given`` None: the client said it is new.
    """

    consumer: str
    actual: int | None
    given: int | None
    template = "consumer generation conflict - expected {actual} but got {given}"


@dataclass(eq=False)
class ProviderExistsError(ConflictError):
    """``uuid`` and ``name`` are set as far as they are taken."""

    uuid: str | None
    name: str | None
    template = "A resource provider with uuid {uuid} or name {name} already exists."


@dataclass(eq=False)
class ProviderHasChildrenError(ConflictError):
    uuid: str
    template = "Resource provider {uuid} has child providers."


@dataclass(eq=False)
class ProviderInUseError(ConflictError):
    uuid: str
    template = "Resource provider {uuid} has allocations."


@dataclass(eq=False)
class InventoryExistsError(ConflictError):
    provider: str
    resource_class: str
    template = "Inventory of class {resource_class} for {provider} already exists."


@dataclass(eq=False)
class InventoryInUseError(ConflictError):
    """``resource_classes`` are those that are used, joined by ", "."""

    provider: str
    resource_classes: str
    template = "Inventory for '{resource_classes}' on resource provider '{provider}' in use."


@dataclass(eq=False)
class NoInventoryError(ConflictError):
    """A claim asks a provider for a class that it has no inventory of."""

    provider: str
    resource_class: str
    template = "Inventory for '{resource_class}' on resource provider '{provider}' invalid."


@dataclass(eq=False)
class CapacityExceededError(ConflictError):
    provider: str
    resource_class: str
    template = (
        "Unable to create allocation for '{resource_class}' on resource provider '{provider}'. "
        "The requested amount would exceed the capacity."
    )


@dataclass(eq=False)
class UnitViolatedError(ConflictError):
    """An amount does not keep to min_unit, max_unit or step_size."""

    provider: str
    resource_class: str
    template = (
        "Unable to create allocation for '{resource_class}' on resource provider '{provider}'. "
        "The requested amount would violate inventory constraints."
    )


@dataclass(eq=False)
class ResourceClassExistsError(ConflictError):
    name: str
    template = "Resource class {name} already exists."


@dataclass(eq=False)
class ResourceClassInUseError(ConflictError):
    name: str
    template = "Cannot delete resource class {name}. Class is in use in inventory."


@dataclass(eq=False)
class TraitInUseError(ConflictError):
    name: str
    template = "The trait {name} is in use by a resource provider."


@dataclass(eq=False)
class EqualNameError(ConflictError):
    """A name that looks free is not: this database holds it equal to another one.

    Collations that ignore case do so; which of a command's names it is cannot be told.
    """

    template = "A name differs only in case from one that is there already."


# The service cannot do it now.


@dataclass(eq=False)
class UnavailableError(MoorageError):
    """The database cannot be reached, or too much waits. Nothing was changed."""

    reason: str
    template = "The service cannot answer now: {reason}"


@dataclass(eq=False)
class OutcomeUnknownError(UnavailableError):
    """The connection was lost in COMMIT and the database stayed away: it may have happened."""

    template = "The outcome of the write is not known: {reason}"


@dataclass(eq=False)
class SchemaError(MoorageError):
    """The database's schema is not what this version needs."""

    reason: str
    template = "{reason}"


@dataclass(eq=False)
class TokenNotFoundError(MoorageError):
    """``ids`` are all that were never given out, joined by ", "."""

    ids: str
    template = "No such token: {ids}."


@dataclass(eq=False)
class ConfigurationError(MoorageError):
    """An option has a value that cannot work."""

    reason: str
    template = "{reason}"
