"""Which files hold the figures of worker processes, in a directory that may hold other files as well.

The directory may also be that of the SQLite database, whose file name may end in ``.db`` too. That file
must be neither removed nor opened: a process that closes a file loses its locks on it, and SQLite does not
notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

GONE: Final = "gone"
"""Stands in place of a process id in the name of a file with the sums of ended processes."""

_NAME: Final = re.compile(rf"(?:counter|histogram|summary|gauge_[a-z]{{1,20}})_([0-9]{{1,10}}|{GONE})\.db")
"""How prometheus_client names its files: by kind, by how a gauge is added up, and by process."""


def figures_in(directory: Path) -> Iterator[tuple[Path, str]]:
    """Files of figures, each with the process id in its name, or ``GONE``."""
    for path in directory.glob("*.db"):
        found = _NAME.fullmatch(path.name)
        if found:
            yield path, found[1]
