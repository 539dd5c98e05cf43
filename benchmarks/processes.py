"""What the kernel tells of a process and its children (Linux)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in MiB: now, and the most that there was."""

    now: float
    peak: float


def family(pid: int) -> list[int]:
    """A process and all that come from it, itself first. Those that have ended are left out."""
    found = [pid]
    for parent in found:
        for children in PROC.glob(f"{parent}/task/*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and all that come from it."""
    return sum(parse_ticks(_read(each, "stat")) for each in family(pid)) / TICKS_PER_SECOND


def worker_memory(pid: int) -> Memory:
    """Memory of the largest of a server's workers, which are its children."""
    found = [parse_memory(_read(each, "status")) for each in family(pid)[1:]]
    return max(found, key=lambda memory: memory.now, default=Memory(0.0, 0.0))


def parse_ticks(stat: str) -> int:
    """User and system time from the text of ``/proc/PID/stat``; 0 if there is none."""
    # The command's name stands in parentheses and may itself hold blanks and parentheses.
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if fields else 0


def parse_memory(status: str) -> Memory:
    """Memory from the text of ``/proc/PID/status``; 0 if there is none."""

    def mebibytes(name: str) -> float:
        found = re.search(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) / KIB_PER_MIB if found else 0.0

    return Memory(mebibytes("VmRSS"), mebibytes("VmHWM"))


def _read(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text()
    except OSError:
        return ""
