"""PCI devices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from moorage.cli.discovery.files import Files
from moorage.model.valueclass import valueclass

DEVICES: Final = "/sys/bus/pci/devices"

NETWORK: Final = "network"
STORAGE: Final = "storage"
DISPLAY: Final = "display"
ACCELERATOR: Final = "accelerator"
USB: Final = "usb"

KINDS: Final[Mapping[str, str]] = {
    NETWORK: "02",
    STORAGE: "01",
    DISPLAY: "03",
    ACCELERATOR: "12|0b40",
    USB: "0c03",
}
"""Kinds of devices, by how their class code begins. Source: the PCI ID repository's list of classes."""

MOST_FUNCTIONS: Final = 0xFFFF
"""Virtual functions of a device: their count is a number of 16 bits. Source: PCI Express, SR-IOV."""

_CODE: Final = re.compile("0x([0-9a-f]{4,6})")


@valueclass(frozen=True, slots=True)
class PciDevice:
    """A device with its codes in lower hexadecimal, without 0x. ``node`` is its NUMA node, if it has one.

    ``functions`` are its virtual functions that are switched on; ``function_of`` them have the id
    ``function_id``. ``is_function`` marks a virtual function itself.
    """

    address: str
    kind: str
    vendor: str
    device: str
    node: int | None
    functions: int = 0
    most_functions: int = 0
    function_id: str = ""
    is_function: bool = False

    @property
    def resource_class(self) -> str:
        """The custom class that Nova gives such a device. Source: Nova, "PCI in Placement"."""
        return f"CUSTOM_PCI_{self.vendor}_{self.device}".upper()

    def is_a(self, kind: str) -> bool:
        """Whether the device is one of this kind."""
        return any(self.kind.startswith(code) for code in KINDS[kind].split("|"))


def pci_devices(files: Files, lacking: str) -> list[PciDevice]:
    """All devices by address. ``lacking`` says what the document lacks without them."""
    found = []
    for address in files.names(DEVICES, lacking):
        folder = f"{DEVICES}/{address}"
        kind, vendor, device = (_code(files, f"{folder}/{name}") for name in ("class", "vendor", "device"))
        if not (kind and vendor and device):
            files.note(f"{folder} does not say what it is: the device is not counted")
            continue
        most = min(files.number(f"{folder}/sriov_totalvfs") or 0, MOST_FUNCTIONS)
        functions = min(files.number(f"{folder}/sriov_numvfs") or 0, most)
        found.append(
            PciDevice(
                address,
                kind,
                vendor,
                device,
                # The kernel writes -1 for a device that is near to no node.
                files.number(f"{folder}/numa_node"),
                functions,
                most,
                _code(files, f"{folder}/virtfn0/device") if functions else "",
                files.exists(f"{folder}/physfn"),
            )
        )
    return found


def _code(files: Files, path: str) -> str:
    match = _CODE.fullmatch(files.content(path) or "")
    return match[1] if match else ""
