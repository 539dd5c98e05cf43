"""What workers that are gone have counted, folded into one file per kind.

Each worker process keeps its counters and histograms in files of its own. They have to be added up after it
is gone, since a counter must not go back; but they must not pile up with each worker that is replaced.
"""

# mypy: disable-error-code="no-untyped-call"
# Files of prometheus_client, whose functions carry no types.

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

ADDED_UP: Final = ("counter", "histogram")
"""Kinds of files whose figures are kept when their process is gone."""

GONE: Final = "gone"
"""Stands in the name of a file where others have a process id."""

LOCK_FILE: Final = "folding.lock"


@contextmanager
def _locked(directory: Path, operation: int) -> Iterator[None]:
    """Raises OSError if there is no such directory."""
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


class Collector:
    """The figures of all processes that keep theirs in ``directory``, and of those that are gone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = MultiProcessCollector(None, path=str(directory))

    def collect(self) -> Iterable[Metric]:
        """All of them; nothing is folded meanwhile, which would be missed or counted twice."""
        with _locked(self._directory, fcntl.LOCK_SH):
            return list(self._files.collect())


def fold(directory: Path, process_id: int) -> None:
    """Add what a process has counted to what others have that are gone, and remove its files.

    The process must be gone. To be called by one process only, with which all workers end: if it ended in
    between, figures would be counted twice, but the next one begins with none.
    """
    with _locked(directory, fcntl.LOCK_EX):
        for kind in ADDED_UP:
            counted = directory / f"{kind}_{process_id}.db"
            if counted.exists():
                _add(counted, directory / f"{kind}_{GONE}.db")
                counted.unlink()
        for shown in directory.glob(f"gauge_*_{process_id}.db"):
            shown.unlink(missing_ok=True)


def _add(counted: Path, sums: Path) -> None:
    file = MmapedDict(str(sums))
    try:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(counted)):
            before, _ = file.read_value(key)
            file.write_value(key, before + value, 0.0)
    finally:
        file.close()
