"""Commands: the writes that a client can request. The room ``rules`` decides them, ``store`` writes them.

``generation`` fields are the client's view; None means that the client gave none and accepts any
change in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import ClassVar, Final, Generic, TypeVar

from moorage.model.errors import MoorageError
from moorage.model.leases import LeaseAt, OnExpiry, Resolution
from moorage.model.orders import Order
from moorage.model.placing import Choice, ChosenOn, ClaimOrigin, Granted
from moorage.model.reports import Amounts, ReportFinding
from moorage.model.requests import CandidateRequest
from moorage.model.valueclass import valueclass
from moorage.model.values import (
    Inventory,
    Provider,
    ProviderAggregates,
    ProviderInventories,
    ProviderTraits,
)

ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Command(Generic[ResultT_co]):
    """Base of all commands; its parameter is the type of what the command answers.

    ``stands_alone``: the command cannot share a transaction. ``binds_late``: the leader of its group makes an
    ordinary command of it, on the index as the last group left it.
    """

    __slots__ = ()

    stands_alone: ClassVar[bool] = False
    binds_late: ClassVar[bool] = False


@valueclass(frozen=True, slots=True)
class WriteOutcome(Generic[ResultT]):
    """What came of a command.

    ``revision``: of its write; of the state if it wrote nothing, or if ``error`` refused it. ``replayed``:
    what is remembered under its key. Then nothing was written, and ``revision`` is that of the first write.
    """

    revision: int
    result: ResultT | None = None
    error: MoorageError | None = None
    replayed: str | None = None


class Keep(Enum):
    """A field that the client left out, where None would mean something else."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


@valueclass(frozen=True, slots=True)
class CreateProvider(Command[Provider]):
    """Result: the new ``Provider``."""

    uuid: str
    name: str
    parent_uuid: str | None = None


@valueclass(frozen=True, slots=True)
class UpdateProvider(Command[Provider]):
    """Result: the ``Provider`` as it is now.

    ``may_reparent`` False: a parent once set can be neither changed nor taken away.
    """

    uuid: str
    name: str
    parent_uuid: str | Keep | None = KEEP
    may_reparent: bool = True


@valueclass(frozen=True, slots=True)
class DeleteProvider(Command[None]):
    """Result: None. Inventories, traits and aggregate membership go with the provider."""

    uuid: str


@valueclass(frozen=True, slots=True)
class AddInventory(Command[ProviderInventories]):
    """Result: ``ProviderInventories`` with the one added."""

    provider: str
    resource_class: str
    inventory: Inventory
    may_reserve_all: bool = True


@valueclass(frozen=True, slots=True)
class UpdateInventory(Command[ProviderInventories]):
    """Result: ``ProviderInventories`` with the one changed."""

    provider: str
    generation: int
    resource_class: str
    inventory: Inventory
    may_reserve_all: bool = True


@valueclass(frozen=True, slots=True)
class SetInventories(Command[ProviderInventories]):
    """Result: ``ProviderInventories`` with all. ``generation`` None skips the check."""

    provider: str
    generation: int | None
    inventories: Mapping[str, Inventory]
    may_reserve_all: bool = True


@valueclass(frozen=True, slots=True)
class DeleteInventory(Command[None]):
    """Result: None."""

    provider: str
    resource_class: str


@valueclass(frozen=True, slots=True)
class SetTraits(Command[ProviderTraits]):
    """Result: ``ProviderTraits``. ``generation`` None skips the check."""

    provider: str
    generation: int | None
    traits: frozenset[str]


@valueclass(frozen=True, slots=True)
class SetAggregates(Command[ProviderAggregates]):
    """Result: ``ProviderAggregates`` in the order given.

    ``generation`` None skips the check, and then the provider's generation is not bumped.
    """

    provider: str
    generation: int | None
    aggregates: tuple[str, ...]


@valueclass(frozen=True, slots=True)
class CreateTrait(Command[bool]):
    """Result: True if it is new, False if it was there."""

    name: str


@valueclass(frozen=True, slots=True)
class DeleteTrait(Command[None]):
    """Result: None."""

    name: str


@valueclass(frozen=True, slots=True)
class CreateResourceClass(Command[bool]):
    """Result: True if it is new, False if it was there and ``may_exist``."""

    name: str
    may_exist: bool = False


@valueclass(frozen=True, slots=True)
class RenameResourceClass(Command[None]):
    """Result: None. It stands alone, for meanwhile the class is known by two names."""

    stands_alone: ClassVar[bool] = True

    name: str
    new_name: str


@valueclass(frozen=True, slots=True)
class DeleteResourceClass(Command[None]):
    """Result: None."""

    name: str


@valueclass(frozen=True, slots=True)
class Claim:
    """All that one consumer holds from now on; empty allocations remove the consumer.

    ``allocations`` maps provider uuid to class to amount. ``generation`` is the consumer's:
    None for "new", KEEP where the client cannot say. ``consumer_type`` KEEP leaves it alone.
    ``origin`` is kept with what a native claim holds. ``only_own``: what another project holds is out of
    reach, as if it were not there. ``lease``: the active lease that the claim hangs on from now on; None
    leaves that as it is.
    """

    consumer: str
    allocations: Mapping[str, Mapping[str, int]]
    project_id: str
    user_id: str
    generation: int | Keep | None = None
    consumer_type: str | Keep | None = KEEP
    origin: ClaimOrigin | None = None
    only_own: bool = False
    lease: str | None = None

    def of(self, allocations: Mapping[str, Mapping[str, int]]) -> Claim:
        """The same claim with other allocations."""
        # Each claim that the service places does this, and ``replace`` takes four times as long.
        return Claim(
            self.consumer,
            allocations,
            self.project_id,
            self.user_id,
            self.generation,
            self.consumer_type,
            self.origin,
            self.only_own,
            self.lease,
        )


@valueclass(frozen=True, slots=True)
class ReplaceAllocations(Command[None]):
    """All claims or none. Result: None."""

    claims: tuple[Claim, ...]


@valueclass(frozen=True, slots=True)
class DeleteAllocations(Command[None]):
    """Take away all that a consumer holds, whatever its generation. Result: None."""

    consumer: str


@valueclass(frozen=True, slots=True)
class GrantClaims(Command[Granted]):
    """Claims that are decided one after the other: at least ``least`` of them, or none.

    ``places`` may have for each claim how its place was chosen, or why there is none. ``passed_on`` may have
    for each claim that of another consumer, which takes over what the claim's consumer held: both or none.
    ``uncounted``: numbers of claims that took no room from the others when places were chosen.
    Result: ``Granted``.
    """

    claims: tuple[Claim, ...]
    least: int
    places: tuple[Choice | MoorageError | None, ...] = ()
    decision: ChosenOn | None = None
    passed_on: tuple[Claim | None, ...] = ()
    uncounted: frozenset[int] = frozenset()


@valueclass(frozen=True, slots=True)
class PlaceClaims(Command[Granted]):
    """As ``GrantClaims``, but the service chooses what a claim holds, by its request.

    A claim whose request is None holds its own allocations. The others have none. ``freed`` may have for each
    claim what its consumer holds until then, by provider and class: that counts as free for its place.
    ``orders`` may have for each claim what makes one place better than another; otherwise the first one is
    taken. ``explained``: each choice keeps what it was chosen on.
    """

    binds_late: ClassVar[bool] = True

    claims: tuple[Claim, ...]
    requests: tuple[CandidateRequest | None, ...]
    least: int
    freed: tuple[Mapping[str, Mapping[str, int]] | None, ...] = ()
    passed_on: tuple[Claim | None, ...] = ()
    orders: tuple[Order | None, ...] = ()
    explained: bool = False


@valueclass(frozen=True, slots=True)
class Released:
    """Consumers that held something and now hold nothing, and those that held nothing."""

    released: tuple[str, ...]
    absent: tuple[str, ...]


@valueclass(frozen=True, slots=True)
class ReleaseClaims(Command[Released]):
    """Take away all that several consumers hold, whatever their generations. Result: ``Released``.

    Unless ``absent_too``, a consumer that holds nothing refuses the command. With ``project_id``, a consumer
    of another project counts as one that holds nothing.
    """

    consumers: tuple[str, ...]
    absent_too: bool = True
    project_id: str | None = None


@valueclass(frozen=True, slots=True)
class Healed:
    """What a consumer holds now, and its generation; 0 if it holds nothing."""

    consumer: str
    generation: int
    held: Amounts


@valueclass(frozen=True, slots=True)
class HealClaim(Command[Healed]):
    """Let a consumer hold what a finding says, if its claim is still the one that the finding is about.

    ``finding`` None: there is none of this ``id``, which refuses the command. ``over_capacity``: it may hold
    more than there is room for. ``lease``: what is leaked is not released, but hangs on this quarantined
    lease. Result: ``Healed``.
    """

    id: str
    finding: ReportFinding | None
    over_capacity: bool = False
    lease: str | None = None


@valueclass(frozen=True, slots=True)
class GrantLease(Command[LeaseAt]):
    """A new active lease. Result: ``LeaseAt``.

    ``owner`` is the client's word for what holds it. ``max_life_ms``: its end, whatever is renewed.
    """

    uuid: str
    owner: str
    project_id: str
    user_id: str
    ttl_ms: int
    grace_ms: int
    on_expiry: OnExpiry = OnExpiry.QUARANTINE
    max_life_ms: int | None = None


@valueclass(frozen=True, slots=True)
class AttachClaim(Command[LeaseAt]):
    """Hang what a consumer holds on an active lease, in place of any other one. Result: ``LeaseAt``.

    With ``project_id``, as in the next commands, leases and consumers of other projects are not there.
    """

    lease: str
    consumer: str
    project_id: str | None = None


@valueclass(frozen=True, slots=True)
class DetachClaim(Command[LeaseAt]):
    """A claim stays, without its lease. Result: ``LeaseAt``."""

    lease: str
    consumer: str
    project_id: str | None = None


@valueclass(frozen=True, slots=True)
class EndLease(Command[LeaseAt]):
    """End a lease that has not ended. Result: ``LeaseAt``.

    Its claims lose it if ``keeps_claims``, unless too many hang on it: LeaseCrowdedError. Otherwise
    ``ReleaseOfLease`` takes them away afterwards.
    """

    uuid: str
    keeps_claims: bool
    project_id: str | None = None


@valueclass(frozen=True, slots=True)
class ResolveLease(Command[LeaseAt]):
    """Decide about a quarantined lease. Result: ``LeaseAt``; a restored lease has its full ttl."""

    uuid: str
    resolution: Resolution
    project_id: str | None = None


@valueclass(frozen=True, slots=True)
class ExpireLeases(Command[tuple[str, ...]]):
    """Take leases out of the states whose time has passed. Result: those that were due.

    All others stay as they are: a renewal may have come first.
    """

    leases: tuple[str, ...]


@valueclass(frozen=True, slots=True)
class ReleaseOfLease(Command[Released]):
    """Take away what consumers hold that hang on leases which have ended. Result: ``Released``.

    ``hanging``: the consumers by lease. Those that do not hang on it keep what they hold, and are absent from
    the result's first part. ``emptied``: leases on which no others hang.
    """

    hanging: Mapping[str, tuple[str, ...]]
    emptied: frozenset[str] = frozenset()


@valueclass(frozen=True, slots=True)
class QuarantineClaims(Command[Released]):
    """Hang what consumers hold on a quarantined lease, until an operator decides.

    The lease ``uuid`` is new, or a quarantined one; ``owner``, ``project_id`` and ``user_id`` are those of a
    new one. Result: ``Released``: those that hang on it now, and those that hold nothing or hang on a lease
    already.
    """

    uuid: str
    owner: str
    project_id: str
    user_id: str
    consumers: tuple[str, ...]


@valueclass(frozen=True, slots=True)
class NewInventories:
    """Inventories of one provider after a reshape, with the client's view of its generation."""

    generation: int
    inventories: Mapping[str, Inventory]


@valueclass(frozen=True, slots=True)
class Reshape(Command[None]):
    """Change inventories and move allocations at once. Result: None."""

    inventories: Mapping[str, NewInventories]
    claims: tuple[Claim, ...] = ()


@valueclass(frozen=True, slots=True)
class Batch(Command[tuple[object, ...]]):
    """Several commands, decided one after the other, all or none. Result: tuple of theirs.

    A ``RenameResourceClass`` cannot be among them: TypeError.
    """

    commands: tuple[Command[object], ...]


@valueclass(frozen=True, slots=True)
class ProviderCopy:
    """A provider of another service, whole, with the generation that it has there.

    ``aggregates`` have no order: they are sorted.
    """

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None = None
    inventories: Mapping[str, Inventory] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    aggregates: tuple[str, ...] = ()


@valueclass(frozen=True, slots=True)
class CopyProviders(Command[None]):
    """Take providers over as they are elsewhere. A parent exists, or comes before its children."""

    providers: tuple[ProviderCopy, ...]


@valueclass(frozen=True, slots=True)
class ConsumerCopy:
    """A consumer of another service with all that it holds, and the generation that it has there.

    ``allocations`` maps provider uuid to class to amount.
    """

    uuid: str
    project_id: str
    user_id: str
    consumer_type: str | None
    generation: int
    allocations: Mapping[str, Mapping[str, int]]


@valueclass(frozen=True, slots=True)
class CopyConsumers(Command[None]):
    """Take consumers over as they are elsewhere, over capacity or not. Providers keep their generations."""

    consumers: tuple[ConsumerCopy, ...]
