"""Caches: results that a process keeps instead of computing them again, each cache bounded in bytes.

A ``Cache`` holds values by key. A full cache drops values that were not looked up lately. The creator of a
cache passes a function that says how many bytes a value takes. A value that grows later reports so through
its ``Weight``.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Final, Generic, Protocol, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

KIB: Final = 1024
MIB: Final = 1024 * KIB

PLACE_BYTES: Final = 250
"""Bytes that a cache entry takes besides its key and value."""

GRAIN: Final = 2 * KIB
"""Extra bytes that a growing value is charged with, so that small growth needs no new measurement."""

LARGEST_PART: Final = 4
"""A value may take at most a quarter of its cache (1 / ``LARGEST_PART``): a larger one would evict all
others."""


class _Place(Generic[ValueT]):
    """One entry of a cache: its value (None once evicted), its bytes, and whether it was used lately.

    ``used`` says whether a lookup found the entry since the cache stored or last spared it. ``spare`` is how
    many bytes the value may grow before the cache measures it again.
    """

    __slots__ = ("size", "spare", "used", "value")

    def __init__(self, value: ValueT, size: int) -> None:
        self.value: ValueT | None = value
        self.size = size
        self.spare = GRAIN
        self.used = False


def unheard(more: int) -> None:
    """Ignore the growth of a value that no cache holds."""


@dataclass(slots=True, eq=False)
class Weight:
    """Bytes of a value that grows while it is in use. Each growth calls ``grown`` with the additional bytes.

    When two threads add at the same time, one addition may be lost: the bound on memory is approximate.
    """

    size: int = 0
    grown: Callable[[int], None] = unheard

    def add(self, more: int) -> None:
        """Record that the value takes ``more`` additional bytes."""
        self.size += more
        self.grown(more)


@dataclass(slots=True, eq=False)
class Memo(Weight):
    """Encoded texts of a value, kept with the value for later requests that get the same value."""

    _texts: dict[Hashable, bytes] = field(default_factory=dict)

    def of(self, form: Hashable, make: Callable[[], bytes]) -> bytes:
        """The text in ``form``; if there is none yet, what ``make`` returns."""
        known = self._texts.get(form)
        if known is None:
            known = self._texts[form] = make()
            self.add(PLACE_BYTES + len(known))
        return known


class Cache(Generic[KeyT, ValueT]):
    """Values by key, all together up to ``most`` bytes. Safe for several threads.

    ``size_of`` returns the bytes of a key and its value. A cache of 0 bytes stores nothing. A lookup takes no
    lock and touches the table once, because every request does several lookups. Therefore the cache does not
    reorder values at each lookup. It evicts the oldest value that was not used since its last turn (second
    chance, or clock).
    """

    __slots__ = ("_lock", "_places", "_size_of", "most", "size")

    def __init__(self, most: int, size_of: Callable[[KeyT, ValueT], int]) -> None:
        self.most = most
        self.size = 0
        self._size_of = size_of
        self._places: OrderedDict[KeyT, _Place[ValueT]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: KeyT) -> ValueT | None:
        """The value at ``key``, None if there is none."""
        place = self._places.get(key)
        if place is None:
            return None
        place.used = True
        return place.value

    def get_all(self, keys: Iterable[KeyT]) -> dict[KeyT, ValueT]:
        """The values at those of ``keys`` that have one."""
        found: dict[KeyT, ValueT] = {}
        for key in keys:
            place = self._places.get(key)
            if place is not None and place.value is not None:
                place.used = True
                found[key] = place.value
        return found

    def of(self, key: KeyT, make: Callable[[], ValueT]) -> ValueT:
        """The value at ``key``. If there is none, store what ``make`` returns, or raise what it raises."""
        known = self.get(key)
        if known is None:
            known = make()
            self.put(key, known)
        return known

    def put(self, key: KeyT, value: ValueT) -> None:
        """Store ``value`` at ``key``, replacing what was there."""
        self._put(key, _Place(value, PLACE_BYTES + self._size_of(key, value)))

    def put_growing(self, key: KeyT, value: ValueT, weight: Weight) -> None:
        """Store a value as ``put`` does, and measure it again when ``weight`` has grown."""
        place = _Place(value, PLACE_BYTES + GRAIN + self._size_of(key, value))

        def grown(more: int) -> None:
            place.spare -= more
            if place.spare < 0:
                self._measure(key, place)

        weight.grown = grown
        self._put(key, place)

    def drop(self, key: KeyT) -> None:
        """Forget the value at ``key``."""
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            while self._places:
                self._let_go(self._places.popitem()[1])

    def _put(self, key: KeyT, place: _Place[ValueT]) -> None:
        with self._lock:
            self._drop(key)
            self._places[key] = place
            self.size += place.size
            self._make_room(key, place)

    def _measure(self, key: KeyT, place: _Place[ValueT]) -> None:
        with self._lock:
            if place.value is not None:
                before, place.spare = place.size, GRAIN
                place.size = PLACE_BYTES + GRAIN + self._size_of(key, place.value)
                self.size += place.size - before
                self._make_room(key, place)

    def _make_room(self, key: KeyT, grown: _Place[ValueT]) -> None:
        if grown.size > self.most // LARGEST_PART:
            self._drop(key)
        while self.size > self.most:
            oldest, place = self._places.popitem(last=False)
            if place.used:
                place.used = False
                self._places[oldest] = place
            else:
                self._let_go(place)

    def _drop(self, key: KeyT) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            self._let_go(place)

    def _let_go(self, place: _Place[ValueT]) -> None:
        self.size -= place.size
        # Breaks a reference cycle: a growing value refers to its place, and the place to the value.
        place.value = None


class Sized(Protocol):
    """Says how many bytes it takes, as ``size``."""

    size: int


def own_size(_key: object, value: Sized) -> int:
    """Bytes of a value, as it says itself."""
    return value.size


def bytes_of(*values: object) -> int:
    """Bytes of values of plain types and dataclasses, with all that they hold. What is shared counts once.

    Takes some tenths of a microsecond for each object, so it is only for values that are made rarely.
    """
    seen: set[int] = set()
    waiting = list(values)
    total = 0
    while waiting:
        value = waiting.pop()
        if id(value) in seen or value is None or isinstance(value, type | Enum):
            continue
        seen.add(id(value))
        total += sys.getsizeof(value)
        if isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, tuple | list | set | frozenset):
            waiting += value
        elif is_dataclass(value):
            waiting += [getattr(value, item.name) for item in fields(value)]
    return total
