"""POSIX locks of processes on files, as Linux tells them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

LOCKS = Path("/proc/locks")


def locks_on(path: Path) -> dict[int, int]:
    """How many locks each process has on a file, by process id."""
    inode = str(path.stat().st_ino)
    found: dict[int, int] = {}
    for line in LOCKS.read_text().splitlines():
        # A line that begins with an arrow is of a process that waits for a lock.
        _, kind, _, _, process, place, *_ = line.replace("-> ", "").split()
        if kind == "POSIX" and "->" not in line and place.rpartition(":")[2] == inode:
            found[int(process)] = found.get(int(process), 0) + 1
    return found


def has_open(process: int, path: Path) -> bool:
    """Whether a process has a descriptor of a file."""
    wanted = path.stat()
    try:
        return any(_is_same(number, wanted) for number in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False


def _is_same(number: Path, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(number.stat(), wanted)
    except OSError:
        return False


def without_locks(processes: Iterable[int], database: Path) -> list[str]:
    """Which of the processes that use a SQLite database in WAL mode have lost their locks on it.

    SQLite keeps a shared lock on the database and one on its ``-shm`` as long as it has them open. A
    process that has none is not seen by others: the last of these to close the database removes its log.
    """
    files = (database, database.with_name(f"{database.name}-shm"))
    return [
        f"{process} on {file.name}"
        for process in processes
        for file in files
        if has_open(process, database) and process not in locks_on(file)
    ]
