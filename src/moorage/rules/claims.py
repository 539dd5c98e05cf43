"""Claims: what a consumer may hold. No other module gives capacity away.

Source of the rules: API reference, "Allocations"; behaviour of generations and of over-full providers as
measured on the reference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import chain, zip_longest
from typing import Any, Final, TypeVar

from moorage.model.commands import (
    KEEP,
    Claim,
    DeleteAllocations,
    GrantClaims,
    PlaceClaims,
    ReleaseClaims,
    Released,
    ReleaseOfLease,
    ReplaceAllocations,
)
from moorage.model.errors import (
    AllocationProviderNotFoundError,
    AllocationsNotFoundError,
    CapacityExceededError,
    ChoiceGoneError,
    ConsumerGenerationError,
    ConsumerTakenError,
    EntriesRefusedError,
    EqualNameError,
    MoorageError,
    NoInventoryError,
    ResourceClassNotFoundError,
    UnitViolatedError,
)
from moorage.model.leases import LeaseState
from moorage.model.placing import Choice, ChosenOn, ClaimOrigin, Granted, GrantedEntry
from moorage.rules.capacity import misfit_of
from moorage.rules.leases import hang_claim, released_lease
from moorage.rules.state import (
    TICKS,
    Changes,
    ConsumerRow,
    Held,
    State,
    Touch,
    all_bumped,
    check_classes_exist,
)

ResultT = TypeVar("ResultT")


def touch_claims(claims: Iterable[Claim]) -> Touch:
    """Consumers, and the providers that they claim from, with inventories and use."""
    claims = tuple(claims)
    providers = frozenset(provider for claim in claims for provider in claim.allocations)
    return Touch(
        leases=frozenset(claim.lease for claim in claims if claim.lease is not None),
        providers=providers,
        inventories=providers,
        used=providers,
        consumers=frozenset(claim.consumer for claim in claims),
        newcomers=frozenset(claim.consumer for claim in claims if claim.generation is None),
        resource_classes=_resource_classes(claims),
    )


def _resource_classes(claims: Iterable[Claim]) -> frozenset[str]:
    return frozenset(
        name for claim in claims for resources in claim.allocations.values() for name in resources
    )


def touch_replace(command: ReplaceAllocations) -> Touch:
    """See ``touch_claims``."""
    return touch_claims(command.claims)


def decide_replace(state: State, command: ReplaceAllocations) -> Changes[None]:
    """See ``check_claims`` and ``granted``."""
    return _replaced(state, command.claims)


def _replaced(state: State, claims: tuple[Claim, ...]) -> Changes[None]:
    check_claims(state, claims)
    check_classes_exist(state, sorted(_resource_classes(claims)))
    return granted(state, claims)


def touch_grant(command: GrantClaims) -> Touch:
    """See ``touch_claims``."""
    return touch_claims((*command.claims, *filter(None, command.passed_on)))


def decide_grant(state: State, command: GrantClaims) -> Changes[Granted]:
    """Each claim as ``decide_replace`` does, on the state that the claims before it leave.

    Raises EntriesRefusedError once fewer than ``least`` can succeed. Raises ChoiceGoneError if a chosen place
    cannot be had, or if a claim has no place although other claims hold than its search had counted.
    """
    # A single claim, which all depends on, sees no other one's changes.
    scratch = state if len(command.claims) == 1 <= command.least else state.scratch()
    alone: Changes[None] | None = None
    entries: list[GrantedEntry | MoorageError] = []
    refused: list[tuple[int, MoorageError]] = []
    # Those that truth refuses, and not their search.
    untrue: set[int] = set()
    parts = zip_longest(command.claims, command.places, command.passed_on)
    for number, (claim, place, passed_on) in enumerate(parts):
        has_none = isinstance(place, MoorageError)
        if has_none and untrue != {each for each in command.uncounted if each < number}:
            raise ChoiceGoneError(frozenset(untrue))
        try:
            changes = _granted_one(scratch, claim, place, passed_on)
        except MoorageError as error:
            if isinstance(place, Choice) and isinstance(error, GONE):
                raise ChoiceGoneError(frozenset(untrue)) from error
            if not has_none:
                untrue.add(number)
            refused.append((number, error))
            if len(command.claims) - len(refused) < command.least:
                raise EntriesRefusedError(tuple(refused)) from error
            entries.append(error)
        else:
            assert not isinstance(place, MoorageError), "such a claim is refused"
            if claim.origin is not None:
                changes.origins[claim.consumer] = _dated(claim.origin, place, command.decision)
            if scratch is state:
                alone = changes
            else:
                scratch.apply(changes)
            row = changes.consumers[claim.consumer]
            assert row is not None, "a claim that holds something has a consumer"
            entries.append(GrantedEntry(claim.consumer, row.generation, claim.allocations, place))
    granted = Granted(tuple(entries), command.decision)
    if alone is not None:
        return alone.answering(granted)
    return Changes.of_scratch(scratch, granted, "allocations.replace", changes_names=False)


def _granted_one(
    state: State, claim: Claim, place: Choice | MoorageError | None, passed_on: Claim | None
) -> Changes[None]:
    """What one claim changes. Raises why it has no place, and what ``check_claims``, ``granted`` raise."""
    if isinstance(place, MoorageError):
        raise place
    changes = _replaced(state, (claim,) if passed_on is None else (claim, passed_on))
    if claim.lease is not None:
        own = claim.project_id if claim.only_own else None
        hang_claim(state, changes, claim.lease, claim.consumer, own)
    return changes


def _dated(origin: ClaimOrigin, place: Choice | None, decision: ChosenOn | None) -> ClaimOrigin:
    """With the revision of the state that the place was chosen on."""
    if place is None or decision is None:
        return origin
    return ClaimOrigin(origin.ask, origin.profile, origin.labels, decision.revision + decision.after)


GONE: Final = (
    AllocationProviderNotFoundError,
    CapacityExceededError,
    NoInventoryError,
    ResourceClassNotFoundError,
    UnitViolatedError,
)
"""Why a place cannot be had, though it was there when it was chosen."""


def touch_place(command: PlaceClaims) -> Touch:
    """What is known before places are chosen."""
    return touch_claims(command.claims)


def decide_place(_state: State, command: PlaceClaims) -> Changes[Granted]:
    """A fault of the program: the command has to be bound first."""
    raise TypeError(f"no places were chosen for {len(command.claims)} claims")


def check_claims(state: State, claims: Iterable[Claim]) -> None:
    """Consumers first, then providers: the order in which the wire reports faults.

    Raises ConsumerGenerationError, ConsumerTakenError, EqualNameError, AllocationProviderNotFoundError.
    """
    claims = tuple(claims)
    for claim in claims:
        if claim.only_own:
            _check_own(state, claim)
        if claim.generation is not KEEP:
            actual = _generation(state, claim.consumer)
            if claim.generation != actual:
                raise ConsumerGenerationError(claim.consumer, actual, claim.generation)
        equal = state.equal_consumers.get(claim.consumer)
        # An earlier part of the same command may have deleted the other consumer.
        is_there = equal is not None and state.consumers.get(equal, claim) is not None
        if is_there and claim.allocations:
            raise EqualNameError
    for claim in claims:
        for provider in claim.allocations:
            if state.providers[provider] is None:
                raise AllocationProviderNotFoundError(provider)


def _check_own(state: State, claim: Claim) -> None:
    """Raises an error that says nothing of what another project holds: not its generation and, to a client
    that names one, not that it is there.
    """
    row = state.consumers[claim.consumer]
    if row is None or row.project_id == claim.project_id or not state.held[claim.consumer]:
        return
    if isinstance(claim.generation, int):
        raise ConsumerGenerationError(claim.consumer, None, claim.generation)
    raise ConsumerTakenError(claim.consumer)


def _generation(state: State, consumer: str) -> int | None:
    """A consumer that holds nothing does not exist, even if a row of it was left behind."""
    row = state.consumers[consumer]
    return row.generation if row is not None and state.held[consumer] else None


def granted(state: State, claims: Iterable[Claim], *, over_capacity: bool = False) -> Changes[None]:
    """Give the consumers what they claim, in place of what they hold.

    All that they hold is released first; then all claims must fit together. So swaps and moves are atomic.
    The generation goes up by one for each provider of new allocations, for each provider that an emptied
    consumer leaves, and for each consumer that stays. ``over_capacity``: there need not be room.

    Raises NoInventoryError, UnitViolatedError, CapacityExceededError.
    """
    claims = tuple(claims)
    changes: Changes[None] = Changes(None, "allocations.replace")
    used = _used_without(state, [claim.consumer for claim in claims])
    bumped_providers: dict[str, None] = {}
    for claim in claims:
        held = _held(claim.allocations)
        if not held and not state.held[claim.consumer]:
            continue
        emptied = {} if held else state.held[claim.consumer]
        for provider, _ in (*held, *emptied):
            bumped_providers[provider] = None
        _add(state, used, held, over_capacity=over_capacity)
        changes.held[claim.consumer] = held
        now = changes.consumers[claim.consumer] = _consumer(state, claim) if held else None
        unbind(state, changes, claim.consumer, now)
    changes.used.update(used)
    changes.providers.update(all_bumped(state, bumped_providers))
    return changes


def _held(allocations: Mapping[str, Mapping[str, int]]) -> Held:
    return {
        (provider, name): amount
        for provider, resources in allocations.items()
        for name, amount in resources.items()
    }


def _used_without(state: State, consumers: Iterable[str]) -> dict[str, dict[str, int]]:
    """Use of the providers that these consumers hold something of, once they hold nothing."""
    freed: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for consumer in consumers:
        for (provider, name), amount in state.held[consumer].items():
            freed[provider][name] += amount
    return {
        provider: {
            name: amount - freed[provider].get(name, 0) for name, amount in state.used[provider].items()
        }
        for provider in freed
    }


def _add(state: State, used: dict[str, dict[str, int]], held: Held, *, over_capacity: bool) -> None:
    for (provider, name), amount in held.items():
        inventory = state.inventories[provider].get(name)
        if inventory is None:
            raise NoInventoryError(provider, name)
        provider_used = used.setdefault(provider, dict(state.used[provider]))
        now = provider_used.get(name, 0)
        misfit = misfit_of(inventory, state.used[provider].get(name, 0), now, amount)
        if misfit is not None and not (over_capacity and misfit is CapacityExceededError):
            raise misfit(provider, name)
        provider_used[name] = now + amount


def _consumer(state: State, claim: Claim) -> ConsumerRow:
    row = state.consumers[claim.consumer] or ConsumerRow(
        claim.consumer, claim.project_id, claim.user_id, None, 0
    )
    return ConsumerRow(
        uuid=row.uuid,
        project_id=claim.project_id,
        user_id=claim.user_id,
        consumer_type=row.consumer_type if claim.consumer_type is KEEP else claim.consumer_type,
        generation=row.generation + 1,
        id=row.id,
    )


def unbind(state: State, changes: Changes[Any], consumer: str, now: ConsumerRow | None) -> None:
    """Take off a claim what does not outlive a write that leaves the consumer as ``now``.

    What a claim asked for, and its lease, go with what the consumer held. So if it held nothing, they are of
    an earlier consumer, whose end a service that knows nothing of them has written. A claim that comes to
    another project hangs on no lease any more: the holder of the lease must not end what others hold.
    """
    stays = now is not None and bool(state.held[consumer])
    if not stays and state.origins.get(consumer) is not None:
        changes.origins[consumer] = None
    if state.attached.get(consumer) is not None and not (stays and _has_same_owner(state, now)):
        changes.attached[consumer] = None


def _has_same_owner(state: State, now: ConsumerRow | None) -> bool:
    was = None if now is None else state.consumers[now.uuid]
    return was is None or now is None or was.project_id == now.project_id


def touch_delete(command: DeleteAllocations) -> Touch:
    """The consumer, and what it holds."""
    return Touch(consumers=frozenset((command.consumer,)))


def decide_delete(state: State, command: DeleteAllocations) -> Changes[None]:
    """No generation changes: the wire's DELETE never bumped one.

    Raises AllocationsNotFoundError.
    """
    if not state.held[command.consumer]:
        raise AllocationsNotFoundError(command.consumer)
    return _released(state, (command.consumer,), None)


def touch_release(command: ReleaseClaims) -> Touch:
    """The consumers, and what they hold."""
    return Touch(consumers=frozenset(command.consumers))


def decide_release(state: State, command: ReleaseClaims) -> Changes[Released]:
    """As ``decide_delete``, of all consumers that hold something.

    Raises AllocationsNotFoundError.
    """
    named = tuple(dict.fromkeys(command.consumers))
    holding = tuple([consumer for consumer in named if _is_in_reach(state, consumer, command.project_id)])
    holds = frozenset(holding)
    absent = tuple([consumer for consumer in named if consumer not in holds])
    if absent and not command.absent_too:
        raise AllocationsNotFoundError(absent[0])
    return _released(state, holding, Released(holding, absent))


def _is_in_reach(state: State, consumer: str, project_id: str | None) -> bool:
    """Whether a consumer holds something, for the project if one is named."""
    if not state.held[consumer]:
        return False
    row = state.consumers[consumer]
    return project_id is None or (row is not None and row.project_id == project_id)


def _released(state: State, consumers: Collection[str], result: ResultT) -> Changes[ResultT]:
    changes = Changes(
        result,
        "allocations.delete",
        used=dict(_used_without(state, consumers)),
        consumers=dict.fromkeys(consumers),
        held={consumer: {} for consumer in consumers},
    )
    for consumer in consumers:
        unbind(state, changes, consumer, None)
    return changes


def touch_release_of_lease(command: ReleaseOfLease) -> Touch:
    """The leases, the time, and the consumers with what they hold."""
    return Touch(
        leases=frozenset(command.hanging),
        consumers=frozenset(chain.from_iterable(command.hanging.values())),
        clock=frozenset((TICKS,)),
    )


def decide_release_of_lease(state: State, command: ReleaseOfLease) -> Changes[Released]:
    """As ``decide_release``, of the consumers that hang on leases whose claims are being taken away."""
    ended = {
        uuid
        for uuid in command.hanging
        if (lease := state.leases[uuid]) is not None and lease.state is LeaseState.RELEASING
    }
    named = [(uuid, consumer) for uuid, consumers in command.hanging.items() for consumer in consumers]
    hanging = [each for uuid, each in named if uuid in ended and state.attached.get(each) == uuid]
    holding = {each: None for each in hanging if state.held[each]}
    absent = tuple([each for _, each in named if each not in holding])
    changes = _released(state, tuple(holding), Released(tuple(holding), absent))
    for consumer in hanging:
        # A program that does not know leases may have taken away what it held.
        changes.origins[consumer] = changes.attached[consumer] = None
    for uuid in sorted(command.emptied & ended):
        changes.leases[uuid] = released_lease(state, uuid)
    return changes
