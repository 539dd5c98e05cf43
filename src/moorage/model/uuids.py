"""Random UUIDs, many from one read of the system's random source.

Each read releases the interpreter's lock and waits to get it back, behind all other threads that compute.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Final

AT_ONCE: Final = 256
"""UUIDs of one read."""

_BYTES: Final = 16

_ready: Final = deque[bytes]()

# A copy of this process must not use what this one will use.
os.register_at_fork(after_in_child=_ready.clear)


def new_uuid() -> str:
    """A random UUID (RFC 4122, version 4), lower case with hyphens. No other UUID says anything about it."""
    try:
        drawn = _ready.popleft()
    except IndexError:
        some = os.urandom(_BYTES * AT_ONCE)
        drawn, *rest = [some[start : start + _BYTES] for start in range(0, len(some), _BYTES)]
        _ready.extend(rest)
    digits = drawn.hex()
    variant = "89ab"[drawn[8] & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
