"""Memory, and the NUMA nodes that it and the processors belong to."""

from __future__ import annotations

import re
from typing import Final

from moorage.cli.discovery.files import Files, fields, numbers_in
from moorage.model.valueclass import valueclass

MEMINFO: Final = "/proc/meminfo"
NODES: Final = "/sys/devices/system/node"
MEMORY_LIMIT: Final = "/sys/fs/cgroup/memory.max"
PROCESSOR_LIMIT: Final = "/sys/fs/cgroup/cpu.max"

KB_OF_A_MB: Final = 1024

_NODE: Final = re.compile(r"node(\d{1,6})")
_KB: Final = re.compile(r"(\d{1,18}) kB")
_NODE_TOTAL: Final = re.compile(r"MemTotal:\s{0,32}(\d{1,18}) kB")


@valueclass(frozen=True, slots=True)
class MemoryFound:
    """``total`` and ``huge``, the part of it that is set aside for huge pages, in MB; None: not known."""

    total: int | None
    huge: int


@valueclass(frozen=True, slots=True)
class NumaNode:
    """A node with the processors that are near to its memory (in MB)."""

    number: int
    processors: frozenset[int]
    memory: int


def memory(files: Files) -> MemoryFound:
    """The memory that the kernel manages."""
    lacking = "the host has no MEMORY_MB"
    told = fields(files.content(MEMINFO, lacking) or "")
    total = _kilobytes(told.get("MemTotal", ""))
    if told and total is None:
        files.note(f"{MEMINFO} has no MemTotal: {lacking}")
    pages = told.get("HugePages_Total", "")
    size = _kilobytes(told.get("Hugepagesize", "")) or 0
    huge = int(pages) * size // KB_OF_A_MB if pages.isdecimal() else 0
    return MemoryFound(None if total is None else total // KB_OF_A_MB, huge)


def _kilobytes(text: str) -> int | None:
    match = _KB.fullmatch(text)
    return int(match[1]) if match else None


def numa_nodes(files: Files) -> list[NumaNode]:
    """All nodes that have processors or memory, by number; empty if the kernel describes none."""
    lacking = "NUMA nodes are not described"
    found = []
    for name in files.names(NODES, lacking):
        match = _NODE.fullmatch(name)
        if match is None:
            continue
        node = _node(files, int(match[1]), f"{NODES}/{name}")
        if node.processors or node.memory:
            found.append(node)
    return sorted(found, key=lambda node: node.number)


def _node(files: Files, number: int, folder: str) -> NumaNode:
    lacking = f"NUMA node {number} is described in part only"
    try:
        near = numbers_in(files.content(f"{folder}/cpulist", lacking) or "")
    except ValueError as error:
        files.note(f"{folder}/cpulist is not understood ({error}): {lacking}")
        near = frozenset()
    total = _NODE_TOTAL.search(files.content(f"{folder}/meminfo", lacking) or "")
    return NumaNode(number, near, int(total[1]) // KB_OF_A_MB if total else 0)


def limits(files: Files) -> list[str]:
    """Limits of the control group that this process is in, in words. A container has such limits."""
    told = []
    quota, _, period = (files.content(PROCESSOR_LIMIT) or "").partition(" ")
    if quota.isdecimal() and period.isdecimal() and int(period):
        told.append(f"the time of {int(quota) / int(period):g} processors")
    most = files.content(MEMORY_LIMIT) or ""
    if most.isdecimal():
        told.append(f"{int(most) // (KB_OF_A_MB * 1024)} MB of memory")
    return told
