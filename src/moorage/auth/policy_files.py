"""The files that a policy is read from, and whether they have changed.

Source: oslo.policy's ``[oslo_policy] policy_file`` and ``policy_dirs``: a relative name is looked
for beside the configuration files and in their usual places.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from oslo_config import cfg

LOOK_SECONDS: Final = 1.0
"""How long what was seen holds. To look at the files takes a twelfth of the time of a small search: too
much for every request, and nobody waits for a change of policy shorter than that."""

Stamp = tuple[str, int, int, int]
"""Path, time of change in nanoseconds, size in bytes, inode."""


class PolicyFiles:
    """The policy file and the files in the policy directories, as they are now."""

    def __init__(self, conf: cfg.ConfigOpts, clock: Callable[[], float] = time.monotonic) -> None:
        self._conf = conf
        self._clock = clock
        self._look_at = clock()
        self._seen: tuple[Stamp, ...] = ()

    def stamps(self) -> tuple[Stamp, ...]:
        """One stamp for each file, in the order in which they are read; equal if nothing changed.

        A file that vanished has no stamp. They are not older than ``LOOK_SECONDS``, and the time it
        takes another thread to look.
        """
        now = self._clock()
        if now >= self._look_at:
            # First, so that threads that come meanwhile do not look as well.
            self._look_at = now + LOOK_SECONDS
            self._seen = self._look()
        return self._seen

    def _look(self) -> tuple[Stamp, ...]:
        options = self._conf.oslo_policy
        stamps = _stamps(self._found([options.policy_file]))
        for directory in self._found(options.policy_dirs):
            stamps += _stamps(_listed(directory))
        return tuple(stamps)

    def _found(self, names: list[str]) -> list[str]:
        found = (self._conf.find_file(name) for name in names)
        return [path for path in found if path is not None]


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
            found = Path(path).stat()
        except OSError:
            continue
        stamps.append((path, found.st_mtime_ns, found.st_size, found.st_ino))
    return stamps
