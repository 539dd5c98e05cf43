"""The table of what is measured: clouds, their sizes, and what is asked of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from urllib.parse import urlencode

from benchmarks import clouds
from benchmarks.clouds import DEVICES_PER_WIDE_HOST, FAST_CPU, FAST_DISK, PHYSICAL_NETWORK, aggregate

WRITES_PER_SECOND = 500
"""What a cloud of some ten thousand hosts does in its busiest minutes."""


@dataclass(frozen=True, slots=True)
class Query:
    """Requests for candidates, one after the other. Clouds of more than ``largest`` hosts are not asked them.

    ``texts`` are the query strings. An answer without a limit grows with the cloud, beyond what any
    client would read: that is what ``largest`` is for.
    """

    name: str
    texts: tuple[str, ...]
    largest: int | None = None

    @property
    def text(self) -> str:
        """The first query string."""
        return self.texts[0]

    @property
    def limited(self) -> bool:
        """Whether the answer may leave candidates out."""
        return "limit=" in self.text


@dataclass(frozen=True, slots=True)
class Scenario:
    """A cloud in several sizes (in hosts, for a short and a full run) and its queries."""

    name: str
    about: str
    cloud: clouds.Cloud
    short: tuple[int, ...]
    full: tuple[int, ...]
    queries: tuple[Query, ...]
    writes_per_second: int = 0


Parameters = Sequence[tuple[str, object]]


def query(parameters: Parameters, limit: int | None, largest: int | None = None) -> Query:
    """A query by its parameters, named by its limit."""
    return queries([parameters], limit, largest)


def queries(all_parameters: Iterable[Parameters], limit: int | None, largest: int | None = None) -> Query:
    """Different queries by their parameters, all with the same limit and named by it."""
    bounds = [] if limit is None else [("limit", limit)]
    texts = [urlencode([*parameters, *bounds], safe=":,!") for parameters in all_parameters]
    return Query(f"limit={limit}" if limit else "all", tuple(texts), largest)


FLAVORS = 100
"""Different queries of a cloud that is not made of equal hosts."""


def flavors_of_hosts() -> list[Parameters]:
    """Flavors: some of them ask for a trait, and some for an aggregate."""
    chance = Random(FLAVORS)
    found: list[Parameters] = []
    for flavor in clouds.flavors(FLAVORS, chance):
        asked: list[tuple[str, object]] = [("resources", _spelled(flavor))]
        if chance.random() < 0.3:
            asked.append(("required", chance.choice((FAST_CPU, FAST_DISK))))
        if chance.random() < 0.3:
            asked.append(("member_of", aggregate("zone")))
        found.append(asked)
    return found


def flavors_of_trees() -> list[Parameters]:
    """As ``GRANULAR``, with the amounts of a flavor and one or two devices."""
    chance = Random(FLAVORS)
    found: list[Parameters] = []
    for flavor in clouds.flavors(FLAVORS, chance):
        disk = {"DISK_GB": flavor.pop("DISK_GB")}
        found.append(
            (
                ("resources", _spelled(disk)),
                ("resources_CORES", _spelled(flavor)),
                ("required_CORES", FAST_CPU),
                ("resources_CARD", f"SRIOV_NET_VF:{chance.randint(1, 2)}"),
                ("required_CARD", PHYSICAL_NETWORK),
                ("resources_GPU", f"VGPU:{chance.randint(1, 2)}"),
                ("group_policy", "isolate"),
                ("same_subtree", "_CORES,_CARD,_GPU"),
            )
        )
    return found


def _spelled(amounts: Mapping[str, int]) -> str:
    return ",".join([f"{name}:{amount}" for name, amount in amounts.items()])


HOST_OF_ALL = (
    ("resources", "VCPU:4,MEMORY_MB:8192,DISK_GB:40"),
    ("required", FAST_CPU),
    ("member_of", aggregate("zone")),
)
"""Three classes, a trait and an aggregate; every host of ``flat`` will do."""

GRANULAR = (
    ("resources", "DISK_GB:40"),
    ("resources_CORES", "VCPU:4,MEMORY_MB:8192"),
    ("required_CORES", FAST_CPU),
    ("resources_CARD", "SRIOV_NET_VF:1"),
    ("required_CARD", PHYSICAL_NETWORK),
    ("resources_GPU", "VGPU:1"),
    ("group_policy", "isolate"),
    ("same_subtree", "_CORES,_CARD,_GPU"),
)
"""Cores, a network card and a GPU of one NUMA node: two ways per host."""

DISK_OF_POOL = (("resources", "VCPU:4,MEMORY_MB:8192,DISK_GB:40"),)

DEVICE_PER_GROUP = (
    ("resources", "VCPU:4,MEMORY_MB:8192,DISK_GB:40"),
    *((f"resources_GPU{number}", "PGPU:1") for number in range(DEVICES_PER_WIDE_HOST)),
    ("group_policy", "isolate"),
)
"""All devices of a host, each for a group of its own: 40,320 ways per host."""

TOO_MUCH = (("resources", "VCPU:65,MEMORY_MB:8192,DISK_GB:40"),)
NO_SUCH_TRAIT = (*HOST_OF_ALL[:1], ("required", "HW_CPU_X86_AVX512F"))
NEVER_TOGETHER = (
    *HOST_OF_ALL[:1],
    ("required", f"{FAST_CPU},{FAST_DISK}"),
    ("member_of", aggregate("right")),
)
"""Half of the hosts have the trait, the other half is in the aggregate."""

HOST_FLAVORS = flavors_of_hosts()
HOST_FLAVORS_WITHOUT_ZONE = [parameters[:1] for parameters in HOST_FLAVORS]
TREE_FLAVORS = flavors_of_trees()
MIXED = f"half of them hold claims of different sizes, and each request is another one of {FLAVORS} flavors"

SCENARIOS = (
    Scenario(
        "varied",
        f"Hosts of three kinds, each a single provider: {MIXED}",
        clouds.varied,
        (1_000,),
        (1_000, 10_000, 100_000),
        (
            queries(HOST_FLAVORS, None, largest=10_000),
            queries(HOST_FLAVORS, 1_000),
            queries(HOST_FLAVORS, 10),
        ),
    ),
    Scenario(
        "varied-trees",
        f"Trees of seven providers, of three kinds: {MIXED}, with three isolated groups in one subtree",
        clouds.varied_trees,
        (200,),
        (1_000, 10_000),
        (
            queries(TREE_FLAVORS, None, largest=1_000),
            queries(TREE_FLAVORS, 1_000),
            queries(TREE_FLAVORS, 10),
        ),
    ),
    Scenario(
        "varied-pools",
        f"Hosts of three kinds whose disk comes from one of two pools that a hundred hosts share: {MIXED}",
        clouds.varied_pools,
        (200,),
        (1_000,),
        (
            queries(HOST_FLAVORS_WITHOUT_ZONE, None),
            queries(HOST_FLAVORS_WITHOUT_ZONE, 1_000),
            queries(HOST_FLAVORS_WITHOUT_ZONE, 10),
        ),
    ),
    Scenario(
        "flat",
        "Hosts of one provider each: three classes, a trait and an aggregate, which all of them have",
        clouds.flat,
        (100, 1_000),
        (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
        (query(HOST_OF_ALL, 10), query(HOST_OF_ALL, 1_000), query(HOST_OF_ALL, None, largest=10_000)),
    ),
    Scenario(
        "nested",
        "Trees of seven providers: three isolated groups in one subtree, and a disk",
        clouds.nested,
        (200,),
        (1_000, 10_000),
        (query(GRANULAR, 10), query(GRANULAR, 1_000), query(GRANULAR, None, largest=1_000)),
    ),
    Scenario(
        "shared",
        "Hosts whose disk comes from one of two storage pools that a hundred hosts share",
        clouds.shared,
        (200,),
        (1_000,),
        (query(DISK_OF_POOL, 10), query(DISK_OF_POOL, 1_000), query(DISK_OF_POOL, None)),
    ),
    Scenario(
        "wide",
        "Hosts with eight equal devices, all of which are asked for in isolated groups",
        clouds.wide,
        (20,),
        (500,),
        (query(DEVICE_PER_GROUP, 10), query(DEVICE_PER_GROUP, 1_000)),
    ),
    Scenario(
        "full",
        "A cloud in which 95 % of the hosts have no room",
        clouds.full,
        (1_000,),
        (10_000, 100_000),
        (query(HOST_OF_ALL, 10), query(HOST_OF_ALL, 1_000)),
    ),
    Scenario(
        "nothing",
        "Queries that match nothing",
        clouds.flat,
        (1_000,),
        (10_000, 100_000, 1_000_000),
        (
            Query("more than any host has", query(TOO_MUCH, 10).texts),
            Query("a trait that no host has", query(NO_SUCH_TRAIT, 10).texts),
            Query("a trait and an aggregate, never together", query(NEVER_TOGETHER, 10).texts),
        ),
    ),
    Scenario(
        "writing",
        f"Search on flat hosts while {WRITES_PER_SECOND} claims and releases per second are asked for",
        clouds.flat,
        (1_000,),
        (10_000, 100_000),
        (query(HOST_OF_ALL, 10),),
        writes_per_second=WRITES_PER_SECOND,
    ),
)
