"""The states from which the reference's files start, by the names under which they ask for them.

Each state is a function that takes a service with nothing in it and the variables that every
file may use; it gives the variables that its own files use beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from uuid import uuid4

from moorage.model.values import SHARING_TRAIT, Inventory
from moorage.service.facade import Service
from tests.wire.cloud import Held, Node, build

Variables = Mapping[str, str]
State = Callable[[Service, Variables], Variables]

UUIDS = (
    "RP_UUID",
    "RP_NAME",
    "RP_UUID1",
    "RP_NAME1",
    "RP_UUID2",
    "RP_NAME2",
    "PROJECT_ID",
    "ADMIN_PROJECT_ID",
    "SERVICE_PROJECT_ID",
    "USER_ID",
    "PROJECT_ID_ALT",
    "USER_ID_ALT",
    "INSTANCE_UUID",
    "MIGRATION_UUID",
    "CONSUMER_UUID",
    "PARENT_PROVIDER_UUID",
    "ALT_PARENT_PROVIDER_UUID",
)
"""Variables that hold a new UUID for every file."""

NAMES = {
    "CUSTOM_RES_CLASS": "CUSTOM_IRON_NFV",
    "CUSTOM_RES_CLASS1": "CUSTOM_IRON_NFV1",
    "CUSTOM_RES_CLASS2": "CUSTOM_IRON_NFV2",
}


def common_variables() -> dict[str, str]:
    """Variables that every file may use."""
    return {**_uuids(*UUIDS), **NAMES}


def _uuids(*names: str) -> dict[str, str]:
    return {name: str(uuid4()) for name in names}


def nothing(service: Service, variables: Variables) -> Variables:
    """No providers."""
    return {}


def allocations(service: Service, variables: Variables) -> Variables:
    """One provider, of which three consumers of two users hold something."""
    mine = _uuids("ALT_USER_ID", "CONSUMER_0", "CONSUMER_ID", "ALT_CONSUMER_ID", "ALT_RP_UUID", "ALT_RP_NAME")
    project, user = variables["PROJECT_ID"], variables["USER_ID"]
    node = Node(
        variables["RP_NAME"],
        uuid=variables["RP_UUID"],
        offers={
            "DISK_GB": Inventory(2048, step_size=10, min_unit=10, max_unit=1000),
            "VCPU": 10,
        },
        held=(
            Held({"DISK_GB": 1000}, mine["CONSUMER_0"], project, user),
            Held({"VCPU": 6}, mine["CONSUMER_ID"], project, user),
            Held({"DISK_GB": 20, "VCPU": 1}, mine["ALT_CONSUMER_ID"], project, mine["ALT_USER_ID"]),
        ),
    )
    return {**mine, **build(service, node)}


def _host_with_functions(number: int, aggregate: str, offers: Mapping[str, Inventory], *traits: str) -> Node:
    numa_nodes = (
        Node(
            f"numa{number}_{place}",
            f"NUMA{number}_{place}_UUID",
            children=(Node(f"pf{number}_{place}", f"PF{number}_{place}_UUID", offers={"SRIOV_NET_VF": 8}),),
        )
        for place in (1, 2)
    )
    return Node(
        f"cn{number}",
        f"CN{number}_UUID",
        aggregates=(aggregate,),
        offers={
            "VCPU": Inventory(24, max_unit=24, allocation_ratio=16.0),
            "MEMORY_MB": Inventory(128 * 1024, max_unit=128 * 1024, allocation_ratio=1.5),
            **offers,
        },
        traits=traits,
        children=tuple(numa_nodes),
    )


DISK_WITH_RESERVE = Inventory(2000, max_unit=2000, reserved=100)


def _shared_disk(name: str, variable: str, aggregate: str) -> Node:
    offers = {"DISK_GB": DISK_WITH_RESERVE}
    return Node(name, variable, aggregates=(aggregate,), offers=offers, traits=(SHARING_TRAIT,))


def shared_storage(service: Service, variables: Variables) -> Variables:
    """Two hosts with NUMA nodes and network functions, one with a disk; both share two disks."""
    mine = _uuids("AGG_UUID")
    aggregate = mine["AGG_UUID"]
    built = build(
        service,
        _host_with_functions(1, aggregate, {}, "HW_CPU_X86_SSE", "HW_CPU_X86_SSE2"),
        _host_with_functions(2, aggregate, {"DISK_GB": DISK_WITH_RESERVE}),
        _shared_disk("ss", "SS_UUID", aggregate),
        _shared_disk("ss2", "SS2_UUID", aggregate),
    )
    return {**mine, **built}


def numa_aggregates(service: Service, variables: Variables) -> Variables:
    """Two hosts share a disk; one NUMA node of the first shares another one."""
    mine = _uuids("AGGA_UUID", "AGGB_UUID", "AGGC_UUID")
    of_numa_node = {"NUMA1_1_UUID": (mine["AGGC_UUID"],)}
    of_host = {1: (mine["AGGA_UUID"],), 2: (mine["AGGA_UUID"], mine["AGGB_UUID"])}
    hosts = (
        Node(
            f"cn{number}",
            f"CN{number}_UUID",
            aggregates=aggregates,
            children=tuple(
                Node(
                    f"numa{number}_{place}",
                    f"NUMA{number}_{place}_UUID",
                    offers={"VCPU": Inventory(24, max_unit=24, allocation_ratio=16.0)},
                    aggregates=of_numa_node.get(f"NUMA{number}_{place}_UUID", ()),
                )
                for place in (1, 2)
            ),
        )
        for number, aggregates in of_host.items()
    )
    built = build(
        service,
        *hosts,
        _shared_disk("ss1", "SS1_UUID", mine["AGGA_UUID"]),
        _shared_disk("ss2", "SS2_UUID", mine["AGGC_UUID"]),
    )
    return {**mine, **built}


def _numa_host(aggregate: str) -> Node:
    """A host that offers nothing itself: NUMA nodes with devices, and two network agents."""
    owner = ("numafx-project", "numafx-user")
    numa_nodes = (
        Node(
            "numa0",
            "NUMA0_UUID",
            offers={
                "VCPU": 4,
                "MEMORY_MB": Inventory(2048, max_unit=2048, min_unit=512, step_size=256),
            },
            traits=("HW_NUMA_ROOT",),
            held=(Held({"VCPU": 2}, str(uuid4()), *owner),),
            children=(
                Node("fpga0", "FPGA0_UUID", offers={"FPGA": 1}),
                Node("pgpu0", "PGPU0_UUID", offers={"VGPU": 8}),
            ),
        ),
        Node(
            "numa1",
            "NUMA1_UUID",
            offers={"VCPU": 4, "MEMORY_MB": Inventory(2048, min_unit=256, max_unit=1024)},
            traits=("HW_NUMA_ROOT", "CUSTOM_FOO"),
            children=tuple(
                Node(f"fpga1_{place}", f"FPGA1_{place}_UUID", offers={"FPGA": 1}) for place in (0, 1)
            ),
        ),
    )
    agents = (
        Node(
            "sriov_agent",
            "SRIOV_AGENT_UUID",
            traits=("CUSTOM_VNIC_TYPE_DIRECT",),
            children=tuple(
                Node(
                    f"esn{place}",
                    f"ESN{place}_UUID",
                    offers={"NET_BW_EGR_KILOBIT_PER_SEC": 10_000 * place},
                    traits=(f"CUSTOM_PHYSNET{place}",),
                )
                for place in (1, 2)
            ),
        ),
        Node(
            "ovs_agent",
            "OVS_AGENT_UUID",
            traits=("CUSTOM_VNIC_TYPE_NORMAL",),
            children=(
                Node(
                    "br_int",
                    "BR_INT_UUID",
                    offers={"NET_BW_EGR_KILOBIT_PER_SEC": 1_000},
                    traits=("CUSTOM_PHYSNET0",),
                ),
            ),
        ),
    )
    return Node(
        "cn1",
        "CN1_UUID",
        aggregates=(aggregate,),
        traits=("COMPUTE_VOLUME_MULTI_ATTACH",),
        children=(*numa_nodes, *agents),
    )


FUNCTIONS_OF_CARDS = {1: (4, (1, 2)), 2: (2, (1, 2, 1, 2)), 3: (8, (1,))}
"""By card: how much each of its functions offers, and the network that each is on."""


def _host_with_cards(aggregate: str) -> Node:
    """A host with resources of its own, and three network cards."""
    cards = (
        Node(
            f"nic{card}",
            f"NIC{card}_UUID",
            traits=("CUSTOM_HW_NIC_ROOT",),
            children=tuple(
                Node(
                    f"pf{card}_{place}",
                    f"PF{card}_{place}_UUID",
                    offers={"CUSTOM_VF": amount},
                    traits=(f"CUSTOM_PHYSNET{network}",),
                )
                for place, network in enumerate(networks, start=1)
            ),
        )
        for card, (amount, networks) in FUNCTIONS_OF_CARDS.items()
    )
    return Node(
        "cn2",
        "CN2_UUID",
        aggregates=(aggregate,),
        offers={
            "VCPU": 8,
            "MEMORY_MB": Inventory(2048, max_unit=2048, min_unit=1024, step_size=128),
            "DISK_GB": 1000,
        },
        traits=("CUSTOM_FOO",),
        held=(Held({"VCPU": 3}, project_id="numafx-project", user_id="numafx-user"),),
        children=tuple(cards),
    )


def numa_network(service: Service, variables: Variables) -> Variables:
    """A disk that is shared, a host of NUMA nodes, and a host with network cards."""
    mine = _uuids("AGGA_UUID")
    aggregate = mine["AGGA_UUID"]
    disk = Node("ss1", "SS1_UUID", aggregates=(aggregate,), offers={"DISK_GB": 2000}, traits=(SHARING_TRAIT,))
    return {**mine, **build(service, disk, _numa_host(aggregate), _host_with_cards(aggregate))}


def deep_numa_network(service: Service, variables: Variables) -> Variables:
    """As ``numa_network``, but the hosts are grandchildren of one empty provider."""
    mine = _uuids("AGGA_UUID")
    aggregate = mine["AGGA_UUID"]
    disk = Node("ss1", "SS1_UUID", aggregates=(aggregate,), offers={"DISK_GB": 2000}, traits=(SHARING_TRAIT,))
    parents = (
        Node("p1", children=(_numa_host(aggregate),)),
        Node("p2", children=(_host_with_cards(aggregate),)),
    )
    return {**mine, **build(service, Node("gp1", children=parents), disk)}


def storage_of_their_own(service: Service, variables: Variables) -> Variables:
    """Three hosts with disks; aggregates are named but nobody is in them."""
    offers = {"VCPU": 24, "MEMORY_MB": 128 * 1024, "DISK_GB": 2000}
    hosts = (Node(f"cn{number}", f"CN{number}_UUID", offers=offers) for number in (1, 2, 3))
    return {**_uuids("AGGA_UUID", "AGGB_UUID", "AGGC_UUID"), **build(service, *hosts)}


def granular(service: Service, variables: Variables) -> Variables:
    """Three hosts that share two disks and a network in overlapping aggregates."""
    mine = _uuids("AGGA", "AGGB", "AGGC")
    first, second, third = mine.values()
    host = {"VCPU": 8, "MEMORY_MB": 4096}
    network = {"SRIOV_NET_VF": 8, "CUSTOM_NET_MBPS": 4000}
    built = build(
        service,
        Node(
            "cn_left",
            "CN_LEFT",
            aggregates=(first,),
            offers={**host, "DISK_GB": 500, "VGPU": 8, **network},
            traits=("HW_CPU_X86_AVX", "HW_CPU_X86_AVX2", "HW_GPU_API_DXVA", "HW_NIC_DCB_PFC", "CUSTOM_FOO"),
        ),
        Node(
            "cn_middle",
            "CN_MIDDLE",
            aggregates=(first, second),
            offers={**host, **network},
            traits=("HW_CPU_X86_AVX", "HW_CPU_X86_AVX2", "HW_CPU_X86_SSE", "HW_NIC_ACCEL_TLS"),
        ),
        Node(
            "cn_right",
            "CN_RIGHT",
            aggregates=(second, third),
            offers={**host, "DISK_GB": 500, "VGPU": Inventory(8, max_unit=2)},
            traits=("HW_CPU_X86_MMX", "HW_GPU_API_DXVA", "CUSTOM_DISK_SSD"),
        ),
        Node(
            "shr_disk_1",
            "SHR_DISK_1",
            aggregates=(first,),
            offers={"DISK_GB": 1000},
            traits=(SHARING_TRAIT, "CUSTOM_DISK_SSD"),
        ),
        Node(
            "shr_disk_2",
            "SHR_DISK_2",
            aggregates=(first, second),
            offers={"DISK_GB": 1000},
            traits=(SHARING_TRAIT,),
        ),
        Node(
            "shr_net",
            "SHR_NET",
            aggregates=(third,),
            offers={"SRIOV_NET_VF": 16, "CUSTOM_NET_MBPS": 40_000},
            traits=(SHARING_TRAIT,),
        ),
    )
    return {**mine, **built}


VIRTUAL = ("CUSTOM_VNIC_TYPE_NORMAL",)
DIRECT = ("CUSTOM_VNIC_TYPE_DIRECT", "CUSTOM_VNIC_TYPE_DIRECT_PHYSICAL", "CUSTOM_VNIC_TYPE_MACVTAP")

SEGMENTS_OF_HOSTS = (("OTHER",), ("MSN_S1",), ("MSN_S2",), ("MSN_S1", "MSN_S2"))
"""By host: the network segments that each kind of its devices reaches, one device for each."""


def network_segments(service: Service, variables: Variables) -> Variables:
    """Four hosts with bridges and cards in segments of one network; the last has little bandwidth."""
    return build(service, *_hosts_in_segments())


def _hosts_in_segments() -> Iterator[Node]:
    for number, segments in enumerate(SEGMENTS_OF_HOSTS):
        host = f"compute{number}"
        bridge_rate, card_rate = (5_000, 10_000) if len(segments) == 1 else (1_000, 1_000)
        bridges, cards = [], []
        for place, segment in enumerate(segments):
            network = (f"CUSTOM_PHYSNET_{segment}",)
            bridge = "br_ex" if place == 0 else f"br_ex{place + 1}"
            bridges.append(
                Node(
                    f"{host}:Open vSwitch agent:{bridge.replace('_', '-')}",
                    f"{host}:{bridge}",
                    offers=_bandwidth(bridge_rate),
                    traits=VIRTUAL + network,
                )
            )
            cards.append(
                Node(
                    f"{host}:NIC Switch agent:enp129s0f{place}",
                    f"{host}:pf{place}",
                    offers=_bandwidth(card_rate),
                    traits=DIRECT + network,
                )
            )
        virtual_agent = Node(
            f"{host}:Open vSwitch agent",
            f"{host}:ovs_agent",
            offers={"NET_PACKET_RATE_KILOPACKET_PER_SEC": 1_000},
            traits=VIRTUAL,
            children=tuple(bridges),
        )
        direct_agent = Node(
            f"{host}:NIC Switch agent", f"{host}:sriov_agent", traits=DIRECT, children=tuple(cards)
        )
        offers = {"VCPU": 8, "MEMORY_MB": 4096, "DISK_GB": 500}
        yield Node(host, host, offers=offers, children=(virtual_agent, direct_agent))


def _bandwidth(rate: int) -> dict[str, int]:
    """``rate`` in kilobits per second, both ways."""
    return {"NET_BW_EGR_KILOBIT_PER_SEC": rate, "NET_BW_IGR_KILOBIT_PER_SEC": rate}
