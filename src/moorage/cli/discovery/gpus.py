"""GPUs: from NVML where its library is, else from PCI and the driver's files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import os_traits

from moorage.cli.discovery.files import Files, fields
from moorage.cli.discovery.pci import DISPLAY, PciDevice
from moorage.cli.shared.names import as_uuid
from moorage.model.valueclass import valueclass

DRM: Final = "/sys/class/drm"
NVIDIA_DRIVER: Final = "/proc/driver/nvidia/gpus"

NVIDIA: Final = "10de"
AMD: Final = "1002"
INTEL: Final = "8086"

VENDORS: Final = {NVIDIA: "nvidia", AMD: "amd", INTEL: "intel"}
"""Makers of GPUs that compute. The display adapters of others, on boards of servers, only show a console."""

INTEL_INTEGRATED: Final = re.compile(r"[0-9a-f]{1,8}:00:02\.\d")
"""The address of the GPU within Intel's processors."""

ACCELERATORS: Final = "12"
"""First digits of the class code of processing accelerators, which some AMD and Intel GPUs have."""

_CARD: Final = re.compile(r"card\d+")
_DRIVER: Final = re.compile(r"^DRIVER=(\S+)", re.MULTILINE)


@valueclass(frozen=True, slots=True)
class Gpu:
    """A GPU that one process can use as a whole.

    ``index`` is its number among those of its maker, in the order of PCI addresses. CUDA counts so with
    CUDA_DEVICE_ORDER=PCI_BUS_ID, and so do NVML and nvidia-smi. ``uuid`` is the one in the chip, if it is
    known.
    """

    maker: str
    index: int
    address: str
    node: int | None = None
    uuid: str | None = None
    traits: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The last part of its name: ``nvidia0``."""
        return f"{self.maker}{self.index}"


def gpus(files: Files, devices: Sequence[PciDevice], nvml: Any) -> list[Gpu]:
    """All GPUs by maker and index. ``nvml`` is the module pynvml, or None if there is none."""
    found = []
    told = _from_nvml(files, nvml)
    by_address = {device.address: device for device in devices}
    for gpu in filter(None, (told or {}).values()):
        listed = by_address.get(gpu.address)
        found.append(gpu if listed is None else replace(gpu, node=listed.node, traits=_traits(gpu, listed)))
    counts: dict[str, int] = {}
    for device in devices:
        if device.address in (told or ()) or not _may_be_a_gpu(device):
            continue
        maker = VENDORS.get(device.vendor)
        if maker is None:
            files.note(
                f"the display adapter {device.address} ({device.vendor}:{device.device}) is not counted"
            )
        elif device.vendor == INTEL and INTEL_INTEGRATED.fullmatch(device.address):
            files.note(f"the GPU {device.address} is part of the processor: it is not counted")
        elif device.vendor == NVIDIA and told is not None:
            files.note(f"NVML does not list the GPU {device.address}: it is not counted")
        else:
            index = counts.get(maker, 0)
            counts[maker] = index + 1
            found.append(_from_files(files, device, maker, index))
    _note_others(files)
    return sorted(found, key=lambda gpu: (gpu.maker != VENDORS[NVIDIA], gpu.maker, gpu.index))


def _may_be_a_gpu(device: PciDevice) -> bool:
    if device.is_function:
        return False
    accelerates = device.kind.startswith(ACCELERATORS) and device.vendor in VENDORS
    return device.is_a(DISPLAY) or accelerates


def _from_nvml(files: Files, nvml: Any) -> dict[str, Gpu | None] | None:
    """NVIDIA's GPUs by address, None for one that is not counted. None if NVML does not answer."""
    if nvml is None:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        files.note(f"NVML does not answer ({error}): NVIDIA's GPUs are as PCI shows them")
        return None
    try:
        return dict(_one_of_nvml(files, nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError as error:
        files.note(f"NVML has failed ({error}): NVIDIA's GPUs are as PCI shows them")
        return None
    finally:
        nvml.nvmlShutdown()


def _one_of_nvml(files: Files, nvml: Any, index: int) -> tuple[str, Gpu | None]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    address = _address(_text(nvml.nvmlDeviceGetPciInfo(handle).busId))
    if _is_divided(nvml, handle):
        files.note(
            f"the GPU nvidia{index} is in MIG mode, whose instances are not described: it is not counted"
        )
        return address, None
    traits = [_model_trait(_text(nvml.nvmlDeviceGetName(handle)))]
    try:
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    except nvml.NVMLError as error:
        files.note(f"NVML does not say what nvidia{index} can compute ({error})")
    else:
        traits.append(_standard_or_custom(f"HW_GPU_CUDA_COMPUTE_CAPABILITY_V{major}_{minor}"))
    uuid = _uuid(_text(nvml.nvmlDeviceGetUUID(handle)))
    return address, Gpu(VENDORS[NVIDIA], index, address, uuid=uuid, traits=tuple(traits))


def _is_divided(nvml: Any, handle: Any) -> bool:
    """Whether the GPU is in MIG mode. One that has no such mode says so by an error."""
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:
        return False


def _from_files(files: Files, device: PciDevice, maker: str, index: int) -> Gpu:
    traits: tuple[str, ...] = ()
    uuid = None
    if device.vendor == NVIDIA:
        told = fields(files.content(f"{NVIDIA_DRIVER}/{device.address}/information") or "")
        if told.get("Model"):
            traits = (_model_trait(told["Model"]),)
        else:
            files.note(
                f"neither NVML (nvidia-ml-py) nor NVIDIA's driver names the GPU {device.address}: "
                "its model is not a trait, and its UUID is not that of the chip"
            )
        uuid = _uuid(told.get("GPU UUID", ""))
    gpu = Gpu(maker, index, device.address, device.node, uuid, traits)
    return replace(gpu, traits=_traits(gpu, device))


def _traits(gpu: Gpu, device: PciDevice) -> tuple[str, ...]:
    return (*gpu.traits, device.resource_class)


def _note_others(files: Files) -> None:
    """Note GPUs that are no PCI devices, as boards have them."""
    for name in files.names(DRM):
        device = f"{DRM}/{name}/device"
        if _CARD.fullmatch(name) and not files.exists(f"{device}/vendor"):
            driver = _DRIVER.search(files.content(f"{device}/uevent") or "")
            known = f" (driver {driver[1]})" if driver else ""
            files.note(f"the GPU {name}{known} is no PCI device: it is not counted")


def _text(value: str | bytes) -> str:
    """Older releases of the library answer with bytes."""
    return value.decode() if isinstance(value, bytes) else value


def _address(text: str) -> str:
    """A PCI address as the kernel writes it; NVML writes eight digits of the domain, in capitals."""
    domain, _, rest = text.lower().partition(":")
    return f"{domain[-4:]}:{rest}"


def _uuid(text: str) -> str | None:
    """``GPU-...`` as a UUID. The driver writes question marks for a process without rights."""
    return as_uuid(text.removeprefix("GPU-"))


def _model_trait(model: str) -> str:
    return "CUSTOM_GPU_" + re.sub("[^A-Z0-9]+", "_", model.upper()).strip("_")


def _standard_or_custom(name: str) -> str:
    return name if name in os_traits.get_traits() else f"CUSTOM_{name}"
