"""Random numbers that no two processes share."""

from __future__ import annotations

import os
from random import Random


def own_numbers() -> Random:
    """A generator for the time of a process. A process that is forked begins with other numbers.

    For a module's own use: each call adds one step to every fork. The numbers spread and tell apart, and hide
    nothing.
    """
    numbers = Random()  # noqa: S311 - no secret is made of it
    os.register_at_fork(after_in_child=numbers.seed)
    return numbers
