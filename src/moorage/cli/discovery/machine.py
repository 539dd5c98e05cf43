"""Everything that is found of a machine, and the document that describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from moorage.cli.discovery.disks import Disk, FileSystem, disks
from moorage.cli.discovery.files import Files, as_list
from moorage.cli.discovery.gpus import Gpu, gpus
from moorage.cli.discovery.memory import MemoryFound, NumaNode, limits, memory, numa_nodes
from moorage.cli.discovery.pci import NETWORK, PciDevice, pci_devices
from moorage.cli.discovery.processors import Processors, processors
from moorage.cli.shared.exits import USAGE
from moorage.model.errors import MoorageError
from moorage.model.valueclass import valueclass
from moorage.model.values import MAX_INT

VCPU: Final = "VCPU"
PCPU: Final = "PCPU"
MEMORY: Final = "MEMORY_MB"
DISK: Final = "DISK_GB"
PGPU: Final = "PGPU"
FUNCTIONS: Final = "SRIOV_NET_VF"

MOST_OF: Final = 0.95
"""Share of the memory that NUMA nodes have, if their descriptions are right."""

HOST_NAMES: Final = ("/proc/sys/kernel/hostname", "/etc/hostname")

Json = dict[str, Any]


@dataclass(eq=False)
class UnusableWishError(MoorageError):
    """An option that does not fit what the machine has."""

    reason: str
    template = "{reason}"
    exit_status = USAGE


@valueclass(frozen=True, slots=True)
class Wishes:
    """What the command line says about the document.

    ``reserved`` and ``ratios`` are by resource class. ``dedicated`` are processors to offer as PCPU; None:
    those that the kernel isolates. ``kinds`` are kinds of PCI devices to add. ``disk_at`` is the
    file system to offer in place of whole disks.
    """

    name: str
    numa: bool = False
    kinds: tuple[str, ...] = ()
    gpu_class: str = PGPU
    gpus: bool = True
    dedicated: frozenset[int] | None = None
    reserved: Mapping[str, int] = field(default_factory=dict)
    ratios: Mapping[str, float] = field(default_factory=dict)
    traits: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    disk_at: FileSystem | None = None


@valueclass(frozen=True, slots=True)
class Machine:
    """What was found. ``limits`` are those of the control group of this process, in words."""

    processors: Processors
    memory: MemoryFound
    nodes: tuple[NumaNode, ...]
    disks: tuple[Disk, ...]
    gpus: tuple[Gpu, ...]
    devices: tuple[PciDevice, ...]
    limits: tuple[str, ...]


def look(root: Path, nvml: Any = None) -> tuple[Machine, list[str]]:
    """The machine whose files are below ``root``, and a line for each source that was missing or unreadable.

    ``nvml`` is the module pynvml, if it describes the same machine.
    """
    files = Files(root)
    devices = pci_devices(files, "neither GPUs nor PCI devices are described but by other sources")
    machine = Machine(
        processors(files),
        memory(files),
        tuple(numa_nodes(files)),
        tuple(disks(files)),
        tuple(gpus(files, devices, nvml)),
        tuple(devices),
        tuple(limits(files)),
    )
    return machine, files.unseen


def host_name(root: Path) -> str | None:
    """The name of the machine, None if no file has it."""
    files = Files(root)
    return next(filter(None, map(files.content, HOST_NAMES)), None)


def document(machine: Machine, wishes: Wishes) -> tuple[Json, list[str]]:
    """The document, and how its figures were chosen, in sentences. Raises UnusableWishError."""
    made = _Making(machine, wishes)
    host = made.host()
    made.check_wishes()
    return {"providers": [host]}, made.chosen


class _Making:
    def __init__(self, machine: Machine, wishes: Wishes) -> None:
        self.machine = machine
        self.wishes = wishes
        self.chosen: list[str] = []
        self.offered: set[str] = set()
        found = machine.processors
        chosen = found.isolated if wishes.dedicated is None else wishes.dedicated
        if not chosen <= found.online:
            raise UnusableWishError(
                f"Processors {as_list(chosen - found.online)} are not online; {as_list(found.online)} are."
            )
        self.dedicated = chosen

    def host(self) -> Json:
        self._say_processors()
        nodes = self.machine.nodes if self.wishes.numa else ()
        host: Json = {"name": self.wishes.name}
        amounts = {} if nodes else self._compute(self.machine.processors.online, self.machine.memory.total)
        amounts |= self._disk()
        host["inventories"] = {name: self._inventory(name, total) for name, total in amounts.items()}
        traits = {*self.machine.processors.traits, *self.wishes.traits, *self._disk_traits()}
        host["traits"] = sorted(traits)
        if self.wishes.aggregates:
            host["aggregates"] = list(self.wishes.aggregates)
        below = [self._node(node, number, len(nodes)) for number, node in enumerate(nodes)]
        homes = {node.number: made for node, made in zip(nodes, below, strict=True)}
        for node, child in self._devices():
            children = below if node not in homes else homes[node].setdefault("children", [])
            children.append(child)
        if below:
            host["children"] = below
        if self.wishes.numa:
            self._say_nodes(nodes)
        return host

    def check_wishes(self) -> None:
        """Raises UnusableWishError for a class that the document has not."""
        for option, named in (("--reserve", self.wishes.reserved), ("--ratio", self.wishes.ratios)):
            for name in named:
                if name not in self.offered:
                    offered = ", ".join(sorted(self.offered)) or "nothing"
                    raise UnusableWishError(f"{option} names {name}, but the document offers {offered}.")

    def _node(self, node: NumaNode, place: int, count: int) -> Json:
        near = node.processors & self.machine.processors.online
        amounts = self._compute(near, node.memory)
        return {
            "name": f"{self.wishes.name}-numa{node.number}",
            "inventories": {
                name: self._inventory(name, total, place, count) for name, total in amounts.items()
            },
            "traits": ["HW_NUMA_ROOT"],
        }

    def _compute(self, online: frozenset[int], memory: int | None) -> dict[str, int]:
        amounts = {
            VCPU: len(online - self.dedicated),
            PCPU: len(online & self.dedicated),
            MEMORY: memory or 0,
        }
        return {name: amount for name, amount in amounts.items() if amount}

    def _inventory(self, name: str, total: int, place: int = 0, count: int = 1) -> Json | int:
        """An inventory. What the command line reserves is spread evenly over ``count`` NUMA nodes."""
        self.offered.add(name)
        total = min(total, MAX_INT)
        parts: Json = {"total": total}
        wanted = self.wishes.reserved.get(name, 0)
        reserved = wanted // count + (place < wanted % count)
        if reserved > total:
            raise UnusableWishError(f"{reserved} {name} cannot be reserved of {total}.")
        if reserved:
            parts["reserved"] = reserved
        ratio = self.wishes.ratios.get(name, 1.0)
        if ratio != 1.0:
            # A ratio lets many consumers share what there is; it makes nothing that one of them could fill.
            parts |= {"max_unit": total, "allocation_ratio": ratio}
        return parts if len(parts) > 1 else total

    def _disk(self) -> dict[str, int]:
        system = self.wishes.disk_at
        if system is not None:
            self.chosen.append(
                f"DISK_GB is the size of the file system at {system.path}, used parts included."
            )
            return {DISK: system.size} if system.size else {}
        found = self.machine.disks
        if not found:
            return {}
        listed = ", ".join(f"{disk.name} {disk.size}" for disk in found)
        self.chosen.append(
            f"DISK_GB is the sum of the local disks ({listed}). File systems and the operating system take "
            "some of it: reserve that with --reserve DISK_GB=N."
        )
        if any(disk.is_part_of_an_array for disk in found):
            self.chosen.append("Some disks are in an array (md), which holds less than their sum.")
        return {DISK: sum(disk.size for disk in found)}

    def _disk_traits(self) -> set[str]:
        kinds = {disk.spins for disk in self.machine.disks}
        return {
            trait
            for spins, trait in ((False, "STORAGE_DISK_SSD"), (True, "STORAGE_DISK_HDD"))
            if spins in kinds
        }

    def _devices(self) -> list[tuple[int | None, Json]]:
        """Providers for GPUs and PCI devices, with the NUMA node that each belongs to."""
        found: list[tuple[int | None, Json]] = []
        counted = set()
        for gpu in self.machine.gpus if self.wishes.gpus else ():
            counted.add(gpu.address)
            self.offered.add(self.wishes.gpu_class)
            found.append((gpu.node, self._gpu(gpu)))
        for device in self.machine.devices:
            wanted = any(device.is_a(kind) for kind in self.wishes.kinds)
            if wanted and device.address not in counted and not device.is_function:
                found.append((device.node, self._device(device)))
        return found

    def _gpu(self, gpu: Gpu) -> Json:
        child: Json = {"name": f"{self.wishes.name}-{gpu.label}"}
        if gpu.uuid is not None:
            child["uuid"] = gpu.uuid
        child["inventories"] = {self.wishes.gpu_class: 1}
        child["traits"] = sorted(set(gpu.traits))
        return child

    def _device(self, device: PciDevice) -> Json:
        """A device. If virtual functions are switched on, these are what it offers."""
        name, amount = device.resource_class, 1
        traits = []
        if device.functions:
            name = f"CUSTOM_PCI_{device.vendor}_{device.function_id or device.device}".upper()
            amount = device.functions
        if device.is_a(NETWORK) and device.most_functions:
            traits.append("HW_NIC_SRIOV")
            name = FUNCTIONS if device.functions else name
        self.offered.add(name)
        return {
            "name": f"{self.wishes.name}-pci-{device.address}",
            "inventories": {name: amount},
            "traits": traits,
        }

    def _say_nodes(self, nodes: Sequence[NumaNode]) -> None:
        near, total = sum(node.memory for node in nodes), self.machine.memory.total
        if not nodes:
            self.chosen.append("Without a description of NUMA nodes, all is on the host itself.")
        elif total is not None and near < MOST_OF * total:
            self.chosen.append(f"The NUMA nodes have {near} MB, while the kernel manages {total} MB in all.")

    def _say_processors(self) -> None:
        found = self.machine.processors
        model = f" ({found.model})" if found.model else ""
        self.chosen.append(
            f"VCPU and PCPU count hardware threads that are online: {len(found.online)}{model}."
        )
        if self.wishes.dedicated is not None:
            self.chosen.append(f"PCPU: the processors {as_list(self.dedicated)}, as --dedicated says.")
        elif self.dedicated:
            self.chosen.append(
                f"PCPU: the processors {as_list(self.dedicated)}, which the kernel isolates. "
                "Only a process that is pinned to them runs there."
            )
        else:
            self.chosen.append(
                "All are VCPU, which workloads share. --dedicated LIST makes some of them PCPU."
            )
        if self.machine.memory.huge:
            self.chosen.append(
                f"{self.machine.memory.huge} MB of the memory are huge pages, "
                "which ordinary processes do not get."
            )
        if self.machine.limits:
            self.chosen.append(
                f"This command was limited to {' and '.join(self.machine.limits)}. "
                "The document describes the whole machine."
            )
