"""Lists that are too long for one statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")

STATEMENT_VALUES = 10_000
"""Values in one IN list: below the drivers' limits (SQLite 32,766, PostgreSQL 65,535 parameters)."""


def batches(items: Iterable[ItemT], size: int = STATEMENT_VALUES) -> Iterator[list[ItemT]]:
    """The items in lists of at most ``size``; no list for no items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
