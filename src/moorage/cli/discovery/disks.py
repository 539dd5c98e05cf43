"""Local disks."""

from __future__ import annotations

import os
import re
from typing import Final

from moorage.cli.discovery.files import Files
from moorage.model.valueclass import valueclass

BLOCK: Final = "/sys/class/block"

BYTES_OF_A_SECTOR: Final = 512
"""Unit of /sys/class/block/*/size, whatever sectors the disk has. Source: Linux, Documentation/ABI."""

BYTES_OF_A_GB: Final = 1024**3

_NO_DISK: Final = re.compile(r"(?:loop|ram|zram|dm-|md|sr|fd|mtdblock)\d.*|mmcblk\d+(?:boot\d|rpmb|gp\d)")
"""Memory, parts of other disks, and drives without a fixed medium."""

_REMOTE: Final = re.compile(r"(?:nbd|rbd|drbd)\d.*")
_REMOTE_PATH: Final = re.compile(r"/(?:session\d+|rport-[\d:-]+)/")
"""In the path of a device: iSCSI and Fibre Channel."""


@valueclass(frozen=True, slots=True)
class Disk:
    """A whole disk. ``size`` is in GB, rounded down; ``spins`` is None if that is not known."""

    name: str
    size: int
    spins: bool | None
    is_part_of_an_array: bool


@valueclass(frozen=True, slots=True)
class FileSystem:
    """The file system that a folder is on. ``size`` is in GB, rounded down."""

    path: str
    size: int


def file_system(files: Files, path: str) -> FileSystem:
    """The file system at ``path`` of the machine. Raises OSError."""
    found = os.statvfs(files.path(path))
    return FileSystem(path, found.f_blocks * found.f_frsize // BYTES_OF_A_GB)


def disks(files: Files) -> list[Disk]:
    """Fixed local disks. Others that have a size are noted."""
    found = []
    for name in files.names(BLOCK, "the host has no DISK_GB"):
        folder = f"{BLOCK}/{name}"
        if _NO_DISK.fullmatch(name) or files.exists(f"{folder}/partition"):
            continue
        sectors = files.number(f"{folder}/size")
        if sectors is None:
            files.note(f"{folder}/size cannot be read: the disk {name} is not counted")
        size = (sectors or 0) * BYTES_OF_A_SECTOR // BYTES_OF_A_GB
        if not size:
            continue
        if _REMOTE.fullmatch(name) or _REMOTE_PATH.search(str(files.path(folder).resolve())):
            files.note(f"the disk {name} ({size} GB) is reached over a network: it is not counted")
        elif files.number(f"{folder}/removable"):
            files.note(f"the disk {name} ({size} GB) is removable: it is not counted")
        else:
            spins = files.number(f"{folder}/queue/rotational")
            arrays = [each for each in files.names(f"{folder}/holders") if each.startswith("md")]
            found.append(Disk(name, size, None if spins is None else bool(spins), bool(arrays)))
    return found
