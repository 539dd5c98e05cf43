"""Random commands that mostly make sense to the account they are for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from hypothesis import assume
from hypothesis import strategies as st

from moorage.model.commands import (
    KEEP,
    AddInventory,
    Batch,
    Claim,
    Command,
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteAllocations,
    DeleteInventory,
    DeleteProvider,
    DeleteResourceClass,
    DeleteTrait,
    GrantClaims,
    HealClaim,
    Keep,
    NewInventories,
    ReleaseClaims,
    RenameResourceClass,
    ReplaceAllocations,
    Reshape,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateInventory,
    UpdateProvider,
)
from moorage.model.reports import DIFFERS, LEAKED, MISSING, OPEN, ClaimOwner, ReportFinding
from moorage.model.values import SHARING_TRAIT, Inventory
from tests.oracle.account import Account


def identifiers(kind: int, number: int) -> tuple[str, ...]:
    """UUIDs that tell in their first digits what they stand for."""
    return tuple(f"{kind:04x}{index:04x}-0000-4000-8000-000000000000" for index in range(number))


PROVIDERS = identifiers(0xAAAA, 7)
CONSUMERS = identifiers(0xCCCC, 4)
AGGREGATES = identifiers(0xDDDD, 3)
QUARANTINES = identifiers(0xEEEE, 2)
"""Leases that no client was granted."""
NAMES = ("anchor", "berth", "crane", "dock", "engine", "ferry", "galley", "harbour", "")
CLASSES = ("VCPU", "MEMORY_MB", "CUSTOM_GOLD", "CUSTOM_SILVER", "CUSTOM_COPPER")
TRAITS = ("HW_CPU_X86_AVX2", SHARING_TRAIT, "CUSTOM_FAST", "CUSTOM_RED", "CUSTOM_BLUE")
CUSTOM_TRAITS = tuple(name for name in TRAITS if name.startswith("CUSTOM_"))
CUSTOM_CLASSES = tuple(name for name in CLASSES if name.startswith("CUSTOM_"))

BEGINNING: Final[tuple[Command[Any], ...]] = (
    CreateResourceClass("CUSTOM_GOLD"),
    CreateTrait("CUSTOM_FAST"),
    CreateProvider(PROVIDERS[0], "host"),
    CreateProvider(PROVIDERS[1], "left", PROVIDERS[0]),
    CreateProvider(PROVIDERS[2], "right", PROVIDERS[0]),
    CreateProvider(PROVIDERS[3], "leaf", PROVIDERS[2]),
    CreateProvider(PROVIDERS[4], "other"),
    SetInventories(PROVIDERS[1], 0, {"VCPU": Inventory(8), "CUSTOM_GOLD": Inventory(4)}),
    SetInventories(PROVIDERS[2], 0, {"VCPU": Inventory(8, allocation_ratio=1.5)}),
    SetInventories(PROVIDERS[4], 0, {"VCPU": Inventory(8), "MEMORY_MB": Inventory(9, step_size=2)}),
    ReplaceAllocations((Claim(CONSUMERS[0], {PROVIDERS[1]: {"VCPU": 6}}, "red", "ann"),)),
    SetTraits(PROVIDERS[2], 1, frozenset({"CUSTOM_FAST"})),
)
"""Two trees with something in them: where every random sequence begins."""

inventories = st.builds(
    Inventory,
    total=st.integers(1, 12),
    reserved=st.sampled_from([0, 0, 0, 1, 3]),
    min_unit=st.sampled_from([1, 1, 1, 2]),
    max_unit=st.sampled_from([12, 12, 5, 3]),
    step_size=st.sampled_from([1, 1, 1, 2]),
    allocation_ratio=st.sampled_from([1.0, 1.0, 1.0, 1.5, 0.5, 0.0]),
)


def some(
    present: Sequence[str], everything: Sequence[str], *, present_of_ten: int = 8
) -> st.SearchStrategy[str]:
    """Mostly one of ``present``, now and then any."""
    if not present:
        return st.sampled_from(everything)
    pool = [present] * present_of_ten + [everything] * (10 - present_of_ten)
    return st.sampled_from(pool).flatmap(st.sampled_from)


def providers(account: Account) -> st.SearchStrategy[str]:
    """A provider, mostly one that exists."""
    return some(tuple(account.nodes), PROVIDERS, present_of_ten=9)


def generation(draw: st.DrawFn, account: Account, provider: str) -> int:
    """Mostly the provider's own."""
    actual = account.nodes[provider].generation if provider in account.nodes else 0
    return actual + draw(st.sampled_from([0] * 8 + [1, -1]))


def maybe_generation(draw: st.DrawFn, account: Account, provider: str) -> int | None:
    """As ``generation``, or None."""
    return draw(st.sampled_from([None, *[generation(draw, account, provider)] * 3]))


def free_names(account: Account) -> st.SearchStrategy[str]:
    """A name, mostly one that no provider has."""
    taken = {node.name for node in account.nodes.values()}
    return some([name for name in NAMES if name not in taken], NAMES)


def classes(account: Account) -> st.SearchStrategy[str]:
    """A resource class, mostly one that exists."""
    return some([name for name in CLASSES if name in account.class_names], CLASSES, present_of_ten=9)


def sets_of_inventories(account: Account) -> st.SearchStrategy[dict[str, Inventory]]:
    """Up to three inventories."""
    return st.dictionaries(classes(account), inventories, max_size=3)


@st.composite
def create_provider(draw: st.DrawFn, account: Account) -> CreateProvider:
    uuid = draw(some([uuid for uuid in PROVIDERS if uuid not in account.nodes], PROVIDERS))
    return CreateProvider(uuid, draw(free_names(account)), draw(st.none() | providers(account)))


@st.composite
def update_provider(draw: st.DrawFn, account: Account) -> UpdateProvider:
    uuid = draw(providers(account))
    own_name = account.nodes[uuid].name if uuid in account.nodes else "nobody"
    parents: st.SearchStrategy[str | Keep | None] = st.sampled_from([None, KEEP]) | providers(account)
    return UpdateProvider(
        uuid,
        draw(st.just(own_name) | free_names(account)),
        draw(parents),
        draw(st.sampled_from([True] * 3 + [False])),
    )


@st.composite
def delete_provider(draw: st.DrawFn, account: Account) -> DeleteProvider:
    return DeleteProvider(draw(providers(account)))


@st.composite
def add_inventory(draw: st.DrawFn, account: Account) -> AddInventory:
    return AddInventory(
        draw(providers(account)), draw(classes(account)), draw(inventories), draw(st.booleans())
    )


@st.composite
def update_inventory(draw: st.DrawFn, account: Account) -> UpdateInventory:
    provider = draw(providers(account))
    return UpdateInventory(
        provider,
        generation(draw, account, provider),
        draw(some(offered(account, provider), CLASSES)),
        draw(inventories),
        draw(st.booleans()),
    )


@st.composite
def set_inventories(draw: st.DrawFn, account: Account) -> SetInventories:
    provider = draw(providers(account))
    return SetInventories(
        provider,
        maybe_generation(draw, account, provider),
        draw(sets_of_inventories(account)),
        draw(st.booleans()),
    )


@st.composite
def delete_inventory(draw: st.DrawFn, account: Account) -> DeleteInventory:
    provider = draw(providers(account))
    return DeleteInventory(provider, draw(some(offered(account, provider), CLASSES)))


@st.composite
def set_traits(draw: st.DrawFn, account: Account) -> SetTraits:
    provider = draw(providers(account))
    names = st.frozensets(some(account.trait_names, TRAITS), max_size=2)
    return SetTraits(provider, maybe_generation(draw, account, provider), draw(names))


@st.composite
def set_aggregates(draw: st.DrawFn, account: Account) -> SetAggregates:
    provider = draw(providers(account))
    uuids = st.lists(st.sampled_from(AGGREGATES), max_size=2, unique=True)
    return SetAggregates(provider, maybe_generation(draw, account, provider), tuple(draw(uuids)))


@st.composite
def create_trait(draw: st.DrawFn, account: Account) -> CreateTrait:
    return CreateTrait(draw(st.sampled_from(CUSTOM_TRAITS)))


@st.composite
def delete_trait(draw: st.DrawFn, account: Account) -> DeleteTrait:
    present = [name for name in CUSTOM_TRAITS if name in account.trait_names]
    return DeleteTrait(draw(some(present, TRAITS)))


@st.composite
def create_resource_class(draw: st.DrawFn, account: Account) -> CreateResourceClass:
    return CreateResourceClass(draw(st.sampled_from(CUSTOM_CLASSES)), draw(st.booleans()))


@st.composite
def rename_resource_class(draw: st.DrawFn, account: Account) -> RenameResourceClass:
    present = [name for name in CUSTOM_CLASSES if name in account.class_names]
    return RenameResourceClass(draw(some(present, CLASSES)), draw(st.sampled_from(CUSTOM_CLASSES)))


@st.composite
def delete_resource_class(draw: st.DrawFn, account: Account) -> DeleteResourceClass:
    present = [name for name in CUSTOM_CLASSES if name in account.class_names]
    return DeleteResourceClass(draw(some(present, CLASSES)))


def offered(account: Account, provider: str) -> tuple[str, ...]:
    """Classes that a provider has inventory of."""
    return tuple(account.nodes[provider].inventories) if provider in account.nodes else ()


@st.composite
def claims(draw: st.DrawFn, account: Account) -> Claim:
    """What one consumer shall hold: nothing, or up to three amounts that mostly exist somewhere."""
    consumer = draw(st.sampled_from(CONSUMERS))
    holder = account.holders.get(consumer)
    actual = None if holder is None else holder.generation
    allocations: dict[str, dict[str, int]] = {}
    stocked = [uuid for uuid, node in account.nodes.items() if node.inventories]
    for provider in draw(st.lists(some(stocked, PROVIDERS, present_of_ten=9), max_size=2)):
        name = draw(some(offered(account, provider), CLASSES, present_of_ten=9))
        allocations.setdefault(provider, {})[name] = draw(st.integers(1, 6))
    own: list[int | Keep | None] = [actual] * 7
    types: list[str | Keep | None] = [KEEP, "INSTANCE", "MIGRATION"]
    return Claim(
        consumer,
        allocations,
        draw(st.sampled_from(["red", "blue"])),
        draw(st.sampled_from(["ann", "bob"])),
        draw(st.sampled_from([*own, KEEP, None, 1])),
        draw(st.sampled_from(types)),
    )


def lists_of_claims(account: Account, least: int) -> st.SearchStrategy[tuple[Claim, ...]]:
    """Claims of different consumers."""
    found = st.lists(claims(account), min_size=least, max_size=3, unique_by=lambda claim: claim.consumer)
    return found.map(tuple)


@st.composite
def replace_allocations(draw: st.DrawFn, account: Account) -> ReplaceAllocations:
    return ReplaceAllocations(draw(lists_of_claims(account, 1)))


@st.composite
def delete_allocations(draw: st.DrawFn, account: Account) -> DeleteAllocations:
    return DeleteAllocations(draw(some(tuple(account.holders), CONSUMERS)))


@st.composite
def grant_claims(draw: st.DrawFn, account: Account) -> GrantClaims:
    """Claims that hold something, one after the other; now and then one passes on what it held."""
    made = draw(lists_of_claims(account, 1).map(lambda found: tuple(one for one in found if one.allocations)))
    assume(made)
    least = draw(st.sampled_from([len(made), len(made), 1]))
    takers = [consumer for consumer in CONSUMERS if consumer not in {one.consumer for one in made}]
    passed_on: list[Claim | None] = []
    for claim in made:
        held = account.held(claim.consumer)
        if not held or not takers or draw(st.booleans()):
            passed_on.append(None)
            continue
        allocations: dict[str, dict[str, int]] = {}
        for (provider, name), amount in held.items():
            allocations.setdefault(provider, {})[name] = amount
        passed_on.append(Claim(takers.pop(), allocations, "red", "ann", None))
    return GrantClaims(made, least, passed_on=tuple(passed_on))


@st.composite
def release_claims(draw: st.DrawFn, account: Account) -> ReleaseClaims:
    consumers = draw(st.lists(some(tuple(account.holders), CONSUMERS), min_size=1, max_size=3))
    return ReleaseClaims(tuple(consumers), draw(st.booleans()))


@st.composite
def reshape(draw: st.DrawFn, account: Account) -> Reshape:
    """Inventories that come, stay and go, together with some claims."""
    changed = draw(st.lists(providers(account), max_size=2, unique=True))
    return Reshape(
        {
            uuid: NewInventories(generation(draw, account, uuid), draw(sets_of_inventories(account)))
            for uuid in changed
        },
        draw(lists_of_claims(account, 0)),
    )


class _OfAnyRow(str):
    """A version of a claim of which only the generation counts: the twin knows no ids of rows."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.rpartition(".")[2] == self.rpartition(".")[2]

    __hash__ = None  # type: ignore[assignment]

    def partition(self, _separator: str, /) -> tuple[str, str, str]:
        return self, "", ""


@st.composite
def amounts(draw: st.DrawFn, account: Account) -> dict[str, dict[str, int]]:
    """What a report says that a consumer holds: mostly of inventories that exist, and perhaps nothing."""
    found: dict[str, dict[str, int]] = {}
    stocked = [uuid for uuid, node in account.nodes.items() if node.inventories]
    for provider in draw(st.lists(some(stocked, PROVIDERS, present_of_ten=9), max_size=2)):
        name = draw(some(offered(account, provider), CLASSES, present_of_ten=9))
        found.setdefault(provider, {})[name] = draw(st.integers(1, 9))
    return found


@st.composite
def heal_claim(draw: st.DrawFn, account: Account) -> HealClaim:
    """A finding about the present claim of a consumer, or now and then about an earlier one, or none at all.

    Some of what the consumer holds is covered by the report; the rest stays. Most of what is leaked is to be
    quarantined on one of two leases.
    """
    quarantined = [uuid for uuid, holder in sorted(account.holders.items()) if holder.lease is not None]
    consumer = draw(st.sampled_from([*3 * quarantined, *CONSUMERS]))
    holder = account.holders.get(consumer)
    held: dict[str, dict[str, int]] = {}
    for (provider, name), amount in account.held(consumer).items():
        held.setdefault(provider, {})[name] = amount
    covered = draw(st.sets(st.sampled_from(sorted(held)))) if held else set()
    present = None if holder is None else holder.generation
    stale = [None, 1, 7]
    version = draw(st.sampled_from([*[present] * 7, *stale]))
    owner = ClaimOwner("red", "ann", draw(st.sampled_from([None, "INSTANCE"])))
    if holder is not None:
        owner = ClaimOwner(holder.project_id, holder.user_id, holder.consumer_type)
    kind = draw(st.sampled_from([LEAKED, LEAKED, DIFFERS, DIFFERS]) if held else st.just(MISSING))
    says = draw(st.sampled_from([True] * 9 + [False]))
    found = ReportFinding(
        id="f1",
        source="lab",
        kind=kind,
        consumer=consumer,
        tree=PROVIDERS[0],
        state=OPEN,
        since=0,
        version=None if version is None else _OfAnyRow(f"0.{version}"),
        held={provider: held[provider] for provider in covered},
        reported=draw(amounts(account)) if kind != LEAKED and says else None,
        rest={provider: each for provider, each in held.items() if provider not in covered},
        owner=draw(st.sampled_from([owner] * 9 + [None])) if holder is None else owner,
        revision=1,
    )
    quarantines = [*QUARANTINES, None] if kind == LEAKED else [None] * 9 + [QUARANTINES[0]]
    return HealClaim(
        "f1",
        draw(st.sampled_from([found] * 19 + [None])),
        draw(st.sampled_from([False, False, True])),
        draw(st.sampled_from(quarantines)),
    )


Maker = Callable[[Account], st.SearchStrategy[Command[Any]]]

SINGLE: Final[dict[type[Command[Any]], tuple[int, Maker]]] = {
    ReplaceAllocations: (8, replace_allocations),
    GrantClaims: (4, grant_claims),
    ReleaseClaims: (2, release_claims),
    HealClaim: (3, heal_claim),
    Reshape: (3, reshape),
    SetInventories: (4, set_inventories),
    UpdateProvider: (4, update_provider),
    SetTraits: (2, set_traits),
    AddInventory: (2, add_inventory),
    UpdateInventory: (2, update_inventory),
    DeleteProvider: (2, delete_provider),
    DeleteAllocations: (2, delete_allocations),
    DeleteInventory: (2, delete_inventory),
    CreateProvider: (2, create_provider),
    SetAggregates: (2, set_aggregates),
    RenameResourceClass: (2, rename_resource_class),
    DeleteResourceClass: (1, delete_resource_class),
    CreateResourceClass: (1, create_resource_class),
    DeleteTrait: (1, delete_trait),
    CreateTrait: (1, create_trait),
}
"""Every kind of command but ``Batch``: its weight, and what makes one for an account."""

NATIVE: Final = (GrantClaims, ReleaseClaims, HealClaim)
"""What Placement's API has no request for."""

OF_PLACEMENT: Final = tuple(kind for kind in SINGLE if kind not in NATIVE)

DELETES_A_NAME = (DeleteTrait, DeleteResourceClass)
GROUPABLE: Final = tuple(kind for kind in SINGLE if kind is not RenameResourceClass)


def commands(
    account: Account, kinds: Sequence[type[Command[Any]]] = tuple(SINGLE)
) -> st.SearchStrategy[Command[Any]]:
    """One command of one of ``kinds`` that fits the present state of ``account`` more often than not."""
    makers = [maker for kind in kinds for weight, maker in [SINGLE[kind]] for _ in range(weight)]
    return st.sampled_from(makers).flatmap(lambda maker: maker(account))


def groups(account: Account, most: int = 4) -> st.SearchStrategy[tuple[Command[Any], ...]]:
    """Commands to be decided on one state.

    Names are deleted first: whether a name is in use is read, not counted, so that a group does
    not see that its own commands put it out of use.
    """
    found = st.lists(commands(account, GROUPABLE), min_size=1, max_size=most)
    return found.map(
        lambda items: tuple(sorted(items, key=lambda item: not isinstance(item, DELETES_A_NAME)))
    )


def batches(account: Account, most: int = 4) -> st.SearchStrategy[Batch]:
    """A ``Batch`` of a group."""
    return groups(account, most).map(Batch)
