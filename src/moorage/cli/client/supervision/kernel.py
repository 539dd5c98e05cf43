"""What the kernel offers to a process that must end others: a clock, processes below one, and prctl(2)."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_PROCESSES: Final = Path("/proc")


def boot_clock() -> float:
    """Seconds that also count while the machine sleeps, the same in all processes."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def die_with_parent() -> None:
    """Let the kernel kill this process once the thread that made it ends. Does nothing where it cannot."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of processes below this one that lose theirs. Does nothing where that cannot be."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    # Without Linux there is no such function.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def below(ancestor: int) -> list[int]:
    """All processes below one, as /proc shows them. Those that have ended already are left out."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in _PROCESSES.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            state, parent = _state_and_parent((entry / "stat").read_text())
        except (OSError, ValueError):
            continue
        if state not in "ZX":
            children[parent].append(int(entry.name))
        else:
            # What a zombie had below it has another parent by now.
            children.setdefault(parent, [])
    found: list[int] = []
    waiting = [ancestor]
    while waiting:
        more = children.get(waiting.pop(), [])
        found += more
        waiting += more
    return found


def _state_and_parent(stat: str) -> tuple[str, int]:
    """Of a line of /proc/PID/stat, whose second field is a name that may have anything in it."""
    state, parent, *_ = stat.rpartition(")")[2].split()
    return state, int(parent)


def kill_below(ancestor: int, number: int) -> bool:
    """Send a signal to all processes below one; whether there were any."""
    found = below(ancestor)
    for pid in found:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return bool(found)
