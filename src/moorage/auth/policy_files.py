"""The files that a policy is read from, and whether they have changed.

Source: oslo.policy's ``[oslo_policy] policy_file`` and ``policy_dirs``: a relative name is looked
for beside the configuration files and in their usual places.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from oslo_config import cfg

LOOKUP_SECONDS: Final = 1.0
"""How long a file that was not there is taken not to be there. A file that was found is looked at
for every request; to look for one that is not costs ten times as much."""

Stamp = tuple[str, int, int, int]
"""Path, time of change in nanoseconds, size in bytes, inode."""


class PolicyFiles:
    """The policy file and the files in the policy directories, as they are now."""

    def __init__(self, conf: cfg.ConfigOpts, clock: Callable[[], float] = time.monotonic) -> None:
        self._conf = conf
        self._clock = clock
        self._look_up_at = clock()
        self._file: str | None = None
        self._directories: list[str] = []

    def stamps(self) -> tuple[Stamp, ...]:
        """One stamp for each file, in the order in which they are read; equal if nothing changed.

        A file that vanished has no stamp.
        """
        now = self._clock()
        if now >= self._look_up_at:
            self._look_up()
            self._look_up_at = now + LOOKUP_SECONDS
        stamps = [] if self._file is None else list(_stamps([self._file]))
        for directory in self._directories:
            stamps += _stamps(_listed(directory))
        return tuple(stamps)

    def _look_up(self) -> None:
        options = self._conf.oslo_policy
        self._file = self._conf.find_file(options.policy_file)
        found = (self._conf.find_file(directory) for directory in options.policy_dirs)
        self._directories = [directory for directory in found if directory is not None]


def _listed(directory: str) -> list[str]:
    """Files of a directory in the order of their names, without hidden ones and folders."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.path for entry in entries if entry.is_file() and entry.name[0] != ".")
    except OSError:
        return []


def _stamps(paths: list[str]) -> list[Stamp]:
    stamps = []
    for path in paths:
        try:
            found = os.stat(path)  # noqa: PTH116 - for every request: a Path takes twice as long
        except OSError:
            continue
        stamps.append((path, found.st_mtime_ns, found.st_size, found.st_ino))
    return stamps
