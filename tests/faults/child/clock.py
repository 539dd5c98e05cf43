"""A wall clock that jumps: ``time.time`` and what Moorage writes as the time of a row.

The monotonic clock stays right, as the kernel's does when an administrator or NTP sets the time.
"""

from __future__ import annotations

import mmap
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


def install(path: str) -> None:
    """Add the number of seconds that stands in the file, whenever somebody asks for the time."""
    with Path(path).open("rb") as file:
        shown = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)

    def offset() -> float:
        seconds: float = struct.unpack("d", shown[:8])[0]
        return seconds

    real = time.time
    time.time = lambda: real() + offset()

    from moorage.api.placement import encode
    from moorage.store.sql import statements

    class Shifted(datetime):
        """``datetime`` whose now is another."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz or UTC) + timedelta(seconds=offset())

    for module in (encode, statements):
        module.datetime = Shifted  # type: ignore[attr-defined]
