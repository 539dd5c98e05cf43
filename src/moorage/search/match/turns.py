"""Orders of going through things that need not all be made: at random, and one of each source in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from random import Random
from typing import TypeVar

ItemT = TypeVar("ItemT")


def shuffled(count: int, random: Random) -> Iterator[int]:
    """0 to ``count`` - 1 in random order, at a cost per number taken (sparse Fisher-Yates)."""
    moved: dict[int, int] = {}
    for position in range(count):
        drawn = random.randrange(position, count)
        yield moved.get(drawn, drawn)
        moved[drawn] = moved.pop(position, position)


def in_turn(sources: Iterable[Iterator[ItemT]]) -> Iterator[ItemT]:
    """One item of each source in turn; a source is not read before its first turn."""
    waiting: deque[Iterator[ItemT]] = deque()
    for source in sources:
        for item in source:
            yield item
            waiting.append(source)
            break
    while waiting:
        source = waiting.popleft()
        for item in source:
            yield item
            waiting.append(source)
            break
