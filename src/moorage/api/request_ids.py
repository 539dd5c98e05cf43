"""Ids by which a request is found in the log."""

from __future__ import annotations

import os
from random import Random
from typing import Final

_numbers: Final = Random()  # noqa: S311 - an id has to be no secret, only no other's

# Processes of one origin would go on with the same numbers.
os.register_at_fork(after_in_child=_numbers.seed)


def new() -> str:
    """``req-`` and a random UUID (RFC 4122, version 4), as this field has them.

    Not from the system's own source: to ask it lets go of the interpreter's lock, which many others wait for.
    """
    digits = f"{_numbers.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"req-{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
