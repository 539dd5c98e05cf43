"""Recorded machines: small trees of files, as kernels show them; and a library that stands in for NVML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

Tree = Mapping[str, str]
"""Content by path; ``-> TARGET`` is a symbolic link, and a path with a slash at its end an empty folder."""


def write(tree: Tree, root: Path) -> Path:
    """The files below ``root``."""
    for name, content in tree.items():
        path = root / name.lstrip("/")
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_text(f"{content}\n")
    return root


def processors(count: int, *lines: str) -> str:
    """A /proc/cpuinfo with these lines for each processor."""
    return "\n\n".join("\n".join((f"processor\t: {number}", *lines)) for number in range(count))


def pci(
    address: str, kind: str, vendor: str, device: str, node: int = -1, more: Tree | None = None
) -> dict[str, str]:
    """A PCI device. The kernel links it from where it is in the tree of buses."""
    real = f"/sys/devices/pci0000:00/{address}"
    files = {"class": kind, "vendor": vendor, "device": device, "numa_node": str(node), **(more or {})}
    return {
        **{f"{real}/{name}": text for name, text in files.items()},
        f"/sys/bus/pci/devices/{address}": f"-> ../../../devices/pci0000:00/{address}",
    }


def disk(
    name: str, gigabytes: int, more: Tree | None = None, *, spins: bool = False, under: str = "pci0000:00"
) -> dict[str, str]:
    """A disk, linked as the kernel does."""
    real = f"/sys/devices/{under}/block/{name}"
    files = {
        "size": str(gigabytes * 2**21),
        "removable": "0",
        "queue/rotational": str(int(spins)),
        **(more or {}),
    }
    return {
        **{f"{real}/{file}": text for file, text in files.items()},
        f"/sys/class/block/{name}": f"-> ../../devices/{under}/block/{name}",
    }


LAPTOP: Tree = {
    "/etc/hostname": "thinkpad",
    "/proc/cpuinfo": processors(
        8,
        "vendor_id\t: GenuineIntel",
        "model name\t: Intel(R) Core(TM) i5-8350U CPU @ 1.70GHz",
        "flags\t\t: fpu mmx sse sse2 ht lm pni pclmulqdq vmx ssse3 fma sse4_1 sse4_2 aes avx "
        "f16c avx2 bmi1 bmi2 rtm",
        "bogomips\t: 3799.90",
    ),
    "/proc/meminfo": "MemTotal:       16180388 kB\nMemFree:         1180388 kB",
    "/sys/devices/system/cpu/online": "0-7",
    "/sys/devices/system/cpu/isolated": "",
    "/sys/devices/system/cpu/smt/active": "1",
    "/sys/devices/system/node/node0/cpulist": "0-7",
    "/sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:       16180388 kB",
    **pci("0000:00:00.0", "0x060000", "0x8086", "0x5914"),
    **pci("0000:00:02.0", "0x030000", "0x8086", "0x5917"),
    **pci("0000:00:14.0", "0x0c0330", "0x8086", "0x9d2f"),
    **pci("0000:04:00.0", "0x028000", "0x8086", "0x24fd"),
    **pci("0000:05:00.0", "0x010802", "0x144d", "0xa808"),
    "/sys/class/drm/card0": "-> ../../devices/pci0000:00/0000:00:02.0/drm/card0",
    "/sys/devices/pci0000:00/0000:00:02.0/drm/card0/device": "-> ../../../0000:00:02.0",
    **disk("nvme0n1", 476),
    **disk("nvme0n1p1", 475, {"partition": "1"}),
    **disk("sda", 29, {"removable": "1"}),
    **disk("loop0", 1),
    **disk("dm-0", 470),
    **disk("zram0", 4),
    **disk("sr0", 0),
}
"""A laptop with a GPU in its processor, a stick plugged in, and an encrypted disk."""

A100: Sequence[str] = ("0000:17:00.0", "0000:65:00.0", "0000:b1:00.0", "0000:ca:00.0")
"""Addresses of the four GPUs."""

UUIDS: Sequence[str] = tuple(f"{number}a41c0de-1111-4222-8333-44445555666{number}" for number in range(4))


def _socket(number: int, cpus: str) -> dict[str, str]:
    return {
        f"/sys/devices/system/node/node{number}/cpulist": cpus,
        f"/sys/devices/system/node/node{number}/meminfo": f"Node {number} MemTotal:       264000512 kB",
    }


SERVER: Tree = {
    "/proc/sys/kernel/hostname": "gpu-7",
    "/proc/cpuinfo": processors(
        64,
        "model name\t: Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz",
        "flags\t\t: sse sse2 lm avx avx2 avx512f avx512_vnni vaes sgx",
    ),
    "/proc/meminfo": "MemTotal:       528001024 kB\nHugePages_Total:    1024\nHugepagesize:       2048 kB",
    "/sys/devices/system/cpu/online": "0-63",
    "/sys/devices/system/cpu/isolated": "8-31,40-63",
    "/sys/devices/system/cpu/smt/active": "0",
    **_socket(0, "0-31"),
    **_socket(1, "32-63"),
    "/sys/devices/system/node/node2/cpulist": "",
    "/sys/devices/system/node/node2/meminfo": "Node 2 MemTotal:       0 kB",
    "/sys/devices/system/node/online": "0-2",
    "/sys/class/drm/": "",
    **{
        name: text
        for number, address in enumerate(A100)
        for name, text in pci(address, "0x030200", "0x10de", "0x20b0", number // 2).items()
    },
    **pci("0000:03:00.0", "0x030000", "0x1a03", "0x2000", 0),
    **pci("0000:31:00.0", "0x020000", "0x15b3", "0x1017", 0, {"sriov_numvfs": "4", "sriov_totalvfs": "8"}),
    **pci("0000:31:00.1", "0x020000", "0x15b3", "0x1017", 0, {"sriov_numvfs": "0", "sriov_totalvfs": "8"}),
    **pci("0000:31:01.0", "0x020000", "0x15b3", "0x1018", 0, {"physfn/class": "0x020000"}),
    **pci("0000:99:00.0", "0x120000", "0x1da3", "0x1020", 1, {"sriov_numvfs": "2", "sriov_totalvfs": "2"}),
    "/sys/devices/pci0000:00/0000:99:00.0/virtfn0/device": "0x1021",
    **disk("sda", 446, {"holders/md0/dev": "9:0"}),
    **disk("sdb", 446, {"holders/md0/dev": "9:0"}),
    **disk("md0", 446),
    **disk("sdc", 16763, spins=True),
    **disk("sdd", 1024, under="platform/host9/session3/target9:0:0"),
    **disk("rbd0", 512),
}
"""Two sockets, four A100 whose driver is not loaded, disks of both kinds and in an array, and remote ones."""


def driver(number: int, uuid: str) -> dict[str, str]:
    """What NVIDIA's driver tells of a GPU of ``SERVER``."""
    text = f"Model: \t\t NVIDIA A100-SXM4-40GB\nGPU UUID: \t GPU-{uuid}\nDevice Minor: \t {number}"
    return {f"/proc/driver/nvidia/gpus/{A100[number]}/information": text}


BOARD: Tree = {
    "/etc/hostname": "pi",
    "/proc/cpuinfo": processors(
        4,
        "BogoMIPS\t: 108.00",
        "Features\t: fp asimd evtstrm crc32 cpuid",
        "CPU implementer\t: 0x41",
        "CPU architecture: 8",
    )
    + "\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4",
    "/proc/meminfo": "MemTotal:        3884328 kB",
    "/sys/devices/system/cpu/online": "0-3",
    "/sys/devices/system/cpu/isolated": "",
    "/sys/bus/pci/devices/": "",
    "/sys/class/drm/card0": "-> ../../devices/platform/gpu/drm/card0",
    "/sys/devices/platform/gpu/drm/card0/device": "-> ../..",
    "/sys/devices/platform/gpu/uevent": "DRIVER=vc4-drm\nOF_NAME=gpu",
    **disk("mmcblk0", 29),
    **disk("mmcblk0boot0", 1),
}
"""A board whose GPU and disk are not on PCI, and which has no NUMA nodes."""

CONTAINER: Tree = {
    "/etc/hostname": "job-1",
    "/proc/cpuinfo": LAPTOP["/proc/cpuinfo"],
    "/proc/meminfo": LAPTOP["/proc/meminfo"],
    "/sys/fs/cgroup/cpu.max": "150000 100000",
    "/sys/fs/cgroup/memory.max": str(2 * 2**30),
    # A file where a folder should be cannot be listed, whatever rights the process has.
    "/sys/bus/pci": "",
    "/sys/class": "",
    "/sys/devices": "",
}
"""A container that sees the processors and the memory of its host, and next to nothing of /sys."""


class NvmlError(Exception):
    """What the library raises."""


@dataclass(frozen=True)
class Device:
    """A GPU as NVML tells of it. ``error`` is raised by what is not supported."""

    address: str | bytes
    uuid: str | bytes
    name: str | bytes = "NVIDIA A100-SXM4-40GB"
    capability: tuple[int, int] | None = (8, 0)
    divided: bool | None = False


def nvml(devices: Sequence[Device], fails: str | None = None) -> Any:
    """A module like pynvml. The function that ``fails`` names raises an error."""

    def supported(value: Any) -> Any:
        if value is None:
            raise NvmlError("Not Supported")
        return value

    functions: dict[str, Callable[..., Any]] = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(devices),
        "nvmlDeviceGetHandleByIndex": lambda index: devices[index],
        "nvmlDeviceGetName": lambda device: device.name,
        "nvmlDeviceGetUUID": lambda device: device.uuid,
        "nvmlDeviceGetPciInfo": lambda device: SimpleNamespace(busId=device.address),
        "nvmlDeviceGetCudaComputeCapability": lambda device: supported(device.capability),
        "nvmlDeviceGetMigMode": lambda device: (supported(device.divided), False),
    }
    if fails is not None:
        functions[fails] = lambda *_: supported(None)
    return SimpleNamespace(NVMLError=NvmlError, **functions)
