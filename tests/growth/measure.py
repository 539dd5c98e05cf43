"""Whether the work on an input grows in proportion to the input."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Final, TypeVar

InputT = TypeVar("InputT")

TIMES: Final = 8
"""By so much the larger input is larger. Work that grows with the square takes 64 times as long then."""

GENEROUS: Final = 3
"""By so much what is in proportion may seem to take longer than it should."""

NEGLIGIBLE_SECONDS: Final = 0.003
"""What takes less is not looked at any closer."""

TRIES: Final = 4

FIRST_SIZE: Final = 8
NEXT_SIZES: Final = (16, 20, 24)
"""Work that doubles with each unit of its input would not come to an end at any larger size. At these sizes
it takes thousands of times as long as at the first one."""


def seconds(work: Callable[[InputT], object], given: InputT) -> float:
    """Processor time of this thread: what else the machine does counts for nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    begun = time.thread_time()
    try:
        work(given)
        return time.thread_time() - begun
    finally:
        if was_enabled:
            gc.enable()


def grows_in_proportion(work: Callable[[InputT], object], make: Callable[[int], InputT], size: int) -> bool:
    """Whether ``work`` on ``make(size)`` takes about ``TIMES`` as long as on an input ``TIMES`` smaller.

    The shortest times of several tries count: a busy machine makes times longer, never shorter.
    """
    # What does not depend on the input may take longer than a negligible time on a slow machine.
    least = min(seconds(work, make(FIRST_SIZE)) for _ in range(TRIES))
    allowed = max(NEGLIGIBLE_SECONDS, least * TIMES * GENEROUS)
    for few in NEXT_SIZES:
        if all(seconds(work, make(few)) > allowed for _ in range(TRIES)):
            return False
    large, small = make(size), make(size // TIMES)
    longest = shortest = float("inf")
    for _ in range(TRIES):
        longest = min(longest, seconds(work, large))
        if longest < NEGLIGIBLE_SECONDS:
            return True
        shortest = min(shortest, seconds(work, small))
        if longest < shortest * TIMES * GENEROUS:
            return True
    return False
