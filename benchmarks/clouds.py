"""Made-up clouds: trees of providers, always the same ones for the same seed.

A cloud is a function of the number of hosts and a source of chance. It yields trees one by one, so
that a million hosts need no more memory than one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random
from uuid import UUID, uuid5

from moorage.model.values import Inventory

NAMESPACE = UUID("6b0c3f0e-53ad-5bd5-9c5b-0a4a0e6c7a11")
"""Any one will do, as long as queries and clouds use the same."""

SHARES = "MISC_SHARES_VIA_AGGREGATE"
FAST_CPU = "HW_CPU_X86_AVX2"
FAST_DISK = "STORAGE_DISK_SSD"
NUMA_ROOT = "HW_NUMA_ROOT"
PHYSICAL_NETWORK = "CUSTOM_PHYSNET_PUBLIC"

NUMA_NODES_PER_HOST = 2
DEVICES_PER_WIDE_HOST = 8

HOSTS_PER_POOL_GROUP = 100
POOLS_PER_GROUP = 2
"""Hosts that share the same storage pools, and how many they share."""

HOSTS_PER_FREE_HOST = 20
"""In a full cloud one host of so many is free: 95 % are taken."""

CONSUMERS_PER_FULL_HOST = 4

MOST_CONSUMERS_OF_HOST = 12
"""A host in use is held by up to so many consumers, as far as there is room."""

HOST = {"VCPU": Inventory(64), "MEMORY_MB": Inventory(262_144), "DISK_GB": Inventory(4_000)}
"""What a host has that is a single provider."""


@dataclass(frozen=True, slots=True)
class Model:
    """A kind of host: what it has in all, and its traits."""

    cores: Inventory
    memory: Inventory
    disk: Inventory
    traits: tuple[str, ...]


MODELS = (
    Model(Inventory(32, allocation_ratio=4.0), Inventory(131_072), Inventory(2_000), (FAST_CPU,)),
    Model(
        Inventory(64, reserved=2), Inventory(262_144, reserved=4_096), Inventory(4_000), (FAST_CPU, FAST_DISK)
    ),
    Model(Inventory(128), Inventory(1_048_576), Inventory(8_000), (FAST_CPU, "HW_CPU_X86_AVX512F")),
)
"""The three kinds of hosts of clouds that are not made of equal ones."""

FLAVOR_CORES = (1, 2, 4, 8, 12, 16)
MIB_PER_CORE = (1_024, 2_048, 4_096, 8_192)
FLAVOR_DISKS = (10, 20, 40, 80, 160)
"""Of these amounts flavors are made."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider of a tree. ``parent`` is its parent's place in the tree (parents come first).

    ``held`` has the amounts by class of each consumer that holds something of it.
    """

    uuid: str
    name: str
    inventories: Mapping[str, Inventory] = field(default_factory=dict)
    parent: int | None = None
    traits: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    held: tuple[Mapping[str, int], ...] = ()


Tree = Sequence[Provider]
Cloud = Callable[[int, Random], Iterator[Tree]]


def aggregate(name: str) -> str:
    """UUID of the aggregate that the clouds call ``name``."""
    return str(uuid5(NAMESPACE, name))


def flat(hosts: int, chance: Random) -> Iterator[Tree]:
    """Hosts that are one provider each, alike but for the disk: fast ones on one side only."""
    for number in range(hosts):
        left = number % 2 == 0
        yield [
            Provider(
                random_uuid(chance),
                f"host-{number:07}",
                HOST,
                traits=(FAST_CPU, FAST_DISK) if left else (FAST_CPU,),
                aggregates=(aggregate("zone"), aggregate("left" if left else "right")),
            )
        ]


def varied(hosts: int, chance: Random) -> Iterator[Tree]:
    """Hosts of three kinds, each a single provider. Half of them hold claims of different sizes."""
    for number in range(hosts):
        model = chance.choice(MODELS)
        offers = {"VCPU": model.cores, "MEMORY_MB": model.memory, "DISK_GB": model.disk}
        yield [
            Provider(
                random_uuid(chance),
                f"host-{number:07}",
                offers,
                traits=model.traits,
                aggregates=(aggregate("zone"), aggregate(f"rack-{number // 40}")),
                held=claims(offers, chance) if chance.random() < 0.5 else (),
            )
        ]


def varied_trees(hosts: int, chance: Random) -> Iterator[Tree]:
    """As ``nested``, but hosts are of three kinds, and half of them hold claims of different sizes."""
    for number in range(hosts):
        model = chance.choice(MODELS)
        used = chance.random() < 0.5
        name = f"host-{number:07}"
        disk = {"DISK_GB": model.disk}
        tree = [Provider(random_uuid(chance), name, disk, held=claims(disk, chance) if used else ())]
        for place in range(NUMA_NODES_PER_HOST):
            numa = len(tree)
            node = f"{name}-numa{place}"
            cores = {
                "VCPU": Inventory(model.cores.total // 2, allocation_ratio=model.cores.allocation_ratio),
                "MEMORY_MB": Inventory(model.memory.total // 2),
            }
            card = {"SRIOV_NET_VF": Inventory(model.cores.total // 8)}
            gpu = {"VGPU": Inventory(model.cores.total // 16)}
            tree.append(
                Provider(
                    random_uuid(chance),
                    node,
                    cores,
                    0,
                    (NUMA_ROOT, *model.traits),
                    held=claims(cores, chance) if used else (),
                )
            )
            for kind, offers, traits in (("card", card, (PHYSICAL_NETWORK,)), ("gpu", gpu, ())):
                held = claims(offers, chance) if used else ()
                tree.append(Provider(random_uuid(chance), f"{node}-{kind}", offers, numa, traits, held=held))
        yield tree


def varied_pools(hosts: int, chance: Random) -> Iterator[Tree]:
    """As ``shared``, but hosts are of three kinds, and half of hosts and pools hold different claims."""
    for number in range(hosts):
        group, place = divmod(number, HOSTS_PER_POOL_GROUP)
        members = (aggregate(f"storage-{group}"),)
        if place == 0:
            for pool in range(POOLS_PER_GROUP):
                name = f"pool-{group:05}-{pool}"
                disk = {"DISK_GB": Inventory(100_000 * chance.randint(1, 9))}
                held = claims(disk, chance) if chance.random() < 0.5 else ()
                yield [
                    Provider(random_uuid(chance), name, disk, traits=(SHARES,), aggregates=members, held=held)
                ]
        model = chance.choice(MODELS)
        offers = {"VCPU": model.cores, "MEMORY_MB": model.memory}
        held = claims(offers, chance) if chance.random() < 0.5 else ()
        uuid = random_uuid(chance)
        yield [
            Provider(uuid, f"host-{number:07}", offers, traits=model.traits, aggregates=members, held=held)
        ]


def flavors(count: int, chance: Random) -> list[dict[str, int]]:
    """Amounts of different flavors."""
    amounts = chance.sample(list(product(FLAVOR_CORES, MIB_PER_CORE, FLAVOR_DISKS)), count)
    return [{"VCPU": cores, "MEMORY_MB": cores * memory, "DISK_GB": disk} for cores, memory, disk in amounts]


DEVICE_AMOUNTS = {"SRIOV_NET_VF": (1, 2), "VGPU": (1, 2)}


def claims(offers: Mapping[str, Inventory], chance: Random) -> tuple[Mapping[str, int], ...]:
    """What some consumers of different flavors hold of a provider, as far as there is room."""
    left = {
        name: int((inventory.total - inventory.reserved) * inventory.allocation_ratio)
        for name, inventory in offers.items()
    }
    found: list[Mapping[str, int]] = []
    for _ in range(chance.randint(1, MOST_CONSUMERS_OF_HOST)):
        [flavor] = flavors(1, chance)
        wanted = flavor | {name: chance.choice(amounts) for name, amounts in DEVICE_AMOUNTS.items()}
        held = {name: wanted[name] for name in offers}
        if all(held[name] <= left[name] for name in offers):
            found.append(held)
            left = {name: left[name] - held[name] for name in offers}
    return tuple(found)


def full(hosts: int, chance: Random) -> Iterator[Tree]:
    """As ``flat``, but everything is held, except on one host of ``HOSTS_PER_FREE_HOST``."""
    share = {
        resource_class: inventory.total // CONSUMERS_PER_FULL_HOST
        for resource_class, inventory in HOST.items()
    }
    free = 0
    for number in range(hosts):
        place = number % HOSTS_PER_FREE_HOST
        if place == 0:
            free = chance.randrange(HOSTS_PER_FREE_HOST)
        yield [
            Provider(
                random_uuid(chance),
                f"host-{number:07}",
                HOST,
                traits=(FAST_CPU,),
                aggregates=(aggregate("zone"),),
                held=() if place == free else (share,) * CONSUMERS_PER_FULL_HOST,
            )
        ]


def nested(hosts: int, chance: Random) -> Iterator[Tree]:
    """Trees of seven: a host with its disk, two NUMA nodes, and a network card and a GPU in each."""
    for number in range(hosts):
        name = f"host-{number:07}"
        tree = [Provider(random_uuid(chance), name, {"DISK_GB": HOST["DISK_GB"]})]
        for place in range(NUMA_NODES_PER_HOST):
            numa = len(tree)
            node = f"{name}-numa{place}"
            cores = {"VCPU": Inventory(32), "MEMORY_MB": Inventory(131_072)}
            card = {"SRIOV_NET_VF": Inventory(8)}
            tree += [
                Provider(random_uuid(chance), node, cores, 0, (NUMA_ROOT, FAST_CPU)),
                Provider(random_uuid(chance), f"{node}-card", card, numa, (PHYSICAL_NETWORK,)),
                Provider(random_uuid(chance), f"{node}-gpu", {"VGPU": Inventory(4)}, numa),
            ]
        yield tree


def shared(hosts: int, chance: Random) -> Iterator[Tree]:
    """Hosts without disks. Each hundred of them share two storage pools, which come first."""
    compute = {resource_class: HOST[resource_class] for resource_class in ("VCPU", "MEMORY_MB")}
    for number in range(hosts):
        group, place = divmod(number, HOSTS_PER_POOL_GROUP)
        members = (aggregate(f"storage-{group}"),)
        if place == 0:
            for pool in range(POOLS_PER_GROUP):
                name = f"pool-{group:05}-{pool}"
                disk = {"DISK_GB": Inventory(1_000_000)}
                yield [Provider(random_uuid(chance), name, disk, traits=(SHARES,), aggregates=members)]
        yield [Provider(random_uuid(chance), f"host-{number:07}", compute, aggregates=members)]


def wide(hosts: int, chance: Random) -> Iterator[Tree]:
    """Hosts with eight equal devices, each a provider of its own."""
    for number in range(hosts):
        name = f"host-{number:07}"
        devices = [
            Provider(random_uuid(chance), f"{name}-gpu{place}", {"PGPU": Inventory(1)}, 0)
            for place in range(DEVICES_PER_WIDE_HOST)
        ]
        yield [Provider(random_uuid(chance), name, HOST), *devices]


def random_uuid(chance: Random) -> str:
    """A UUID that depends on the seed alone."""
    return str(UUID(int=chance.getrandbits(128), version=4))
