"""Why an operation cannot be done: facts, not sentences for the wire.

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

    def in_full(self) -> str:
        """The text for logs and the command line; any client may see ``str()``."""
        return str(self)

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
class SourceNotFoundError(NotFoundError):
    source: str
    template = "There is no source {source}: it never reported, or was forgotten."


@dataclass(eq=False)
class FindingNotFoundError(NotFoundError):
    id: str
    template = "There is no finding {id}: the last report no longer shows it, or there never was one."


@dataclass(eq=False)
class AllocationsNotFoundError(NotFoundError):
    consumer: str
    template = "No allocations for consumer '{consumer}'."


# The request is invalid in any state, or names something that it may not name.


@dataclass(eq=False)
class LeaseNotFoundError(NotFoundError):
    uuid: str
    template = "No lease {uuid} is known."


@dataclass(eq=False)
class AttachmentNotFoundError(NotFoundError):
    lease: str
    consumer: str
    template = "The claim of consumer {consumer} does not hang on the lease {lease}."


@dataclass(eq=False)
class InvalidError(MoorageError):
    """A request that is wrong in itself."""


@dataclass(eq=False)
class UnstorableError(InvalidError):
    """A text or a number that does not fit into a column of this database, or into its character set."""

    template = "The database cannot store a text or a number of this request."


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
class ReportFaultError(InvalidError):
    """A report covers what is no tree, or names what it does not cover. ``fault`` is a sentence."""

    fault: str
    template = "{fault}"


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
    """The search for candidates exceeded ``limit``, the steps that one search may take."""

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


# The present state does not allow the request.


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
class FindingChangedError(ConflictError):
    """The claim that a finding is about is not what it was when the report was compared with it."""

    consumer: str
    template = "What consumer {consumer} holds has changed since the report that the finding comes from."


@dataclass(eq=False)
class CannotHealError(ConflictError):
    """``reason``: the rest of a sentence that begins with the finding."""

    id: str
    reason: str
    template = "Finding {id} {reason}."


@dataclass(eq=False)
class ConsumerTakenError(ConflictError):
    """A consumer that the client takes for new holds something for a project that the client may not see."""

    consumer: str
    template = "The consumer {consumer} cannot be used. Choose another UUID, or leave that to the service."


@dataclass(eq=False)
class ProviderExistsError(ConflictError):
    """``uuid`` and ``name`` are set if they are already in use."""

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
    """The database considers a new name equal to an existing one.

    Collations that ignore case do so. The database does not say which of a command's names it is.
    """

    template = "A name differs only in case from one that is there already."


@dataclass(eq=False)
class LeaseGoneError(ConflictError):
    """A lease is not in a state that allows this. ``state`` is the word for it."""

    uuid: str
    state: str
    template = "The lease {uuid} is {state}."


@dataclass(eq=False)
class LeaseCrowdedError(ConflictError):
    """Too many claims hang on a lease for one write to take them all off it."""

    uuid: str
    template = "Too many claims hang on the lease {uuid} to end it in one write."


@dataclass(eq=False)
class KeyReusedError(ConflictError):
    """The idempotency key was used for another request."""

    template = "The idempotency key was used for another request."


@dataclass(eq=False)
class NothingFitsError(ConflictError):
    """No tree can serve a request. ``found_on``: the snapshot on which nothing was found."""

    revision: int
    request: object
    found_on: object
    template = "No tree can serve the request now."


@dataclass(eq=False)
class ChoiceGoneError(ConflictError):
    """A chosen place was taken meanwhile, by another process or by an earlier write of the same group.

    ``refused``: numbers of the command's claims that were refused for themselves, as with a stale generation.
    The next choice lets them take no room from the others.
    """

    refused: frozenset[int] = frozenset()
    template = "The chosen place was taken meanwhile."


@dataclass(eq=False)
class GangTooHardError(ConflictError):
    """Claims that must be placed together fit in none of the orders that were tried."""

    orders: int
    template = "The claims fit in none of {orders} orders. There may be another way to place them."


@dataclass(eq=False)
class HardToPlaceError(ConflictError):
    """A place cannot be chosen in the few steps that a group of writes can wait for."""

    template = "The search takes too long for a group of writes."


@dataclass(eq=False)
class EntriesRefusedError(ConflictError):
    """Too many entries of a request cannot be claimed. ``refused``: number of an entry, and its error."""

    refused: tuple[tuple[int, MoorageError], ...]
    template = "Too few of the request's entries can be claimed: {refused}."


# The service cannot do the work now.


@dataclass(eq=False)
class UnavailableError(MoorageError):
    """The database cannot be reached, or too much waits. Nothing was changed."""

    reason: str
    template = "The service cannot answer now: {reason}"


@dataclass(eq=False)
class BusyError(MoorageError):
    """As many clients wait for changes as one process lets wait.

    ``elsewhere``: host and port where more may, "" if there is none.
    """

    waiting: int
    elsewhere: str = ""
    template = "{waiting} clients wait for changes here already."


@dataclass(eq=False)
class CompactedError(MoorageError):
    """The journal lacks revisions that a client asks for.

    ``compacted``: the last one that it lacks. ``restart_after``: the present revision.
    """

    compacted: int
    restart_after: int
    template = "The journal has no changes up to revision {compacted} any more."


@dataclass(eq=False)
class ValuesNotKeptError(CompactedError):
    """The journal's record of the revision ``compacted`` says what it is about, and not what changed."""

    template = "The journal has no values up to revision {compacted}: [moorage] journal was refs."


@dataclass(eq=False)
class DifferentHistoryError(MoorageError):
    """The revision that a client knows is of another history than that of ``epoch``, the present one."""

    epoch: str
    template = "The revision is of another history; that of now has the epoch {epoch}."


@dataclass(eq=False)
class UnusableDatabaseError(UnavailableError):
    """The database stayed unreachable for as long as the settings allow.

    ``words`` are its address and the driver's message; they are for logs and the command line only.
    """

    words: str = ""
    template = "The database cannot be used: {reason}."

    def in_full(self) -> str:
        """The text with address and driver message."""
        return f"{self} {self.words}" if self.words else str(self)


@dataclass(eq=False)
class OutcomeUnknownError(UnavailableError):
    """The connection was lost during COMMIT, and the database stayed unreachable: the write may be done."""

    template = "The outcome of the write is not known: {reason}"


@dataclass(eq=False)
class SchemaError(MoorageError):
    """The database's schema is not what this version needs."""

    reason: str
    template = "{reason}"


@dataclass(eq=False)
class MissingFileError(SchemaError):
    """The database is an SQLite file that has not been made yet. ``reason`` is the file."""

    remedy: str
    template = "the database file {reason} does not exist: '{remedy}' makes it"


@dataclass(eq=False)
class TokenNotFoundError(MoorageError):
    """``ids`` are all unknown ids, joined by ", "."""

    ids: str
    template = "No such token: {ids}."


@dataclass(eq=False)
class ConfigurationError(MoorageError):
    """A configuration option has an unusable value."""

    reason: str
    template = "{reason}"
