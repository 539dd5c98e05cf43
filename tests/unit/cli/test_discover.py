"""``moorage discover`` on recorded machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from moorage.cli import discover as command
from moorage.cli.discovery.files import as_list, numbers_in
from moorage.cli.discovery.machine import Wishes, document, look
from moorage.cli.discovery.pci import KINDS
from moorage.cli.main import main
from moorage.cli.parsing import parse
from tests.table import each
from tests.unit.cli.machines import (
    A100,
    BOARD,
    CONTAINER,
    LAPTOP,
    SERVER,
    UUIDS,
    Device,
    Tree,
    driver,
    nvml,
    pci,
    processors,
    write,
)

PLAIN = {
    "/etc/hostname": "plain",
    "/proc/meminfo": "MemTotal: 2048000 kB",
    "/sys/devices/system/cpu/online": "0",
}


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["discover", "--root", str(root), *arguments])


def host_of(result: Result) -> Any:
    """The only host of a document, which must be one that can be loaded."""
    assert result.exit_code == 0, result.output
    parse(result.stdout, "discovered")
    [host] = yaml.safe_load(result.stdout)["providers"]
    return host


def discovered(tree: Tree, root: Path, *arguments: str) -> Any:
    return host_of(run(write(tree, root), *arguments))


def children(host: Mapping[str, Any]) -> dict[str, Any]:
    return {child["name"]: child for child in host.get("children", ())}


def words(text: str) -> str:
    return " ".join(text.replace("#", " ").split())


def with_nvml(root: Path, library: Any, **wishes: Any) -> tuple[Any, list[str]]:
    machine, unseen = look(root, library)
    return document(machine, Wishes("gpu-7", **wishes))[0]["providers"][0], unseen


def test_laptop_without_a_gpu(tmp_path: Path) -> None:
    result = run(write(LAPTOP, tmp_path))
    assert host_of(result) == {
        "name": "thinkpad",
        "inventories": {"VCPU": 8, "MEMORY_MB": {"total": 15801, "reserved": 512}, "DISK_GB": 476},
        "traits": [
            "HW_ARCH_X86_64",
            *("HW_CPU_HYPERTHREADING", "HW_CPU_X86_AESNI", "HW_CPU_X86_AVX", "HW_CPU_X86_AVX2"),
            *("HW_CPU_X86_BMI", "HW_CPU_X86_BMI2", "HW_CPU_X86_CLMUL", "HW_CPU_X86_F16C", "HW_CPU_X86_FMA3"),
            *("HW_CPU_X86_INTEL_VMX", "HW_CPU_X86_MMX", "HW_CPU_X86_SSE", "HW_CPU_X86_SSE2"),
            *("HW_CPU_X86_SSE3", "HW_CPU_X86_SSE41", "HW_CPU_X86_SSE42", "HW_CPU_X86_SSSE3"),
            *("HW_CPU_X86_TSX", "HW_CPU_X86_VMX", "STORAGE_DISK_SSD"),
        ],
    }
    assert result.stderr.splitlines() == [
        "Not seen: the disk sda (29 GB) is removable: it is not counted.",
        "Not seen: the GPU 0000:00:02.0 is part of the processor: it is not counted.",
    ]
    comments = words(result.stdout.partition("\nproviders:")[0])
    assert all(line in comments for line in result.stderr.splitlines())
    assert "hardware threads that are online: 8 (Intel(R) Core(TM) i5-8350U CPU @ 1.70GHz)" in comments
    assert "All are VCPU, which workloads share." in comments
    assert "DISK_GB is the sum of the local disks (nvme0n1 476)." in comments


def test_server_with_two_sockets_whose_gpus_no_library_and_no_driver_names(tmp_path: Path) -> None:
    result = run(write(SERVER, tmp_path))
    host = host_of(result)
    assert host["inventories"] == {
        "VCPU": 16,
        "PCPU": 48,
        "MEMORY_MB": {"total": 515626, "reserved": 512},
        "DISK_GB": 2 * 446 + 16763,
    }
    assert {"HW_CPU_X86_AVX512VAES", "STORAGE_DISK_SSD", "STORAGE_DISK_HDD"} < set(host["traits"])
    assert host["children"] == [
        {"name": f"gpu-7-nvidia{number}", "inventories": {"PGPU": 1}, "traits": ["CUSTOM_PCI_10DE_20B0"]}
        for number in range(4)
    ]
    assert [line for line in result.stderr.splitlines() if "names the GPU" in line] == [
        f"Not seen: neither NVML (nvidia-ml-py) nor NVIDIA's driver names the GPU {address}: "
        "its model is not a trait, and its UUID is not that of the chip."
        for address in A100
    ]
    assert "the disk sdd (1024 GB) is reached over a network: it is not counted" in result.stderr
    assert "the disk rbd0 (512 GB) is reached over a network: it is not counted" in result.stderr
    assert "the display adapter 0000:03:00.0 (1a03:2000) is not counted" in result.stderr
    comments = words(result.stdout.partition("\nproviders:")[0])
    assert "PCPU: the processors 8-31,40-63, which the kernel isolates." in comments
    assert "Some disks are in an array (md), which holds less than their sum." in comments
    assert "2048 MB of the memory are huge pages" in comments


def test_numa_nodes_have_processors_memory_and_the_gpus_that_are_near(tmp_path: Path) -> None:
    host = discovered(
        SERVER, tmp_path, "--numa", "--reserve", "MEMORY_MB=8193,DISK_GB=100", "--ratio", "VCPU=2.5"
    )
    assert host["inventories"] == {"DISK_GB": {"total": 17655, "reserved": 100}}
    below = children(host)
    shared = {"VCPU": {"total": 8, "max_unit": 8, "allocation_ratio": 2.5}, "PCPU": 24}
    for number in range(2):
        node = below[f"gpu-7-numa{number}"]
        assert node["inventories"] == shared | {"MEMORY_MB": {"total": 257813, "reserved": 4097 - number}}
        assert node["traits"] == ["HW_NUMA_ROOT"]
        assert list(children(node)) == [f"gpu-7-nvidia{2 * number}", f"gpu-7-nvidia{2 * number + 1}"]
    assert list(below) == ["gpu-7-numa0", "gpu-7-numa1"]


def test_driver_names_model_and_uuid_where_the_library_is_missing(tmp_path: Path) -> None:
    tree = {**SERVER, **driver(0, UUIDS[0]), **driver(1, "????????-????-????-????-????????????")}
    below = children(discovered(tree, tmp_path))
    assert below["gpu-7-nvidia0"] == {
        "name": "gpu-7-nvidia0",
        "uuid": UUIDS[0],
        "inventories": {"PGPU": 1},
        "traits": ["CUSTOM_GPU_NVIDIA_A100_SXM4_40GB", "CUSTOM_PCI_10DE_20B0"],
    }
    assert "uuid" not in below["gpu-7-nvidia1"]


def test_nvml_names_gpus_with_their_own_numbers(tmp_path: Path) -> None:
    found = [
        Device(f"0000{A100[0].upper()}", f"GPU-{UUIDS[0]}"),
        Device(A100[1].encode(), f"GPU-{UUIDS[1]}".encode(), b"Tesla T4", (7, 2), None),
        Device(A100[2], f"GPU-{UUIDS[2]}", capability=None),
        Device("0000:ee:00.0", f"GPU-{UUIDS[3]}"),
    ]
    host, unseen = with_nvml(write(SERVER, tmp_path), nvml(found), numa=True)
    numa0, numa1, far = host["children"]
    assert numa0["children"] == [
        {
            "name": "gpu-7-nvidia0",
            "uuid": UUIDS[0],
            "inventories": {"PGPU": 1},
            "traits": [
                "CUSTOM_GPU_NVIDIA_A100_SXM4_40GB",
                "CUSTOM_HW_GPU_CUDA_COMPUTE_CAPABILITY_V8_0",
                "CUSTOM_PCI_10DE_20B0",
            ],
        },
        {
            "name": "gpu-7-nvidia1",
            "uuid": UUIDS[1],
            "inventories": {"PGPU": 1},
            "traits": [
                "CUSTOM_GPU_TESLA_T4",
                "CUSTOM_PCI_10DE_20B0",
                "HW_GPU_CUDA_COMPUTE_CAPABILITY_V7_2",
            ],
        },
    ]
    assert [child["name"] for child in numa1["children"]] == ["gpu-7-nvidia2"]
    # PCI shows nothing of this one, so its node is not known.
    assert far["name"] == "gpu-7-nvidia3"
    assert "NVML does not say what nvidia2 can compute (Not Supported)" in unseen
    assert f"NVML does not list the GPU {A100[3]}: it is not counted" in unseen


def test_gpu_that_is_divided_is_not_counted_and_others_keep_their_numbers(tmp_path: Path) -> None:
    found = [Device(A100[0], UUIDS[0], divided=True), *(Device(A100[n], UUIDS[n]) for n in range(1, 4))]
    host, unseen = with_nvml(write(SERVER, tmp_path), nvml(found))
    assert list(children(host)) == ["gpu-7-nvidia1", "gpu-7-nvidia2", "gpu-7-nvidia3"]
    told = "the GPU nvidia0 is in MIG mode, whose instances are not described: it is not counted"
    assert told in unseen
    assert not [line for line in unseen if A100[0] in line]


@each(
    ("function", "told"),
    [
        ("nvmlInit", "NVML does not answer (Not Supported): NVIDIA's GPUs are as PCI shows them"),
        ("nvmlDeviceGetUUID", "NVML has failed (Not Supported): NVIDIA's GPUs are as PCI shows them"),
    ],
)
def test_nvml_that_fails_is_noted_and_pci_asked(function: str, told: str, tmp_path: Path) -> None:
    root = tmp_path / function
    host, unseen = with_nvml(write(SERVER, root), nvml([Device(A100[0], UUIDS[0])], fails=function))
    assert len(host["children"]) == 4
    assert told in unseen


def test_library_is_asked_about_this_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml([Device("0000:ee:00.0", UUIDS[0])]))
    assert "children" not in discovered(LAPTOP, tmp_path)
    here = CliRunner().invoke(main, ["discover", "--name", "here"])
    assert children(host_of(here))["here-nvidia0"]["uuid"] == UUIDS[0]
    without = CliRunner().invoke(main, ["discover", "--name", "here", "--no-gpus"])
    assert "here-nvidia0" not in children(host_of(without))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert command._nvml() is None


def test_board_whose_gpu_is_no_pci_device(tmp_path: Path) -> None:
    result = run(write(BOARD, tmp_path), "--numa")
    assert host_of(result) == {
        "name": "pi",
        "inventories": {"VCPU": 4, "MEMORY_MB": {"total": 3793, "reserved": 512}, "DISK_GB": 29},
        "traits": [
            *("HW_ARCH_AARCH64", "HW_CPU_AARCH64_ASIMD", "HW_CPU_AARCH64_CPUID", "HW_CPU_AARCH64_CRC32"),
            *("HW_CPU_AARCH64_EVTSTRM", "HW_CPU_AARCH64_FP", "STORAGE_DISK_SSD"),
        ],
    }
    assert result.stderr.splitlines() == [
        "Not seen: there is no /sys/devices/system/node: NUMA nodes are not described.",
        "Not seen: the GPU card0 (driver vc4-drm) is no PCI device: it is not counted.",
    ]
    assert "Without a description of NUMA nodes, all is on the host itself." in words(result.stdout)


def test_container_says_what_it_could_not_read(tmp_path: Path) -> None:
    result = run(write(CONTAINER, tmp_path))
    host = host_of(result)
    assert host["inventories"] == {"VCPU": 8, "MEMORY_MB": {"total": 15801, "reserved": 512}}
    assert "HW_CPU_X86_AVX2" in host["traits"]
    reasons = {
        line.partition(" cannot be read (Not a directory): ")[0]: line for line in result.stderr.splitlines()
    }
    assert set(reasons) == {
        f"Not seen: /sys/{path}"
        for path in (
            *("bus/pci/devices", "class/block", "devices/system/node"),
            *("devices/system/cpu/online", "devices/system/cpu/isolated"),
        )
    }
    comments = words(result.stdout)
    assert all(words(line) in comments for line in result.stderr.splitlines())
    assert "limited to the time of 1.5 processors and 2048 MB of memory." in comments


def test_machine_without_any_source_is_a_host_that_offers_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "--name", "dark")
    assert host_of(result) == {"name": "dark", "inventories": {}, "traits": []}
    assert "there is no /proc/meminfo: the host has no MEMORY_MB" in result.stderr
    assert run(tmp_path).exit_code == 2


def test_pci_devices_are_providers_with_the_classes_of_nova(tmp_path: Path) -> None:
    host = discovered(SERVER, tmp_path, "--pci", "network", "--pci", "accelerator", "--pci", "display")
    found = {name: child for name, child in children(host).items() if "-pci-" in name}
    assert {name: child["inventories"] for name, child in found.items()} == {
        # A GPU that is there already is not there twice.
        "gpu-7-pci-0000:03:00.0": {"CUSTOM_PCI_1A03_2000": 1},
        "gpu-7-pci-0000:31:00.0": {"SRIOV_NET_VF": 4},
        "gpu-7-pci-0000:31:00.1": {"CUSTOM_PCI_15B3_1017": 1},
        "gpu-7-pci-0000:99:00.0": {"CUSTOM_PCI_1DA3_1021": 2},
    }
    assert found["gpu-7-pci-0000:31:00.1"]["traits"] == ["HW_NIC_SRIOV"]
    assert found["gpu-7-pci-0000:99:00.0"]["traits"] == []


@each(
    ("arguments", "told"),
    [
        (("--dedicated", "62-65"), "Processors 64-65 are not online; 0-63 are."),
        (("--reserve", "VGPU=1"), "--reserve names VGPU, but the document offers"),
        (("--ratio", "VGPU=2"), "--ratio names VGPU, but the document offers"),
        (("--reserve", "VCPU=17"), "17 VCPU cannot be reserved of 16."),
        (("--dedicated", "1-x"), "'1-x' is not a number or FIRST-LAST. Write processors as 2-7,10, or none."),
        (("--dedicated", "7-2"), "'7-2' is no range of processors"),
        (("--gpu-class", "VCPU"), "'VCPU' is neither PGPU nor a class of your own"),
        (("--ratio", "VCPU=0"), "A ratio is above 0."),
        (("--reserve", "4"), "'4' is not CLASS=AMOUNT"),
        (("--disk-at", "/data"), "/data cannot be looked at: No such file or directory."),
    ],
)
def test_wish_that_does_not_fit_is_refused(arguments: Sequence[str], told: str, tmp_path: Path) -> None:
    root = tmp_path / "-".join(arguments).replace("/", "")
    result = run(write(SERVER, root), *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert told in words(result.stderr)


def test_options_say_what_only_people_know(tmp_path: Path) -> None:
    host = discovered(
        SERVER,
        tmp_path,
        *("--name", "lab1", "--gpu-class", "CUSTOM_GPU", "--dedicated", "none"),
        *("--trait", "CUSTOM_QUIET", "--aggregate", "lab", "--aggregate", "rack-2"),
    )
    assert host["name"] == "lab1"
    assert host["inventories"]["VCPU"] == 64
    assert "CUSTOM_QUIET" in host["traits"]
    assert host["aggregates"] == ["lab", "rack-2"]
    assert children(host)["lab1-nvidia3"]["inventories"] == {"CUSTOM_GPU": 1}
    again = host_of(run(tmp_path, "--dedicated", "0-3", "--no-gpus"))
    assert (again["inventories"]["PCPU"], again.get("children")) == (4, None)


def test_file_system_can_stand_for_the_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def statvfs(path: Path) -> Any:
        asked.append(path)
        return SimpleNamespace(f_blocks=600 * 2**18, f_frsize=4096)

    monkeypatch.setattr("os.statvfs", statvfs)
    result = run(write(SERVER, tmp_path), "--disk-at", "/data", "--reserve", "DISK_GB=20")
    assert host_of(result)["inventories"]["DISK_GB"] == {"total": 600, "reserved": 20}
    assert asked == [tmp_path / "data"]
    assert "DISK_GB is the size of the file system at /data" in words(result.stdout)
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_blocks=1, f_frsize=4096))
    assert "DISK_GB" not in host_of(run(tmp_path, "--disk-at", "/data"))["inventories"]


def test_nodes_that_do_not_have_all_of_the_memory_are_noted(tmp_path: Path) -> None:
    assert "The NUMA nodes have" not in words(run(write(SERVER, tmp_path / "whole"), "--numa").stdout)
    part = {**SERVER, "/sys/devices/system/node/node1/meminfo": "Node 1 MemTotal: 215000000 kB"}
    text = words(run(write(part, tmp_path / "part"), "--numa").stdout)
    assert "The NUMA nodes have 467773 MB, while the kernel manages 515626 MB in all." in text


def test_document_as_data_has_no_comments(tmp_path: Path) -> None:
    result = run(write(LAPTOP, tmp_path), "--json")
    assert json.loads(result.stdout)["providers"][0]["name"] == "thinkpad"


@each(
    ("cpuinfo", "traits"),
    [
        (processors(1, "flags : sse lm", "a line without a colon"), {"HW_ARCH_X86_64", "HW_CPU_X86_SSE"}),
        (processors(1, "flags : sse"), {"HW_ARCH_I686", "HW_CPU_X86_SSE"}),
        # Processors without AVX-512 have these too, and the trait names AVX-512.
        (processors(1, "flags : lm vaes gfni vpclmulqdq"), {"HW_ARCH_X86_64"}),
        # A workload may run on either kind of core.
        (
            f"{processors(1, 'flags : lm avx avx512f')}\n\nprocessor : 1\nflags : lm avx",
            {"HW_ARCH_X86_64", "HW_CPU_X86_AVX"},
        ),
        (processors(1, "Features : half thumb neon", "CPU architecture: 7"), {"HW_ARCH_ARMV7"}),
        (processors(1, "cpu : POWER9, altivec supported"), {"HW_CPU_PPC64LE_POWER9"}),
        (processors(1, "isa : rv64imafdc"), set()),
        ("", set()),
    ],
)
def test_features_of_processors_are_standard_traits(cpuinfo: str, traits: set[str], tmp_path: Path) -> None:
    root = tmp_path / str(abs(hash(cpuinfo)))
    machine, unseen = look(write({**PLAIN, "/proc/cpuinfo": cpuinfo}, root))
    assert machine.processors.traits == traits
    assert any("no features that this command knows" in line for line in unseen) == ("isa" in cpuinfo)


def test_processors_are_counted_where_the_kernel_lists_none(tmp_path: Path) -> None:
    tree = {**PLAIN, "/sys/devices/system/cpu/online": "all", "/proc/cpuinfo": processors(6, "flags : lm")}
    machine, unseen = look(write(tree, tmp_path))
    assert machine.processors.online == frozenset(range(6))
    [told] = [line for line in unseen if "cpu/online" in line]
    assert told.startswith("/sys/devices/system/cpu/online is not understood ('all' is not a number")


def test_files_that_say_nothing_usable_are_noted(tmp_path: Path) -> None:
    tree = {
        **PLAIN,
        "/proc/meminfo": "MemTotal: much",
        "/sys/devices/system/node/node0/cpulist": "?",
        "/sys/devices/system/node/node0/meminfo": "Node 0 MemTotal: 1024000 kB",
        "/sys/class/block/sda/removable": "0",
        **pci("0000:01:00.0", "?", "0x10de", "0x20b0"),
        "/sys/class/drm/card1/device/uevent": "MODALIAS=of",
        "/sys/fs/cgroup/cpu.max": "max 100000",
        "/sys/fs/cgroup/memory.max": "max",
    }
    machine, unseen = look(write(tree, tmp_path))
    assert (machine.memory.total, machine.disks, machine.gpus, machine.limits) == (None, (), (), ())
    assert [node.memory for node in machine.nodes] == [1000]
    for line in (
        "/proc/meminfo has no MemTotal: the host has no MEMORY_MB",
        "/sys/class/block/sda/size cannot be read: the disk sda is not counted",
        "/sys/bus/pci/devices/0000:01:00.0 does not say what it is: the device is not counted",
        "the GPU card1 is no PCI device: it is not counted",
    ):
        assert line in unseen
    assert [line for line in unseen if line.startswith("/sys/devices/system/node/node0/cpulist is not under")]


@each(
    ("devices", "labels"),
    [
        (
            [
                pci("0000:03:00.0", "0x030000", "0x1002", "0x73bf"),
                pci("0000:43:00.0", "0x120000", "0x1002", "0x740f"),
                pci("0000:63:00.0", "0x038000", "0x8086", "0x56c0"),
                pci("0000:63:00.1", "0x038000", "0x8086", "0x56c0", -1, {"physfn/class": "0x038000"}),
                pci("0000:73:00.0", "0x120000", "0x1da3", "0x1020"),
                pci("0000:83:00.0", "0x030200", "0x10de", "0x1eb8"),
            ],
            ["nvidia0", "amd0", "amd1", "intel0"],
        ),
    ],
)
def test_gpus_are_numbered_for_each_maker(
    devices: Sequence[Mapping[str, str]], labels: Sequence[str], tmp_path: Path
) -> None:
    tree = {**PLAIN, **{name: text for device in devices for name, text in device.items()}}
    assert [gpu.label for gpu in look(write(tree, tmp_path))[0].gpus] == labels


NAMESAKES = {
    Path(name).name: name
    for name, text in {**LAPTOP, **SERVER}.items()
    if not (name.endswith("/") or text.startswith("-> "))
}
"""One file of each name."""


@pytest.mark.slow
@each("name", sorted(NAMESAKES))
@each("content", ["", "?", "-5", "99999999999999999999", "\N{ARABIC-INDIC DIGIT FOUR}", "a: b\0\n: c"])
def test_file_with_anything_in_it_leaves_a_document_that_can_be_loaded(
    name: str, content: str, both: Path
) -> None:
    path = both / NAMESAKES[name].lstrip("/")
    before = path.read_text()
    try:
        path.write_text(content)
        machine, _ = look(both)
        for numa in (False, True):
            found, _ = document(machine, Wishes("host", numa=numa, kinds=tuple(KINDS)))
            parse(yaml.safe_dump(found), "discovered")
    finally:
        path.write_text(before)


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A machine with what the laptop and the server have."""
    write({name: text for name, text in LAPTOP.items() if name not in SERVER}, tmp_path)
    return write(SERVER, tmp_path)


@each(("text", "numbers"), [("", set()), ("0-2,5", {0, 1, 2, 5}), (" 3 ", {3})])
def test_lists_of_processors_are_read_and_written(text: str, numbers: set[int]) -> None:
    assert numbers_in(text) == numbers
    assert as_list(numbers_in(text)) == text.strip()


def test_file_whose_folder_cannot_be_searched_does_not_exist(tmp_path: Path) -> None:
    tree = {**PLAIN, "/sys/class/drm/card0": "-> card0"}
    machine, _ = look(write(tree, tmp_path))
    assert machine.gpus == ()
