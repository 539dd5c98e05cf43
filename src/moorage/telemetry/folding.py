"""Folds the counts of ended worker processes into one file per kind.

Each worker process keeps its counters and histograms in files of its own. A counter must not go back, so
these figures still count after the process has ended. Folding keeps the files from piling up as workers are
replaced.
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

from moorage.telemetry.figures import GONE, figures_in

ADDED_UP: Final = ("counter", "histogram")
"""Kinds of files whose figures still count after their process has ended."""

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


class ProcessFigures:
    """The figures of all processes that keep theirs in ``directory``, including ended ones."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """All figures. The lock keeps ``fold`` away, which would make figures be missed or counted twice."""
        with _locked(self._directory, fcntl.LOCK_SH):
            paths = [str(path) for path, _ in figures_in(self._directory)]
            return list(MultiProcessCollector.merge(paths))


def fold(directory: Path, process_id: int) -> None:
    """Add the figures of an ended process to the sums of earlier ones, and remove its files.

    Only one process may call this: the one with which all workers end. If that process ends halfway,
    figures are counted twice, but its successor begins with no figures.
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
